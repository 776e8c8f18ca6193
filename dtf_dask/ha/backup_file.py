"""A backup as a file: a snapshot, then the contents that its records refer to.

Without contents it is the file of a snapshot and nothing else. With some, each follows
with its digest and size before it, and the end says how long the snapshot is and how
many there are. Each part carries its own hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dtf_dask.errors import (
    ContentUnavailableError,
    LedgerDamagedError,
    LedgerDiskError,
)
from dtf_dask.ha.files import DISK, DiskFiles
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.references import Reference, reference_wrong
from dtf_dask.ha.ledger.state_machine import StateMachine, restored
from dtf_dask.ha.snapshot_file import (
    StoredSnapshot,
    checked_snapshot,
    content,
    state_of,
)

_BEFORE = struct.Struct("<32sQ")
_END = struct.Struct("<QQ8s")
_MAGIC = b"DTFCONT\n"
_READ_BYTES = 2**20

Read = Callable[[bytes, int, int], bytes | None]
"""Bytes of a content, from an offset on; None if it is not there."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was found sound.

    Parameters
    ----------
    contents
        Those that records refer to, and where in the file they begin.
    """

    snapshot: StoredSnapshot
    state: StateMachine
    contents: dict[Reference, int]

    def chunks(self, reference: Reference) -> Iterator[bytes]:
        """The bytes of a content."""
        at = self.contents[reference]
        return _pieces(self.snapshot.path, at, at + reference.size)


def references_in_order(state: StateMachine) -> list[Reference]:
    """The contents that records refer to."""
    return sorted(state.records.references.counts)


def backup_chunks(head: bytes, state: StateMachine, read: Read) -> Iterator[bytes]:
    """All of a backup's file.

    Raises
    ------
    ContentUnavailableError
        A content is not there.
    LedgerDamagedError
        One is not what it was.
    """
    size = 0
    for chunk in content(head, state.snapshot()):
        size += len(chunk)
        yield chunk
    references = references_in_order(state)
    for reference in references:
        yield _BEFORE.pack(*reference)
        yield from _checked(reference, _read_all(reference, read))
    if references:
        yield _END.pack(size, len(references), _MAGIC)


def checked_backup(path: str, cluster: str) -> Backup:
    """Read all of a backup.

    Raises
    ------
    LedgerDamagedError
        It is not whole, or of another cluster.
    """
    size = _size(path)
    end = _read(path, max(0, size - _END.size), _END.size)
    length, count = size, 0
    if end.endswith(_MAGIC) and len(end) == _END.size:
        length, count, _ = _END.unpack(end)
    if length > size:
        raise LedgerDamagedError(f"{path} has an end of no sense")
    files = _Beginning(length)
    snapshot = checked_snapshot(path, cluster, files)
    state = restored(state_of(snapshot, files))
    if isinstance(state, Unreadable):
        raise LedgerDamagedError(f"{path}: {state.reason}")
    contents = _contents(path, length, count, size)
    lacking = state.records.references.counts.keys() - contents.keys()
    if lacking:
        raise LedgerDamagedError(
            f"{path} lacks {len(lacking)} contents that records refer to, for instance"
            f" {min(lacking).digest.hex()}"
        )
    return Backup(snapshot, state, contents)


class _Beginning(DiskFiles):
    """A disk on which a file ends where its snapshot does."""

    def __init__(self, length: int) -> None:
        self._length = length

    def size(self, path: str) -> int:
        """How long the snapshot is."""
        return self._length


def _contents(path: str, at: int, count: int, size: int) -> dict[Reference, int]:
    found: dict[Reference, int] = {}
    end = size - _END.size if count else size
    for _ in range(count):
        words = _read(path, at, _BEFORE.size)
        if len(words) < _BEFORE.size:
            raise LedgerDamagedError(f"{path} ends too early")
        reference = Reference(*_BEFORE.unpack(words))
        at += _BEFORE.size
        if reference_wrong(*reference) or at + reference.size > end:
            raise LedgerDamagedError(f"{path}, byte {at}: no content begins there")
        for _ in _checked(reference, _pieces(path, at, at + reference.size)):
            pass
        found[reference] = at
        at += reference.size
    if at != end:
        raise LedgerDamagedError(f"{path} has {end - at} bytes of no sense at its end")
    return found


def _checked(reference: Reference, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass on a content, and see that it is the one."""
    found, size = hashlib.sha256(), 0
    for chunk in chunks:
        found.update(chunk)
        size += len(chunk)
        yield chunk
    if (found.digest(), size) != reference:
        raise LedgerDamagedError(
            f"content {reference.digest.hex()} does not check: a byte of it changed"
        )


def _read_all(reference: Reference, read: Read) -> Iterator[bytes]:
    at = 0
    while at < reference.size:
        chunk = read(reference.digest, at, _READ_BYTES)
        if not chunk:
            raise ContentUnavailableError(
                f"content {reference.digest.hex()}, which a record refers to, is not on"
                " this node yet: back up another one, or try again later"
            )
        at += len(chunk)
        yield chunk


def _pieces(path: str, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        chunk = _read(path, at, min(_READ_BYTES, end - at))
        if not chunk:
            raise LedgerDamagedError(f"{path} ends too early")
        at += len(chunk)
        yield chunk


def _size(path: str) -> int:
    try:
        return DISK.size(path)
    except OSError as error:
        raise LedgerDiskError(f"{path} cannot be read: {error}") from error


def _read(path: str, offset: int, length: int) -> bytes:
    try:
        return DISK.read(path, offset, length)
    except OSError as error:
        raise LedgerDiskError(f"{path} cannot be read: {error}") from error
