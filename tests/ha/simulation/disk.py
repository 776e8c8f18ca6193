"""A simulated disk: what was written, what was synced, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from dtf_dask.ha.raft.messages import Entry, HardState, Snapshot
from dtf_dask.ha.raft.storage import MemoryStorage


class Write(NamedTuple):
    """One write: in this order, so that a torn one is a beginning of it."""

    snapshot: Snapshot | None
    entries: Sequence[Entry]
    hard_state: HardState | None
    compact_to: int = 0


class Disk:
    """Two storages: what the node reads, and what would be there after a crash.

    Attributes
    ----------
    visible, durable : MemoryStorage
        With and without the writes that were not synced.
    damaged : bool
        A checksum is wrong: the node refuses to start.
    """

    def __init__(self, first: Snapshot | None) -> None:
        self.visible = MemoryStorage()
        self.durable = MemoryStorage()
        self.unsynced: list[Write] = []
        self.damaged = False
        if first is not None:
            self.write(Write(first, (), HardState(commit=first.point.index)), True)

    def write(self, write: Write, sync: bool) -> None:
        """Write, and with ``sync`` everything up to here is there for good."""
        _carry_out(self.visible, write)
        self.unsynced.append(write)
        if sync:
            for one in self.unsynced:
                _carry_out(self.durable, one)
            self.unsynced.clear()

    def crash(self, under_way: Sequence[Write], rng: Random) -> None:
        """Of what was not synced a beginning is left, perhaps a torn one."""
        at_stake = [*self.unsynced, *under_way]
        kept = rng.randint(0, len(at_stake)) if at_stake else 0
        for one in at_stake[:kept]:
            _carry_out(self.durable, one)
        if kept < len(at_stake) and rng.random() < 0.5:
            torn = at_stake[kept]
            part = rng.randint(0, len(torn.entries))
            _carry_out(self.durable, Write(torn.snapshot, torn.entries[:part], None))
        self.unsynced.clear()
        self.visible = _copy(self.durable)

    def has_durably(self, index: int, term: int) -> bool:
        """Whether an entry, or a snapshot past it, would be there after a crash."""
        return index <= self.durable.start.index or self.durable.term(index) == term


def _carry_out(storage: MemoryStorage, write: Write) -> None:
    if write.snapshot is not None and not write.compact_to:
        storage.restore(write.snapshot)
    storage.append(write.entries)
    if write.hard_state is not None:
        storage.hard_state = write.hard_state
    if write.compact_to and write.snapshot is not None:
        # What a snapshot stands for is committed, whatever was written of that before.
        storage.keep_snapshot(write.snapshot)
        old = storage.hard_state
        commit = max(old.commit, write.snapshot.point.index)
        storage.hard_state = HardState(old.term, old.vote, commit)
        storage.compact(write.compact_to)


def _copy(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    snapshot = storage.snapshot()
    assert snapshot is not None
    copy.restore(snapshot)
    copy.start = storage.start
    last = storage.last_index()
    copy._entries = list(storage.entries(storage.first_index(), last + 1, 2**62) or ())
    copy.hard_state = storage.hard_state
    return copy
