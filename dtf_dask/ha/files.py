"""The few operations on files that a node's log and snapshots are made of.

`Files` is what they ask for, so that tests can put a disk under them that tears writes,
forgets what was not synced and flips bits. `DiskFiles` is the real one. Paths are
plain strings; whatever fails raises `OSError`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dtf_dask.errors import DiskFullError, LedgerDiskError, LedgerFolderError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room on the disk, in a quota, or below a limit on the size of files."""


class OpenFile(Protocol):
    """A file that is written to."""

    def write_at(self, offset: int, data: bytes) -> int:
        """Write some of the bytes; how many."""

    def sync(self) -> None:
        """Return when all that was written, and the size, is on the disk."""

    def truncate(self, size: int) -> None:
        """Cut the file."""

    def close(self) -> None:
        """Give the file up."""


class Files(Protocol):
    """What a disk does."""

    def create(self, path: str) -> OpenFile:
        """A new, empty file; one of that name is emptied."""

    def open(self, path: str) -> OpenFile:
        """A file that exists, to be written to."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Some bytes of a file, or all that follow; fewer at its end."""

    def size(self, path: str) -> int:
        """How long a file is."""

    def rename(self, path: str, new: str) -> None:
        """Put a file in the place of another, at once."""

    def remove(self, path: str) -> None:
        """Delete a file."""

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted."""

    def make_folder(self, folder: str) -> None:
        """Make a folder, and those above it, unless it is there."""

    def sync_folder(self, folder: str) -> None:
        """Return when what was made, renamed and deleted in it is on the disk."""

    def room(self, folder: str) -> int:
        """How many bytes the disk that a folder is on still takes."""

    def lock(self, path: str) -> Callable[[], None]:
        """Keep other processes out; what lets them in again."""


class DiskFile:
    """A file of the operating system."""

    __slots__ = ("_fd",)

    def __init__(self, path: str, flags: int) -> None:
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)

    def write_at(self, offset: int, data: bytes) -> int:
        """Write some of the bytes; how many."""
        return os.pwrite(self._fd, data, offset)

    def sync(self) -> None:
        """Return when all that was written, and the size, is on the disk."""
        _sync(self._fd)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Give the file up."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class DiskFiles:
    """The operating system's files."""

    def create(self, path: str) -> OpenFile:
        """A new, empty file; one of that name is emptied."""
        return DiskFile(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, path: str) -> OpenFile:
        """A file that exists, to be written to."""
        return DiskFile(path, os.O_RDWR)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Some bytes of a file, or all that follow; fewer at its end."""
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            if length is None:
                return file.readall() or b""
            return file.read(length) or b""

    def size(self, path: str) -> int:
        """How long a file is."""
        return os.stat(path).st_size

    def rename(self, path: str, new: str) -> None:
        """Put a file in the place of another, at once."""
        os.replace(path, new)

    def remove(self, path: str) -> None:
        """Delete a file."""
        os.unlink(path)

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted."""
        return sorted(os.listdir(folder))

    def make_folder(self, folder: str) -> None:
        """Make a folder, and those above it, unless it is there."""
        missing = [p for p in (Path(folder), *Path(folder).parents) if not p.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            # The name of a folder is on the disk when the one above it is.
            self.sync_folder(str(path.parent))

    def sync_folder(self, folder: str) -> None:
        """Return when what was made, renamed and deleted in it is on the disk."""
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def room(self, folder: str) -> int:
        """How many bytes the disk that a folder is on still takes."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def lock(self, path: str) -> Callable[[], None]:
        """Keep other processes out; what lets them in again.

        Raises
        ------
        LedgerFolderError
            Another process has it. The lock ends with the process that took it.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise LedgerFolderError(
                f"{os.path.dirname(path)} is in use by process {owner or 'unknown'}:"
                " a node's folder serves one process at a time"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode("ascii"), 0)
        return lambda: os.close(fd)


DISK = DiskFiles()


def file_error(error: OSError, path: str) -> LedgerDiskError | DiskFullError:
    """An `OSError` in words: no room, or a file that cannot be had."""
    if error.errno in FULL:
        return DiskFullError(f"no room to write {path}: {error.strerror}")
    return LedgerDiskError(f"{path} cannot be written: {error.strerror or error}")


def disk_error(error: OSError, path: str) -> LedgerDiskError | DiskFullError:
    """The same of the log: a disk that cannot be relied on ends the node."""
    found = file_error(error, path)
    if isinstance(found, DiskFullError):
        return found
    return LedgerDiskError(
        f"{found}; the node stops, since nobody knows what of it is on the disk: look"
        " at the disk, then start it again"
    )


def write_whole(file: OpenFile, offset: int, data: bytes) -> None:
    """Write all of the bytes, in one call where the system lets it."""
    done = file.write_at(offset, data)
    while done < len(data):
        done += file.write_at(offset + done, data[done:])


def _sync(fd: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # where fsync leaves it in the disk's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)
