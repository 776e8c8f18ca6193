"""Nodes of the ledger in processes of their own, on loopback, for benchmarks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from ledger_loads import KEYS, LedgerTarget, command

from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.security.authority import Authority

CLUSTER = "bench"
CONTENT_BYTES = 50 * 10**6


class Cluster:
    """Nodes, their folders, and the authority that signed their certificates."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        authority = Authority(folder / "authority")
        authority.create(CLUSTER)
        ports = free_ports(2 * count)
        nodes = [NodeId(n + 1) for n in range(count)]
        peers = {node: ("127.0.0.1", ports.pop()) for node in nodes}
        self.clients = {node: ("127.0.0.1", ports.pop()) for node in nodes}
        self.managers: dict[int, RedundancyManager] = {}
        for node in nodes:
            own = folder / str(node)
            authority.issue(f"dtf://{CLUSTER}/node/{node}", own)
            NodeConfig(own, CLUSTER, node, peers, self.clients).write()
            self.managers[node] = RedundancyManager(own)

    @property
    def target(self) -> LedgerTarget:
        """What loads are put on."""
        return LedgerTarget(dict(self.clients), self.managers[1].config.security())

    def client(self) -> RemoteLedger:
        """A client of this process."""
        return self.target.ledger()

    @property
    def processes(self) -> list[psutil.Process]:
        """Those of the nodes."""
        pids = [manager.pid for manager in self.managers.values()]
        return [psutil.Process(pid) for pid in pids if pid is not None]

    async def leader(self, ledger: RemoteLedger) -> int:
        """Who leads now."""
        while True:
            for node in self.managers:
                try:
                    status = await ledger.status(node)
                except Exception:
                    continue
                if status["role"] == "leader":
                    return node
            await asyncio.sleep(0.02)

    async def whole(self, ledger: RemoteLedger) -> dict[str, Any]:
        """Wait until all nodes are there and as far as the leader; its status."""
        while True:
            try:
                status = await ledger.status(await self.leader(ledger))
            except Exception:
                continue
            lags = status["lag"].values()
            if len(status["active"]) == len(self.managers) - 1 and max(lags) < 100:
                return status
            await asyncio.sleep(0.05)


@asynccontextmanager
async def cluster(count: int) -> AsyncIterator[Cluster]:
    """Nodes that run, and end with the block."""
    with tempfile.TemporaryDirectory(prefix="dtf-bench-") as folder:
        made = Cluster(Path(folder), count)
        async with AsyncExitStack() as stack:
            for manager in made.managers.values():
                await stack.enter_async_context(manager)
            async with made.client() as ledger:
                for first in range(0, KEYS, 1_000):
                    some = [command(n) for n in range(first, first + 1_000)]
                    await ledger.propose(some, 30.0)
            yield made


async def failovers(made: Cluster, count: int, signum: signal.Signals) -> list[float]:
    """Seconds without a write, for so many losses of the leader."""
    lost: list[float] = []
    async with made.client() as ledger:
        for turn in range(count):
            leader = await made.leader(ledger)
            await ledger.propose([command(turn)], 30.0)
            pid = made.managers[leader].pid
            assert pid is not None
            since = time.perf_counter()
            os.kill(pid, signum)
            while True:
                (outcome,) = await ledger.propose([command(turn)], 5.0)
                if outcome.code is Code.OK:
                    break
            lost.append(time.perf_counter() - since)
            if signum is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            await made.whole(ledger)
    return lost


async def content(made: Cluster) -> tuple[float, int]:
    """Seconds to write a payload of 50 MB by its digest, and elections meanwhile."""
    async with made.client() as ledger:
        before = await made.whole(ledger)
        payload = os.urandom(CONTENT_BYTES)
        since = time.perf_counter()
        reference = await ledger.put_content(payload, 60.0)
        named = encode_command(PUT_CONTENT, "bench", "large", *reference)
        (outcome,) = await ledger.propose([named], 30.0)
        seconds = time.perf_counter() - since
        if outcome.code is not Code.OK:
            raise RuntimeError(f"a payload was not written: {outcome}")
        after = await made.whole(ledger)
        return seconds, after["term"] - before["term"]


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU time that processes have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def rss_mb(processes: Sequence[psutil.Process]) -> float:
    """Memory of the largest of them."""
    return float(max(one.memory_info().rss for one in processes) / 2**20)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
