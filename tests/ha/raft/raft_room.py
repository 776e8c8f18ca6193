"""A few nodes with storages in memory, and what they have applied."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from random import Random
from typing import Any

from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NodeId,
    Role,
    Snapshot,
    SnapshotPoint,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.raft.storage import MemoryStorage


def messages_to(messages: Iterable[Message], to: NodeId) -> list[Message]:
    return [message for message in messages if message.to == to]


def started(node: NodeId, config: ConfigState, *, rng: Random) -> RawNode:
    """A node of a group that has just begun."""
    storage = MemoryStorage()
    storage.restore(Snapshot(SnapshotPoint(1, 1, config)))
    return RawNode(RaftOptions(node), storage, rng)


class Room:
    """Nodes, by id, with all that is around them."""

    def __init__(
        self,
        nodes: dict[NodeId, RawNode],
        storages: dict[NodeId, MemoryStorage],
        options: dict[str, Any] | None = None,
    ) -> None:
        self.nodes = nodes
        self.storages = storages
        self.options = options or {}
        self.applied: dict[NodeId, list[Entry]] = {node: [] for node in nodes}
        self.refused: list[Unchanged] = []

    def elect(self, node: NodeId) -> None:
        """Let it lead, and all be well."""
        self.nodes[node].campaign()
        self.settle(*self.nodes)
        assert self.nodes[node].status().role is Role.LEADER

    def restart(self, node: NodeId, applied: int = 0) -> RawNode:
        """The node anew, from what its storage holds."""
        options = RaftOptions(node, applied=applied, **self.options)
        self.nodes[node] = RawNode(options, self.storages[node], Random(node))
        return self.nodes[node]

    def keep_snapshot(self, node: NodeId, index: int) -> None:
        storage = self.storages[node]
        config = self.nodes[node].status().config
        point = SnapshotPoint(index, storage.term(index) or 0, config)
        storage.keep_snapshot(Snapshot(point))

    def settle(
        self, *among: NodeId, quiet: Collection[MessageKind] = frozenset()
    ) -> None:
        """Carry out what is ready, and deliver among some, until nothing is left."""
        while any(self.nodes[node].has_ready() for node in among):
            for node in among:
                if self.nodes[node].has_ready():
                    for message in self.carried_out(node):
                        if message.to in among and message.kind not in quiet:
                            self.nodes[message.to].step(message)

    def carried_out(self, node: NodeId) -> list[Message]:
        """What a node wants to send when all else that is ready is done."""
        raw = self.nodes[node]
        ready = raw.ready()
        if not self.options.get("async_storage"):
            self._write(node, ready.hard_state, ready.entries, ready.snapshot)
            self._apply(node, ready.committed)
            raw.advance()
            return list(ready.messages)
        out: list[Message] = []
        for message in ready.messages:
            if message.to == APPEND_THREAD:
                hard = HardState(message.term, message.vote, message.commit)
                self._write(
                    node,
                    hard if message.term else None,
                    message.entries,
                    message.snapshot,
                )
            elif message.to == APPLY_THREAD:
                self._apply(node, message.entries)
            else:
                out.append(message)
                continue
            for response in message.responses:
                if response.to == node:
                    raw.step(response)
                else:
                    out.append(response)
        return out

    def _write(
        self,
        node: NodeId,
        hard_state: HardState | None,
        entries: Iterable[Entry],
        snapshot: Snapshot | None,
    ) -> None:
        storage = self.storages[node]
        if snapshot is not None:
            storage.restore(snapshot)
        storage.append(list(entries))
        if hard_state is not None:
            storage.hard_state = hard_state

    def _apply(self, node: NodeId, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.applied[node].append(entry)
            if entry.kind != EntryKind.NORMAL:
                changed = self.nodes[node].apply_change(entry)
                if isinstance(changed, Unchanged):
                    self.refused.append(changed)


def group_of(count: int, **options: Any) -> Room:
    """That many voters, which have just begun."""
    ids = tuple(NodeId(n) for n in range(1, count + 1))
    config = ConfigState(voters=ids)
    storages = {node: MemoryStorage() for node in ids}
    for storage in storages.values():
        storage.restore(Snapshot(SnapshotPoint(1, 1, config)))
    nodes = {
        node: RawNode(RaftOptions(node, **options), storages[node], Random(node))
        for node in ids
    }
    return Room(nodes, storages, options)
