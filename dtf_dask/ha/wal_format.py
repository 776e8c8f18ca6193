"""Records of a node's log, to bytes and back, and what a broken record is. Pure.

A segment is a preamble, then records. A record is a header, a body, a trailer. Every
record names the checksum of the one before it (the chain), so that none can be missing,
repeated or moved; checksums of headers start from a random seed of the segment, so that
no payload can look like a record.

A record that does not check is either **torn** (a crash came while it was written) or
**damaged**. The two are told apart: what is torn ends with the file, or lacks a part of
one of the disk's sectors, which then reads as zeros. So no sound record may have such a
hole: header and trailer end with a mark, and a body with a run of zeros is deflated.
And each record says up to where the segment was known to be on the disk when it was
written: what lies before that point and does not check is never taken for torn.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
from google_crc32c import extend

from dtf_dask.errors import LedgerDamagedError
from dtf_dask.ha.entry_codec import decode_entries, encode_entries, entries_span
from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    ConfigState,
    Entry,
    HardState,
    NodeId,
    SnapshotPoint,
)

FORMAT_VERSION = 1
SECTOR_BYTES = 512
"""What a disk writes whole or not at all: the smallest that is in use."""
BODY_BYTES_MAX = 64 * 2**20

_MAGIC = b"DTFLOG\r\n"
_PREAMBLE = struct.Struct("<8sHHI")
PREAMBLE_BYTES = _PREAMBLE.size

_RECORD_MAGIC = b"\xd7\xf5"
_HEADER = struct.Struct("<2sBBIIQ")
_HEADER_END = struct.Struct("<IB")
_WHOLE_HEADER = struct.Struct(_HEADER.format + "IB")
_TRAILER = struct.Struct("<IB")
_MARK = 0xA7
HEADER_BYTES = _HEADER.size + _HEADER_END.size
TRAILER_BYTES = _TRAILER.size

_HOLE = bytes(SECTOR_BYTES - 4)  # a checksum of zeros may follow
_DEFLATED = 1
_MORE = 2

SEGMENT = 1
BATCH = 2

_STATE = struct.Struct("<QQQ")
_HAS_STATE = 1
_HAS_POINT = 2
_HAS_ENTRIES = 4
_RESETS = 8

_new = tuple.__new__
"""Of a named tuple, at a fraction of its price: logs have records by the million."""

_NO_SENSE = (ValueError, TypeError, struct.error, msgpack.UnpackException)


class Record(NamedTuple):
    """A record that checks, and where the next one starts."""

    kind: int
    body: bytes
    more: bool
    """Whether it means nothing without the next one."""
    crc: int
    end: int


class Broken(NamedTuple):
    """A record that does not check."""

    offset: int
    torn: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What a segment starts with: whose it is, and what held when it was begun."""

    cluster: str
    node: NodeId
    number: int
    next_index: int
    state: HardState
    point: SnapshotPoint


class Batch(NamedTuple):
    """What one append put down, without its entries; where in the body they start."""

    state: HardState | None
    point: SnapshotPoint | None
    resets: bool
    """Whether the log before it is void: it starts anew after ``point``."""
    first: int
    length: int
    """How many entries."""
    entries_at: int = 0


def encode_preamble(seed: int) -> bytes:
    """The first bytes of a segment."""
    return _PREAMBLE.pack(_MAGIC, FORMAT_VERSION, 0, seed)


def decode_preamble(data: bytes) -> tuple[int, int]:
    """Format version and seed of a segment; `LedgerDamagedError` if it is none."""
    if len(data) < PREAMBLE_BYTES:
        raise LedgerDamagedError("the file is shorter than the head of a segment")
    magic, version, _, seed = _PREAMBLE.unpack_from(data)
    if magic != _MAGIC:
        raise LedgerDamagedError("the file does not start as a segment of a log")
    return version, seed


