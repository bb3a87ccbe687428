"""Every error that atlasdb raises, on both sides of the wire.

AtlasError
├── InvalidArgument     what was sent can't be used: says which part, and what would be right
├── NotFound            no collection, entry or file of that name
├── AlreadyExists       a collection of that name with another config
├── FailedPrecondition  right, but not in this state: says what to do first
├── ResourceExhausted   disk, map or memory is full; reads go on
├── DataLoss            a record fails its checksum or is cut short; names the record
├── Unavailable         no server there, or it is stopping; trying again may help
├── Cancelled           stopped by the caller
└── Internal            a fault of atlasdb itself

Each maps to the gRPC status of its name; `by_status` maps back. Messages are one sentence that a
person can act on.
"""

from typing import ClassVar


class AtlasError(Exception):
    """Base of all; `status` is the gRPC status code's name."""

    status: ClassVar[str] = "UNKNOWN"


class InvalidArgument(AtlasError):
    """What was sent can't be used."""

    status = "INVALID_ARGUMENT"


class NotFound(AtlasError):
    """Nothing of that name."""

    status = "NOT_FOUND"


class AlreadyExists(AtlasError):
    """The name is taken."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(AtlasError):
    """Something else must be done first."""

    status = "FAILED_PRECONDITION"


class ResourceExhausted(AtlasError):
    """No room left for writing."""

    status = "RESOURCE_EXHAUSTED"


class DataLoss(AtlasError):
    """A stored record is damaged."""

    status = "DATA_LOSS"


class Unavailable(AtlasError):
    """The other side is not there."""

    status = "UNAVAILABLE"


class Cancelled(AtlasError):
    """Stopped by the caller."""

    status = "CANCELLED"


class Internal(AtlasError):
    """A fault of atlasdb itself."""

    status = "INTERNAL"


by_status: dict[str, type[AtlasError]] = {kind.status: kind for kind in AtlasError.__subclasses__()}
"""gRPC status name -> error type."""
