"""How far the check of a collection is, so that it can be cut off and go on."""

from dataclasses import dataclass, field

import msgpack

from atlasdb import setsum

STAGES = ("entries", "values", "postings", "index", "trees")
"""As store/check.py describes them."""


@dataclass(slots=True)
class Cursor:
    """How far a check is: the stage, the next key, and what was added up. `as_of`: deletions and trees at the start."""

    stage: str = STAGES[0]
    at: bytes = b""
    part: int = 0
    """Of the postings: which tree; the number of trees: the delta."""
    sums: bytes = setsum.EMPTY
    counts: list[int] = field(default_factory=lambda: [0] * 4)
    as_of: list[int] = field(default_factory=list)

    def packed(self) -> bytes:
        """To go on from later."""
        content: bytes = msgpack.packb([self.stage, self.at, self.part, self.sums, self.counts, self.as_of])
        return content

    @staticmethod
    def of(packed: bytes) -> "Cursor":
        """What `packed` gave."""
        return Cursor(*msgpack.unpackb(packed))
