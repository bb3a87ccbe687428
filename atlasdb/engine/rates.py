"""How slowly long work may be asked to go, so that it ends."""

from atlasdb_contract.errors import InvalidArgument

LEAST_RATE = 1 << 16
"""Bytes a second that a verification or a copy may be slowed to."""


def check_rate(bytes_per_second: int) -> None:
    """InvalidArgument for a rate at which work would never end; 0 is no limit."""
    if 0 < bytes_per_second < LEAST_RATE:
        raise InvalidArgument(
            f"{bytes_per_second} bytes a second would never end; ask for {LEAST_RATE:,} or more, or for 0: no limit"
        )
