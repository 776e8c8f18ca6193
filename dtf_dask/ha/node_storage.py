"""What Raft reads of its node's log: the newest entries from memory, older from disk.

The log is written by another thread (`disk`), so it is only read under its lock. Reads
of the disk are rare: for a peer that lags, and after a start.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from dtf_dask.ha.raft.messages import (
    ConfigState,
    Entry,
    HardState,
    Snapshot,
    SnapshotPoint,
)
from dtf_dask.ha.raft.storage import MemoryStorage, entries_bytes
from dtf_dask.ha.wal import Wal

HOT_BYTES_MAX = 8 * 2**20
"""Of the entries that are kept in memory too."""

_PAGE_BYTES = 256 * 2**10


class NodeStorage:
    """The log and the newest snapshot of a node.

    Parameters
    ----------
    wal, lock
        The log, and what to hold while it is read or written.
    snapshot
        The newest, with the configuration from which the node goes on.
    hot_bytes_max
        How much of the log's end is kept in memory.
    """

    def __init__(
        self,
        wal: Wal,
        lock: Lock,
        snapshot: Snapshot,
        hot_bytes_max: int = HOT_BYTES_MAX,
    ) -> None:
        self._wal = wal
        self._lock = lock
        self._snapshot = snapshot
        self._started_from = snapshot.point.config
        self._hot_bytes_max = hot_bytes_max
        self._hot = MemoryStorage()
        self._hot_bytes = 0
        # The last entries read from the disk: terms are asked for one by one.
        self._page: Sequence[Entry] = ()
        self._first_index = wal.first_index
        last = wal.last_index
        last_term = wal.term(last) if last >= max(wal.first_index, 1) else None
        if last_term is None:
            last_term = wal.point.term
        self._hot.start = SnapshotPoint(last, last_term)

    def initial_state(self) -> tuple[HardState, ConfigState]:
        """What the log ends with, and the configuration of the snapshot."""
        return self._wal.state, self._started_from

    def first_index(self) -> int:
        """Of the oldest entry that is held."""
        return self._first_index

    def last_index(self) -> int:
        """Of the newest entry that is on the disk."""
        return self._hot.last_index()

    def term(self, index: int) -> int | None:
        """Of an entry; None if it is not held."""
        term = self._hot.term(index)
        if term is not None:
            return term
        if index == self._snapshot.point.index:
            return self._snapshot.point.term
        if not self._first_index <= index <= self._hot.start.index:
            return None
        page = self._page
        if not page or not page[0].index <= index <= page[-1].index:
            # Who looks for where two logs part goes backwards.
            low = max(self._first_index, index - 1_000)
            page = self._read(low, index + 1, _PAGE_BYTES) or ()
            if not page or page[-1].index < index:
                page = self._read(index, index + 1, _PAGE_BYTES) or ()
            self._page = page
            if not page:
                return None
        return page[index - page[0].index].term

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry] | None:
        """From ``low`` to before ``high``, or fewer; None if they are compacted."""
        hot_from = self._hot.start.index + 1
        if low >= hot_from:
            return self._hot.entries(low, high, bytes_max)
        if low < self._first_index:
            return None
        return self._read(low, min(high, hot_from), bytes_max)

    def snapshot(self) -> Snapshot | None:
        """The newest."""
        return self._snapshot

    # What the node tells it

    def stored(self, entries: Sequence[Entry]) -> None:
        """These are on the disk now; what was there from the first of them on is not.

        They are in the log already: this is what Raft may read from now on.
        """
        if not entries:
            return
        hot, first = self._hot, entries[0].index
        if self._page and first <= self._page[-1].index:
            self._page = ()
        if first <= hot.start.index:
            # What is replaced is older than what is kept in memory.
            before = self.term(first - 1) if first > self._first_index else None
            if before is None:
                before = self._snapshot.point.term
            self._hot = hot = MemoryStorage()
            hot.start = SnapshotPoint(first - 1, before)
            self._hot_bytes = 0
        replaces = first <= hot.last_index()
        hot.append(entries)
        if replaces:
            everything = hot.entries(hot.first_index(), hot.last_index() + 1, 2**62)
            self._hot_bytes = entries_bytes(everything or ())
        else:
            self._hot_bytes += entries_bytes(entries)
        if self._hot_bytes > self._hot_bytes_max:
            self._cool()

    def restored(self, snapshot: Snapshot) -> None:
        """A snapshot of another node is on the disk, and the log begins after it."""
        # The log is as it was, or begins anew: as `Wal.append` decides.
        holds = self.term(snapshot.point.index) == snapshot.point.term
        self._snapshot = snapshot
        self._page = ()
        if not holds:
            self._hot = MemoryStorage()
            self._hot.start = snapshot.point
            self._hot_bytes = 0
            self._first_index = snapshot.point.index + 1

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """This node has made a snapshot."""
        self._snapshot = snapshot

    def compacted(self, first_index: int) -> None:
        """The log has been cut: this is its first entry."""
        self._first_index = first_index
        self._page = ()
        if first_index - 1 > self._hot.start.index:
            self._hot.compact(first_index - 1)
            kept = self._hot.entries(first_index, self._hot.last_index() + 1, 2**62)
            self._hot_bytes = entries_bytes(kept or ())

    def _cool(self) -> None:
        """Forget the older half of what is kept in memory."""
        hot = self._hot
        last = hot.last_index()
        oldest = hot.entries(hot.first_index(), last + 1, self._hot_bytes // 2) or ()
        hot.compact(min(hot.start.index + len(oldest), last - 1))
        self._hot_bytes -= entries_bytes(oldest)

    def _read(self, low: int, high: int, bytes_max: int) -> Sequence[Entry] | None:
        with self._lock:
            if low < self._wal.first_index:
                return None  # compacted just now: this node has yet to hear of it
            return self._wal.entries(low, high, bytes_max)
