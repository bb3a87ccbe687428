"""What the engine's operations share: the store, the encoder, a thread for what encoding leaves to do."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

from atlasdb.engine.meters import Measured, Meters
from atlasdb.store.copying import Copy
from atlasdb.store.reading import ReadingStore
from atlasdb.store.store import Store
from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Floats


class EncoderLike(Protocol):
    """What the engine asks of an encoder (atlasdb/ingest/encoder.py). `name` and `dimension` never change."""

    @property
    def name(self) -> str:
        """As in a collection's config."""

    @property
    def dimension(self) -> int:
        """D."""

    def submit(self, texts: Sequence[str]) -> "Future[Floats]":
        """Unit vectors of the texts: float32 (N, D). Remembers recent texts and those under way."""


class Engine:
    """One open store with its encoder."""

    def __init__(self, store: Store, encoder: EncoderLike | None) -> None:
        self.store = store
        self.encoder = encoder
        self.after_encoding = ThreadPoolExecutor(1, "atlasdb-insert")
        """Runs what follows when vectors arrive, so that the encoder's own thread goes on."""
        self.meters = Meters()
        self._texts = 0
        self._building: set[str] = set()
        self._compacting = threading.Lock()
        self.copy: Copy | None = None
        """Of a compaction that was stopped: the next one goes on with it."""
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, map_bytes: int, encoder: EncoderLike | None) -> Self:
        """See Database.open."""
        return cls(Store(path, map_bytes), encoder)

    @classmethod
    def read(cls, path: Path, map_bytes: int) -> Self:
        """See Database.read."""
        return cls(ReadingStore(path, map_bytes), None)

    def close(self) -> None:
        """Finish the writes that were taken, then close."""
        self.after_encoding.shutdown()
        if self.copy is not None:
            self.copy.close()
            self.copy = None
        self.store.close()

    def encoder_for(self, config: CollectionConfig, name: str) -> EncoderLike:
        """The encoder for a collection. FailedPrecondition where it has none, or this server another."""
        if config.encoder == NO_ENCODER:
            raise FailedPrecondition(f"the collection {name!r} has no encoder: send vectors instead of texts")
        if self.encoder is None or self.encoder.name != config.encoder:
            ours = repr(self.encoder.name) if self.encoder else "none"
            raise FailedPrecondition(
                f"the collection {name!r} needs the encoder {config.encoder!r}; this server runs {ours}"
            )
        return self.encoder

    def encode(self, config: CollectionConfig, name: str, texts: Sequence[str]) -> "Future[Floats]":
        """The vectors of distinct texts by a collection's encoder: float32 (N, D)."""
        vectors = self.encoder_for(config, name).submit(texts)
        with self._lock:
            self._texts += len(texts)
        return vectors

    def measured(self) -> Measured:
        """What this process measured of itself."""
        return self.meters.measured(self.store.environment.oldest_view())

    @property
    def texts_encoded(self) -> int:
        """Texts that the encoder was asked for so far."""
        return self._texts

    @contextmanager
    def building(self, name: str) -> Iterator[None]:
        """While a tree of this collection is made: one at a time."""
        with self._lock:
            if name in self._building:
                raise FailedPrecondition(f"a build of {name!r} is running; wait for it or stop it first")
            self._building.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._building.discard(name)

    @contextmanager
    def compacting(self) -> Iterator[None]:
        """While the file is copied: once at a time."""
        if not self._compacting.acquire(blocking=False):
            raise FailedPrecondition("a compaction or a snapshot is being made; wait for it or stop it first")
        try:
            yield
        finally:
            self._compacting.release()
