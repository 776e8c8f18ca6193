"""The log of a node on its disk: entries, hard state, where its snapshots stand.

A folder of segments (`wal_format` says what is in them). One append is one write;
`sync` puts on the disk all that was appended before it, so that whoever calls gathers
what comes in meanwhile (group commit). One process uses a log, and one thread writes
it; another may read while that one syncs, but not while it appends or compacts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dtf_dask.errors import DiskFullError, LedgerDamagedError, LedgerFolderError
from dtf_dask.ha.files import DISK, Files, disk_error
from dtf_dask.ha.raft.messages import Entry, HardState, SnapshotPoint
from dtf_dask.ha.wal_format import (
    Batch,
    Record,
    batch_entries,
    encode_batch,
    read_record,
)
from dtf_dask.ha.wal_index import LogIndex
from dtf_dask.ha.wal_opening import (
    Cut,
    LogIdentity,
    Replayed,
    replay,
    segment_numbers,
    segment_path,
)
from dtf_dask.ha.wal_writer import SegmentWriter

_LOCK = "lock"
_READ_BYTES = 128 * 2**10


@dataclass(frozen=True, slots=True)
class WalLimits:
    """How large things get.

    Parameters
    ----------
    segment_bytes
        A segment that has reached it is followed by another.
    entry_bytes_max
        Payloads above it are refused: large ones go beside the log.
    part_bytes
        An append above it is put down as several records.
    """

    segment_bytes: int = 16 * 2**20
    entry_bytes_max: int = 4 * 2**20
    part_bytes: int = 8 * 2**20


class Wal:
    """A log that is open; see `Wal.create` and `Wal.open`."""

    def __init__(
        self,
        folder: str,
        files: Files,
        limits: WalLimits,
        replayed: Replayed,
        writer: SegmentWriter,
        unlock: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._files = files
        self._limits = limits
        self._index: LogIndex = replayed.index
        self._writer = writer
        self._unlock: Callable[[], None] | None = unlock
        self.cut: Cut | None = replayed.cut
        """What was cut off when the log was opened."""

    @classmethod
    def create(
        cls,
        folder: str,
        identity: LogIdentity,
        limits: WalLimits | None = None,
        files: Files = DISK,
        *,
        start: LogIndex | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> Wal:
        """A new log without entries: whole after a crash, or not there at all.

        Parameters
        ----------
        start
            The state and the snapshot that it goes on from; by default nothing.
        prepare
            Called while the folder is locked, before there is a log in it: writes what
            ``start`` tells of.

        Raises
        ------
        LedgerFolderError
            The folder holds a log already, or is in use.
        """
        try:
            files.make_folder(folder)
            unlock = files.lock(os.path.join(folder, _LOCK))
        except OSError as error:
            raise disk_error(error, folder) from error
        try:
            if segment_numbers(files, folder):
                raise LedgerFolderError(f"{folder} holds a log already")
            replayed = Replayed(start or LogIndex())
            writer = SegmentWriter(folder, identity, files, replayed)
            writer.remove_temporary()
            prepare()
            writer.begin(1, replayed.index)
        except BaseException:
            unlock()
            raise
        return cls(folder, files, limits or WalLimits(), replayed, writer, unlock)

    @classmethod
    def open(
        cls,
        folder: str,
        identity: LogIdentity,
        limits: WalLimits | None = None,
        files: Files = DISK,
    ) -> Wal:
        """The log in a folder; what a crash had torn off its end is in `cut`.

        Raises
        ------
        LedgerDamagedError
            Something is missing or does not check.
        LedgerFolderError
            There is no log, it is another node's, in use, or of an unknown format.
        LedgerDiskError
            The disk cannot be read or written.
        """
        if not cls.exists(folder, files):
            raise LedgerFolderError(f"{folder} holds no log")
        try:
            unlock = files.lock(os.path.join(folder, _LOCK))
        except OSError as error:
            raise disk_error(error, folder) from error
        try:
            replayed = replay(files, folder, identity)
            writer = SegmentWriter(folder, identity, files, replayed)
            writer.remove_temporary()
            writer.resume(cut=replayed.cut is not None)
        except OSError as error:
            unlock()
            raise disk_error(error, folder) from error
        except BaseException:
            unlock()
            raise
        return cls(folder, files, limits or WalLimits(), replayed, writer, unlock)

    @staticmethod
    def exists(folder: str, files: Files = DISK) -> bool:
        """Whether a folder holds a log."""
        try:
            return bool(segment_numbers(files, folder))
        except FileNotFoundError:
            return False

    @property
    def state(self) -> HardState:
        """Term, vote and commit index as last appended."""
        return self._index.state

    @property
    def point(self) -> SnapshotPoint:
        """Where the last snapshot stands that was appended."""
        return self._index.point

    @property
    def first_index(self) -> int:
        """The first entry that can be read; `last_index` + 1 if there is none."""
        return self._index.first_index

    @property
    def last_index(self) -> int:
        """The last entry, or the snapshot's index if none follows it."""
        return self._index.next_index - 1

    @property
    def bytes_used(self) -> int:
        """What the segments take on the disk."""
        writer = self._writer
        return sum(segment.size for segment in writer.segments[:-1]) + writer.size

    @property
    def synced(self) -> bool:
        """Whether all that was appended is on the disk."""
        return self._writer.synced

    def append(
        self,
        entries: Sequence[Entry],
        state: HardState | None = None,
        point: SnapshotPoint | None = None,
    ) -> int:
        """Write entries, hard state and the place of a snapshot: all, or nothing.

        Entries may start at an index that the log has and that is not committed: the
        old ones from there on are gone. A snapshot whose entry the log lacks, or has
        of another term, voids the log: it starts anew after it.

        Returns
        -------
        int
            How many bytes were written. They are on the disk after `sync`.

        Raises
        ------
        DiskFullError
            There is no room; the log is as it was, and works again when there is.
        LedgerDiskError
            The disk failed, now or before.
        ValueError
            What was given cannot follow, or is over a limit.
        """
        self._writer.check_usable()
        if not entries and state is None and point is None:
            return 0
        resets = point is not None and not self._holds(point.index, point.term)
        first = entries[0].index if entries else 0
        whole = Batch(state, point, resets, first, len(entries))
        objection = self._index.objection(whole)
        if objection:
            raise ValueError(f"the log cannot take {objection}")
        batches, bodies = self._parts(entries, whole)
        if self._writer.size >= self._limits.segment_bytes:
            self._writer.roll(self._index)
        before = self._writer.size
        offsets = self._writer.write(bodies)
        for offset, batch in zip(offsets, batches, strict=True):
            self._index.apply(batch, self._writer.number, offset)
        return self._writer.size - before

    def sync(self) -> None:
        """Return when all that was appended is on the disk.

        Raises
        ------
        LedgerDiskError
            The disk failed, now or before: nobody knows what is there of that which
            was appended since the last sync.
        """
        self._writer.sync()

    def entries(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        """Entries from ``first`` up to before ``end``: one at least.

        As many as have ``bytes_max`` of payload together. `IndexError` if the log does
        not hold ``first`` or ``end`` - 1.
        """
        if not self.first_index <= first < end <= self._index.next_index:
            raise IndexError(
                f"no entries from {first} to {end - 1} in a log that holds"
                f" {self.first_index} to {self.last_index}"
            )
        found: list[Entry] = []
        size = 0
        for run in self._live(first, end):
            for at, entry in enumerate(run):
                size += len(entry.payload)
                if size > bytes_max and (found or at):
                    return found + run[:at]
            found += run
        return found

    def term(self, index: int) -> int:
        """The term of an entry, or of the snapshot's last one."""
        if index == self.point.index:
            return self.point.term
        return self.entries(index, index + 1, 0)[0].term

    def compact(self, index: int) -> int:
        """Delete segments that hold nothing above ``index``; how many bytes that freed.

        ``index`` is not above the last snapshot's, which is on the disk.
        """
        writer = self._writer
        writer.check_usable()
        if index > self.point.index:
            raise ValueError(f"entry {index} is in no snapshot")
        needed = self._index.oldest_needed(index, writer.number)
        worth_it = writer.size >= self._limits.segment_bytes // 4
        if needed == writer.number and self.last_index <= index and worth_it:
            # Where there is no room for another one, what can go goes all the same.
            with suppress(DiskFullError):
                writer.roll(self._index)
                needed = writer.number
        # What stands for the deleted ones has to be on the disk before they go.
        writer.sync()
        freed = writer.drop_before(needed)
        self._index.forget(needed)
        return freed

    def close(self) -> None:
        """Give the folder up. What was not synced may be lost."""
        self._writer.close()
        if self._unlock is not None:
            self._unlock()
            self._unlock = None

    def _holds(self, index: int, term: int) -> bool:
        if index == self.point.index:
            return self.point.term == term
        held = self._index.first_index <= index < self._index.next_index
        return held and self.term(index) == term

    def _parts(
        self, entries: Sequence[Entry], whole: Batch
    ) -> tuple[list[Batch], list[bytes]]:
        """One append as records: the snapshot in the first, the state in the last."""
        sizes = [len(entry.payload) for entry in entries]
        if sizes and max(sizes) > self._limits.entry_bytes_max:
            raise ValueError(
                f"an entry of {max(sizes)} bytes is over the limit of"
                f" {self._limits.entry_bytes_max}"
            )
        ends = [len(entries)]
        if sum(sizes) > self._limits.part_bytes:
            ends = _part_ends(sizes, self._limits.part_bytes)
        batches, bodies = [], []
        start = 0
        for end in ends:
            part = entries[start:end]
            state = whole.state if end == ends[-1] else None
            point, resets = (whole.point, whole.resets) if not start else (None, False)
            first = part[0].index if part else 0
            batches.append(Batch(state, point, resets, first, len(part)))
            bodies.append(encode_batch(part, state, point, resets=resets))
            start = end
        return batches, bodies

    def _live(self, first: int, end: int) -> Iterator[list[Entry]]:
        """The entries of a span, without those that were replaced."""
        while first < end:
            mark, reach = self._index.span(first)
            reach = min(reach, end)
            for run in self._stored(mark.segment, mark.offset):
                start = run[0].index if run else reach
                live = run[max(0, first - start) : max(0, reach - start)]
                if live:
                    first = live[-1].index + 1
                    yield live
                if first == reach:
                    break

    def _stored(self, number: int, offset: int) -> Iterator[list[Entry]]:
        """The entries of each record of a segment, from an offset on."""
        path = segment_path(self._folder, number)
        segments = self._writer.segments
        seed = segments[number - segments[0].number].seed
        length, base, at = _READ_BYTES, offset, 0
        chunk = self._files.read(path, base, length)
        while True:
            record = read_record(chunk, at, seed=seed, chain=None, base=base)
            if isinstance(record, Record):
                yield batch_entries(record.body)
                at = record.end
                continue
            if base + len(chunk) >= self._files.size(path):
                raise LedgerDamagedError(f"{path}, byte {base + at}: {record.reason}")
            # The chunk ends within the record: go on from there, and farther.
            length = length * 2 if at == 0 else length
            base, at = base + at, 0
            chunk = self._files.read(path, base, length)


def _part_ends(sizes: Sequence[int], part_bytes: int) -> list[int]:
    """Where to divide entries so that each part is within a size, if it can be."""
    ends, size = [], 0
    for at, one in enumerate(sizes):
        if size and size + one > part_bytes:
            ends.append(at)
            size = 0
        size += one
    return [*ends, len(sizes)]
