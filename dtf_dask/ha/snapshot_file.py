"""A snapshot as a file: a head, the state, the SHA-256 of both at its end."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgpack

from dtf_dask.errors import LedgerDamagedError, LedgerDiskError, LedgerFolderError
from dtf_dask.ha.files import DISK, Files
from dtf_dask.ha.raft.messages import SnapshotPoint
from dtf_dask.ha.wal_format import decode_point, plain_point

_START = struct.Struct("<8sHHI")
_MAGIC = b"DTFSNAP\n"
_VERSION = 1
_HEAD_BYTES_MAX = 2**20
_DIGEST_BYTES = 32
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot that was found sound.

    Parameters
    ----------
    digest
        The SHA-256 of the whole file, by which it travels to other nodes.
    size
        Of the whole file.
    """

    point: SnapshotPoint
    path: str
    size: int
    digest: bytes
    state_at: int


def head_of(point: SnapshotPoint, cluster: str) -> bytes:
    """How the file begins; the state comes after it."""
    head: bytes = msgpack.packb((cluster, plain_point(point)))
    return _START.pack(_MAGIC, _VERSION, 0, len(head)) + head


def content(head: bytes, state: Iterable[bytes]) -> Iterator[bytes]:
    """All of the file, in chunks."""
    checked = hashlib.sha256(head)
    yield head
    for chunk in state:
        checked.update(chunk)
        yield chunk
    yield checked.digest()


def checked_snapshot(path: str, cluster: str, files: Files = DISK) -> StoredSnapshot:
    """Read all of a file, and say what it is.

    Raises
    ------
    LedgerDamagedError
        It is not whole, or of another cluster.
    LedgerFolderError
        It is of a format that this version does not know.
    LedgerDiskError
        It cannot be read.
    """
    size = _size(files, path)
    start = _read(files, path, 0, _START.size)
    try:
        magic, version, _, head_bytes = _START.unpack(start)
    except struct.error:
        raise LedgerDamagedError(f"{path} is too short for a snapshot") from None
    if magic != _MAGIC:
        raise LedgerDamagedError(f"{path} does not start as a snapshot")
    if version != _VERSION:
        raise LedgerFolderError(
            f"{path} has format {version}; this version of dtf knows {_VERSION}"
        )
    state_at = _START.size + head_bytes
    if head_bytes > _HEAD_BYTES_MAX or state_at + _DIGEST_BYTES > size:
        raise LedgerDamagedError(f"{path} is too short for a snapshot")
    checked, whole = hashlib.sha256(), hashlib.sha256()
    for chunk in _chunks(files, path, 0, size - _DIGEST_BYTES):
        checked.update(chunk)
        whole.update(chunk)
    digest = _read(files, path, size - _DIGEST_BYTES, _DIGEST_BYTES)
    whole.update(digest)
    if digest != checked.digest():
        raise LedgerDamagedError(f"{path} does not check: a byte of it changed")
    head = _read(files, path, _START.size, head_bytes)
    point = _point(path, head, cluster)
    return StoredSnapshot(point, path, size, whole.digest(), state_at)


def state_of(snapshot: StoredSnapshot, files: Files = DISK) -> Iterator[bytes]:
    """The state, in chunks. It was checked when it was found."""
    end = snapshot.size - _DIGEST_BYTES
    return _chunks(files, snapshot.path, snapshot.state_at, end)


def _chunks(files: Files, path: str, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        chunk = _read(files, path, at, min(_READ_BYTES, end - at))
        if not chunk:
            raise LedgerDamagedError(f"{path} was cut while it was read")
        at += len(chunk)
        yield chunk


def _point(path: str, head: bytes, cluster: str) -> SnapshotPoint:
    try:
        found, plain = msgpack.unpackb(head)
        point = decode_point(plain)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise LedgerDamagedError(f"{path} has a head of no sense") from error
    if found != cluster:
        raise LedgerDamagedError(f"{path} is of cluster {found!r}")
    return point


def _read(files: Files, path: str, offset: int, length: int) -> bytes:
    try:
        return files.read(path, offset, length)
    except OSError as error:
        raise LedgerDiskError(f"{path} cannot be read: {error}") from error


def _size(files: Files, path: str) -> int:
    try:
        return files.size(path)
    except OSError as error:
        raise LedgerDiskError(f"{path} cannot be read: {error}") from error
