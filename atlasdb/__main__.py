"""`atlasdb serve`: one store folder, one process that writes and perhaps readers beside it, until a signal."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import FrameType

from atlasdb.settings import ONE_THREAD, PREFIX, Settings
from atlasdb_contract.command import OK, Parser, command
from atlasdb_contract.polling import poll_in_place


def parser() -> Parser:
    """The flags; each not given is looked up in the environment as ATLASDB_<FLAG>."""
    flags = Parser(
        prog="atlasdb serve",
        description="Serve the store in a folder over gRPC.",
        epilog=f"Each flag can also be given as an environment variable: --data as {PREFIX}DATA, and so on.",
    )
    flags.add_argument("--data", metavar="DIR", help="the folder of the store; made if it is missing")
    flags.add_argument("--listen", metavar="HOST:PORT", help="TCP address (default 127.0.0.1:7420); port 0: any")
    flags.add_argument("--socket", metavar="PATH", help="a unix socket as well, for programs on this machine")
    flags.add_argument("--workers", metavar="N", type=int, help="processes that share the TCP port (default 1)")
    flags.add_argument("--map-bytes", metavar="N", type=int, help="most that the store may grow to (default 1 TiB)")
    flags.add_argument("--encoder-workers", metavar="N", type=int, help="encoder processes (default: one a core)")
    flags.add_argument("--max-streams", metavar="N", type=int, help="streams that each serves (default 64)")
    flags.add_argument(
        "--sample-recall", metavar="N", type=float, help="fetches a minute compared with the exact answer (default 6)"
    )
    flags.add_argument(
        "--compact-above",
        metavar="SHARE",
        type=float,
        help="compact the file, when nothing else is to do, where more of it is free or dead (default 0.5; 0: never)",
    )
    flags.add_argument(
        "--stop-seconds", metavar="S", type=float, help="how long a stop waits for the work in hand (default 30)"
    )
    return flags


@command("atlasdb")
def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT. 0: stopped as asked; 1: could not serve; 2: wrong flags."""
    flags = parser()
    with flags.judging():
        settings = Settings.gather(vars(flags.parse_args(argv)))
    os.environ.setdefault(*ONE_THREAD)
    poll_in_place()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    serve(settings)
    return OK


def serve(settings: Settings) -> None:
    """Open, listen, wait for a signal, stop. Call from the main thread: it takes SIGTERM and SIGINT."""
    from atlasdb.engine.database import Database
    from atlasdb.service.encoder import LazyEncoder
    from atlasdb.service.keeper import Keeper
    from atlasdb.service.server import Server
    from atlasdb.service.warm import warm

    signals = StopSignals()
    with (
        LazyEncoder(settings.encoder_workers) as encoder,
        Database.open(settings.data, settings.map_bytes, encoder, settings.compact_above) as database,
        Keeper(settings.workers - 1, database.clear_dead_readers) as readers,
    ):
        server = Server(database, settings, encoder, readers.socket)
        try:
            server.start()
            readers.start(replace(settings, listen=server.address, map_bytes=database.map_bytes))
            sockets = "" if settings.socket is None else f" and unix:{settings.socket}"
            say(f"atlasdb: serving {settings.data} on {server.address}{sockets}")
            encoder.warm()
            warm()
            signals.wait()
            say("atlasdb: stopping; a second signal stops at once")
        finally:
            readers.stop()
            server.stop()


def say(line: str) -> None:
    """On standard output. A full disk under it, or nobody there to read, is no reason to end."""
    with suppress(OSError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


class StopSignals:
    """SIGTERM and SIGINT: the first ends `wait`, the second ends the process there and then.

    That loses nothing that was acked: the store is made to be killed. A pipe, since a handler may
    run while this same thread holds any lock. Make it in the main thread.
    """

    def __init__(self) -> None:
        self._asked = False
        self._out, self._in = os.pipe()
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, self._take)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        os.write(self._in, b"!")

    def wait(self) -> None:
        """Until the first signal."""
        os.read(self._out, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
