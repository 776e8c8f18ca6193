"""Nodes of a ledger in one process, with real logs and a network made of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from dtf_dask.errors import DtfError, PeerUnavailableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.files import DISK, Files, write_whole
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.protocol import Ledger
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.members import Members
from dtf_dask.ha.network import Ask, nobody
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_folder import create_node, node_exists, open_node
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.raft.messages import Message, MessageKind, NodeId, Role
from dtf_dask.ha.wal import WalLimits
from dtf_dask.ha.wal_opening import LogIdentity

QUICK = NodeOptions(tick_s=0.02, snapshot_log_bytes=10**9)


WAIT_S = 60.0
"""What nobody should have to wait for."""


class Wires:
    """Between all nodes of a room.

    ``cut`` holds pairs that do not hear each other, ``lost`` kinds of messages that
    never arrive.
    """

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.cut: set[frozenset[NodeId]] = set()

        self.lost: set[MessageKind] = set()
        self.fetches_failing = 0
        """So many fetches end in nothing."""
        self.ends: dict[NodeId, Wire] = {}
        self.members: dict[NodeId, Members] = {}
        self._open: set[tuple[NodeId, NodeId]] = set()
        """Connections that stand: who is connected is not heard of anew."""

    def connected(self, one: NodeId, other: NodeId) -> bool:
        """Whether messages get through; a node that is not let in is told why."""
        if not self._let_in(one, other):
            self._open.discard((one, other))
            return False
        if (one, other) not in self._open:
            self._open.add((one, other))
            if other in self.members:
                self.members[other].heard_from(one, place(one))
        return True

    def left(self, node: NodeId) -> None:
        """A node has ended, and its connections with it."""
        self._open = {ends for ends in self._open if node not in ends}

    def _let_in(self, one: NodeId, other: NodeId) -> bool:
        if other not in self.nodes or frozenset((one, other)) in self.cut:
            return False
        peers = self.ends[one].peers if one in self.ends else None
        if peers is not None and other not in peers:
            return False
        if one not in self.members or other not in self.members:
            return True
        objection = self.members[other].objection(one)
        if objection:
            self.members[one].refused_by(other, f"node {other} refuses: {objection}")
        return not objection


def place(node: int) -> Address:
    """Where a node is reached, as far as anybody asks."""
    return f"node-{node}", 7000


class Wire:
    """One node's end."""

    def __init__(
        self, node: NodeId, wires: Wires, incoming: Path, files: Files
    ) -> None:
        self._files = files
        self._node = node
        self._incoming = incoming
        self._turn = asyncio.Lock()
        self._wires = wires
        self.answers: Ask = nobody
        self.peers: dict[NodeId, Sequence[Address]] | None = None
        """Whom it connects to; None for all, where nobody said."""

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver in the next turn."""
        loop = asyncio.get_running_loop()
        for message in messages:
            lost = message.kind in self._wires.lost
            if not lost and self._wires.connected(self._node, message.to):
                loop.call_soon(self._deliver, message)

    def _deliver(self, message: Message) -> None:
        if self._wires.connected(self._node, message.to):
            self._wires.nodes[message.to].receive([message])

    def set_peers(self, addresses: Mapping[NodeId, Sequence[Address]]) -> None:
        """These from now on."""
        self.peers = dict(addresses)

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Copy the file, if the other one has it and is heard."""
        await asyncio.sleep(0)
        if self._wires.fetches_failing:
            self._wires.fetches_failing -= 1
            raise PeerUnavailableError("no such snapshot")
        for peer in sources:
            if not self._wires.connected(self._node, peer):
                continue
            folder = self._wires.nodes[peer].folder
            snapshot = folder.snapshots.read(digest, 0, size)
            if snapshot is not None:
                return self._kept_snapshot(digest, snapshot)
            content = folder.contents.read(digest, 0, size)
            if content is not None:
                async with self._turn:
                    return await asyncio.to_thread(self._kept_content, digest, content)
        raise PeerUnavailableError("nobody has it")

    def _kept_content(self, digest: bytes, content: bytes) -> str:
        node = self._wires.nodes.get(self._node)
        if node is None:
            raise PeerUnavailableError("it was killed meanwhile")
        own = node.folder.contents
        if own.size(digest) is not None:
            return own.path(digest)
        part = own.begin(digest, len(content))
        try:
            part.add(content[part.offset :])
            return part.finish()
        finally:
            part.close()

    async def offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        """Have the other one fetch it, if it is heard."""
        await asyncio.sleep(0)
        if not self._wires.connected(self._node, peer):
            raise PeerUnavailableError("cut")
        contents = self._wires.nodes[peer].folder.contents
        try:
            if contents.size(digest) is None:
                contents.check_room(size)
                await self._wires.ends[peer].fetch(digest, size, [self._node])
        except DtfError as error:
            raise PeerUnavailableError(str(error)) from error
        contents.touch(digest)

    async def ask(
        self, peer: NodeId, asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Have the other one answer, if it is heard."""
        if not self._wires.connected(self._node, peer):
            raise PeerUnavailableError("cut")
        return await self._wires.ends[peer].answers(asked)

    def answer_by(self, answers: Ask) -> None:
        """Who answers."""
        self.answers = answers

    def _kept_snapshot(self, digest: bytes, content: bytes) -> str:
        path = str(self._incoming / digest.hex())
        file = self._files.create(path)
        try:
            write_whole(file, 0, content)
            file.sync()
        finally:
            file.close()
        return path

    def forget(self, digest: bytes) -> None:
        """What was fetched has been moved."""

    async def close(self) -> None:
        """Nothing is open."""


class Room:
    """A cluster of nodes whose folders are below one."""

    def __init__(
        self,
        folder: Path,
        options: NodeOptions = QUICK,
        limits: WalLimits | None = None,
    ) -> None:
        self.folder = folder
        self.limits = limits
        self.options = options
        self.wires = Wires()
        self.failures: dict[NodeId, str] = {}

    async def start(
        self,
        node: int,
        voters: Sequence[int],
        files: Files = DISK,
        knows: Sequence[int] | None = None,
    ) -> NodeLedger:
        """Start a node, which is made if it is new.

        Parameters
        ----------
        knows
            Whose addresses it is started with. Without, it knows everybody's.
        """
        own = NodeId(node)
        folder = str(self.folder / str(node))
        identity = LogIdentity("room", own)
        if not node_exists(folder, files):
            Path(folder).mkdir(exist_ok=True)
            first = [NodeId(one) for one in voters]
            create_node(folder, identity, first, self.limits, files)
        wire = self.wires.ends[own] = Wire(own, self.wires, Path(folder), files)
        made = Node(
            own,
            open_node(folder, identity, self.limits, files),
            wire,
            self.options,
            Random(node),
            lambda reason: self.failures.setdefault(own, reason),
        )
        self.wires.nodes[own] = made
        if knows is not None:
            addresses = {NodeId(one): place(one) for one in knows}
            self.wires.members[own] = Members(made, addresses)
        await made.start()
        return NodeLedger(made)

    async def stop(self, node: int) -> None:
        """End a node; the others hear nothing more of it, and that it is gone."""
        gone = self.wires.nodes.pop(NodeId(node))
        self.wires.members.pop(NodeId(node), None)
        self.wires.left(NodeId(node))
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
        self.wires.members.clear()
        for node in [*self.wires.nodes]:
            await self.wires.nodes.pop(node).close()


async def three(room: Room) -> NodeLedger:
    """Nodes 1 to 3, each with the addresses of all; the one that leads."""
    for node in (1, 2, 3):
        await room.start(node, [1, 2, 3], knows=[1, 2, 3])
    return await room.leader()


def put(key: str, value: bytes = b"value") -> bytes:
    """A command that writes a record."""
    return encode_command(PUT, "tests", key, value)


async def value_at(ledger: Ledger, key: str) -> bytes | None:
    """What a linearizable read says."""
    answer = await ledger.read(Get("tests", key), WAIT_S)
    assert answer is not None
    return answer.records[0][1].value if answer.records else None


def in_room(test: Callable[[Room], Coroutine[None, None, None]], room: Room) -> None:
    """Run a test with a room that is closed after it."""

    async def run() -> None:
        try:
            async with asyncio.timeout(200):
                await test(room)
        finally:
            await room.close()

    asyncio.run(run())
