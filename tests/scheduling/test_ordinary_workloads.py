"""Ordinary Dask programs run unmodified with the plugin on, every invariant checked.

Scheduler and workers validate their state at each step; the engine is asked at the end
whether its own holds, and whether anything is left in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from operator import add
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from dask import bag, delayed
from dask_room import WAIT_S, Room, gathered, room, run
from distributed import (
    Event,
    Lock,
    Queue,
    Semaphore,
    Variable,
    as_completed,
    get_client,
    rejoin,
    secede,
    wait,
    worker_client,
)
from distributed.core import Status

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")


Workload = Callable[[Room], Awaitable[None]]


def inc(x: int) -> int:
    return x + 1


def slowly(part: Any) -> Any:
    time.sleep(0.02)
    return part


def slow_inc(x: int, pause_s: float = 0.02) -> int:
    time.sleep(pause_s)
    return x + 1


async def array(made: Room) -> None:
    x = da.random.default_rng(1).random((400, 400), chunks=(100, 100))
    total = (x @ x.T).sum() - (x.T @ x).trace()
    found = await made.client.compute(total)
    assert np.isfinite(found)
    _u, s, _v = da.linalg.svd(x.rechunk((400, 100)))
    assert (await made.client.compute(s.sum())) > 0


async def shuffle(made: Room) -> None:
    numbers = bag.from_sequence(range(300), npartitions=12)
    grouped = numbers.groupby(lambda n: n % 7, shuffle="tasks")
    sizes = await made.client.compute(grouped.map(lambda g: len(g[1])).sum())
    assert sizes == 300
    folded = numbers.foldby(lambda n: n % 3, lambda a, b: a + b, 0, lambda a, b: a + b)
    assert len(await made.client.compute(folded)) == 3


async def dataframe(made: Room, method: str) -> None:
    """Two tables are shuffled, joined and sorted: all partitions meet all others."""
    one = pd.DataFrame({"key": np.arange(600) % 40, "x": np.arange(600)})
    other = pd.DataFrame({"key": np.arange(40), "y": np.arange(40) * 10})
    left = dd.from_pandas(one, npartitions=12)
    right = dd.from_pandas(other, npartitions=5)
    with dask.config.set({"dataframe.shuffle.method": method}):
        joined = left.merge(right, on="key")
        by_key = joined.set_index("key", divisions=[0, 9, 20, 30, 39])
        assert by_key.known_divisions
        apart = joined.shuffle("key", npartitions=8)
        keys = str(list(joined.optimize(fuse=False).__dask_graph__()))
        assert ("shuffle-barrier" in keys) == (method == "p2p")
        found = await gathered(
            made.client, made.client.compute([joined, by_key, apart])
        )
    expected = one.merge(other, on="key").sort_values("x", ignore_index=True)
    for table in found:
        told = table.reset_index() if table.index.name else table
        told = told[["key", "x", "y"]].sort_values("x", ignore_index=True)
        pd.testing.assert_frame_equal(told, expected, check_dtype=False)
    assert list(found[1].index) == sorted(one["key"])


async def dataframe_tasks(made: Room) -> None:
    await dataframe(made, "tasks")


async def dataframe_p2p(made: Room) -> None:
    await dataframe(made, "p2p")
    extension = made.scheduler.extensions["shuffle"]
    assert not extension.active_shuffles


async def dataframe_p2p_loses_a_worker(made: Room) -> None:
    """Its restrictions bind outputs to workers: with one less they are bound anew."""
    await made.worker("more", nthreads=2)
    table = pd.DataFrame({"key": np.arange(2000) % 97, "x": np.arange(2000)})
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        parts = dd.from_pandas(table, npartitions=20).map_partitions(slowly)
        future = made.client.compute(parts.shuffle("key", npartitions=15).x.sum())
    extension = made.scheduler.extensions["shuffle"]
    await made.until(lambda: extension.active_shuffles)
    await made.workers[0].close()
    assert await future == sum(range(2000))


async def rechunk_p2p(made: Room) -> None:
    with dask.config.set({"array.rechunk.method": "p2p"}):
        x = da.arange(40_000, chunks=1000).reshape((200, 200)).rechunk((200, 10))
        y = x.rechunk((10, 200))
        assert "p2p" in str(list(y.__dask_graph__()))
        assert await made.client.compute(y.sum()) == sum(range(40_000))


class Counter:
    """An actor."""

    def __init__(self) -> None:
        self.n = 0

    def increment(self) -> int:
        self.n += 1
        return self.n


async def actors(made: Room) -> None:
    counter = await made.client.submit(Counter, actor=True)
    assert [await counter.increment() for _ in range(5)] == [1, 2, 3, 4, 5]


def nested_fib(n: int) -> int:
    if n < 2:
        return n
    with worker_client() as client:
        a = client.submit(nested_fib, n - 1, pure=False)
        b = client.submit(nested_fib, n - 2, pure=False)
        left, right = client.gather([a, b])
        return int(left + right)


def seceding(n: int) -> int:
    client = get_client()
    futures = client.map(inc, range(n))
    secede()
    total = sum(client.gather(futures))
    rejoin()
    return int(total)


async def nested_clients(made: Room) -> None:
    assert await made.client.submit(nested_fib, 5) == 5
    totals = made.client.map(seceding, [3, 4, 5])
    assert await made.client.gather(totals) == [6, 10, 15]


async def cancel(made: Room) -> None:
    futures = made.client.map(slow_inc, range(200), pause_s=0.05)
    await asyncio.sleep(0.2)
    await made.client.cancel(futures)
    assert all(future.cancelled() for future in futures)
    assert await made.client.submit(inc, 41) == 42


async def retire(made: Room) -> None:
    futures = made.client.map(slow_inc, range(60))
    kept = made.client.map(inc, range(10))
    await asyncio.sleep(0.1)
    await made.client.retire_workers([made.workers[0].address])
    assert await made.client.gather(futures) == list(range(1, 61))
    assert await made.client.gather(kept) == list(range(1, 11))


async def lost_worker(made: Room) -> None:
    first = made.client.map(inc, range(30))
    second = made.client.map(slow_inc, first)
    await wait(first)
    await made.workers[0].close()
    assert await made.client.gather(second) == list(range(2, 32))


async def spill(made: Room) -> None:
    # What is spilled is what a worker knows of; this process is larger than its limit.
    with dask.config.set({"distributed.worker.memory.pause": False}):
        small = await made.worker("small", memory_limit="40 MB", nthreads=2)
    ones = made.client.map(lambda n: np.ones(1_000_000), range(24), pure=False)
    await wait(ones)
    assert small.data.disk
    sums = made.client.map(np.sum, ones)
    assert sum(await made.client.gather(sums)) == 24_000_000


async def paused(made: Room) -> None:
    futures = made.client.map(slow_inc, range(40))
    await asyncio.sleep(0.05)
    worker = made.workers[0]
    worker.status = Status.paused
    assert await made.client.gather(futures) == list(range(1, 41))
    worker.status = Status.running
    assert await made.client.submit(inc, 1) == 2


async def completed(made: Room) -> None:
    futures = made.client.map(slow_inc, range(20))
    seen = as_completed(futures)
    total = 0
    async for future in seen:
        total += await future
        if total < 30:
            seen.add(made.client.submit(slow_inc, 100 + total))
    assert total > 210


async def published(made: Room) -> None:
    futures = made.client.map(inc, range(5))
    await made.client.publish_dataset(numbers=futures)
    del futures
    again = await made.client.get_dataset("numbers")
    assert await made.client.gather(again) == [1, 2, 3, 4, 5]
    await made.client.unpublish_dataset("numbers")


TRIES: list[int] = []


def flaky(n: int) -> int:
    TRIES.append(n)
    if TRIES.count(n) < 3:
        raise OSError("not yet")
    return n


async def retries(made: Room) -> None:
    TRIES.clear()
    futures = made.client.map(flaky, range(10), retries=2)
    assert await made.client.gather(futures) == list(range(10))
    failing = made.client.submit(flaky, 11)
    await wait(failing)
    assert failing.status == "error"
    TRIES.append(11)
    await failing.retry()
    assert await failing == 11


def locked(n: int) -> int:
    with Lock("one"), Semaphore(max_leases=2, name="two"):
        return n


def producing(n: int) -> None:
    Queue("numbers").put(n)


def waiting() -> str:
    Event("go").wait(timeout=60)
    return str(Variable("word").get(timeout=60))


async def coordination(made: Room) -> None:
    await Semaphore(max_leases=2, name="two")
    assert sum(await made.client.gather(made.client.map(locked, range(8)))) == 28
    queue = await Queue("numbers", client=made.client)
    produced = made.client.map(producing, range(5))
    assert sorted([await queue.get() for _ in range(5)]) == [0, 1, 2, 3, 4]
    held = made.client.submit(waiting)
    await Variable("word", client=made.client).set("hello")
    await Event("go", client=made.client).set()
    assert await held == "hello"
    await made.client.gather(produced)


async def scatter(made: Room) -> None:
    (data,) = await made.client.scatter([np.arange(1000)], broadcast=True)
    sums = made.client.map(lambda n, d: int(d.sum()) + n, range(20), d=data)
    assert await made.client.gather(sums) == [499500 + n for n in range(20)]
    await made.client.replicate(sums, n=2)
    await made.client.rebalance()


async def long_graph(made: Room) -> None:
    layer = [delayed(inc)(n) for n in range(64)]
    while len(layer) > 1:
        layer = [
            delayed(add)(a, b) for a, b in zip(layer[::2], layer[1::2], strict=True)
        ]
        layer = [delayed(slow_inc)(one, 0.0) for one in layer]
    assert await made.client.compute(layer[0]) == sum(range(1, 65)) + 63
    chain = made.client.submit(inc, 0)
    for _ in range(200):
        chain = made.client.submit(inc, chain)
    assert await chain == 201


async def where_told(made: Room) -> None:
    (address, *_) = [worker.address for worker in made.workers]
    here = made.client.map(slow_inc, range(10), workers=[address], pure=False)
    await made.client.gather(here)
    assert set((await made.client.has_what())[address]) >= {f.key for f in here}
    loose = made.client.submit(inc, 3, workers=["127.0.0.99"], allow_other_workers=True)
    assert await loose == 4
    urgent = made.client.map(inc, range(5), priority=10)
    assert await made.client.gather(urgent) == [1, 2, 3, 4, 5]


async def forgotten_on_restart(made: Room) -> None:
    futures = made.client.map(slow_inc, range(100), pause_s=0.05)
    await asyncio.sleep(0.1)
    scheduler = made.scheduler
    with pytest.raises(TimeoutError):
        # These workers have no nanny: they go and do not come back.
        await scheduler.restart(timeout=0.5, stimulus_id="test")
    assert all(future.cancelled() for future in futures)
    await made.worker("after")
    assert await made.client.submit(inc, 1) == 2


WORKLOADS = (
    *(
        array,
        shuffle,
        dataframe_tasks,
        dataframe_p2p,
        dataframe_p2p_loses_a_worker,
        rechunk_p2p,
        actors,
        nested_clients,
        cancel,
        retire,
        lost_worker,
        spill,
    ),
    *(completed, published, retries, coordination, scatter, long_graph, where_told),
    forgotten_on_restart,
    paused,
)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.__name__)
@pytest.mark.filterwarnings("ignore:Sending large graph")
def test_runs_as_without_the_plugin(
    workload: Callable[[Room], Awaitable[None]],
) -> None:
    """It ends with the right values, and leaves nothing behind in the engine."""

    async def check() -> None:
        async with room(None, None, threads=2) as made:
            with made.client.as_current():
                await asyncio.wait_for(workload(made), WAIT_S)
            assert made.plugin.failure == ""
            assert made.plugin.keeper is not None
            made.scheduler.remove_client(made.client.id)
            ledger = made.plugin.keeper.holding
            await made.until(lambda: not ledger.tasks, 20)
            made.scheduler.validate_state()
            engine: Any = made.plugin.engine
            engine.check()
            await made.until(lambda: not engine._core.running, 20)
            assert not engine._core.lanes.tasks

    run(check)


def work(n: int) -> int:
    time.sleep(0.02)
    return n


@pytest.mark.filterwarnings("ignore")
def test_adaptive_scales_for_governed_tasks() -> None:
    """Waiting tasks are seen by Dask's adaptive scaling: workers come, and go again."""
    from dtf_dask import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.validate": True}),
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
    ):
        cluster.adapt(minimum=0, maximum=3, interval="50ms", wait_count=2)
        with distributed.Client(cluster) as client:
            assert "dtf-scheduling" in cluster.scheduler.plugins
            futures = client.map(work, range(60))
            assert client.gather(futures) == list(range(60))
            assert cluster.scheduler.plugins["dtf-scheduling"].failure == ""
            del futures
            deadline = time.monotonic() + 60
            while cluster.scheduler.workers and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not cluster.scheduler.workers
