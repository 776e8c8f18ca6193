"""Serving nodes in one process, over real sockets, TLS and disks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from certificates import lab
from node_room import put

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.raft.messages import NodeId, Role
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.serving import NodePlan, ServingNode


def free_addresses(count: int) -> list[Address]:
    """Addresses of this machine at which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname() for one in sockets]
    for one in sockets:
        one.close()
    return [(host, port) for host, port in found]


class Hall:
    """A cluster of serving nodes, each with its own certificate.

    ``peers`` is what a node that is started now is told.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.peers: dict[NodeId, Address] = {
            NodeId(n + 1): one for n, one in enumerate(free_addresses(count))
        }
        self.nodes: dict[int, ServingNode] = {}
        self.failures: dict[int, str] = {}

    async def start(
        self,
        node: int,
        peers: Mapping[NodeId, Address] | None = None,
        *,
        joins: bool = False,
    ) -> NodeLedger:
        """Start a node that is told where the others are."""
        plan = NodePlan(
            NodeName("lab", NodeId(node)),
            str(self.folder / str(node)),
            dict(peers or self.peers),
            ("127.0.0.1", 0),
            joins,
        )

        def failed(reason: str) -> None:
            self.failures[node] = reason

        options = NodeOptions(tick_s=0.03)
        made = ServingNode(plan, lab().node(node), failed, options)
        await made.start()
        self.nodes[node] = made
        return self.ledger(node)

    async def start_all(self) -> NodeLedger:
        """Start the first members; the one that leads."""
        for node in self.peers:
            await self.start(node)
        return await self.leader()

    def node(self, node: int) -> Node:
        """What runs in a serving node."""
        found = self.nodes[node].node
        assert found is not None
        return found

    def ledger(self, node: int) -> NodeLedger:
        """A node's face."""
        return NodeLedger(self.node(node))

    async def leader(self) -> NodeLedger:
        """The node that leads, as soon as there is one that can commit."""
        while True:
            for node in self.nodes:
                core = self.node(node).raw.core
                if core.role is Role.LEADER and core.committed_in_term():
                    return self.ledger(node)
            await asyncio.sleep(0.005)

    async def written(self, key: str) -> None:
        """Write until it is acknowledged."""
        while True:
            (outcome,) = await (await self.leader()).propose([put(key)], 2.0)
            if outcome.code is Code.OK:
                return

    def client(self) -> RemoteLedger:
        """A client that knows all nodes that run."""
        addresses = {node: one.clients for node, one in self.nodes.items()}
        return RemoteLedger(addresses, lab().security("dtf://lab/client/tests"))

    async def stop(self, node: int) -> None:
        """End a node."""
        await self.nodes.pop(node).close()

    async def close(self) -> None:
        """End all."""
        for node in [*self.nodes]:
            await self.stop(node)


def in_hall(
    folder: Path, count: int, test: Callable[[Hall], Awaitable[None]]
) -> dict[int, str]:
    """Run a test with a cluster that is closed after it; which nodes failed."""

    async def run() -> dict[int, str]:
        hall = Hall(folder, count)
        try:
            async with asyncio.timeout(180):
                await test(hall)
        finally:
            await hall.close()
        return hall.failures

    return asyncio.run(run())
