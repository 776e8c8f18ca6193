"""What a log must hold after any sequence of steps, and a way of making them up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from dtf_dask.ha.raft.messages import (
    ConfigState,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    SnapshotPoint,
)
from dtf_dask.ha.wal import Wal

CONFIG = ConfigState((NodeId(1), NodeId(2)), (NodeId(3),))


@dataclass(frozen=True)
class LogModel:
    """The entries after the snapshot are all there; older ones may be."""

    state: HardState = field(default_factory=HardState)
    point: SnapshotPoint = field(default_factory=SnapshotPoint)
    entries: tuple[Entry, ...] = ()  # those after the snapshot

    @property
    def last(self) -> int:
        return self.point.index + len(self.entries)

    def term_at(self, index: int) -> int:
        if index == self.point.index:
            return self.point.term
        return self.entries[index - self.point.index - 1].term


def step(model: LogModel, random: Random) -> tuple[LogModel, dict[str, object]]:
    """A step that Raft could take, and what `Wal.append` is given for it."""
    kind = random.choice(("append", "append", "append", "vote", "snapshot", "install"))
    commit = max(model.state.commit, model.point.index)
    if kind == "append":
        term = model.state.term + random.choice((0, 0, 1))
        first = model.last + 1
        if random.random() < 0.2:
            first = random.randint(commit + 1, model.last + 1)
        entries = _entries(first, term, random)
        kept = model.entries[: first - model.point.index - 1]
        last = entries[-1].index
        state = HardState(term, NodeId(1), random.randint(model.state.commit, last))
        if first > last or random.random() < 0.3:
            state = model.state._replace(term=term)
        new = replace(model, state=state, entries=(*kept, *entries))
        return new, {"entries": entries, "state": state}
    if kind == "vote":
        state = HardState(model.state.term + 1, NodeId(2), model.state.commit)
        return replace(model, state=state), {"entries": [], "state": state}
    if kind == "snapshot":
        index = random.randint(model.point.index, commit)
        point = SnapshotPoint(index, model.term_at(index), CONFIG)
        rest = model.entries[index - model.point.index :]
        return (
            replace(model, point=point, entries=rest),
            {"entries": [], "point": point},
        )
    index, term = model.last + random.randint(1, 50), model.state.term + 1
    point = SnapshotPoint(index, term, CONFIG)
    entries = _entries(index + 1, term, random) if random.random() < 0.5 else []
    state = HardState(term, NodeId(0), index)
    return (
        LogModel(state, point, tuple(entries)),
        {"entries": entries, "state": state, "point": point},
    )


def _entries(first: int, term: int, random: Random) -> list[Entry]:
    most = random.choice((1, 3, 30))
    return [
        Entry(term, index, EntryKind(random.choice((0, 0, 0, 1, 2))), _payload(random))
        for index in range(first, first + random.randint(1, most))
    ]


def _payload(random: Random) -> bytes:
    size = random.choice((0, 1, 20, 200, 700, 3000))
    if random.random() < 0.2:
        return bytes(size)  # nothing but zeros: as a sector looks that was lost
    return random.randbytes(size)


def held(wal: Wal) -> LogModel:
    """What a log says that it holds, all of it read."""
    first, end = wal.point.index + 1, wal.last_index + 1
    entries: list[Entry] = []
    while first < end:
        entries += wal.entries(first, end, 10_000)
        first = entries[-1].index + 1
    return LogModel(wal.state, wal.point, tuple(entries))
