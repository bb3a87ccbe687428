"""A small file system for one process: a tmpfs in a mount namespace of its own, gone when the process ends."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000


class NotAllowed(Exception):
    """This machine lets nobody, or only root, mount; says what it said."""


def mount(folder: Path, size: int) -> None:
    """Mount one of `size` bytes on a folder, for this process and its children alone; it needs to be root or to be
    allowed user namespaces. NotAllowed."""
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USER
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise NotAllowed(f"unshare: {os.strerror(ctypes.get_errno())}")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]):
        done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
        if done.returncode:
            raise NotAllowed(f"mount: {done.stderr.strip()}")


class Ballast:
    """A file that takes room on the disk of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = os.open(folder / "ballast", os.O_RDWR | os.O_CREAT)

    def leave(self, left: int) -> None:
        """Take so much that `left` bytes are free."""
        os.ftruncate(self._file, 0)
        while (taken := self._free() - left) > 0:
            try:
                os.posix_fallocate(self._file, 0, taken)
                return
            except OSError as error:  # others write meanwhile
                if error.errno != errno.ENOSPC:
                    raise

    def _free(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def release(self) -> None:
        """Take nothing."""
        os.ftruncate(self._file, 0)
