"""A store's folder: who has it, who opens or replaces files in it, and what was put into it made durable."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atlasdb_contract.errors import FailedPrecondition


@contextmanager
def switching(path: Path, how: int) -> Iterator[int]:
    """While the files of a folder are opened (LOCK_SH) or replaced (LOCK_EX): nobody opens half of the old and half of
    the new. Lends the folder's descriptor."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, how)
        yield folder
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Make what was put into a folder, or renamed there, durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock_folder(path: Path, make: bool = False) -> int:
    """Take the folder, which is made if need be: the open descriptor of its lock file, with our pid in it.
    FailedPrecondition: a server has it, or it can't be used."""
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FailedPrecondition(f"the folder {path} can't be used: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise FailedPrecondition(f"the folder {path} can't be used: {error.strerror or error}") from error
        raise FailedPrecondition(f"{path} is in use by the server with pid {pid}; stop it first") from error
    with suppress(OSError):  # a full disk: the lock holds without the number
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def folder_lock(path: Path, make: bool = False) -> Iterator[None]:
    """Keep servers out of a folder for a while; as `lock_folder`."""
    descriptor = lock_folder(path, make)
    try:
        yield
    finally:
        os.close(descriptor)
