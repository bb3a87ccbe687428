"""The memory of this process, for whoever watches long work."""

from functools import cache
from typing import Any


def anonymous_bytes() -> int:
    """Resident, and not of a file: what the mapped store has in memory isn't counted. Some 10 us.

    Where the system doesn't tell them apart, all that is resident.
    """
    info = _process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))


@cache
def _process() -> Any:
    import psutil

    return psutil.Process()
