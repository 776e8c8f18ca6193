"""What the ledger does: writes, reads, failover, memory; beside it etcd, in one run.

    python benchmarks/bench_ledger.py [--quick] [--json] [--nodes 1,3,5]
    python benchmarks/bench_ledger.py --log-entries 10000000 [--json]

Each node is a process of its own with its log on this machine's disk (fsync on); the
clients are other processes, over mutual TLS 1.3 on loopback. Commands put records of
200 bytes. Writes are counted for some seconds with so many outstanding; reads are
linearizable, with so many outstanding at each node, by two clients. Latencies are from
the call to its outcome; CPU time is that of all nodes, and of all clients, an
operation. Failover: the leader is killed (or stopped) while one client writes one
command after the other; the time is that without an outcome, from the kill to the first
write after it that is acknowledged. etcd is measured by the same loads, where it is
installed: `ledger_etcd` says how. With ``--log-entries`` another thing is measured: how
nodes start from a log that long, `ledger_long_log` says how.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ledger_etcd
import ledger_long_log
import psutil
from ledger_cluster import Cluster, cluster, content, cpu_s, failovers, rss_mb
from ledger_loads import Clients, Load, Target, rate

READERS = 2
"""Clients that read: one of Python would be what is measured."""

KILLS_A_CLUSTER = 10
"""A node that dies often is started again later and later: then others take over."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long, and how often."""

    seconds: float
    outstanding: tuple[int, ...]
    contents: int
    kills: int
    stops: int
    etcd_seconds: float
    etcd_nodes: tuple[int, ...]
    etcd_kills: int


FULL = Size(8.0, (1, 100, 2_000), 5, 50, 5, 5.0, (1, 3, 5), 5)
QUICK = Size(1.0, (2_000,), 1, 3, 1, 1.0, (3,), 0)


async def measured(
    clients: Clients, target: Target, nodes: Sequence[psutil.Process], load: Load
) -> dict[str, float]:
    """What a load comes to."""
    before = cpu_s(nodes)
    found = await clients.run(target, load)
    taken = cpu_s(nodes) - before
    result = rate(found.latencies, load.seconds)
    result["nodes_cpu_us"] = round(taken / result["count"] * 1e6, 1)
    result["clients_cpu_us"] = round(found.cpu_s / result["count"] * 1e6, 1)
    return result


async def of_ledger(
    clients: Clients, counts: Sequence[int], size: Size
) -> dict[str, Any]:
    """The ledger's writes, reads and memory."""
    found: dict[str, Any] = {
        "writes_per_s": {},
        "reads_per_s": {},
        "writes": {},
        "reads": {},
        "rss_mb": 0.0,
        "rss_mb_by_nodes": {},
    }
    for count in counts:
        async with cluster(count) as made:
            nodes, target = made.processes, made.target
            for outstanding in size.outstanding:
                load = Load(True, outstanding, size.seconds)
                result = await measured(clients, target, nodes, load)
                found["writes"][f"{count} nodes, {outstanding} outstanding"] = result
                say(f"ledger, {count} nodes, {outstanding} writes at once", result)
            found["writes_per_s"][count] = result["per_s"]
            load = Load(False, size.outstanding[-1] * count, size.seconds, READERS)
            result = await measured(clients, target, nodes, load)
            found["reads"][f"{count} nodes"] = result
            found["reads_per_s"][count] = result["per_s"]
            say(f"ledger, {count} nodes, {load.outstanding} reads at once", result)
            if count == 3:
                found |= await of_content(made, size)
            rss = round(rss_mb(nodes), 1)
            found["rss_mb_by_nodes"][count] = rss
            found["rss_mb"] = max(found["rss_mb"], rss)
            say(f"ledger, {count} nodes, memory of the largest", f"{rss} MB")
    return found


