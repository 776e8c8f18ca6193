"""A client whose scheduler dies: its futures live, and each task is asked for once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import dask
import dask.array
import distributed
import pytest
from coordinator import Lab, lab, lab_thread
from dask import delayed
from distributed import as_completed, fire_and_forget, wait

from dtf_dask.client import Client
from dtf_dask.durable import client_preload, client_watch, dask_client, operations
from dtf_dask.errors import (
    SchedulingUnavailableError,
)

KINDS: dict[str, Callable[..., Any]] = {"dtf": Client, "stock": distributed.Client}


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await check()

    asyncio.run(limited())


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A client of dtf, and one of Dask that is configured to load our half."""
    with dask.config.set({"distributed.client.preload": []}):
        if request.param == "stock":
            client_preload.configure()
            client_preload.configure()  # the second time is nothing
        yield KINDS[request.param]


def slowly(x: int) -> int:
    time.sleep(0.05)
    return x + 1


def doubled(x: int) -> int:
    return 2 * x


async def replaced(one: Lab) -> None:
    await one.die()
    await asyncio.sleep(0.1)
    await one.lead()


def test_what_waits_for_futures_goes_on(make: Callable[..., Any]) -> None:
    """wait, as_completed and gather end as if nothing had been; nothing is asked twice.

    What is submitted, cancelled and released while nobody leads is known afterwards.
    """

    async def check() -> None:
        async with lab() as one, make(one.address, asynchronous=True) as client:
            assert client.durability.ledger
            futures = client.map(slowly, range(30))
            assert not futures[0].durable
            await client.flush(20)
            assert all(future.durable for future in futures)
            waits = asyncio.create_task(distributed.client._wait(futures[:10]))
            gathers = asyncio.create_task(client.gather(futures[10:20]))

            async def completes() -> set[int]:
                iterator = as_completed(futures[20:], with_results=True)
                return {value async for _, value in iterator}

            completing = asyncio.create_task(completes())
            await asyncio.sleep(0.1)
            await one.die()
            assert all(not future.cancelled() for future in futures)
            late = client.submit(doubled, futures[0])
            gone = client.submit(doubled, 7, key="gone")
            await client.cancel([gone])
            assert not late.durable
            assert not client.durability.connected
            await asyncio.sleep(0.2)
            await one.lead()
            assert await late == 2
            assert late.durable
            assert len((await waits).done) == 10
            assert await gathers == list(range(11, 21))
            assert await completing == set(range(21, 31))
            assert client.durability.term == 2
            assert one.leader is not None
            assert "gone" not in one.leader.tasks
            submitted = one.journal.submitted()
            assert len(submitted) == len(set(submitted)) == 32

    run(check)


def test_a_leader_dies_in_the_middle_of_a_submission(make: Callable[..., Any]) -> None:
    """Several times: each task is in the journal once, in order, its value right."""
    count = 400
    with lab_thread() as thread, make(thread.lab.address) as client:
        futures: list[Any] = []

        def submits() -> None:
            for number in range(count):
                key = f"one-{number}"
                futures.append(client.submit(doubled, number, key=key))
                time.sleep(0.001)

        submitting = threading.Thread(target=submits)
        submitting.start()
        for _ in range(2):
            time.sleep(0.2)
            thread.do(replaced(thread.lab))
        submitting.join()
        client.flush(30)
        journal = thread.lab.journal
        assert journal.submitted() == [f"one-{number}" for number in range(count)]
        assert client.gather(futures) == [2 * number for number in range(count)]
        assert thread.lab.term == 3


