"""The encoder's worker processes and what waits for them; used by `encoder`.

One thread runs an event loop that owns all state here: the queues, the processes, the vectors kept. Other threads come
in through `Pool.submit` alone.

    submit -> Item per distinct text -> urgent or bulk queue -> chunk -> a worker -> Item's waiters -> Future

Each worker has two bulk chunks at most, the second so that it never waits for us; urgent chunks go at once to the
worker with the least to do, which takes them between two batches. A worker that dies is started again, and what it had
is sent once more; what kills two workers fails.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from atlasdb.ingest.encoder_recent import Recent
from atlasdb.ingest.encoder_wire import SIZE, Floats, Kind, pack_texts, parse, unpack_vectors
from atlasdb_contract.errors import AtlasError, Internal, Unavailable

URGENT_TEXTS: Final = 16
"""A request of so many texts or fewer goes before the others."""
_CHUNK_TEXTS: Final = 256
_BULK_CHUNKS: Final = 2
_ATTEMPTS: Final = 2
_RESTART_SECONDS: Final = (0.0, 0.5, 2.0, 10.0)
_GRACE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What the encoder has done since it started."""

    encoded: int = 0
    """Texts that went through the model."""
    reused: int = 0
    """Texts that were at hand: repeated in a request, asked for elsewhere too, or kept from before."""
    busy_seconds: float = 0.0
    """Computing time, the sum over workers."""