async def of_content(made: Cluster, size: Size) -> dict[str, Any]:
    """Payloads of 50 MB on three nodes."""
    took = [await content(made) for _ in range(size.contents)]
    seconds = sorted(round(one, 2) for one, _ in took)
    found = {
        "content_50_mb_s_median": statistics.median(seconds),
        "content_50_mb_s_worst": seconds[-1],
        "content_elections": sum(elections for _, elections in took),
        "contents": len(took),
    }
    say("50 MB by digest, three nodes", found)
    return found


async def of_failover(size: Size) -> dict[str, Any]:
    """The ledger's failover with three nodes."""
    killed: list[float] = []
    stopped: list[float] = []
    while len(killed) < size.kills:
        count = min(KILLS_A_CLUSTER, size.kills - len(killed))
        async with cluster(3) as made:
            killed += await failovers(made, count, signal.SIGKILL)
            if not stopped:
                stopped = await failovers(made, size.stops, signal.SIGSTOP)
        say("failover", f"{len(killed)} of {size.kills} leaders killed")
    say("failover after kill -9, s", sorted(round(one, 3) for one in killed))
    say("failover after SIGSTOP, s", sorted(round(one, 3) for one in stopped))
    return {
        "failover_s_median": round(statistics.median(killed), 3),
        "failover_s_worst": round(max(killed), 3),
        "failovers": len(killed),
        "stop_s_median": round(statistics.median(stopped), 3),
        "stop_s_worst": round(max(stopped), 3),
        "stops": len(stopped),
    }


async def of_etcd(clients: Clients, size: Size, found: dict[str, Any]) -> Any:
    """The same loads on etcd, and how many times as much the ledger does."""
    reason = ledger_etcd.why_not()
    if reason:
        say("etcd", reason)
        return {"skipped": reason}
    etcd: dict[str, Any] = {
        "writes": {},
        "reads": {},
        "writes_ratio": {},
        "reads_ratio": {},
        "rss_mb": 0.0,
    }
    for count in size.etcd_nodes:
        async with ledger_etcd.etcd(count) as made:
            for what in ("writes", "reads"):
                load = Load(what == "writes", 2_000, size.etcd_seconds)
                if not load.writes:
                    load = Load(False, 2_000 * count, size.etcd_seconds, READERS)
                result = await measured(clients, made.target, made.processes, load)
                etcd[what][f"{count} nodes"] = result
                say(f"etcd, {count} nodes, {load.outstanding} {what} at once", result)
                own = found[f"{what}_per_s"].get(count)
                if own is not None:
                    etcd[f"{what}_ratio"][count] = round(own / result["per_s"], 1)
            etcd["rss_mb"] = max(etcd["rss_mb"], round(rss_mb(made.processes), 1))
            if count == 3 and size.etcd_kills:
                lost = await made.failovers(size.etcd_kills)
                etcd["failover_s_median"] = round(statistics.median(lost), 3)
                etcd["failover_s_worst"] = round(max(lost), 3)
                say("etcd, failover after kill -9, s", [round(one, 3) for one in lost])
    for what in ("writes", "reads"):
        say(f"the ledger's {what} as many times etcd's", etcd[f"{what}_ratio"])
    return etcd


async def measure(counts: Sequence[int], size: Size) -> dict[str, Any]:
    """All figures."""
    clients = Clients(READERS)
    try:
        found = await of_ledger(clients, counts, size)
        if size.kills:
            found |= await of_failover(size)
        found["etcd"] = await of_etcd(clients, size, found)
    finally:
        clients.close()
    return found


def say(what: str, value: Any) -> None:
    """Progress, for who watches."""
    print(f"{what}: {value}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    parser.add_argument("--json", action="store_true", help="one object at the end")
    parser.add_argument("--nodes", default="1,3,5", help="sizes of clusters")
    parser.add_argument("--log-entries", type=int, help="a log so long, and only that")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if options.log_entries:
        found = asyncio.run(ledger_long_log.measure(options.log_entries, say))
    else:
        counts = [int(one) for one in options.nodes.split(",")]
        found = asyncio.run(measure(counts, QUICK if options.quick else FULL))
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
