"""Nodes without Raft: a transport each, which note what it tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from certificates import lab
from distributed import Security

from dtf_dask.ha.blobs import BlobStore
from dtf_dask.ha.bulk import Contents
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import Message, MessageKind, NodeId
from dtf_dask.ha.transport import Transport
from dtf_dask.ha.transport_limits import TransportLimits

FAST = TransportLimits(handshake_s=2.0, reconnect_s=0.02, reconnect_max_s=0.1)


class Node:
    """A transport and what it has told."""

    def __init__(
        self,
        node: int,
        folder: Path,
        *,
        security: Security | None = None,
        cluster: str = "lab",
        limits: TransportLimits = FAST,
        admits: Callable[[NodeId], str] = lambda _: "",
        contents: tuple[Contents, ...] = (),
    ) -> None:
        self.id = NodeId(node)
        self.messages: list[Message] = []
        self.events: list[tuple[str, int]] = []
        self.refusals: list[str] = []
        self.losses: list[str] = []
        self.addresses: dict[NodeId, Address | None] = {}
        self.address: Address = ("127.0.0.1", 0)
        self.blobs = BlobStore(str(folder / f"blobs{node}"))
        self._changed = asyncio.Event()
        self.transport = Transport(
            NodeName(cluster, self.id),
            security or lab().node(node, cluster),
            self,
            self.blobs,
            limits=limits,
            random=Random(node),
            admits=admits,
            contents=contents,
        )

    async def listen(self, port: int = 0) -> None:
        self.address = await self.transport.listen("127.0.0.1", port)

    def knows(self, *others: Node) -> None:
        self.transport.set_peers({other.id: [other.address] for other in others})

    def say(self, to: Node, number: int = 1, count: int = 1) -> None:
        """Heartbeats with a number in it."""
        self.transport.send(
            Message(MessageKind.HEARTBEAT, to.id, self.id, term=number + at)
            for at in range(count)
        )

    async def until(
        self, condition: Callable[[], object], within_s: float = 10
    ) -> None:
        """Wait for something that an event brings about."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def received(self, messages: list[Message]) -> None:
        self.messages += messages
        self._changed.set()

    def peer_connected(self, peer: NodeId) -> None:
        self._note("connected", peer)

    def peer_lost(self, peer: NodeId, reason: str) -> None:
        self.losses.append(reason)
        self._note("lost", peer)

    def unreachable(self, peer: NodeId) -> None:
        self._note("unreachable", peer)

    def heard_from(self, peer: NodeId, address: Address | None) -> None:
        self.addresses[peer] = address

    def refused(self, address: str, reason: str) -> None:
        self.refusals.append(reason)
        self._changed.set()

    def _note(self, what: str, peer: NodeId) -> None:
        self.events.append((what, peer))
        self._changed.set()


@asynccontextmanager
async def connected(*nodes: Node) -> AsyncIterator[None]:
    """All of them know each other, and are connected."""
    try:
        for node in nodes:
            await node.listen()
        for node in nodes:
            node.knows(*nodes)
        for node in nodes:
            for other in nodes:
                if other is not node:
                    await node.until(partial(_has_connected, node, other))
                    await until_heard(node, other)
        yield
    finally:
        await close(nodes)


def _has_connected(node: Node, other: Node) -> bool:
    return ("connected", other.id) in node.events


async def until_heard(node: Node, other: Node) -> None:
    """Wait until the other's connection to a node is let in."""
    async with asyncio.timeout(60):
        while other.id not in node.transport.heard:
            await asyncio.sleep(0.001)


async def close(nodes: Iterable[Node]) -> None:
    for node in nodes:
        await node.transport.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on a loop; what the loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(200):
            await main

    asyncio.run(watched())
    assert complaints == []
