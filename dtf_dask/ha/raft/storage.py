"""Where a node reads what it has written: the Protocol, and one in memory. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dtf_dask.ha.raft.messages import (
    ConfigState,
    Entry,
    HardState,
    Snapshot,
    SnapshotPoint,
)

ENTRY_BYTES = 24
"""What an entry counts for in limits of bytes, beside its payload."""


class Storage(Protocol):
    """What a node has on disk; the core reads it, the shell writes it."""

    def initial_state(self) -> tuple[HardState, ConfigState]:
        """The hard state, and the configuration at the applied index, at start."""

    def first_index(self) -> int:
        """Of the oldest entry that is held, or of the next one if there is none."""

    def last_index(self) -> int:
        """Of the newest entry, or of the snapshot if there is none."""

    def term(self, index: int) -> int | None:
        """Of the entry, or of the one before the first; None if not known."""

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry] | None:
        """From ``low`` to before ``high``, see `limited`; None if they are compacted.

        The result belongs to the caller: it does not change when the storage does.
        """

    def snapshot(self) -> Snapshot | None:
        """The newest; None if it is not to be had for the moment."""


def entries_bytes(entries: Sequence[Entry]) -> int:
    """What entries count for in limits of bytes."""
    return sum([len(entry[3]) for entry in entries]) + ENTRY_BYTES * len(entries)


def payload_bytes(entries: Sequence[Entry]) -> int:
    """Bytes of the payloads alone."""
    return sum([len(entry[3]) for entry in entries])


def limited(entries: Sequence[Entry], bytes_max: int) -> Sequence[Entry]:
    """The first of ``entries`` that count for ``bytes_max`` together; at least one."""
    if entries_bytes(entries) <= bytes_max:
        return entries
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.payload) + ENTRY_BYTES
        if size > bytes_max:
            return entries[: max(count, 1)]
    return entries


def high_within(low: int, high: int, bytes_max: int) -> int:
    """``high``, or less where more could not fit: so that no long list is made."""
    return min(high, low + bytes_max // ENTRY_BYTES + 1)


class MemoryStorage:
    """A storage in memory: for tests, and the part of a log on disk that is kept hot.

    Attributes
    ----------
    start
        The place before the first entry: what was compacted, or the snapshot.
    """

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.start = SnapshotPoint()
        self._snapshot = Snapshot()
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfigState]:
        """The hard state, and the configuration of the snapshot."""
        return self.hard_state, self._snapshot.point.config

    def first_index(self) -> int:
        """Of the oldest entry that is held."""
        return self.start.index + 1

    def last_index(self) -> int:
        """Of the newest entry."""
        return self.start.index + len(self._entries)

    def term(self, index: int) -> int | None:
        """Of the entry, or of the one before the first."""
        position = index - self.start.index - 1
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        return self.start.term if position == -1 else None

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry] | None:
        """From ``low`` to before ``high``, within the limit."""
        offset = self.start.index + 1
        if low < offset or high > offset + len(self._entries):
            return None
        high = high_within(low, high, bytes_max)
        return limited(self._entries[low - offset : high - offset], bytes_max)

    def snapshot(self) -> Snapshot | None:
        """The newest."""
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; what was there from the first of them on is gone.

        Raises
        ------
        ValueError
            If there would be a gap.
        """
        if not entries:
            return
        position = entries[0].index - self.start.index - 1
        if position < 0:
            entries = entries[-position:]
            position = 0
            if not entries:
                return
        if position > len(self._entries):
            raise ValueError(f"no entries before {entries[0].index}")
        self._entries[position:] = entries

    def restore(self, snapshot: Snapshot) -> bool:
        """Hold this snapshot and nothing else; False if a newer one is held."""
        if snapshot.point.index <= self._snapshot.point.index:
            return False
        self._snapshot = snapshot
        self.start = snapshot.point
        self._entries = []
        return True

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Hold a snapshot that this node made; the entries stay."""
        if snapshot.point.index > self._snapshot.point.index:
            self._snapshot = snapshot

    def compact(self, index: int) -> None:
        """Drop entries up to ``index``.

        Raises
        ------
        ValueError
            If that is past the last.
        """
        if index > self.last_index():
            raise ValueError(f"nothing is held at {index}")
        term = self.term(index)
        if index <= self.start.index or term is None:
            return
        del self._entries[: index - self.start.index]
        self.start = SnapshotPoint(index, term)