def test_all_that_is_asked_for_good_is_an_operation(make: Callable[..., Any]) -> None:
    """In the order of what was asked; releases that come together are one."""

    async def check() -> None:
        async with lab() as one, make(one.address, asynchronous=True) as client:
            kinds = one.journal.kinds
            futures = client.map(doubled, range(10))
            await client.gather(futures)
            fails = client.submit(divmod, 1, 0)
            assert isinstance(await fails.exception(), ZeroDivisionError)
            await client.retry([fails])
            assert isinstance(await fails.exception(), ZeroDivisionError)
            fire_and_forget(client.submit(slowly, 1, key="forgotten"))
            await client.cancel([fails], reason="enough")
            del futures
            await client.flush(20)
            assert kinds()[:6] == [
                *(operations.TABLE, operations.TABLE, operations.RETRY),
                *(operations.TABLE, operations.DESIRE, operations.CANCEL),
            ]
            *_, cancelled = map(operations.decode_operation, one.journal.records[:6])
            releases = [*map(operations.decode_operation, one.journal.records[6:])]
            assert all(one.kind == operations.RELEASE for one in releases)
            assert sum(len(one.body[0]) for one in releases) == 11
            assert len(releases) <= 2
            assert cancelled.body == ((fails.key,), False, "enough")
            left = [task.key for task in one.leader.tasks.values()]  # type: ignore[union-attr]
            assert left in ([], ["forgotten"])

    run(check)


def test_collections_and_graphs_go_the_same_way(make: Callable[..., Any]) -> None:
    """Also those that are made in a thread, as a loop must not wait for them."""

    async def check() -> None:
        async with lab() as one, make(one.address, asynchronous=True) as client:
            total = dask.array.ones((40, 40), chunks=8).sum()
            first = client.compute(total)
            second = client.submit(doubled, 21)  # behind the first, in the journal
            await asyncio.sleep(0)
            assert client.durability.pending == 2  # neither is made yet
            assert await second == 42
            assert await first == 1600
            kept = client.persist(dask.array.arange(10, chunks=5))
            assert await client.compute(kept.sum()) == 45
            assert await client.compute(delayed(doubled)(delayed(doubled)(3))) == 12
            found = await client.get({"x": 1, "y": (doubled, "x")}, "y", sync=False)
            assert found == 2
            tables = [kind for kind in one.journal.kinds() if kind == operations.TABLE]
            assert len(tables) == 6
            journal = [str(key) for key in one.journal.submitted()]
            assert journal.index(second.key) > 25

    run(check)


def test_what_is_submitted_before_there_is_a_connection_is_kept() -> None:
    """A client that is not connected yet keeps it, and sends it as a table."""

    async def check() -> None:
        async with lab() as one:
            client = Client(one.address, asynchronous=True)
            early = client.submit(doubled, 1, key="early")
            async with client:
                assert await early == 2
                assert early.durable
            assert one.journal.submitted() == ["early"]

    run(check)


def test_events_are_heard_of_the_next_leader(make: Callable[..., Any]) -> None:
    """Topics are subscribed again; who wants to know hears who leads."""

    async def check() -> None:
        heard: list[Any] = []
        async with lab() as one, make(one.address, asynchronous=True) as client:
            leaders: list[tuple[int, str, float]] = []
            client.leader_heard.append(lambda *said: leaders.append(said))
            client.subscribe_topic("weather", lambda event: heard.append(event[1]))
            await replaced(one)
            while heard != ["rain"]:
                if client.durability.connected and not heard:
                    await client.log_event("weather", "rain")
                await asyncio.sleep(0.05)
            ((term, node, without_s),) = leaders
            assert (term, node) == (2, "lab/3")
            assert 0 < without_s < 30

    run(check)


