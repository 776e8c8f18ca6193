"""Reads files that somebody may be writing to, and notices when somebody was."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from dtf_dask.errors import SnapshotError

READ_ATTEMPTS_MAX = 5
WHOLE_BYTES_MAX = 8 * 1024**2
"""Contents up to this size are read and checked before their first byte is used."""

_RETRY_S = 0.02
_READ_BYTES = 1024**2
# Opening a file that has just become a named pipe must not wait for a writer.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_T = TypeVar("_T")


def retried(places: Iterable[_T]) -> Iterator[_T]:
    """Go through the places a bounded number of times, a little later each time.

    Whoever saves a file may have emptied it a moment ago.
    """
    places = tuple(places)
    for attempt in range(READ_ATTEMPTS_MAX):
        time.sleep(_RETRY_S * attempt)
        yield from places


def hash_file(base: str, path: str) -> tuple[str, os.stat_result] | None:
    """The SHA-256 of ``base/path`` and its status then; None when it is gone.

    Raises
    ------
    SnapshotError
        When the file cannot be read, or changed whenever it was.
    """
    for place in retried([os.path.join(base, path)]):
        try:
            handle = os.open(place, _OPEN_FLAGS)
            try:
                hashed = _hash_open(handle)
            finally:
                os.close(handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # it has become a link since it was found
                continue
            raise SnapshotError(
                f"{path!r} cannot be read for the code snapshot: {error.strerror}. "
                "Give your user the right to read it, or leave it out with .gitignore."
            ) from error
        if hashed:
            return hashed
    raise SnapshotError(
        f"{path!r} changed each of the {READ_ATTEMPTS_MAX} times that it was read for "
        "the code snapshot. Stop what writes to it, or leave it out with .gitignore."
    )


def _hash_open(handle: int) -> tuple[str, os.stat_result] | None:
    """Digest and status, or None when the file changed meanwhile."""
    before = os.fstat(handle)
    digest = hashlib.sha256()
    size = 0
    # One byte more than expected is enough to know, also of an endless log.
    while size <= before.st_size:
        chunk = os.read(handle, min(_READ_BYTES, before.st_size + 1 - size))
        if not chunk:
            break
        digest.update(chunk)
        size += len(chunk)
    after = os.fstat(handle)
    unchanged = (
        stat.S_ISREG(after.st_mode)
        and size == before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )
    return (digest.hexdigest(), after) if unchanged else None


def checked_chunks(
    place: Path, digest: str, size_bytes: int, chunk_bytes: int
) -> Iterator[bytes]:
    """Yield the pieces of a file that has this digest and size; at least one piece.

    Of another file nothing comes, or of a large one all but the last piece.
    """
    try:
        with open(os.open(place, _OPEN_FLAGS), "rb") as file:
            if os.fstat(file.fileno()).st_size != size_bytes:
                return
            if size_bytes <= WHOLE_BYTES_MAX:
                content = file.read(size_bytes)
                if hashlib.sha256(content).hexdigest() == digest:
                    for start in range(0, max(size_bytes, 1), chunk_bytes):
                        yield content[start : start + chunk_bytes]
                return
            seen = hashlib.sha256()
            left = size_bytes
            while left and (chunk := file.read(min(chunk_bytes, left))):
                seen.update(chunk)
                left -= len(chunk)
                if left or seen.hexdigest() == digest:
                    yield chunk
    except OSError:
        return
