"""Inputs of no sense to all that takes any: the wire, its decoders, files of triples, vectors and phrases, names.

Whatever comes, it is used or refused by an AtlasError (on the wire, by a status that is neither INTERNAL nor UNKNOWN),
soon, and memory stays flat. All in one child; what kills or stops it is told by the number of the input.
"""

import logging
import mmap
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .forked import Broken, Ended, Late, Say, forked, own_memory
from .inputs import Rng, filled, mutated, phrases_file, pick, text_file, vector_file, word
from .powercut import memory
from .tally import Tally

INPUTS = 50_000
"""Of one episode."""
TOLD = 500
"""Inputs between two messages to the parent."""
SECONDS = 20.0
"""A hang."""
CALL_SECONDS = 30.0
MEMORY_GROWTH = 64 << 20
"""Bytes by which a process may grow from an episode's first half to its end."""
ENTRIES = 300
NUMBER = struct.Struct("<Q")


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    with memory("fuzz") as scratch:
        _heard(seed, scratch, tally)


def _heard(seed: int, scratch: Path, tally: Tally) -> None:
    at = mmap.mmap(-1, NUMBER.size)
    child = forked(lambda say: _inputs(seed, scratch, at, say))
    try:
        while not tally.over():
            kind, what = child.receive(SECONDS)
            if kind == "wrong":
                tally.fail(what)
            elif kind == "grown":
                tally.measure("memory grown, MiB", what / (1 << 20))
            else:
                tally.figures.update(what)
                tally.count(sum(what.values()))
    except Ended as ended:
        if ended.status:
            tally.fail(f"input {NUMBER.unpack(at[:])[0]}: {ended}")
    except Late:
        child.show_stacks()
        tally.fail(f"input {NUMBER.unpack(at[:])[0]}, or the end after it: a hang of {SECONDS:.0f} s")
    except Broken as error:
        tally.fail(f"input {NUMBER.unpack(at[:])[0]}: {error!s}")
    finally:
        child.close()


def _inputs(seed: int, scratch: Path, at: mmap.mmap, say: Say) -> None:
    logging.getLogger("atlasdb").setLevel(logging.CRITICAL + 1)
    done, half = Counter[str](), 0
    with _Targets(scratch) as targets:
        kinds = targets.kinds()
        names, weights = list(kinds), np.array([weight for weight, _ in kinds.values()])
        for number in range(INPUTS):
            at[:] = NUMBER.pack(number)
            rng = np.random.default_rng([seed, number])
            kind = str(rng.choice(names, p=weights / weights.sum()))
            problem = _tried(kinds[kind][1], rng)
            if problem:
                say(("wrong", f"input {number}, {kind}: {problem}"))
            done[kind] += 1
            if (number + 1) % TOLD == 0:
                say(("done", done))
                done = Counter()
            if number == INPUTS // 2:
                half = own_memory()
        say(("done", done))
        grown = own_memory() - half
        say(("grown", grown))
        if grown > MEMORY_GROWTH:
            say(("wrong", f"memory grew by {grown >> 20} MiB in the second half"))


def _tried(target: Callable[[Rng], None], rng: Rng) -> str:
    """What went wrong."""
    import traceback

    from atlasdb_contract.errors import AtlasError, Internal

    try:
        target(rng)
    except Internal as error:
        return f"Internal: {error}"
    except AtlasError:
        return ""
    except Exception as error:  # noqa: BLE001 - what is looked for
        return "".join(traceback.format_exception(error))
    return ""