@pytest.mark.logs("gone without a word: one of term 2 leads")
def test_a_leader_that_is_gone_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to it hangs in the air; the client finds the next by itself."""
    monkeypatch.setattr(client_watch, "LOOKS_S", (0.1, 0.2))

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:
            await asyncio.sleep(0.5)
            assert client.durability.term == 1
            assert one.leader is not None
            first = Lab(one.journal)
            first.leader, first.worker = one.leader, one.worker
            first.leader.stop()  # it lets nobody in any more, and closes nothing
            await one.lead()
            while client.durability.term != 2:
                await asyncio.sleep(0.05)
            assert await client.submit(doubled, 4) == 8
            await first.die()

    run(check)


@pytest.mark.logs("A client closes: .* not in the ledger of lab yet: no scheduler")
def test_a_client_closes_while_nobody_leads() -> None:
    """Soon, however much is not in the ledger; and it is said how much."""

    async def check() -> None:
        async with lab() as one:
            async with Client(one.address, asynchronous=True) as client:
                await one.die()
                client.submit(doubled, 1)
                await asyncio.sleep(0.1)
                begun = time.monotonic()
            assert client.status == "closed"
            assert time.monotonic() - begun < 10

    run(check)


def test_what_was_submitted_before_the_client_closes_is_kept() -> None:
    """It waits for the ledger: nothing of a fire_and_forget goes with the client."""
    with lab_thread() as thread:
        with Client(thread.lab.address) as client:
            for number in range(20):
                fire_and_forget(client.submit(doubled, number))
        kinds = thread.lab.journal.kinds()
        assert kinds.count(operations.TABLE) == kinds.count(operations.DESIRE) == 20


def test_it_is_kept_though_the_leader_died_before_the_client_closes() -> None:
    """A client that looks for the next leader gives it what it owes, and closes."""
    with lab_thread() as thread:
        with Client(thread.lab.address) as client:
            thread.do(thread.lab.die())
            while client.status != "connecting":
                time.sleep(0.01)
            fire_and_forget(client.submit(doubled, 1))
            next_leads = threading.Timer(0.3, lambda: thread.do(thread.lab.lead()))
            next_leads.start()
        next_leads.join()
        kinds = thread.lab.journal.kinds()
        assert kinds.count(operations.TABLE) == kinds.count(operations.DESIRE) == 1


def test_a_client_closes_as_it_connects() -> None:
    """What it connects with is gone in the middle of that: closing is no error."""

    async def check() -> None:
        async with lab() as one:
            client = await Client(one.address, asynchronous=True)
            looks, goes_on = asyncio.Event(), asyncio.Event()
            look = client.room_gate.look

            async def look_late() -> None:
                looks.set()
                await goes_on.wait()
                await look()

            client.room_gate.look = look_late  # type: ignore[method-assign]
            await one.die()
            await one.lead()
            await looks.wait()
            closing = asyncio.ensure_future(client.close())
            while client.status != "closed":
                await asyncio.sleep(0.01)
            goes_on.set()
            await closing

    run(check)


@pytest.mark.logs("A client cannot connect, and tries again")
def test_what_nobody_thought_of_goes_wrong_as_it_connects() -> None:
    """It is said, and tried again: there is always somebody who listens."""

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:
            future = client.submit(slowly, 1)
            await client.flush(20)
            greeted, faults = client._durable.greeted, [AssertionError("nobody")]

            async def faulty(timeout_s: float | None) -> None:
                if faults:
                    dask_client.drop_stream(client)
                    raise faults.pop()
                await greeted(timeout_s)

            client._durable.greeted = faulty  # type: ignore[method-assign]
            await replaced(one)
            assert await future == 2

    run(check)


def test_a_plain_scheduler_keeps_no_ledger(make: Callable[..., Any]) -> None:
    """All is as with Dask; what asks for the ledger says that there is none."""

    async def check() -> None:
        async with (
            distributed.LocalCluster(
                n_workers=1,
                processes=False,
                asynchronous=True,
                dashboard_address="127.0.0.1:0",
            ) as cluster,
            make(cluster, asynchronous=True) as client,
        ):
            future = client.submit(doubled, 4)
            assert await future == 8
            assert not future.durable
            assert not client.durability.ledger
            assert len((await distributed.client._wait([future])).done) == 1
            with pytest.raises(SchedulingUnavailableError, match="keeps no ledger"):
                await client.flush()

    run(check)


def test_it_waits_in_threads_as_well(make: Callable[..., Any]) -> None:
    """Results, wait and as_completed in the user's thread, while leaders die."""
    with lab_thread() as thread, make(thread.lab.address) as client:
        futures = client.map(slowly, range(40))
        dies = threading.Timer(0.3, lambda: thread.do(replaced(thread.lab)))
        dies.start()
        assert {future.result() for future in as_completed(futures)} == set(
            range(1, 41)
        )
        dies.join()
        assert not wait(futures).not_done
        assert client.submit(doubled, futures[3]).result() == 8
