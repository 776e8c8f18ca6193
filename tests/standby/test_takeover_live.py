"""Takeovers with a real ledger, real workers and clients, in one loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from distributed import Worker
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger

RUNS: Counter[str] = Counter()
GATES: dict[str, asyncio.Event] = {}


def counted(name: str, *inputs: object) -> str:
    RUNS[name] += 1
    return name


async def waits(name: str, *inputs: object) -> str:
    """It runs until the test lets it end."""
    RUNS[name] += 1
    await GATES.setdefault(name, asyncio.Event()).wait()
    return name


def fails(name: str) -> None:
    RUNS[name] += 1
    raise ValueError(name)


@contextlib.asynccontextmanager
async def two_workers(address: str) -> AsyncIterator[tuple[Worker, Worker]]:
    async with (
        Worker(address, nthreads=2, dashboard=False, name="a") as a,
        Worker(address, nthreads=2, dashboard=False, name="b") as b,
    ):
        yield a, b


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_leader_dies_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """Results stay, what runs goes on, what waits runs, errors come; each ran once."""
    RUNS.clear()
    GATES.clear()

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with leading(ledger, port) as first:
                address = first.address
                await stack.enter_async_context(two_workers(address))
                client = await stack.enter_async_context(
                    Client(address, asynchronous=True)
                )
                done = [client.submit(counted, f"done-{n}") for n in range(20)]
                await client.gather(done)
                bad = client.submit(fails, "bad")
                runs = [client.submit(waits, f"runs-{n}") for n in range(2)]
                later = client.submit(counted, "later", *done, *runs)
                await until(lambda: RUNS["runs-0"] and RUNS["runs-1"])
                await until(lambda: bad.status == "error")
            async with leading(ledger, port):
                assert not later.done()
                for gate in GATES.values():
                    gate.set()
                assert await later == "later"
                assert await client.gather(done) == [f"done-{n}" for n in range(20)]
                assert await client.gather(runs) == ["runs-0", "runs-1"]
                with contextlib.suppress(ValueError):
                    await bad
                assert set(RUNS.values()) == {1}, RUNS

    with_ledger(tmp_path, check)
