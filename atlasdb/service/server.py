"""The gRPC server around one Database: its sockets, its start and its stop."""

import errno
import os
import socket
import stat
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from atlasdb.engine.database import Database
from atlasdb.service.admin import Admin
from atlasdb.service.direct import Direct
from atlasdb.service.encoder import LazyEncoder
from atlasdb.service.forward import Forwarder
from atlasdb.service.knowledge import Knowledge
from atlasdb.service.lifetime import Counting, Lifetime
from atlasdb.service.retrieval import Retrieval
from atlasdb.service.status import Answers, answering
from atlasdb.settings import Settings, split_address
from atlasdb_contract.codec import GRPC_OPTIONS
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument
from atlasdb_contract.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    knowledge_pb2,
    knowledge_pb2_grpc,
    retrieval_pb2,
    retrieval_pb2_grpc,
)

UNARY_THREADS = 16
"""Threads beyond one for each stream; unary calls queue for them."""
CALLS_WAITING = 1024
"""Calls that wait for a thread; one more is RESOURCE_EXHAUSTED."""
LOOKED_AFTER = (
    ("grpc.max_concurrent_streams", 2 * CALLS_WAITING),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
"""Calls that one connection may have open; a client that is gone without a word is found out within 80 s, and its
streams end."""
SENDING_SECONDS = 0.5
"""What a stop leaves gRPC to send what was answered last."""
SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket (sockaddr_un)."""
DESCRIPTORS = tuple(
    service
    for module in (knowledge_pb2, retrieval_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
FETCH = "/atlasdb.v1.Retrieval/Fetch"
SERVICES = tuple(service.full_name for service in DESCRIPTORS)
"""Their names."""


class Server:
    """Serves a Database, its owner's still; the encoder is here for its counters. `start` once, `stop` once or more."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        encoder: LazyEncoder | None = None,
        inner: Path | None = None,
        writer: grpc.Channel | None = None,
    ) -> None:
        """`inner`: a unix socket for what readers hand on. `writer`: leads there, in a reader; it shares the port."""
        self._settings = settings
        self._database = database
        self._inner = inner
        self._shares_port = writer is not None
        self._lifetime = Lifetime(settings.max_streams)
        self._pool = futures.ThreadPoolExecutor(settings.max_streams + UNARY_THREADS, "atlasdb-rpc")
        self._grpc = grpc.server(
            self._pool,
            interceptors=[Answers(), Counting(self._lifetime)],
            options=(*GRPC_OPTIONS, *LOOKED_AFTER, ("grpc.so_reuseport", int(settings.workers > 1))),
            maximum_concurrent_rpcs=settings.max_streams + UNARY_THREADS + CALLS_WAITING,
        )
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        services: list[tuple[Callable[[Any, grpc.Server], None], object]] = [
            (health_pb2_grpc.add_HealthServicer_to_server, self._health),
        ]
        if writer is None:
            readers = inner.parent if inner else None
            services += [
                (knowledge_pb2_grpc.add_KnowledgeServicer_to_server, Knowledge(database, self._lifetime)),
                (
                    admin_pb2_grpc.add_AdminServicer_to_server,
                    Admin(database, self._lifetime, encoder, readers),
                ),
            ]
        for add, service in services:
            add(service, self._grpc)
        if writer is not None:
            self._grpc.add_generic_rpc_handlers((Forwarder(writer, DESCRIPTORS, self._lifetime),))
        self._fetches = self._serve_fetches(Retrieval(database, self._lifetime))
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)
        self.address = ""
        """HOST:PORT, with the port that was bound."""
        self._socket: Path | None = None
        """The socket file, once it is ours to remove."""

    def start(self) -> None:
        """Bind and serve. FailedPrecondition: an address is taken or can't be bound, with what to do."""
        host, port = split_address(self._settings.listen)
        shown = f"[{host}]" if ":" in host else host
        if not self._shares_port:
            check_address(host, port)
        bound = self._grpc.add_insecure_port(f"{shown}:{port}")
        self.address = f"{shown}:{bound}"
        if self._settings.socket is not None:
            self._bind_socket(self._settings.socket)
        if self._inner is not None:
            self._grpc.add_insecure_port(f"unix:{self._inner}")
        self._grpc.start()
        if self._fetches is not None:
            self._fetches.await_call()
        self._database.sample_recall(self._settings.sample_recall, self._settings.workers)
        for name in ("", *SERVICES):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def _serve_fetches(self, retrieval: Retrieval) -> Direct | None:
        """On as few threads as can be; None where this gRPC's own way has to do."""
        handler = grpc.stream_stream_rpc_method_handler(
            answering(FETCH, Counting(self._lifetime).stream(retrieval.Fetch), streaming=True),
            retrieval_pb2.FetchRequest.FromString,
            retrieval_pb2.Block.SerializeToString,
        )
        try:
            return Direct(self._grpc, FETCH, handler, self._pool)
        except (AttributeError, ImportError, TypeError):
            retrieval_pb2_grpc.add_RetrievalServicer_to_server(retrieval, self._grpc)  # type: ignore[no-untyped-call]
            return None

    def _bind_socket(self, path: Path) -> None:
        clear_stale_socket(path)
        self._grpc.add_insecure_port(f"unix:{path}")
        self._socket = path

    def stop(self, seconds: float | None = None) -> bool:
        """Refuse new work, finish what is in hand within `seconds` (default: the settings'), close all streams.

        True when all work was answered. Health says NOT_SERVING meanwhile; open streams end UNAVAILABLE.
        """
        self._lifetime.stop()
        self._health.enter_graceful_shutdown()
        drained = self._lifetime.drained(self._settings.stop_seconds if seconds is None else seconds)
        self._grpc.stop(SENDING_SECONDS).wait()
        self._pool.shutdown(wait=drained)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
        return drained


def check_address(host: str, port: int) -> None:
    """Bind and let go: FailedPrecondition says why a server can't. gRPC itself would say so in its log alone."""
    refused: list[OSError] = []
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in candidates:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(address)
                except OSError as error:
                    refused.append(error)
    except OSError as error:
        raise unusable(host, port, error) from None
    if refused and (len(refused) == len(candidates) or refused[0].errno == errno.EADDRINUSE):
        raise unusable(host, port, refused[0])


def unusable(host: str, port: int, error: OSError) -> FailedPrecondition:
    """What to do about an address."""
    if error.errno == errno.EADDRINUSE:
        return FailedPrecondition(
            f"port {port} of {host} is in use; stop the program that has it, or give --listen another port"
        )
    return FailedPrecondition(
        f"can't listen on {host}, port {port}: {error.strerror}; give --listen an address of this machine"
    )


def clear_stale_socket(path: Path) -> None:
    """Remove the socket file of a killed server. FailedPrecondition if the path can't be ours; says why."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise InvalidArgument(f"the socket path has more than {SOCKET_PATH_BYTES} bytes; give --socket a shorter one")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise FailedPrecondition(f"{path.parent} is no folder that can be written; give --socket another path")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{path} is there and is no socket; give --socket another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise FailedPrecondition(f"can't use the socket {path}: {error.strerror}; give --socket another") from None
    raise FailedPrecondition(f"another server listens on {path}; stop it first or give --socket another path")
