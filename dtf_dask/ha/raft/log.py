"""A node's log: what is on disk and what is not yet, and how far it is applied. Pure.

Invariant: ``applied <= applying <= commit <= last_index``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dtf_dask.ha.raft.messages import Entry, EntryKind, Snapshot
from dtf_dask.ha.raft.storage import (
    Storage,
    entries_bytes,
    high_within,
    limited,
    payload_bytes,
)
from dtf_dask.ha.raft.unstable import Unstable

SCAN_BYTES = 1024 * 1024
"""So much of the log is looked through at a time."""


class Log:
    """All entries of a node, as one.

    Parameters
    ----------
    storage
        What is on disk.
    apply_bytes_max
        Of committed entries that are handed out and not applied yet.
    """

    __slots__ = (
        *("_page", "applied", "applying", "applying_bytes", "applying_paused"),
        *("apply_bytes_max", "commit", "storage", "unstable"),
    )

    def __init__(self, storage: Storage, apply_bytes_max: int) -> None:
        self.storage = storage
        self.unstable = Unstable(storage.last_index() + 1)
        self.apply_bytes_max = apply_bytes_max
        # What a snapshot stands for is committed and applied.
        self.commit = self.applying = self.applied = storage.first_index() - 1
        self.applying_bytes = 0
        self.applying_paused = False
        # The last page that was read: peers that are equally far get the same list.
        self._page: tuple[int, Sequence[Entry], int] | None = None

    # What is there

    def first_index(self) -> int:
        """Of the oldest entry that is held."""
        snapshot = self.unstable.snapshot
        if snapshot is not None:
            return snapshot.point.index + 1
        return self.storage.first_index()

    def last_index(self) -> int:
        """Of the newest entry."""
        unstable = self.unstable
        return unstable.offset + len(unstable.entries) - 1

    def last_term(self) -> int:
        """Of the newest entry."""
        return self.term(self.last_index()) or 0

    def term(self, index: int) -> int | None:
        """Of an entry, or of the one before the first; None if it is not known."""
        unstable = self.unstable
        position = index - unstable.offset
        if position >= 0:
            entries = unstable.entries
            return entries[position].term if position < len(entries) else None
        snapshot = unstable.snapshot
        if snapshot is not None and index <= snapshot.point.index:
            point = snapshot.point
            return point.term if index == point.index else None
        return self.storage.term(index)

    def slice(self, low: int, high: int, bytes_max: int) -> Sequence[Entry] | None:
        """From ``low`` to before ``high``, within the limit; None if compacted."""
        if low >= high:
            return ()
        unstable = self.unstable
        offset = unstable.offset
        if low >= offset:
            high = high_within(low, high, bytes_max)
            return limited(unstable.entries[low - offset : high - offset], bytes_max)
        stored_high = min(high, offset)
        stored = self.storage.entries(low, stored_high, bytes_max)
        if stored is None or high <= offset or len(stored) < stored_high - low:
            return stored
        room = bytes_max - entries_bytes(stored)
        high = high_within(offset, high, max(room, 0))
        rest = limited(unstable.entries[: high - offset], room)
        if entries_bytes(rest) > room:
            return stored
        return [*stored, *rest]

    def page(self, low: int, bytes_max: int) -> tuple[Sequence[Entry], int] | None:
        """Entries from ``low`` on for one message, with the bytes of their payloads."""
        page = self._page
        if page is None or page[0] != low:
            entries = self.slice(low, self.last_index() + 1, bytes_max)
            if entries is None:
                return None
            page = self._page = (low, entries, payload_bytes(entries))
        return page[1], page[2]

    def snapshot(self) -> Snapshot | None:
        """The newest; None if it is not to be had for the moment."""
        return self.unstable.snapshot or self.storage.snapshot()

    def has_config_change(self, low: int, high: int) -> bool:
        """Whether an entry from ``low`` to before ``high`` changes the members."""
        while low < high:
            entries = self.slice(low, high, SCAN_BYTES)
            if not entries:
                return True  # what cannot be read may be one
            if any(entry.kind != EntryKind.NORMAL for entry in entries):
                return True
            low += len(entries)
        return False

    # What comes in

    def append(self, entries: Sequence[Entry]) -> None:
        """Take up entries; what there is from the first of them on is replaced."""
        self._page = None
        self.unstable.append(entries)

    def at_least(self, index: int, term: int) -> bool:
        """Whether a log that ends there is up to date with this one (Raft §5.4.1)."""
        last_term = self.last_term()
        return term > last_term or (term == last_term and index >= self.last_index())

    def conflict(self, entries: Sequence[Entry]) -> int | None:
        """The first index at which these are not what is here; None if all are here."""
        first_new = self.last_index() + 1
        for entry in entries:
            index = entry.index
            if index >= first_new or self.term(index) != entry.term:
                return index
        return None

    def agreement_before(self, index: int, term: int) -> tuple[int, int]:
        """The last entry up to ``index`` of at most ``term``, as index and term.

        A log of which the entry at ``index`` has ``term`` agrees with this one nowhere
        between: whole terms are skipped at once. The term is 0 if it is not known.
        """
        while index > 0:
            here = self.term(index)
            if here is None:
                return index, 0
            if here <= term:
                return index, here
            index -= 1
        return 0, 0

    def restore(self, snapshot: Snapshot) -> None:
        """Hold this snapshot and nothing else."""
        self._page = None
        self.commit = snapshot.point.index
        self.unstable.restore(snapshot)

    # What is committed and applied

    def waits_for_snapshot(self) -> bool:
        """Whether a snapshot is to be applied before anything else."""
        return self.unstable.snapshot is not None

    def appliable_index(self, *, unstable: bool) -> int:
        """Up to here entries may be applied; ``unstable``: though not on disk yet."""
        return self.commit if unstable else min(self.commit, self.unstable.offset - 1)

    def has_committed(self, *, unstable: bool) -> bool:
        """Whether `next_committed` has any."""
        return (
            not self.applying_paused
            and self.unstable.snapshot is None
            and self.applying < self.appliable_index(unstable=unstable)
        )

    def next_committed(self, *, unstable: bool) -> Sequence[Entry]:
        """Entries to apply next, within the limit."""
        if not self.has_committed(unstable=unstable):
            return ()
        high = self.appliable_index(unstable=unstable) + 1
        room = self.apply_bytes_max - self.applying_bytes
        return self.slice(self.applying + 1, high, room) or ()

    def accept_applying(self, entries: Sequence[Entry], *, unstable: bool) -> None:
        """These were handed out."""
        index = entries[-1].index
        self.applying = index
        self.applying_bytes += entries_bytes(entries)
        # If the limit cut them short, the next would cross it: wait for some progress.
        self.applying_paused = (
            self.applying_bytes >= self.apply_bytes_max
            or index < self.appliable_index(unstable=unstable)
        )

    def applied_to(self, index: int, size: int) -> None:
        """Everything up to ``index`` is applied, ``size`` bytes of it just now."""
        self.applied = max(self.applied, index)
        self.applying = max(self.applying, index)
        self.applying_bytes = max(self.applying_bytes - size, 0)
        self.applying_paused = self.applying_bytes >= self.apply_bytes_max
