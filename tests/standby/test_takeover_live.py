"""Takeovers with a real ledger, real workers and clients, in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Worker
from distributed import worker as worker_module
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.durable.makings import ANNOTATION
from dtf_dask.errors import TaskLostError
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.worker_plugins.dask_holdings import mark_of

RUNS: Counter[str] = Counter()
GATES: dict[str, asyncio.Event] = {}


def counted(name: str, *inputs: object) -> str:
    RUNS[name] += 1
    return name


def echoed(value: str) -> str:
    return value


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


@pytest.mark.parametrize("first", ["done", "runs", "failed", "copied"])
def test_a_key_that_is_used_again_has_the_value_of_its_last_task(
    first: str, tmp_path: Path
) -> None:
    """Whatever a worker has of the task before, for it never heard that it went."""
    RUNS.clear()
    GATES.clear()

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with leading(ledger, port) as leader:
                address = leader.address
                workers = await stack.enter_async_context(two_workers(address))
                client = await stack.enter_async_context(
                    Client(address, asynchronous=True)
                )
                function = {"runs": waits, "failed": fails}.get(first, counted)
                old = client.submit(function, "old", key="k", workers=["a"])
                await until(lambda: RUNS["old"])
                above = client.submit(counted, "above", old, key="d", workers=["b"])
                if first != "runs":
                    await until(lambda: old.done())
                if first == "copied":
                    await above
                    await client.submit(bool, key="other")
                    assert all("k" in one.data for one in workers)
                # What it says to workers from now on does not leave it: it dies.
                for stream in leader.role.scheduler.stream_comms.values():
                    stream.send = lambda *messages: None  # type: ignore[method-assign]
                above.release()
                old.release()
                await client.flush()
                name = "a" if first != "copied" else "b"
                new = client.submit(counted, "new", key="k", workers=[name])
                after = client.submit(counted, "after", new, key="d", workers=["b"])
                await client.flush()
            async with leading(ledger, port):
                # By then worker a has heard of the new one, too.
                await client.submit(counted, "last", workers=["a"])
                if first == "runs":
                    GATES["old"].set()
                assert await new == "new"
                assert await after == "after"
                assert RUNS["new"] == RUNS["after"] == 1, RUNS

    with_ledger(tmp_path, check)


@pytest.mark.parametrize("where", ["a", "b"])
def test_what_is_fetched_for_too_long_is_not_taken_for_what_comes_after(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that still gets the task before gets, or makes, the one after anew."""
    RUNS.clear()
    came, gate = asyncio.Event(), asyncio.Event()
    fetch = worker_module.get_data_from_worker

    async def slowly(*asked: Any, **who: Any) -> Any:
        answer = await fetch(*asked, **who)
        came.set()
        await gate.wait()
        return answer

    monkeypatch.setattr(worker_module, "get_data_from_worker", slowly)

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            leader = await stack.enter_async_context(leading(ledger, port))
            await stack.enter_async_context(two_workers(leader.address))
            client = await stack.enter_async_context(
                Client(leader.address, asynchronous=True)
            )
            old = client.submit(counted, "old", key="k", workers=["a"])
            needs = client.submit(counted, "needs", old, key="d", workers=["b"])
            await until(came.is_set)
            needs.release()
            old.release()
            await until(lambda: not leader.role.scheduler.tasks)
            new = client.submit(counted, "new", key="k", workers=[where])
            after = client.submit(echoed, new, key="after", workers=["b"])
            last = client.submit(counted, "last", workers=["b"])
            await until(lambda: last.done() and (new.done() or where == "b"))
            gate.set()  # b has heard of all by now
            assert await new == "new"
            assert await after == "new"

    with_ledger(tmp_path, check)


def test_a_result_that_was_moved_is_known_for_what_it_is(tmp_path: Path) -> None:
    """Copied by hand, or from a worker that was retired: nothing is run again."""
    RUNS.clear()

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with leading(ledger, port) as leader:
                address = leader.address
                a, b = await stack.enter_async_context(two_workers(address))
                client = await stack.enter_async_context(
                    Client(address, asynchronous=True)
                )
                moved = client.submit(
                    counted, "moved", workers=["a"], allow_other_workers=True
                )
                copied = client.submit(
                    counted, "copied", workers=["a"], allow_other_workers=True
                )
                await client.gather([moved, copied])
                workers = leader.role.scheduler.workers
                await until(
                    lambda: all(ANNOTATION in ws.metrics for ws in workers.values())
                )
                await client.replicate([copied], n=2)
                await client.retire_workers([a.address])
                await until(lambda: moved.key in b.data and copied.key in b.data)
                await until(lambda: len(workers) == 1)
            async with leading(ledger, port):
                assert await client.gather([moved, copied]) == ["moved", "copied"]
                assert set(RUNS.values()) == {1}, RUNS

    with_ledger(tmp_path, check)


