"""Clients of a ledger, or of etcd, in processes of their own, that count what they do.

A load is so many calls unanswered at any time, for some seconds; all its clients begin
at the same time. A latency is from a call to its outcome.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple, Protocol

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.node_tls import NodeCertificate
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.remote_ledger import RemoteLedger

KEYS = 10_000
VALUE = b"v" * 200
TIMEOUT_S = 30.0
_BEGIN_S = 0.4  # all clients have heard of a load, and are connected, by then


def command(number: int) -> bytes:
    """A write of 200 bytes."""
    return encode_command(PUT, "bench", f"key{number % KEYS}", VALUE)


class Session(Protocol):
    """One client's connections."""

    async def write(self, at: int) -> None:
        """Write the key of this number; return when it is acknowledged."""

    async def read(self, at: int) -> None:
        """Read the key of this number, linearizably, from any of the nodes."""

    async def close(self) -> None:
        """End."""


class Target(Protocol):
    """What a load is put on; it travels to the clients' processes."""

    async def session(self) -> Session:
        """Connect."""


@dataclass(frozen=True, slots=True)
class Load:
    """What clients do."""

    writes: bool
    outstanding: int
    seconds: float
    clients: int = 1


@dataclass(frozen=True, slots=True)
class LedgerTarget:
    """A cluster of the ledger."""

    nodes: dict[NodeId, Address]
    certificate: NodeCertificate

    def ledger(self, reads_from: int | None = None) -> RemoteLedger:
        """A client."""
        nodes = {int(node): address for node, address in self.nodes.items()}
        return RemoteLedger(nodes, self.certificate, reads_from)

    async def session(self) -> LedgerSession:
        """Connect: one client that writes, and one for reads from each node."""
        return LedgerSession(self)


class LedgerSession:
    """See `Session`."""

    def __init__(self, target: LedgerTarget) -> None:
        self._writer = target.ledger()
        self._readers = [target.ledger(reads_from=node) for node in target.nodes]
        self._commands = [command(number) for number in range(KEYS)]
        self._gets = [Get("bench", f"key{number}") for number in range(KEYS)]

    async def write(self, at: int) -> None:
        """See `Session`."""
        commands = (self._commands[at % KEYS],)
        (outcome,) = await self._writer.propose(commands, TIMEOUT_S)
        if outcome.code is not Code.OK:
            raise RuntimeError(f"a write was not done: {outcome}")

    async def read(self, at: int) -> None:
        """See `Session`."""
        reader = self._readers[at % len(self._readers)]
        answer = await reader.read(self._gets[at % KEYS], TIMEOUT_S)
        if answer is None or not answer.records:
            raise RuntimeError("a read was not answered")

    async def close(self) -> None:
        """See `Session`."""
        for ledger in (self._writer, *self._readers):
            await ledger.close()


class Counted(NamedTuple):
    """What clients saw, and what it cost them."""

    latencies: list[float]
    cpu_s: float


class Clients:
    """Processes of clients, started once and used for load after load."""

    def __init__(self, count: int) -> None:
        self._pools = [
            ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            for _ in range(count)
        ]
        for one in [pool.submit(os.getpid) for pool in self._pools]:
            one.result()

    async def run(self, target: Target, load: Load) -> Counted:
        """Put a load on a target."""
        loop = asyncio.get_running_loop()
        begin_at = time.time() + _BEGIN_S
        share = load.outstanding // load.clients
        jobs = [
            loop.run_in_executor(pool, _client, target, load, share, number, begin_at)
            for number, pool in enumerate(self._pools[: load.clients])
        ]
        found = await asyncio.gather(*jobs)
        return Counted(
            [latency for latencies, _ in found for latency in latencies],
            sum(cpu for _, cpu in found),
        )

    def close(self) -> None:
        """End the processes."""
        for pool in self._pools:
            pool.shutdown()


def _client(
    target: Target, load: Load, share: int, number: int, begin_at: float
) -> tuple[array[float], float]:
    return asyncio.run(_load(target, load, share, number, begin_at))


async def _load(
    target: Target, load: Load, share: int, number: int, begin_at: float
) -> tuple[array[float], float]:
    latencies = array("d")
    clock = time.perf_counter
    session = await target.session()
    call = session.write if load.writes else session.read
    for at in range(KEYS, KEYS + 10):
        await call(at)  # the connections stand, with each node
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    await asyncio.sleep(begin_at - time.time())
    cpu, end = time.process_time(), clock() + load.seconds

    async def caller(at: int) -> None:
        while (since := clock()) < end:
            await call(at)
            latencies.append(clock() - since)
            at += share

    first = number * share
    await asyncio.gather(*map(caller, range(first, first + share)))
    cpu = time.process_time() - cpu
    await session.close()
    return latencies, cpu


def rate(latencies: Sequence[float], seconds: float) -> dict[str, float]:
    """Calls a second, and the latencies of the middle one and of one in a hundred."""
    ordered = sorted(latencies)
    return {
        "count": len(ordered),
        "per_s": round(len(ordered) / seconds),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1e3, 2),
    }
