"""The server's encoder, started when it is first needed; where it can't run, only those who need it are told."""

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from atlasdb.ingest.encoder import DEFAULT, Encoder
from atlasdb.ingest.encoder_pool import Rate
from atlasdb_contract.errors import FailedPrecondition, Unavailable
from atlasdb_contract.types import Floats

log = logging.getLogger("atlasdb.service")

MOST_WORKERS = 8
"""Where one worker a core ends: each holds the weights in memory of its own."""


class LazyEncoder:
    """An Encoder from its first use to `close`. What it raises where the encoder can't run: FailedPrecondition."""

    name = DEFAULT

    def __init__(self, workers: int) -> None:
        """`workers` 0: one a core, up to MOST_WORKERS."""
        self._workers = workers or min(MOST_WORKERS, len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._closed = False

    @property
    def dimension(self) -> int:
        """D."""
        return self._running().dimension

    @property
    def rate(self) -> Rate:
        """Counters since the start."""
        return self._encoder.rate if self._encoder else Rate()

    def submit(self, texts: Sequence[str]) -> "Future[Floats]":
        """Unit vectors of the texts: float32 (N, D)."""
        return self._running().submit(texts)

    def warm(self) -> None:
        """Have the workers load their weights in the background, so that the first use need not wait for that."""
        try:
            self._running()
        except FailedPrecondition as reason:
            log.warning("no texts can be encoded: %s", reason)

    def _running(self) -> Encoder:
        with self._lock:
            if self._closed:
                raise Unavailable("the encoder is closed")
            if self._encoder is None:
                self._encoder = Encoder.start(self.name, self._workers)
            return self._encoder

    def close(self) -> None:
        """Stop the workers. May be called twice."""
        with self._lock:
            self._closed = True
            if self._encoder is not None:
                self._encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
