"""What the ledger does: writes, reads, failover, memory; nodes in processes, over TLS.

    python benchmarks/bench_ledger.py [--quick] [--json] [--nodes 1,3,5]

Each node is a process of its own with its log on this machine's disk (fsync on); the
client is this process, over mutual TLS 1.3 on loopback. Commands put records of 200
bytes. Writes and reads are counted for some seconds with so many outstanding; latencies
are from the call to its outcome. Failover: the leader is killed (or stopped) while one
client writes one command after the other; the time is that without an outcome, from the
kill to the first write after it that is acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.security.authority import Authority

CLUSTER = "bench"
KEYS = 10_000
VALUE = b"v" * 200


@dataclass(frozen=True, slots=True)
class Size:
    """How long, and how often."""

    seconds: float
    outstanding: tuple[int, ...]
    kills: int
    stops: int


FULL = Size(seconds=8.0, outstanding=(1, 100, 2_000), kills=50, stops=5)
QUICK = Size(seconds=1.5, outstanding=(2_000,), kills=3, stops=0)


class Cluster:
    """Nodes in processes, and their authority."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.authority.create(CLUSTER)
        ports = _free_ports(2 * count)
        nodes = [NodeId(n + 1) for n in range(count)]
        peers = {node: ("127.0.0.1", ports.pop()) for node in nodes}
        clients = {node: ("127.0.0.1", ports.pop()) for node in nodes}
        self.clients = clients
        self.managers: dict[int, RedundancyManager] = {}
        for node in nodes:
            own = folder / str(node)
            self.authority.issue(f"dtf://{CLUSTER}/node/{node}", own)
            NodeConfig(own, CLUSTER, node, peers, clients).write()
            self.managers[node] = RedundancyManager(own)

    def client(self, reads_from: int | None = None) -> RemoteLedger:
        """Another client, with the certificate of a node: all tools have one."""
        config = self.managers[1].config
        return RemoteLedger(
            {int(node): one for node, one in self.clients.items()},
            config.security(),
            reads_from,
        )

    def processes(self) -> list[psutil.Process]:
        """The nodes'."""
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


@asynccontextmanager
async def cluster(count: int) -> AsyncIterator[Cluster]:
    """Nodes that run, and end with the block."""
    with tempfile.TemporaryDirectory(prefix="dtf-bench-") as folder:
        made = Cluster(Path(folder), count)
        async with AsyncExitStack() as stack:
            for manager in made.managers.values():
                await stack.enter_async_context(manager)
            yield made


def command(number: int) -> bytes:
    """A write of 200 bytes."""
    return encode_command(PUT, "bench", f"key{number % KEYS}", VALUE)


async def writes(ledger: RemoteLedger, outstanding: int, seconds: float) -> Any:
    """Writes a second, and latencies, with so many calls unanswered."""
    commands = [command(number) for number in range(KEYS)]
    latencies: list[float] = []
    clock = time.perf_counter
    end = clock() + seconds

    async def caller(at: int) -> None:
        while clock() < end:
            at += outstanding
            since = clock()
            (outcome,) = await ledger.propose([commands[at % KEYS]], 30.0)
            if outcome.code is not Code.OK:
                raise RuntimeError(f"a write was not done: {outcome}")
            latencies.append(clock() - since)

    await asyncio.gather(*map(caller, range(outstanding)))
    return _rate(latencies, seconds)


async def reads(
    made: Cluster, outstanding: int, seconds: float
) -> tuple[dict[str, float], float]:
    """Linearizable reads a second over all nodes, and CPU of all nodes a read in us."""
    latencies: list[float] = []
    clock = time.perf_counter
    before = _cpu_s(made)
    end = clock() + seconds
    ledgers = [made.client(reads_from=node) for node in made.managers]

    async def caller(at: int) -> None:
        ledger = ledgers[at % len(ledgers)]
        while clock() < end:
            at += outstanding
            since = clock()
            answer = await ledger.read(Get("bench", f"key{at % KEYS}"), 30.0)
            if answer is None:
                raise RuntimeError("a read was not answered")
            latencies.append(clock() - since)

    await asyncio.gather(*map(caller, range(outstanding)))
    for ledger in ledgers:
        await ledger.close()
    cpu_us = (_cpu_s(made) - before) / len(latencies) * 1e6
    return _rate(latencies, seconds), cpu_us


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
            await _whole(made, ledger)
    return lost


async def _whole(made: Cluster, ledger: RemoteLedger) -> None:
    """Wait until all nodes are there and as far as the leader."""
    while True:
        try:
            leader = await made.leader(ledger)
            status = await ledger.status(leader)
        except Exception:
            continue
        lags = status["lag"].values()
        if len(status["active"]) == len(made.managers) - 1 and max(lags) < 100:
            return
        await asyncio.sleep(0.05)


def _rate(latencies: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(latencies)
    return {
        "per_s": round(len(ordered) / seconds),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1e3, 2),
    }


def _cpu_s(made: Cluster) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in made.processes())


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def measure(counts: list[int], size: Size) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {
        "writes_per_s": {},
        "reads_per_s": {},
        "writes": {},
        "reads": {},
        "rss_mb": 0.0,
    }
    for count in counts:
        async with cluster(count) as made, made.client() as ledger:
            await ledger.propose([command(n) for n in range(1_000)], 30.0)
            for outstanding in size.outstanding:
                result = await writes(ledger, outstanding, size.seconds)
                found["writes"][f"{count} nodes, {outstanding} outstanding"] = result
                _say(f"{count} nodes, writes, {outstanding} outstanding: {result}")
            found["writes_per_s"][count] = result["per_s"]
            result, cpu_us = await reads(made, size.outstanding[-1], size.seconds)
            result["cpu_us"] = round(cpu_us, 1)
            found["reads"][f"{count} nodes"] = result
            found["reads_per_s"][count] = result["per_s"]
            _say(f"{count} nodes, reads: {result}")
            rss = max(one.memory_info().rss for one in made.processes()) / 2**20
            found["rss_mb"] = max(found["rss_mb"], round(rss, 1))
            if count == 3:
                lost = await failovers(made, size.kills, signal.SIGKILL)
                found["failover_s_median"] = round(statistics.median(lost), 3)
                found["failover_s_worst"] = round(max(lost), 3)
                _say(f"failover after kill -9: {[round(one, 3) for one in lost]}")
                if size.stops:
                    lost = await failovers(made, size.stops, signal.SIGSTOP)
                    found["stop_s_worst"] = round(max(lost), 3)
                    _say(f"failover after SIGSTOP: {[round(x, 3) for x in lost]}")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    parser.add_argument("--json", action="store_true", help="one object at the end")
    parser.add_argument("--nodes", default="1,3,5", help="sizes of clusters")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    counts = [int(one) for one in options.nodes.split(",")]
    load = os.getloadavg()[0]
    found = asyncio.run(measure(counts, size))
    found["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(load, 1),
    }
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
