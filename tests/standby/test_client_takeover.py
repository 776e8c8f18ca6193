"""Clients over the deaths of real leaders: a ledger, its schedulers, a worker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array
import distributed
import pytest
from distributed import Worker, as_completed
from one_node import leading, with_ledger

from dtf_dask.client import Client
from dtf_dask.durable import client_preload
from dtf_dask.ha.local_ledger import LocalLedger

KINDS: dict[str, Callable[..., Any]] = {"dtf": Client, "stock": distributed.Client}
_ran: Counter[int] = Counter()


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A client of dtf, and one of Dask that is configured to load our half."""
    with dask.config.set({"distributed.client.preload": []}):
        if request.param == "stock":
            client_preload.configure()
        yield KINDS[request.param]


def counted(number: int) -> int:
    time.sleep(0.02)
    _ran[number] += 1
    return number * number


# One that is killed in this loop is still called by what it began; and where all share
# a loop on a loaded machine, the ledger may take long.
@pytest.mark.logs(
    "The scheduling engine failed",
    "Tasks are scheduled by Dask alone",
    "What is submitted waits",
)
def test_futures_outlive_leaders(make: Callable[..., Any], tmp_path: Path) -> None:
    """Leaders die while a client submits, waits, cancels and gathers.

    Every value is right, every task ran once, and what was cancelled is not known.
    """
    _ran.clear()

    async def check(ledger: LocalLedger, port: int) -> None:
        deaths = 2
        async with leading(ledger, port) as leader:
            worker = await Worker(leader.address, nthreads=2, dashboard=False)
            client = await make(leader.address, asynchronous=True, timeout=30)
            futures = client.map(counted, range(30), pure=False)
            total = client.compute(dask.array.ones((20, 20), chunks=4).sum())
            waits = asyncio.create_task(_all(futures))
            await asyncio.sleep(0.2)
        for number in range(deaths):
            late = [client.submit(counted, 100 + number)]
            gone = client.submit(abs, number, key=f"gone-{number}")
            await client.cancel([gone])
            assert not late[0].durable
            async with leading(ledger, port) as leader:
                futures += late
                if number < deaths - 1:
                    await asyncio.sleep(0.1)
                    continue
                await client.flush(30)
                assert all(future.durable for future in futures)
                assert await client.gather(late) == [101 * 101]
                assert await waits == {n * n for n in range(30)}
                assert await total == 400
                assert await client.submit(sum, futures) == sum(
                    n * n for n in (*range(30), 100, 101)
                )
                assert not any("gone" in key for key in leader.role.scheduler.tasks)
                assert set(_ran.values()) == {1}
                assert len(_ran) == 32
                await client.close()
                await worker.close()

    async def _all(futures: list[Any]) -> set[int]:
        return {await future async for future in as_completed(futures)}

    with_ledger(tmp_path, check)
