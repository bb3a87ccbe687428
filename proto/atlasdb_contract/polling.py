"""How gRPC waits for its sockets: told in the environment, which it reads once, when it is first imported."""

import os

IN_PLACE = ("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")
"""The thread that waits for a message reads it, too; by itself gRPC hands it over from threads of its engine."""


def poll_in_place() -> None:
    """For this process and those that it starts, unless the user chose. No use once grpc was imported."""
    os.environ.setdefault(*IN_PLACE)