@pytest.mark.parametrize("direct", [False, True])
def test_a_value_that_is_scattered_again_is_not_the_one_before(
    direct: bool, tmp_path: Path
) -> None:
    """What a worker has of it, which never heard that it went, does not count; and
    while it is known it stays what it was, for whoever scatters what."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with leading(ledger, port) as leader:
                address, scheduler = leader.address, leader.role.scheduler
                a, b = await stack.enter_async_context(two_workers(address))
                client = await stack.enter_async_context(
                    Client(address, asynchronous=True)
                )

                async def scatter(value: str, worker: Worker) -> Any:
                    where = {"workers": [worker.address], "direct": direct}
                    return (await client.scatter({"k": value}, **where))["k"]

                await until(
                    lambda: all(
                        ANNOTATION in ws.metrics for ws in scheduler.workers.values()
                    )
                )
                old = await scatter("old", a)
                same = await scatter("other", b)
                assert await client.gather([old, same]) == ["old", "old"]
                assert {ws.name for ws in scheduler.tasks["k"].who_has or ()} == {"a"}
                await until(lambda: mark_of(a, "k") and "k" not in b.data)
                for stream in scheduler.stream_comms.values():
                    stream.send = lambda *messages: None  # type: ignore[method-assign]
                old.release()
                same.release()
                await client.flush()
                assert not scheduler.tasks
                new = await scatter("new", b)
            async with leading(ledger, port) as leader:
                holders = leader.role.scheduler.tasks["k"].who_has or ()
                assert [ws.name for ws in holders] == ["b"]
                await until(lambda: mark_of(b, "k"))
                assert await client.submit(echoed, new, workers=["a"]) == "new"

    with_ledger(tmp_path, check)


class Counter:
    """An actor: its value is in its worker alone."""

    value = 0

    def increment(self) -> int:
        self.value += 1
        return self.value


class SlowCounter(Counter):
    """It is made when the test says so."""

    may_be_made = threading.Event()

    def __init__(self) -> None:
        assert self.may_be_made.wait(30)


def test_an_actor_that_nobody_wants_before_it_is_made_leaves_nothing(
    tmp_path: Path,
) -> None:
    """Its worker is not said to have it, as Dask's own scheduler says."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            leader = await stack.enter_async_context(leading(ledger, port))
            address, scheduler = leader.address, leader.role.scheduler
            await stack.enter_async_context(two_workers(address))
            client = await stack.enter_async_context(Client(address, asynchronous=True))
            stack.callback(SlowCounter.may_be_made.set)
            future = client.submit(SlowCounter, actor=True, key="slow")
            await until(lambda: any(ws.actors for ws in scheduler.workers.values()))
            future.release()
            await until(lambda: "slow" not in scheduler.tasks)
            scheduler.validate_state()

    with_ledger(tmp_path, check)


def test_an_actor_that_dies_with_the_leader_is_lost_and_not_made_anew(
    tmp_path: Path,
) -> None:
    """Its future says so, and stays so; one that was not made yet is made."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with leading(ledger, port) as leader:
                address = leader.address
                a, _ = await stack.enter_async_context(two_workers(address))
                client = await stack.enter_async_context(
                    Client(address, asynchronous=True)
                )
                where = {"workers": ["a"], "allow_other_workers": True}
                future = client.submit(Counter, actor=True, **where)
                counter = await future
                assert await counter.increment() == 1
                await until(lambda: leader.records("x/actor/"))
            await a.close()
            later = client.submit(Counter, actor=True, key="later")
            async with leading(ledger, port) as leader:
                with pytest.raises(TaskLostError, match="actor"):
                    await future.result()
                assert await (await later).increment() == 1
                assert leader.role.scheduler.tasks[future.key].state == "erred"
            async with leading(ledger, port) as leader:
                assert leader.role.scheduler.tasks[future.key].state == "erred"
                del counter
                future.release()
                later.release()
                await until(lambda: not leader.records("x/actor/"))

    with_ledger(tmp_path, check)