def encode_record(
    kind: int, body: bytes, *, seed: int, chain: int, durable: int, more: bool = False
) -> tuple[bytes, int]:
    """A record and its checksum.

    Parameters
    ----------
    seed
        The segment's.
    chain
        The checksum of the record before it.
    durable
        How many bytes of the segment are known to be on the disk.
    more
        Whether the record means nothing without the next one.
    """
    flags = _MORE if more else 0
    if _HOLE in body:
        body = zlib.compress(body, 1)
        flags |= _DEFLATED
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a record of {len(body)} bytes is over {BODY_BYTES_MAX}")
    head = _HEADER.pack(_RECORD_MAGIC, kind, flags, len(body), chain, durable)
    head_crc = extend(seed, head)
    crc = extend(head_crc, body)
    record = b"".join(
        (head, _HEADER_END.pack(head_crc, _MARK), body, _TRAILER.pack(crc, _MARK))
    )
    return record, crc


def read_record(
    data: bytes, offset: int, *, seed: int, chain: int | None, base: int = 0
) -> Record | Broken:
    """The record at an offset of ``data``, checked.

    Parameters
    ----------
    data
        What was read of a segment.
    chain
        The checksum of the record before it; None if that is not known.
    base
        Where in the segment ``data`` starts: sectors count from there.
    """
    body_at = offset + HEADER_BYTES
    if body_at > len(data):
        return Broken(offset, True, "the file ends within a record's header")
    magic, kind, flags, length, before, _, head_crc, mark = _WHOLE_HEADER.unpack_from(
        data, offset
    )
    head = data[offset : offset + _HEADER.size]
    if magic != _RECORD_MAGIC or mark != _MARK or extend(seed, head) != head_crc:
        torn = mark == 0 or _has_hole(data, offset, body_at, base)
        return Broken(offset, torn, "a record's header does not check")
    if chain is not None and before != chain:
        return Broken(offset, False, "a record does not follow the one before it")
    if length > BODY_BYTES_MAX or kind not in (SEGMENT, BATCH) or flags > 3:
        return Broken(offset, False, "a record is of no known kind")
    trailer_at = body_at + length
    end = trailer_at + TRAILER_BYTES
    if end > len(data):
        return Broken(offset, True, "the file ends within a record")
    crc, mark = _TRAILER.unpack_from(data, trailer_at)
    body = data[body_at:trailer_at]
    if mark != _MARK or extend(head_crc, body) != crc:
        torn = mark == 0 or _has_hole(data, offset, end, base)
        return Broken(offset, torn, "a record does not check")
    if flags & _DEFLATED:
        body = _inflate(body)
    return _new(Record, (kind, body, flags & _MORE > 0, crc, end))


def durable_witness(data: bytes, offset: int, *, seed: int) -> bool:
    """Whether a later record knew the bytes after ``offset`` to be on the disk."""
    at = data.find(_RECORD_MAGIC, offset + 1)
    while 0 <= at <= len(data) - HEADER_BYTES:
        head = data[at : at + _HEADER.size]
        head_crc, mark = _HEADER_END.unpack_from(data, at + _HEADER.size)
        if mark == _MARK and extend(seed, head) == head_crc:
            durable = _HEADER.unpack(head)[-1]
            if durable > offset:
                return True
        at = data.find(_RECORD_MAGIC, at + 1)
    return False


def encode_head(head: SegmentHead) -> bytes:
    """The body of a segment's first record."""
    packed: bytes = msgpack.packb(
        (
            *(head.cluster, head.node, head.number, head.next_index),
            tuple(head.state),
            plain_point(head.point),
        )
    )
    return packed


def decode_head(body: bytes) -> SegmentHead:
    """What `encode_head` made; `LedgerDamagedError` for anything else."""
    try:
        cluster, node, number, next_index, state, point = msgpack.unpackb(body)
        return SegmentHead(
            cluster, node, number, next_index, HardState(*state), decode_point(point)
        )
    except _NO_SENSE as error:
        raise LedgerDamagedError(f"a segment's head makes no sense: {error}") from error