@dataclass(slots=True, eq=False)
class Request:
    """One call of `submit`: its vectors (N, D) as far as they are there."""

    future: "Future[Floats]"
    vectors: Floats
    missing: int

    def fill(self, positions: Sequence[int], vector: Floats) -> None:
        """Puts a vector where its text stood, and hands all over after the last."""
        self.vectors[positions] = vector
        self.missing -= len(positions)
        if not self.missing and not self.future.done():
            self.future.set_result(self.vectors)

    def fail(self, error: AtlasError) -> None:
        """Ends the request; vectors that come later are kept for others."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Item:
    """A text on its way through the model, with the requests that wait for it."""

    text: str
    urgent: bool
    waiters: list[tuple[Request, list[int]]]
    attempts: int = 0


@dataclass(slots=True, eq=False)
class Worker:
    """A process and the chunks that it holds; `ready` once it has loaded its weights."""

    process: "subprocess.Popen[bytes]"
    writer: asyncio.StreamWriter
    ready: bool = False
    chunks: dict[int, list[Item]] = field(default_factory=dict)

    def holds(self, *, urgent: bool) -> int:
        """How many chunks of a kind it has not answered."""
        return sum(items[0].urgent == urgent for items in self.chunks.values())


class Pool:
    """`count` worker processes for the weights at `weights`, whose vectors have `dimension` numbers."""

    def __init__(self, weights: Path, dimension: int, count: int, dtype: str, recent_bytes: int) -> None:
        self.rate = Rate()
        self.pids: tuple[int, ...] = ()
        self.dtype = ""
        self._weights, self._dimension, self._count, self._dtype = weights, dimension, count, dtype
        self._recent = Recent(recent_bytes)
        self._queues: dict[bool, deque[Item]] = {True: deque(), False: deque()}
        self._pending: dict[str, Item] = {}
        self._workers: set[Worker] = set()
        self._failed_starts = 0
        self._next_chunk = 1
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keeps the workers alive until `stop`; then ends them, and fails what still waits."""
        keepers = [asyncio.create_task(self._keep_worker()) for _ in range(self._count)]
        stopped = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(stopped, *keepers, return_exceptions=True)
        self._fail_all(Unavailable("the encoder is stopped"))
        for task in done:
            task.result()  # a keeper never ends but by a fault of ours, which is not to go unseen

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    def submit(self, texts: Sequence[str], future: "Future[Floats]") -> None:
        """Queues the texts; the future gets their vectors (N, D), or an error."""
        if self._stopping.is_set():
            future.set_exception(Unavailable("the encoder is stopped"))
            return
        request = Request(future, np.empty((len(texts), self._dimension), dtype=np.float32), len(texts))
        if not texts:
            future.set_result(request.vectors)
            return
        positions: dict[str, list[int]] = {}
        for position, text in enumerate(texts):
            positions.setdefault(text, []).append(position)
        urgent = len(texts) <= URGENT_TEXTS
        fresh = [item for text, where in positions.items() if (item := self._want(text, where, request, urgent=urgent))]
        self._queues[urgent].extend(sorted(fresh, key=lambda item: len(item.text)))
        self._count_texts(reused=len(texts) - len(fresh))
        self._dispatch()

    def _want(self, text: str, where: list[int], request: Request, *, urgent: bool) -> Item | None:
        """A new item if the text must be encoded; None where its vector is there, or already on its way in time."""
        if (vector := self._recent.get(text)) is not None:
            request.fill(where, vector)
            return None
        item = self._pending.get(text)
        if item and (item.urgent or not urgent):
            item.waiters.append((request, where))
            return None
        item = self._pending[text] = Item(text, urgent, [(request, where)])
        return item

    def _dispatch(self) -> None:
        """Hands out all that workers may take now."""
        ready = [worker for worker in self._workers if worker.ready]
        urgent, bulk = self._queues[True], self._queues[False]
        while ready and urgent:
            self._send(
                min(ready, key=lambda worker: (worker.holds(urgent=True), len(worker.chunks))), urgent, _CHUNK_TEXTS
            )
        for depth in range(_BULK_CHUNKS):
            for worker in ready:
                if bulk and worker.holds(urgent=False) == depth:
                    self._send(worker, bulk, max(16, min(_CHUNK_TEXTS, len(bulk) // len(ready))))

    def _send(self, worker: Worker, queue: deque[Item], size: int) -> None:
        items = [queue.popleft() for _ in range(min(size, len(queue)))]
        chunk, self._next_chunk = self._next_chunk, self._next_chunk % 0xFFFFFFFF + 1
        worker.chunks[chunk] = items
        worker.writer.write(pack_texts(chunk, [item.text for item in items], urgent=items[0].urgent))

    async def _keep_worker(self) -> None:
        """One worker after another, as each dies; those that never get ready are tried again ever more slowly."""
        while True:
            try:
                ready, outcome = await self._live()
            except OSError as error:  # no more processes, files or memory
                ready, outcome = False, str(error)
            self._failed_starts = 0 if ready else self._failed_starts + 1
            if self._failed_starts >= _ATTEMPTS * self._count and not any(worker.ready for worker in self._workers):
                self._fail_all(Unavailable(f"the encoder's workers don't start ({outcome}); see the log for why"))
            await asyncio.sleep(_RESTART_SECONDS[min(self._failed_starts, len(_RESTART_SECONDS) - 1)])

    async def _live(self) -> tuple[bool, str]:
        """The life of one worker: whether it got ready, and how it ended."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            with theirs:
                process = self._spawn(theirs)
        except OSError:
            writer.close()
            raise
        worker = Worker(process, writer)
        self._workers.add(worker)
        self._list_pids()
        try:
            await self._listen(worker, reader)
        finally:
            writer.close()
            self._workers.discard(worker)
            self._list_pids()
            self._again(worker)
            status = await asyncio.to_thread(_reap, process)
        return worker.ready, f"the last one ended with status {status}"

    def _spawn(self, channel: socket.socket) -> "subprocess.Popen[bytes]":
        """A worker in a session of its own, so that Ctrl-C in our terminal does not reach it."""
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "atlasdb.ingest.encoder_worker"),
                *("--socket", str(channel.fileno()), "--weights", str(self._weights), "--dtype", self._dtype),
            ],
            pass_fds=[channel.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    async def _listen(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        """Takes in what a worker says until it ends."""
        while True:
            try:
                (size,) = SIZE.unpack(await reader.readexactly(SIZE.size))
                message = parse(await reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if message.kind is Kind.READY:
                worker.ready, self.dtype = True, str(message.payload, "utf-8")
            elif message.kind is Kind.VECTORS:
                busy, vectors = unpack_vectors(message.payload)
                self._count_texts(encoded=len(vectors), busy=busy)
                for item, vector in zip(worker.chunks.pop(message.chunk), vectors, strict=True):
                    self._deliver(item, vector)
            else:
                reason = str(message.payload, "utf-8")
                self._drop(worker.chunks.pop(message.chunk), Internal(f"the encoder can't encode this: {reason}"))
            self._dispatch()

    def _deliver(self, item: Item, vector: Floats) -> None:
        self._settle(item)
        self._recent.put(item.text, vector)
        for request, positions in item.waiters:
            request.fill(positions, vector)

    def _settle(self, item: Item) -> None:
        """Takes the item off the pending ones, unless an urgent twin has its place."""
        if self._pending.get(item.text) is item:
            del self._pending[item.text]

    def _again(self, worker: Worker) -> None:
        """Queues what a dead worker held, in front; or fails what has had its attempts."""
        for items in reversed(worker.chunks.values()):
            for item in items:
                item.attempts += 1
            spent = [item for item in items if item.attempts >= _ATTEMPTS]
            self._drop(spent, Unavailable("the encoder's worker died twice over these texts; try fewer at a time"))
            self._queues[items[0].urgent].extendleft(item for item in reversed(items) if item.attempts < _ATTEMPTS)
        self._dispatch()

    def _drop(self, items: Sequence[Item], error: AtlasError) -> None:
        for item in items:
            self._settle(item)
            for request, _ in item.waiters:
                request.fail(error)

    def _fail_all(self, error: AtlasError) -> None:
        for worker in self._workers:
            for items in worker.chunks.values():
                self._drop(items, error)
        for queue in self._queues.values():
            self._drop(queue, error)
            queue.clear()

    def _count_texts(self, encoded: int = 0, reused: int = 0, busy: float = 0.0) -> None:
        now = self.rate
        self.rate = Rate(now.encoded + encoded, now.reused + reused, now.busy_seconds + busy)

    def _list_pids(self) -> None:
        self.pids = tuple(worker.process.pid for worker in self._workers)


def _reap(process: "subprocess.Popen[bytes]") -> int:
    """Waits for a worker whose socket is closed; kills one that does not go. Its exit status."""
    try:
        return process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Of a worker: never the network, always one thread."""
