"""How gRPC polls is settled before it is first imported."""

import os
import subprocess
import sys

VARIABLE = "GRPC_EXPERIMENTS"


def told(code: str, **environment: str) -> tuple[str, str]:
    """What a fresh process prints and complains of."""
    kept = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


CONNECT = "import os, atlasdb_client as a; a.connect('127.0.0.1:1').close(); print(os.environ['GRPC_EXPERIMENTS'])"


def test_the_pinned_grpc_knows_what_it_is_told() -> None:
    chosen, complaints = told(CONNECT)
    assert chosen == "-event_engine_listener,-event_engine_client"
    assert "experiment" not in complaints.lower()


def test_a_process_without_grpc_is_told_before_it_has_it() -> None:
    assert told("import sys, atlasdb_client; print('grpc' in sys.modules)")[0] == "False"


def test_what_the_user_chose_stays() -> None:
    assert told(CONNECT, **{VARIABLE: "-tcp_rcv_lowat"})[0] == "-tcp_rcv_lowat"
