"""A worker process of the encoder: texts in, unit vectors out; f of design (1).

`python -m atlasdb.ingest.encoder_worker --socket FD --weights DIR --dtype auto`, started by `encoder_pool`. It computes
on one thread and looks at its socket between batches, so that a search of one text waits for one batch, and not for the
thousands of texts of a load. It ends when the socket closes, and ignores SIGINT: whoever started it decides.
"""

import argparse
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from atlasdb.ingest.encoder_wire import SIZE, Floats, Frame, Kind, frame, pack_vectors, parse, unpack_texts

if TYPE_CHECKING:
    from atlasdb.ingest.encoder_model import Model

BATCH_TOKENS: Final = 512
"""Tokens of one batch: about a tenth of a second, which is what an urgent text waits at most."""
_SMALL_BATCH: Final = 8
_URGENT_IN_A_ROW: Final = 8
_NICENESS: Final = 5


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of texts of these lengths in tokens, batch by batch, shortest first.

    A batch holds texts of one length; only a batch of a few takes in texts up to a quarter longer, which a mask then
    tells from padding. BATCH_TOKENS bounds every batch of more than one text.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[position]
        if batch:
            first = lengths[batch[0]]
            longer = length > lengths[batch[-1]]
            parts = longer and (len(batch) >= _SMALL_BATCH or length > first + max(1, first // 4))
            if parts or (len(batch) + 1) * length > BATCH_TOKENS:
                yield batch
                batch = []
        batch.append(position)
    if batch:
        yield batch


class Worker:
    """The loop of the process: one chunk of texts at a time, and urgent ones between its batches."""

    def __init__(self, channel: socket.socket, model: "Model") -> None:
        self._channel = channel
        self._model = model
        self._waiting: list[Frame] = []

    def run(self) -> None:
        """Serves until the socket closes."""
        self._channel.sendall(frame(Kind.READY, 0, self._model.dtype.encode()))
        while True:
            self._serve(self._waiting.pop(0) if self._waiting else self._receive())

    def _serve(self, request: Frame) -> None:
        urgent, texts = unpack_texts(request.payload)
        try:
            vectors, busy = self._encode(texts, urgent=urgent)
        except RuntimeError as error:  # what torch raises, an allocation that failed among it
            self._channel.sendall(frame(Kind.FAILURE, request.chunk, str(error).encode()))
        else:
            self._channel.sendall(pack_vectors(request.chunk, vectors, busy))

    def _encode(self, texts: Sequence[str], *, urgent: bool) -> tuple[Floats, float]:
        """Vectors (N, D) in the order of the texts, and the seconds they took, those of others in between left out."""
        start = time.perf_counter()
        tokens = self._model.tokens(texts)
        parts: list[Floats] = []
        order: list[int] = []
        paused = 0.0
        for batch in batches([len(row) for row in tokens]):
            if not urgent:
                paused += self._serve_urgent()
            parts.append(self._model.encode([tokens[position] for position in batch]))
            order += batch
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors, time.perf_counter() - start - paused

    def _serve_urgent(self) -> float:
        """Answers urgent requests that have come in, keeps the others for later; the seconds it took.

        A bounded number of them: a stream of searches slows a load down, but never stops it.
        """
        start = time.perf_counter()
        for _ in range(_URGENT_IN_A_ROW):
            if not select.select([self._channel], [], [], 0)[0]:
                break
            request = self._receive()
            if unpack_texts(request.payload)[0]:
                self._serve(request)
            else:
                self._waiting.append(request)
        return time.perf_counter() - start

    def _receive(self) -> Frame:
        (size,) = SIZE.unpack(self._read(SIZE.size))
        return parse(self._read(size))

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._channel.recv(min(size - len(data), 1 << 20))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


def main() -> None:
    """Entry point: see the module's docstring."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parser = argparse.ArgumentParser(description="An encoder worker; started by the store.")
    parser.add_argument("--socket", type=int, required=True, help="inherited file descriptor of the socket")
    parser.add_argument("--weights", type=Path, required=True, help="directory of the encoder's weights")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    options = parser.parse_args()
    os.nice(_NICENESS)
    from atlasdb.ingest.encoder_model import Model, use_one_thread  # torch: seconds, and only here

    use_one_thread()
    try:
        with socket.socket(fileno=options.socket) as channel:
            Worker(channel, Model(options.weights, options.dtype)).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # nothing is left to tidy up, and torch would take a second over it


if __name__ == "__main__":
    main()
