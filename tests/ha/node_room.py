"""Nodes of a ledger in one process, with real logs and a network made of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.files import DISK, Files
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_folder import create_node, node_exists, open_node
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.raft.messages import Message, NodeId, Role
from dtf_dask.ha.wal_opening import LogIdentity

QUICK = NodeOptions(tick_s=0.02, snapshot_log_bytes=10**9)


class Wires:
    """Between all nodes of a room; ``cut`` holds pairs that do not hear each other."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.cut: set[frozenset[NodeId]] = set()

    def connected(self, one: NodeId, other: NodeId) -> bool:
        """Whether messages get through."""
        return other in self.nodes and frozenset((one, other)) not in self.cut


class Wire:
    """One node's end."""

    def __init__(self, node: NodeId, wires: Wires, incoming: Path) -> None:
        self._node = node
        self._incoming = incoming
        self._wires = wires

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver in the next turn."""
        loop = asyncio.get_running_loop()
        for message in messages:
            if self._wires.connected(self._node, message.to):
                loop.call_soon(self._deliver, message)

    def _deliver(self, message: Message) -> None:
        if self._wires.connected(self._node, message.to):
            self._wires.nodes[message.to].receive([message])

    def set_peers(self, addresses: Mapping[NodeId, Address]) -> None:
        """All are known."""

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Copy the file, if the other one has it and is heard."""
        await asyncio.sleep(0)
        (peer,) = sources
        if not self._wires.connected(self._node, peer):
            raise PeerUnavailableError("cut")
        other = self._wires.nodes[peer]
        content = other.folder.snapshots.read(digest, 0, size)
        if content is None:
            raise PeerUnavailableError("no such snapshot")
        path = self._incoming / digest.hex()
        path.write_bytes(content)
        return str(path)

    def forget(self, digest: bytes) -> None:
        """What was fetched has been moved."""

    async def close(self) -> None:
        """Nothing is open."""


class Room:
    """A cluster of nodes whose folders are below one."""

    def __init__(self, folder: Path, options: NodeOptions = QUICK) -> None:
        self.folder = folder
        self.options = options
        self.wires = Wires()
        self.failures: dict[NodeId, str] = {}

    async def start(
        self, node: int, voters: Sequence[int], files: Files = DISK
    ) -> NodeLedger:
        """Start a node, which is made if it is new."""
        own = NodeId(node)
        folder = str(self.folder / str(node))
        identity = LogIdentity("room", own)
        if not node_exists(folder):
            create_node(folder, identity, [NodeId(one) for one in voters])
        made = Node(
            own,
            open_node(folder, identity, files=files),
            Wire(own, self.wires, Path(folder)),
            self.options,
            Random(node),
            lambda reason: self.failures.setdefault(own, reason),
        )
        self.wires.nodes[own] = made
        await made.start()
        return NodeLedger(made)

    async def stop(self, node: int) -> None:
        """End a node; the others hear nothing more of it, and that it is gone."""
        gone = self.wires.nodes.pop(NodeId(node))
        await gone.close()
        for other in self.wires.nodes.values():
            other.peer_lost(NodeId(node))

    async def leader(self) -> NodeLedger:
        """The node that leads, and that the others follow, as soon as there is one."""
        while True:
            for node in self.wires.nodes.values():
                core = node.raw.core
                if core.role is Role.LEADER and core.committed_in_term():
                    return NodeLedger(node)
            await asyncio.sleep(0.005)

    async def applied(self, index: int, *nodes: int) -> None:
        """Wait until nodes have applied an entry."""
        for node in nodes:
            found = self.wires.nodes[NodeId(node)]
            while found.state.index < index:
                await found.change()

    async def close(self) -> None:
        """End all."""
        for node in [*self.wires.nodes]:
            await self.wires.nodes.pop(node).close()
