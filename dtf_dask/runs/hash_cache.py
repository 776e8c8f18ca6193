"""Remembers the digest of a file for as long as the file looks untouched."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack

CACHE_BYTES_MAX = 128 * 1024**2

_FORMAT = 1
# A file written twice within one tick of the file system's clock looks untouched the
# second time; no tick in use is longer (FAT's is 2 s).
_SETTLED_NS = 2_500_000_000

# Size, modification, change (both ns) and inode: the change time also tells of a file
# that was replaced with its old modification time kept.
_Look = tuple[int, int, int, int]


class HashCache:
    """Digests by path, read from and written to ``path``; in memory only for None.

    A cache that cannot be read or written costs time, never the run.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._old = _load(path)
        self._new: dict[str, tuple[_Look, bytes]] = {}
        self._changed = False

    def get(self, path: str, status: os.stat_result) -> str | None:
        """The digest of the file with this status, if it is known."""
        entry = self._old.get(path)
        if entry is None or entry[0] != _look(status):
            return None
        self._new[path] = entry
        return entry[1].hex()

    def put(self, path: str, status: os.stat_result, digest: str) -> None:
        """Remember what was read from a file that had this status."""
        latest = max(status.st_mtime_ns, status.st_ctime_ns)
        if latest < time.time_ns() - _SETTLED_NS:
            self._new[path] = (_look(status), bytes.fromhex(digest))
            self._changed = True

    def save(self) -> None:
        """Write what was asked for or put since the start; the rest is forgotten."""
        if self._path is None or not (
            self._changed or len(self._new) != len(self._old)
        ):
            return
        rows = [
            [os.fsencode(path), look, digest]
            for path, (look, digest) in self._new.items()
        ]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent)
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgpack.packb([_FORMAT, rows]))
            os.replace(temporary, self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)


def _look(status: os.stat_result) -> _Look:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _load(path: Path | None) -> dict[str, tuple[_Look, bytes]]:
    if path is None:
        return {}
    try:
        if path.stat().st_size > CACHE_BYTES_MAX:
            return {}
        version, rows = msgpack.unpackb(path.read_bytes(), use_list=False)
        return dict(map(_entry, rows)) if version == _FORMAT else {}
    except Exception:  # a damaged cache may raise whatever msgpack and unpacking raise
        return {}


def _entry(row: Any) -> tuple[str, tuple[_Look, bytes]]:
    path, look, digest = row
    if len(digest) != 32 or len(look) != 4:
        raise ValueError("no entry of a hash cache")
    return os.fsdecode(path), (look, digest)
