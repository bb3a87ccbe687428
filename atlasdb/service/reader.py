"""A reader: a process that answers fetches beside the one that writes, on the same TCP port.

    stdin    ◀── Orders, then nothing; its end is the writer's, and this process ends with it at once
    stdout   ──▶ READY, once it listens
    SIGTERM      a graceful stop

Everything but Retrieval it hands on to the writer. It starts as `python -m atlasdb.service.reader`, by service/keeper.
"""

import logging
import os
import pickle
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from atlasdb.engine.database import Database
from atlasdb.service.reports import Reporter
from atlasdb.service.server import Server
from atlasdb.service.warm import warm
from atlasdb.settings import Settings
from atlasdb_contract.codec import GRPC_OPTIONS

READY = b"ready\n"
LATER_SECONDS = 1.0
"""What a stop waits longer than the writer's, so that the writer's last answers can be handed on."""
STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a reader is told."""

    settings: Settings
    """The writer's, with the port and the size of the map that it got, and no unix socket."""
    writer: Path
    """The unix socket where the writer takes what is handed on; alone in its folder."""


def main() -> None:
    """Serve until SIGTERM or the end of the writer."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    orders: Orders = pickle.load(sys.stdin.buffer)
    threading.Thread(target=follow, args=(orders.writer,), name="follow-writer", daemon=True).start()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s",
        level=logging.INFO,
    )
    with (
        Database.read(orders.settings.data, orders.settings.map_bytes) as database,
        grpc.insecure_channel(f"unix:{orders.writer}", options=GRPC_OPTIONS) as channel,
    ):
        server = Server(database, orders.settings, writer=channel)
        server.start()
        Reporter(orders.writer.parent, database.measured)
        os.write(sys.stdout.fileno(), READY)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        warm()
        signal.sigwait(STOPS)
        server.stop(orders.settings.stop_seconds + LATER_SECONDS)


def follow(writer: Path) -> None:
    """End this process when the writer has ended; what a killed one left behind goes too."""
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(writer.parent, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
