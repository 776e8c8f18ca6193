"""What a node has taken up but its disk does not hold yet. Pure.

Entries and at most one snapshot. Some of them are with the storage already ("in
progress"), which may answer late: it may have written entries that were replaced in the
meantime, and its answer then counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtf_dask.ha.raft.messages import Entry, Snapshot


class Unstable:
    """The end of the log that is not on disk.

    Attributes
    ----------
    offset
        The index of ``entries[0]``, or of the next entry; invariant: the one after the
        last on disk, or after the snapshot.
    in_progress
        Entries below this index are with the storage.
    """

    __slots__ = ("entries", "in_progress", "offset", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.in_progress = offset
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False

    def next_entries(self) -> list[Entry]:
        """Those that the storage does not have yet."""
        return self.entries[self.in_progress - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        """That which the storage does not have yet."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept(self) -> None:
        """The storage has everything now, and writes it."""
        self.in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stored(self, index: int, term: int) -> bool:
        """The storage has written up to this entry; False if it is another by now."""
        position = index - self.offset
        if not 0 <= position < len(self.entries):
            return False
        if self.entries[position].term != term:
            return False
        del self.entries[: position + 1]
        self.offset = index + 1
        self.in_progress = max(self.in_progress, self.offset)
        return True

    def snapshot_stored(self, index: int) -> None:
        """The storage has written the snapshot at ``index``."""
        if self.snapshot is not None and self.snapshot.point.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Hold this snapshot and nothing else."""
        self.offset = snapshot.point.index + 1
        self.in_progress = self.offset
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def append(self, entries: Sequence[Entry]) -> None:
        """Take up entries; what there is from the first of them on is replaced."""
        first = entries[0].index
        position = first - self.offset
        if position == len(self.entries):
            self.entries += entries
        elif position <= 0:
            self.entries = list(entries)
            self.offset = first
            self.in_progress = first
        else:
            self.entries[position:] = entries
            self.in_progress = min(self.in_progress, first)
