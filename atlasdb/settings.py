"""What a server is started with: one frozen dataclass, and the only code that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atlasdb_contract.errors import InvalidArgument

PREFIX = "ATLASDB_"
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "1")
"""In our processes, unless the user chose: each request has a thread already, and theirs would push each other off the
cores. OpenBLAS reads it when numpy is imported."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field can also be given as the environment variable ATLASDB_<FIELD>; a flag wins over it."""

    data: Path
    """The folder of the store; made if it is missing."""
    listen: str = "127.0.0.1:7420"
    """HOST:PORT; port 0 lets the system choose."""
    socket: Path | None = None
    """A unix socket beside the TCP port."""
    workers: int = 1
    """Processes that share the TCP port: one writes and serves everything, the others answer fetches beside it."""
    map_bytes: int = 1 << 40
    """The most that the store may grow to. Address space, not memory: the file stays as large as its content."""
    encoder_workers: int = 0
    """Processes that turn texts into vectors; 0: one a core, up to eight."""
    max_streams: int = 64
    """Streams (inserts, fetches, scans, builds) that a process serves at a time; one more is refused. Each holds a
    thread."""
    sample_recall: float = 6.0
    """Fetches a minute, of all processes together, that are compared with the exact answer; 0: none."""
    compact_above: float = 0.5
    """The file is compacted, when nothing else is to do, where more than this share of it is free or dead; 0: never."""
    stop_seconds: float = 30.0
    """How long a stopping server waits for the work in hand."""

    def __post_init__(self) -> None:
        split_address(self.listen)
        leasts = {
            "workers": 1,
            "map_bytes": 1 << 20,
            "encoder_workers": 0,
            "max_streams": 1,
            "sample_recall": 0,
            "compact_above": 0,
            "stop_seconds": 0,
        }
        for name, least in leasts.items():
            if not getattr(self, name) >= least:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; the least is {least}")

    @classmethod
    def gather(cls, flags: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> "Settings":
        """Flags that are not None over the environment over the defaults. InvalidArgument names the culprit."""
        readers = {
            "data": Path,
            "listen": str,
            "socket": Path,
            "workers": int,
            "map_bytes": int,
            "encoder_workers": int,
            "max_streams": int,
            "sample_recall": float,
            "compact_above": float,
            "stop_seconds": float,
        }
        chosen: dict[str, object] = {}
        for name, read in readers.items():
            variable = PREFIX + name.upper()
            value = flags.get(name)
            if value is None and not (value := environment.get(variable)):
                continue
            try:
                chosen[name] = read(value)
            except ValueError:
                raise InvalidArgument(f"{variable} is {value!r}, not a number") from None
        if "data" not in chosen:
            raise InvalidArgument(f"no folder for the store: give --data DIR or set {PREFIX}DATA")
        return cls(**chosen)  # type: ignore[arg-type]


def data_folder(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of a store as a command was given it. InvalidArgument where it was not."""
    if given is None and not environment.get(f"{PREFIX}DATA"):
        raise InvalidArgument(f"no folder for the store: give --data DIR or set {PREFIX}DATA")
    return given or Path(environment[f"{PREFIX}DATA"])


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT taken apart; an IPv6 host stands in brackets. InvalidArgument for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"{address!r} is not HOST:PORT, such as 127.0.0.1:7420")
    return host.strip("[]"), int(port)
