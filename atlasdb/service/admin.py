"""The Admin service: what an operator asks of a running store."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import grpc

from atlasdb.engine.database import Database
from atlasdb.engine.stats import CollectionStats
from atlasdb.service.encoder import LazyEncoder
from atlasdb.service.lifetime import STOPPING, Lifetime
from atlasdb.service.memory import anonymous_bytes
from atlasdb.service.progress import Pace, told
from atlasdb.service.reports import reports
from atlasdb_contract.errors import Cancelled, Unavailable
from atlasdb_contract.types import Progress
from atlasdb_contract.upkeep import Snapshot, SnapshotProgress
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import admin_pb2_grpc as agrpc

# ruff: noqa: N802, D102 - methods are named, and described, in admin.proto
Context = grpc.ServicerContext
T = TypeVar("T")


class Admin(agrpc.AdminServicer):
    """Each method: asked of the Database, answered; long work is told about while it runs."""

    def __init__(
        self, database: Database, lifetime: Lifetime, encoder: LazyEncoder | None, readers: Path | None = None
    ) -> None:
        """`readers`: the folder where they tell what they measured."""
        self._database = database
        self._lifetime = lifetime
        self._encoder = encoder
        self._readers = readers
        self._started = time.monotonic()

    def Stats(self, request: apb.StatsRequest, _: Context) -> apb.StatsReply:
        import psutil

        stats = self._database.stats(request.collection or None, reports(self._readers))
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
            pages=stats.pages,
            free_pages=stats.free_pages,
            commits=apb.Latency(**asdict(stats.commit_times)),
            fetches=apb.Latency(**asdict(stats.fetches)),
            inserted_per_second=stats.inserted_per_second,
            oldest_reader_seconds=stats.oldest_reader_seconds,
            oldest_reader_commits=stats.oldest_reader_commits,
            processes=stats.processes,
        )

    def Build(self, request: apb.BuildRequest, context: Context) -> Iterator[apb.Progress]:
        def build(cancelled: Callable[[], bool], tell: Callable[[apb.Progress], None]) -> None:
            pace = Pace()

            def report(progress: Progress) -> None:
                if pace.due(progress.stage):
                    tell(build_to_proto(progress))

            generation = self._database.build(request.collection, request.seed, cancelled, report)
            tell(build_to_proto(Progress("done", 1, 1, generation)))

        return self._told(build, context)

    def Verify(self, request: apb.VerifyRequest, context: Context) -> Iterator[apb.VerifyProgress]:
        def verify(cancelled: Callable[[], bool], tell: Callable[[apb.VerifyProgress], None]) -> None:
            pace = Pace()
            held: apb.VerifyProgress | None = None
            asked = request.collection or None, request.cursor, request.bytes_per_second
            for collection, progress in self._database.verify(*asked):
                if cancelled():
                    raise Cancelled("the verification was stopped; nothing was changed")
                if held and (held.collection, held.stage) != (collection, progress.stage):
                    tell(held)
                    held = None
                held = verify_to_proto(collection, progress, held.damage if held else ())
                if pace.due((collection, progress.stage)):
                    tell(held)
                    held = None
            if held:
                tell(held)

        return self._told(verify, context)

    def Repair(self, request: apb.RepairRequest, context: Context) -> Iterator[apb.RepairProgress]:
        def repair(cancelled: Callable[[], bool], tell: Callable[[apb.RepairProgress], None]) -> None:
            pace = Pace()
            for collection, step in self._database.repair(request.collection or None, request.dry_run, cancelled):
                if step.restored or step.lost or pace.due((collection, step.stage)):
                    tell(apb.RepairProgress(collection=collection, **asdict(step)))

        return self._told(repair, context)

    def Compact(self, request: apb.CompactRequest, context: Context) -> Iterator[apb.CompactProgress]:
        def compact(cancelled: Callable[[], bool], tell: Callable[[apb.CompactProgress], None]) -> None:
            pace = Pace()
            asked = request.dry_run, request.bytes_per_second, request.max_seconds
            for step in self._database.compact(*asked, cancelled):
                if pace.due(step.stage):
                    tell(apb.CompactProgress(**asdict(step)))

        return self._told(compact, context)

    def CreateSnapshot(self, request: apb.CreateSnapshotRequest, context: Context) -> Iterator[apb.SnapshotProgress]:
        asked = request.name, request.bytes_per_second
        return self._snapshot(lambda cancelled: self._database.create_snapshot(*asked, cancelled), context)

    def ListSnapshots(self, _request: apb.ListSnapshotsRequest, _: Context) -> apb.ListSnapshotsReply:
        return apb.ListSnapshotsReply(snapshots=map(snapshot_to_proto, self._database.list_snapshots()))

    def VerifySnapshot(self, request: apb.VerifySnapshotRequest, context: Context) -> Iterator[apb.SnapshotProgress]:
        return self._snapshot(lambda cancelled: self._database.verify_snapshot(request.name, cancelled), context)

    def DeleteSnapshot(self, request: apb.DeleteSnapshotRequest, _: Context) -> apb.DeleteSnapshotReply:
        return apb.DeleteSnapshotReply(bytes=self._database.delete_snapshot(request.name))

    def _snapshot(
        self, begin: Callable[[Callable[[], bool]], Iterable[SnapshotProgress]], context: Context
    ) -> Iterator[apb.SnapshotProgress]:
        def work(cancelled: Callable[[], bool], tell: Callable[[apb.SnapshotProgress], None]) -> None:
            pace = Pace()
            for step in begin(cancelled):
                if pace.due(step.stage):
                    tell(
                        apb.SnapshotProgress(
                            stage=step.stage,
                            done=step.done,
                            total=step.total,
                            damage=step.damage,
                            snapshot=snapshot_to_proto(step.snapshot) if step.snapshot else None,
                        )
                    )

        return self._told(work, context)

    def _told(self, work: Callable[[Callable[[], bool], Callable[[T], None]], None], context: Context) -> Iterator[T]:
        """What the work tells, until it ends, the client leaves or the server stops."""
        try:
            yield from told(work, lambda: self._lifetime.stopping or not context.is_active())
        except Cancelled:
            if self._lifetime.stopping:
                raise Unavailable(STOPPING) from None
            raise


def build_to_proto(progress: Progress) -> apb.Progress:
    """How far a build is, and what memory the server has."""
    return apb.Progress(
        stage=progress.stage,
        done=progress.done,
        total=progress.total,
        generation=progress.generation,
        memory_bytes=anonymous_bytes(),
    )


def verify_to_proto(collection: str, progress: Progress, damage: Iterable[str]) -> apb.VerifyProgress:
    """How far a verification is, with damage not told yet before its own."""
    return apb.VerifyProgress(
        collection=collection,
        stage=progress.stage,
        done=progress.done,
        total=progress.total,
        damage=[*damage, *progress.damage],
        cursor=progress.cursor,
    )


def snapshot_to_proto(snapshot: Snapshot) -> apb.Snapshot:
    """A snapshot's manifest."""
    return apb.Snapshot(**asdict(snapshot))


def collection_to_proto(stats: CollectionStats) -> apb.CollectionStats:
    """One collection's numbers."""
    return apb.CollectionStats(**asdict(stats))
