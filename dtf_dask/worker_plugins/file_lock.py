"""Locks between processes, held by an open file: who is killed lets go of them."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtf_dask.errors import SnapshotStoreError

_POLL_S = 0.002


def open_lock(path: Path) -> int:
    """Open, and make if need be, a file to be locked; never inherited by programs."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(handle: int, *, exclusive: bool) -> bool:
    """Take or change the lock of this open file, unless somebody else forbids it."""
    mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold ``path`` exclusively; `SnapshotStoreError` when others keep it too long."""
    handle = open_lock(path)
    try:
        deadline = time.monotonic() + timeout_s
        while not try_lock(handle, exclusive=True):
            if time.monotonic() > deadline:
                raise SnapshotStoreError(
                    f"Another process has held {path} for {timeout_s:g} s. Look for a "
                    "stopped worker on this host, or give each worker its own folder."
                )
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            # Closing is not enough: a child forked meanwhile has the file open too.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)