class _Targets:
    """All that takes an input, ready. Each target raises what it should not."""

    def __init__(self, scratch: Path) -> None:
        import grpc

        from atlasdb.engine.database import Database
        from atlasdb.service.server import DESCRIPTORS, Server
        from atlasdb.settings import Settings
        from atlasdb_contract.codec import GRPC_OPTIONS
        from tests.store.worlds import BARE, HashEncoder, facts, vectors

        self._scratch = scratch
        self._encoder = HashEncoder()
        self._database = Database.open(scratch / "data", 1 << 28, self._encoder)
        for name in ("facts", "words"):
            self._renew(name)
        self._database.insert("facts", facts(ENTRIES), *vectors(facts(ENTRIES))).result()
        self._database.build("facts")
        assert BARE.dimension == 16
        socket = scratch / "socket"
        self._server = Server(self._database, Settings(data=scratch / "data", listen="127.0.0.1:0", socket=socket))
        self._server.start()
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=GRPC_OPTIONS)
        self._methods = [
            (f"/{service.full_name}/{method.name}", method) for service in DESCRIPTORS for method in service.methods
        ]
        self._calls = 0

    def __enter__(self) -> "_Targets":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._server.stop(1)
        self._database.close()
        self._encoder.close()

    def _renew(self, name: str) -> None:
        from atlasdb_contract.types import CollectionConfig
        from tests.store.worlds import BARE

        worded = CollectionConfig("hash", 0, {}, "all")
        self._database.create_collection(name, BARE if name == "facts" else worded, if_missing=True)

    def kinds(self) -> dict[str, tuple[float, Callable[[Rng], None]]]:
        """Name -> share of the inputs, target."""
        return {
            "messages decoded": (5, _decode),
            "calls": (2, self._call),
            "files of triples": (1.5, self._read_triples),
            "files of vectors": (0.7, self._read_vectors),
            "files of phrases": (0.8, self._read_phrases),
            "names worded": (2, _word_names),
        }

    def _call(self, rng: Rng) -> None:
        """One RPC with a message filled at random, or bytes that may be none."""
        import grpc
        from google.protobuf.message_factory import GetMessageClass

        path, method = pick(rng, self._methods)
        made = GetMessageClass(method.input_type)
        request = filled(made(), rng).SerializeToString()
        if rng.random() < 0.3:
            request = mutated(request, rng)
        shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call = getattr(self._channel, shape)(path)
        try:
            answer = call(iter([request]) if method.client_streaming else request, timeout=CALL_SECONDS)
            if method.server_streaming:
                for _ in answer:
                    pass
        except grpc.RpcError as error:
            bad = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED,
                   grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.CANCELLED}  # fmt: skip
            if path.endswith("/Compact"):
                bad.discard(grpc.StatusCode.CANCELLED)  # after so many seconds, if that is asked for
            if error.code() in bad:
                raise RuntimeError(f"{path} {request[:300]!r}: {error.code().name}: {error.details()}") from None
        self._calls += 1
        if self._calls % 200 == 0:
            self._restore()

    def _restore(self) -> None:
        """Calls drop collections and make others."""
        for one in self._database.list_collections():
            if one.name not in ("facts", "words") or one.entries > 10 * ENTRIES:
                self._database.drop_collection(one.name)
        for name in ("facts", "words"):
            self._renew(name)

    def _file(self, suffix: str, data: bytes) -> Path:
        path = self._scratch / f"file{suffix}"
        path.write_bytes(data)
        return path

    def _read_triples(self, rng: Rng) -> None:
        from atlasdb_client.readers import TripleFile

        with TripleFile(self._file(*text_file(rng))) as file:
            for _ in file:
                pass

    def _read_vectors(self, rng: Rng) -> None:
        from atlasdb_client.vectors import VectorFiles

        keys, values = self._file(".keys.npy", vector_file(rng)), self._file(".values.npy", vector_file(rng))
        files = VectorFiles.open(keys, values)
        if len(files):
            files.rows(np.arange(min(len(files), 100)))

    def _read_phrases(self, rng: Rng) -> None:
        from atlasdb.ingest.phrases import Phrasing
        from atlasdb_client.cli.collections import _phrases

        phrasing = Phrasing(_phrases(self._file(".json", phrases_file(rng))), "all")
        phrasing.key_text(word(rng), word(rng))
        phrasing.inverse_key_text(word(rng), word(rng))


def _word_names(rng: Rng) -> None:
    from atlasdb.ingest.phrases import Phrasing

    phrasing = Phrasing({}, "all")
    head, relation, tail = word(rng), word(rng), word(rng)
    phrasing.key_text(head, relation)
    phrasing.value_text(tail)
    phrasing.inverse_key_text(tail, relation)


def _decode(rng: Rng) -> None:
    """A message as bytes, changed, decoded by the codec of the side that gets it."""
    from google.protobuf.message import DecodeError

    from atlasdb_contract import codec
    from atlasdb_contract.v1 import knowledge_pb2 as kpb
    from atlasdb_contract.v1 import retrieval_pb2 as rpb

    decoders: list[tuple[Any, Callable[[Any], Any]]] = [
        (kpb.Vectors, codec.vectors_from_proto),
        (kpb.Triple, codec.triple_from_proto),
        (kpb.TripleColumns, lambda message: list(codec.columns_from_proto(message).triples())),
        (kpb.CollectionConfig, codec.config_from_proto),
        (kpb.Collection, codec.collection_from_proto),
        (kpb.GetReply, codec.entries_from_proto),
        (rpb.Block, codec.block_from_proto),
        (rpb.FetchRequest, codec.about_from_proto),
    ]
    made, decoder = pick(rng, decoders)
    data = filled(made(), rng).SerializeToString()
    try:
        message = made.FromString(mutated(data, rng) if rng.random() < 0.5 else data)
    except DecodeError:
        return
    decoder(message)
