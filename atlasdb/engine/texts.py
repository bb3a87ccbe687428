"""Texts to vectors, each distinct text once: the latest are remembered, and those on their way are waited for."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors

if TYPE_CHECKING:
    from atlasdb.engine.engine import EncoderLike

REMEMBERED = 1 << 16
"""Texts whose vectors are kept: at D = 384 some 40 MB."""

_Row: TypeAlias = tuple[bytes, np.float32]


class _Batch:
    """Texts sent to the encoder together; `waiting` requests go on when it answers."""

    def __init__(self) -> None:
        self.waiting: list[_Request] = []


class _Request:
    """One call of `submit` in progress."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.rows: dict[str, _Row] = {}
        self.pending = 0
        self.future: Future[Vectors] = Future()


class TextVectors:
    """An encoder with a memory. Thread-safe."""

    def __init__(self, encoder: "EncoderLike") -> None:
        self._encoder = encoder
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Row] = OrderedDict()
        self._flying: dict[str, _Batch] = {}
        self.encoded = 0
        """Texts that the encoder was asked for so far."""

    @property
    def name(self) -> str:
        """The encoder's."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """D."""
        return self._encoder.dimension

    def submit(self, texts: Sequence[str]) -> "Future[Vectors]":
        """The vectors of texts, in order: int8 (len(texts), D)."""
        request, batch, missing = _Request(texts), _Batch(), []
        with self._lock:
            awaited = set()
            for text in dict.fromkeys(texts):
                if row := self._known.get(text):
                    self._known.move_to_end(text)
                    request.rows[text] = row
                    continue
                if text not in self._flying:
                    self._flying[text] = batch
                    missing.append(text)
                awaited.add(self._flying[text])
            request.pending = len(awaited)
            for other in awaited:
                other.waiting.append(request)
            self.encoded += len(missing)
        if not awaited:
            self._finish(request)
        if missing:
            self._send(batch, missing)
        return request.future

    def _send(self, batch: _Batch, texts: list[str]) -> None:
        try:
            answer = self._encoder.submit(texts)
        except Exception as error:  # noqa: BLE001 - it belongs to the futures of those who wait
            self._fail(batch, texts, error)
            return
        answer.add_done_callback(lambda done: self._answered(batch, texts, done))

    def _answered(self, batch: _Batch, texts: list[str], done: "Future[np.ndarray]") -> None:
        try:
            vectors = quantise(done.result())
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(batch, texts, error)
            return
        rows = {text: (vectors.data[i].tobytes(), vectors.scales[i]) for i, text in enumerate(texts)}
        ready = []
        with self._lock:
            for text in texts:
                del self._flying[text]
            self._known.update(rows)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            for request in batch.waiting:
                request.rows.update((text, rows[text]) for text in request.texts if text in rows)
                request.pending -= 1
                if not request.pending:
                    ready.append(request)
        for request in ready:
            self._finish(request)

    def _fail(self, batch: _Batch, texts: list[str], error: BaseException) -> None:
        with self._lock:
            for text in texts:
                self._flying.pop(text, None)
            failed = [request for request in batch.waiting if request.pending > 0]
            for request in failed:
                request.pending = -1
        for request in failed:
            request.future.set_exception(error)

    def _finish(self, request: _Request) -> None:
        rows = [request.rows[text] for text in request.texts]
        data = np.frombuffer(b"".join([row[0] for row in rows]), np.int8).reshape(len(rows), self.dimension)
        request.future.set_result(Vectors(data, np.array([row[1] for row in rows], np.float32)))