def encode_batch(
    entries: Sequence[Entry],
    state: HardState | None = None,
    point: SnapshotPoint | None = None,
    *,
    resets: bool = False,
) -> bytes:
    """The body of a record for one append. Entries follow each other by one.

    Examples
    --------
    >>> body = encode_batch([], HardState(2, NodeId(1), 6))
    >>> decode_batch(body)[:5]
    (HardState(term=2, vote=1, commit=6), None, False, 0, 0)
    """
    has = _RESETS if resets else 0
    parts: list[bytes] = [b""]
    if state is not None:
        has |= _HAS_STATE
        parts.append(_STATE.pack(*state))
    if point is not None:
        has |= _HAS_POINT
        packed: bytes = msgpack.packb(plain_point(point))
        parts += (len(packed).to_bytes(4, "little"), packed)
    if entries:
        has |= _HAS_ENTRIES
        parts.append(encode_entries(entries))
    parts[0] = bytes((has,))
    return b"".join(parts)


def decode_batch(body: bytes) -> Batch:
    """What an append put down, its entries left as they are."""
    try:
        has, at = body[0], 1
        state = point = None
        if has & _HAS_STATE:
            term, vote, commit = _STATE.unpack_from(body, at)
            state = _new(HardState, (term, vote, commit))
            at += _STATE.size
        if has & _HAS_POINT:
            end = at + 4 + int.from_bytes(body[at : at + 4], "little")
            point = decode_point(msgpack.unpackb(body[at + 4 : end]))
            at = end
        first, length = entries_span(body, at) if has & _HAS_ENTRIES else (0, 0)
        if has > 15 or (has & _RESETS and point is None) or first + length > NUMBER_MAX:
            raise ValueError("flags or indexes that no append has")
    except (*_NO_SENSE, IndexError) as error:
        raise LedgerDamagedError(f"a batch makes no sense: {error}") from error
    return _new(Batch, (state, point, has & _RESETS > 0, first, length, at))


def batch_entries(body: bytes) -> list[Entry]:
    """The entries of a batch."""
    batch = decode_batch(body)
    if not batch.length:
        return []
    try:
        return decode_entries(body, batch.entries_at)
    except ValueError as error:
        raise LedgerDamagedError(f"a batch makes no sense: {error}") from error


def decode_point(plain: Any) -> SnapshotPoint:
    """A snapshot's point out of plain values."""
    index, term, voters, learners, outgoing, learners_next, auto_leave = plain
    config = ConfigState(
        _nodes(voters), _nodes(learners), _nodes(outgoing), _nodes(learners_next),
        auto_leave,
    )  # fmt: skip
    return SnapshotPoint(index, term, config)


def _nodes(plain: Any) -> tuple[NodeId, ...]:
    return tuple(NodeId(node) for node in plain)


def plain_point(point: SnapshotPoint) -> tuple[object, ...]:
    """A snapshot's point as plain values, for msgpack."""
    config = point.config
    return (
        *(point.index, point.term, config.voters, config.learners),
        *(config.voters_outgoing, config.learners_next, config.auto_leave),
    )


def _has_hole(data: bytes, start: int, end: int, base: int) -> bool:
    """Whether the part of some sector within these bytes is all zeros."""
    at = start
    while at < end:
        sector_end = at + SECTOR_BYTES - (base + at) % SECTOR_BYTES
        if not any(data[at : min(sector_end, end)]):
            return True
        at = sector_end
    return False


def _inflate(body: bytes) -> bytes:
    """A deflated body, bounded."""
    try:
        inflater = zlib.decompressobj()
        plain = inflater.decompress(body, BODY_BYTES_MAX)
    except zlib.error as error:
        raise LedgerDamagedError(f"a record cannot be inflated: {error}") from error
    if not inflater.eof:
        raise LedgerDamagedError("a record inflates to more than its limit")
    return plain
