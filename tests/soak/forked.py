"""Children made by fork: they begin with all modules loaded and all loops compiled, and may die of what they do.

The parent must have no threads and must never have opened a store or a channel.
"""

import faulthandler
import os
import pickle
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 16
STOPS = (signal.SIGINT, signal.SIGTERM)
"""Held back during a fork: what is raised then would be lost in the hooks that Python runs there."""

Say = Callable[[Any], None]
"""Sends one message to the parent; it has arrived when the call returns."""


class Ended(Exception):
    """The child is gone and has nothing more to say; `status` is its exit code, or minus the signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the child ended with status {status}")
        self.status = status


class Late(Exception):
    """No message came in time."""


class Broken(Exception):
    """The child raised an error; its traceback."""


@dataclass
class Child:
    """A running child. `kill` it in the end."""

    pid: int
    _pipe: int
    _bytes: bytearray = field(default_factory=bytearray)
    _status: int | None = None

    def receive(self, seconds: float) -> Any:
        """Its next message. Late, Ended, Broken."""
        deadline = time.monotonic() + seconds
        while (message := self._next()) is None:
            left = deadline - time.monotonic()
            if not select.select([self._pipe], [], [], max(left, 0))[0]:
                raise Late
            more = os.read(self._pipe, _READ_BYTES)
            if not more:
                raise Ended(self.wait())
            self._bytes += more
        if isinstance(message[0], _Error):
            raise Broken(message[0].text)
        return message[0]

    def _next(self) -> tuple[Any] | None:
        if len(self._bytes) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
        if len(self._bytes) < end:
            return None
        message = pickle.loads(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        return (message,)

    def show_stacks(self) -> None:
        """Have it write to stderr what each of its threads does: of a child that hangs."""
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(1)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started; messages that it had sent can still be received."""
        if self._status is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> int:
        """Its end; see Ended."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def close(self) -> None:
        """Kill it where it still runs."""
        self.kill()
        os.close(self._pipe)


@dataclass(frozen=True)
class _Error:
    text: str


def forked(work: Callable[[Say], None]) -> Child:
    """A child that does `work` and ends."""
    receiving, sending = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    pid = os.fork()
    if pid:
        os.close(sending)
        child = Child(pid, receiving)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except KeyboardInterrupt:
            child.close()
            raise
        return child
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(receiving)
    faulthandler.register(signal.SIGUSR1)

    def say(message: Any) -> None:
        data = pickle.dumps(message)
        whole = memoryview(_LENGTH.pack(len(data)) + data)
        while whole:
            whole = whole[os.write(sending, whole) :]

    try:
        work(say)
    except BaseException:  # noqa: BLE001 - told to the parent, which raises it
        say(_Error(traceback.format_exc()))
    os._exit(0)


def asked(question: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The answer of a child that is made for one question. Late, Ended, Broken."""
    child = forked(lambda say: say(question()))
    try:
        return child.receive(seconds)
    finally:
        child.close()


def own_memory() -> int:
    """Bytes of this process that lie in no file: pages of a store's map come and go as the system likes."""
    import psutil

    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))
