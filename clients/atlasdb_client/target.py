"""Where a server is: `HOST:PORT` or `unix:PATH`. Imports nothing heavy, for the command line's sake."""

from atlasdb_contract.errors import InvalidArgument

DEFAULT_TARGET = "127.0.0.1:7420"
"""Where `atlasdb serve` listens unless told otherwise."""


def parse_target(target: str) -> str:
    """The address as gRPC takes it. InvalidArgument for one without a port, with a scheme, or empty."""
    if target.startswith("unix:"):
        if len(target) == len("unix:"):
            raise InvalidArgument("the address 'unix:' names no socket; write unix:/path/to/socket")
        return target
    host, colon, port = target.rpartition(":")
    if "://" in target or not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(
            f"the address '{target}' is neither HOST:PORT nor unix:PATH; an example is {DEFAULT_TARGET}"
        )
    return target
