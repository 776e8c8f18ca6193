"""What a log's folder holds: each segment read, checked, and replayed. Writes nothing.

Refused is what cannot be trusted: damage anywhere but in what a crash may have torn,
segments that are missing, a folder of another node, an unknown format.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from dtf_dask.errors import LedgerDamagedError, LedgerFolderError
from dtf_dask.ha.files import Files
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.wal_format import (
    BATCH,
    FORMAT_VERSION,
    PREAMBLE_BYTES,
    SEGMENT,
    Broken,
    Record,
    SegmentHead,
    decode_batch,
    decode_head,
    decode_preamble,
    durable_witness,
    read_record,
)
from dtf_dask.ha.wal_index import LogIndex

_NAME = re.compile(r"(\d{16})\.log")
TEMPORARY = ".tmp"
REMEDY = (
    "the node cannot be started with it: take the folder away and add the node again"
    " (the other nodes have what it had), or restore a backup"
)


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Whose log it is."""

    cluster: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a log that a crash had torn: never acknowledged, so cut off."""

    path: str
    offset: int
    bytes_cut: int
    reason: str


class Segment(NamedTuple):
    """A file of the log."""

    number: int
    seed: int
    size: int


@dataclass(slots=True)
class Replayed:
    """What a folder holds. ``chain`` is the checksum of the last record."""

    index: LogIndex = field(default_factory=LogIndex)
    segments: list[Segment] = field(default_factory=list)
    chain: int = 0
    cut: Cut | None = None


def segment_path(folder: str, number: int) -> str:
    """Where a segment is."""
    return os.path.join(folder, f"{number:016d}.log")


def segment_numbers(files: Files, folder: str) -> list[int]:
    """The segments in a folder, ascending."""
    found = (_NAME.fullmatch(name) for name in files.names(folder))
    return [int(match[1]) for match in found if match]


def replay(files: Files, folder: str, identity: LogIdentity) -> Replayed:
    """Read and check all of a log.

    Raises
    ------
    LedgerDamagedError
        Something is missing or does not check; the message has file and offset.
    LedgerFolderError
        The log is another node's, or of a format that this version does not know.
    """
    numbers = segment_numbers(files, folder)
    replayed = Replayed()
    for number in numbers:
        path = segment_path(folder, number)
        expected = replayed.segments[-1].number + 1 if replayed.segments else number
        if number != expected:
            missing = segment_path(folder, expected)
            raise LedgerDamagedError(f"{missing} is missing; {REMEDY}")
        data = files.read(path)
        last = number == numbers[-1]
        _Segment(path, data, replayed, identity, last=last).replay(number)
    index = replayed.index
    if index.first_index > index.point.index + 1:
        raise LedgerDamagedError(
            f"{folder} lacks the entries from {index.point.index + 1} to"
            f" {index.first_index - 1}, after its snapshot; {REMEDY}"
        )
    return replayed


class _Segment:
    """One file while it is replayed."""

    def __init__(
        self,
        path: str,
        data: bytes,
        replayed: Replayed,
        identity: LogIdentity,
        *,
        last: bool,
    ) -> None:
        self._path = path
        self._data = data
        self._replayed = replayed
        self._identity = identity
        self._last = last

    def replay(self, number: int) -> None:
        data, path, replayed = self._data, self._path, self._replayed
        try:
            version, seed = decode_preamble(data)
        except LedgerDamagedError as error:
            raise self._damaged(0, str(error)) from None
        if version != FORMAT_VERSION:
            raise LedgerFolderError(
                f"{path} has format {version}; this version of dtf knows"
                f" {FORMAT_VERSION} only: start the node with the version that wrote it"
            )
        first = not replayed.segments
        chain = None if first else replayed.chain
        record = read_record(data, PREAMBLE_BYTES, seed=seed, chain=chain)
        # A segment gets its name after its head is on the disk.
        if isinstance(record, Broken) or record.kind != SEGMENT:
            raise self._damaged(PREAMBLE_BYTES, "the segment's head does not check")
        self._take_head(decode_head(record.body), number, first=first)
        self._take_batches(record, seed, number)

    def _take_batches(self, record: Record, seed: int, number: int) -> None:
        data, replayed = self._data, self._replayed
        offset, chain = record.end, record.crc
        pending: list[tuple[int, Record]] = []
        whole, whole_chain = offset, chain
        while offset < len(data):
            found = read_record(data, offset, seed=seed, chain=chain)
            if isinstance(found, Broken):
                self._check_torn(found, seed)
                self._cut(whole, found.reason)
                break
            if found.kind != BATCH:
                raise self._damaged(offset, "a record is of no known kind")
            if found.more or pending:
                pending.append((offset, found))
            else:
                self._apply(found, number, offset)
            offset, chain = found.end, found.crc
            if not found.more:
                for at, one in pending:
                    self._apply(one, number, at)
                pending.clear()
                whole, whole_chain = offset, chain
        else:
            if pending and not self._last:
                raise self._damaged(offset, "the end of an append is missing")
            if pending:
                self._cut(whole, "the end of an append is missing")
        replayed.chain = whole_chain
        replayed.segments.append(Segment(number, seed, whole))

    def _apply(self, record: Record, number: int, offset: int) -> None:
        try:
            self._replayed.index.apply(decode_batch(record.body), number, offset)
        except LedgerDamagedError as error:
            raise self._damaged(offset, str(error)) from None

    def _take_head(self, head: SegmentHead, number: int, *, first: bool) -> None:
        own, index = self._identity, self._replayed.index
        if (head.cluster, head.node) != (own.cluster, own.node):
            raise LedgerFolderError(
                f"{self._path} belongs to node {head.node} of cluster"
                f" {head.cluster!r}, not to node {own.node} of {own.cluster!r}"
            )
        if head.number != number:
            raise self._damaged(0, f"the file is segment {head.number}")
        if first:
            index.state, index.point = head.state, head.point
            index.next_index = head.next_index
        elif (head.state, head.point, head.next_index) != (
            *(index.state, index.point, index.next_index),
        ):
            raise self._damaged(0, "the segment does not follow the one before it")

    def _check_torn(self, broken: Broken, seed: int) -> None:
        if not self._last:
            raise self._damaged(broken.offset, broken.reason)
        # A sound record after it that knew it to be on the disk: no crash did that.
        if not broken.torn or durable_witness(self._data, broken.offset, seed=seed):
            raise self._damaged(broken.offset, broken.reason)

    def _cut(self, offset: int, reason: str) -> None:
        gone = len(self._data) - offset
        self._replayed.cut = Cut(self._path, offset, gone, reason)

    def _damaged(self, offset: int, reason: str) -> LedgerDamagedError:
        return LedgerDamagedError(f"{self._path}, byte {offset}: {reason}; {REMEDY}")
