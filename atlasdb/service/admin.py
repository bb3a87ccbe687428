"""The Admin service: what an operator asks of a running store."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version

import grpc

from atlasdb.engine.database import Database
from atlasdb.engine.stats import CollectionStats
from atlasdb.service.encoder import LazyEncoder
from atlasdb.service.lifetime import STOPPING, Lifetime
from atlasdb.service.progress import Pace, told
from atlasdb_contract.errors import Cancelled, Unavailable
from atlasdb_contract.types import Progress
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import admin_pb2_grpc as agrpc

# ruff: noqa: N802, D102 - methods are named, and described, in admin.proto
Context = grpc.ServicerContext


class Admin(agrpc.AdminServicer):
    """Each method: asked of the Database, answered; long work is told about while it runs."""

    def __init__(self, database: Database, lifetime: Lifetime, encoder: LazyEncoder | None) -> None:
        self._database = database
        self._lifetime = lifetime
        self._encoder = encoder
        self._started = time.monotonic()

    def Stats(self, request: apb.StatsRequest, _: Context) -> apb.StatsReply:
        import psutil

        stats = self._database.stats(request.collection or None)
        return apb.StatsReply(
            collections=map(collection_to_proto, stats.collections),
            file_bytes=stats.file_bytes,
            map_bytes=stats.map_bytes,
            free_bytes=stats.free_bytes,
            format_version=stats.format_version,
            server_version=version("atlasdb"),
            uptime_seconds=time.monotonic() - self._started,
            resident_bytes=psutil.Process().memory_info().rss,
            texts_encoded=stats.texts_encoded,
            encoder_busy_seconds=self._encoder.rate.busy_seconds if self._encoder else 0,
        )

    def Build(self, request: apb.BuildRequest, context: Context) -> Iterator[apb.Progress]:
        def unwanted() -> bool:
            return self._lifetime.stopping or not context.is_active()

        try:
            for progress in told(
                lambda cancelled, report: self._database.build(request.collection, request.seed, cancelled, report),
                unwanted,
            ):
                yield progress_to_proto(progress)
        except Cancelled:
            if self._lifetime.stopping:
                raise Unavailable(STOPPING) from None
            raise

    def Verify(self, request: apb.VerifyRequest, _: Context) -> Iterator[apb.VerifyProgress]:
        pace = Pace()
        held: apb.VerifyProgress | None = None
        for collection, progress in self._database.verify(request.collection or None):
            if self._lifetime.stopping:
                raise Unavailable(STOPPING)
            if held and (held.collection, held.stage) != (collection, progress.stage):
                yield held
                held = None
            found: Iterable[str] = held.damage if held else ()
            held = apb.VerifyProgress(
                collection=collection,
                stage=progress.stage,
                done=progress.done,
                total=progress.total,
                damage=[*found, *progress.damage],
            )
            if pace.due((collection, progress.stage)):
                yield held
                held = None
        if held:
            yield held


def progress_to_proto(progress: Progress) -> apb.Progress:
    """How far a build is."""
    return apb.Progress(stage=progress.stage, done=progress.done, total=progress.total, generation=progress.generation)


def collection_to_proto(stats: CollectionStats) -> apb.CollectionStats:
    """One collection's numbers."""
    return apb.CollectionStats(**asdict(stats))
