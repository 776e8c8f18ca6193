"""A worker whose connection breaks comes back, and nothing is done twice for that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption_kit import Shadow, held, running
from hand_worker import HandWorker, coordinator, until

from dtf_dask.standby import dask_links
from dtf_dask.standby.away import Presence


@contextlib.asynccontextmanager
async def living(
    *names: str, **terms: Any
) -> AsyncIterator[tuple[Shadow, Presence, list[HandWorker]]]:
    """A leader that leads, and workers that are there."""
    workers = [await HandWorker(name).start() for name in names]
    async with coordinator(**terms) as (one, presence):
        one.schedule()
        presence.open()
        for worker in workers:
            await worker.register(one.scheduler.address)
        try:
            yield one, presence, workers
        finally:
            for worker in workers:
                await worker.close()


def run(coroutine: Any) -> None:
    asyncio.run(coroutine)


def on(one: Shadow, key: Any) -> str:
    ts = one.scheduler.tasks[key]
    return ts.processing_on.address if ts.processing_on is not None else ""


def test_a_short_break_costs_nothing() -> None:
    """What was finished meanwhile counts, what runs goes on, what was lost is sent
    again, to the same worker; nothing runs elsewhere."""

    async def test() -> None:
        async with living("a", "b") as (one, _presence, (a, b)):
            keys = ["w", "x", "y", "z"]
            one.submit({key: [] for key in keys}, keys)
            await until(lambda: len(a.sent()) + len(b.sent()) == 4)
            mine = a.sent()
            done, runs = mine
            ids = a.run_ids()
            ws = one.scheduler.workers[a.address]
            a.break_link()
            await until(lambda: ws.status.name == "paused")
            assert {ts.key for ts in ws.processing} == set(mine)
            a.heard.clear()
            brings = a.has([held(done, ids[done])], [running(runs, ids[runs])])
            assert (await a.register(one.scheduler.address, brings))["status"] == "OK"
            await until(lambda: ws.status.name == "running")
            assert one.scheduler.tasks[done].state == "memory"
            assert on(one, runs) == a.address
            await a.finish(runs, ids[runs])
            await until(lambda: one.scheduler.tasks[runs].state == "memory")
            assert a.sent() == []
            assert sorted(b.sent()) == sorted(set(keys) - set(mine))
            one.scheduler.validate_state()

    run(test())


def test_what_was_sent_and_lost_is_sent_again() -> None:
    """A task that its worker says nothing of never came there, or was dropped."""

    async def test() -> None:
        async with living("a") as (one, _presence, (a,)):
            one.submit({"x": []}, ["x"])
            await until(lambda: a.sent() == ["x"])
            first = a.run_ids()["x"]
            a.break_link()
            a.heard.clear()
            await a.register(one.scheduler.address)
            await until(lambda: a.sent() == ["x"])
            assert a.run_ids()["x"] > first
            assert one.scheduler.tasks["x"].run_id == a.run_ids()["x"]
            one.scheduler.validate_state()

    run(test())


def test_a_copy_that_is_lost_is_to_be_fetched_again() -> None:
    """Dask's own account of what workers have yet to fetch is right then."""

    async def test() -> None:
        async with living("a", "b") as (one, _presence, workers):
            one.submit({"x": []}, ["x"])
            await until(lambda: any(worker.sent() for worker in workers))
            (first,) = (worker for worker in workers if worker.sent())
            (other,) = (worker for worker in workers if worker is not first)
            await first.finish("x", first.run_ids()["x"])
            await other.say("add-keys", keys=["x"])
            x = one.scheduler.tasks["x"]
            await until(lambda: len(x.who_has or ()) == 2)
            one.submit({"y": ["x"]}, ["y"])
            await until(lambda: "y" in first.sent() + other.sent())
            mine, its = (first, other) if "y" in first.sent() else (other, first)
            ws = one.scheduler.workers[mine.address]
            mine.break_link()
            await until(lambda: ws.status.name == "paused")
            mine.heard.clear()
            await mine.register(one.scheduler.address)
            await until(lambda: mine.sent() == ["y"])
            assert {one.address for one in x.who_has} == {its.address}
            assert ws.needs_what == {x: 1}
            one.scheduler.validate_state()

    run(test())


def test_a_worker_may_register_before_its_old_connection_is_seen_to_break() -> None:
    """A connection that is open at one end only never breaks by itself."""

    async def test() -> None:
        async with living("a") as (one, _presence, (a,)):
            one.submit({"x": []}, ["x"])
            await until(lambda: a.sent() == ["x"])
            ids, old = a.run_ids(), a.comm
            await a.register(one.scheduler.address, a.has([], [running("x", ids["x"])]))
            await a.finish("x", ids["x"])
            await until(lambda: one.scheduler.tasks["x"].state == "memory")
            assert old is not None
            await until(old.closed)
            assert list(one.scheduler.workers) == [a.address]
            assert a.sent() == ["x"]

    run(test())


def test_nothing_new_is_given_to_a_worker_that_is_away() -> None:
    """Tasks that come meanwhile go elsewhere, or wait for it."""

    async def test() -> None:
        async with living("a", "b") as (one, _presence, (a, b)):
            a.break_link()
            ws = one.scheduler.workers[a.address]
            await until(lambda: ws.status.name == "paused")
            one.submit({key: [] for key in "xyz"}, list("xyz"))
            await until(lambda: sorted(b.sent()) == list("xyz"))
            assert not ws.processing

    run(test())


def test_after_the_grace_others_do_it_and_who_comes_late_is_told_so() -> None:
    """What comes too late is refused and on record; without it the worker may join."""

    async def test() -> None:
        async with living("a", "b", grace_s=0.3) as (one, _presence, (a, b)):
            one.submit({"x": [], "y": []}, ["x", "y"])
            await until(lambda: len(a.sent()) + len(b.sent()) == 2)
            (mine,) = a.sent()
            ids = a.run_ids()
            a.break_link()
            await until(lambda: mine in b.sent())
            assert a.address not in one.scheduler.workers
            late = a.has([held(mine, ids[mine])])
            answer = await a.register(one.scheduler.address, late)
            assert (answer["status"], answer["dtf"]) == ("error", "fenced")
            ((_, event),) = one.scheduler.get_events("dtf-late")
            assert event["keys"] in ([mine], (mine,))
            assert (await a.heartbeat(one.scheduler, {}))["status"] == "OK"
            assert (await a.register(one.scheduler.address))["status"] == "OK"
            await until(lambda: a.address in one.scheduler.workers)
            await b.finish(mine, b.run_ids()[mine])
            await until(lambda: one.scheduler.tasks[mine].state == "memory")

    run(test())


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    """Nobody listens there any more: its tasks go elsewhere long before the grace."""

    async def test() -> None:
        async with living("a", "b", grace_s=3600.0) as (one, _presence, (a, b)):
            one.submit({"x": [], "y": []}, ["x", "y"])
            await until(lambda: len(a.sent()) + len(b.sent()) == 2)
            (mine,) = a.sent()
            await a.die()
            await until(lambda: mine in b.sent())
            assert one.scheduler.tasks[mine].suspicious == 1

    run(test())


def test_who_says_goodbye_is_removed_at_once() -> None:
    """A worker that ends says that it closes, and leaves nothing behind."""

    async def test() -> None:
        async with living("a", "b", grace_s=3600.0) as (one, _presence, (a, b)):
            one.submit({"x": [], "y": []}, ["x", "y"])
            await until(lambda: len(a.sent()) + len(b.sent()) == 2)
            await a.say("worker-status-change", status="closing")
            await a.say("close-stream")
            await until(lambda: a.address not in one.scheduler.workers)
            await until(lambda: len(b.sent()) == 2)

    run(test())


def test_another_process_at_the_same_address_takes_the_place() -> None:
    """The old one is gone with what it ran."""

    async def test() -> None:
        async with living("a", grace_s=3600.0) as (one, _presence, (a,)):
            one.submit({"x": []}, ["x"])
            await until(lambda: a.sent() == ["x"])
            a.break_link()
            a.heard.clear()
            a.server_id = "another"
            await a.register(one.scheduler.address)
            await until(lambda: a.sent() == ["x"])
            assert one.scheduler.workers[a.address].server_id == "another"
            assert one.scheduler.tasks["x"].suspicious == 1

    run(test())


def test_a_worker_that_its_nanny_started_again_takes_the_name_of_the_old_one() -> None:
    """Dask would refuse it for the name, while the old one may come back."""

    async def test() -> None:
        async with living("a", grace_s=3600.0) as (one, _presence, (a,)):
            a.break_link()
            ws = one.scheduler.workers[a.address]
            await until(lambda: ws.status.name == "paused")
            again = await HandWorker("a").start()
            again.server_id = "again"
            assert (await again.register(one.scheduler.address))["status"] == "OK"
            assert list(one.scheduler.workers) == [again.address]
            await again.close()

    run(test())


@pytest.mark.logs("duplicate name")
def test_nothing_is_kept_of_what_a_worker_brings_that_dask_refuses() -> None:
    """It would be taken for what another has that comes to be at its address."""

    async def test() -> None:
        async with living("a", grace_s=3600.0) as (one, presence, (a,)):
            other = await HandWorker("a").start()
            other.server_id = "other"
            brings = other.has([held("x", 1)])
            answer = await other.register(one.scheduler.address, brings)
            assert "name taken" in answer["message"]
            await until(lambda: not presence.brought)
            assert list(one.scheduler.workers) == [a.address]
            await other.close()

    run(test())


def test_a_long_attempt_is_left_to_its_worker_for_its_lease() -> None:
    """What is short is done elsewhere; what has run long waits, and counts in time."""

    async def test() -> None:
        async with living("a", "b", grace_s=0.2, after_s=10.0, lease_s=3600.0) as (
            one,
            _presence,
            (a, b),
        ):
            keys = list("wxyz")
            one.submit({key: [] for key in keys}, keys)
            await until(lambda: len(a.sent()) + len(b.sent()) == 4)
            long, short = a.sent()
            ids = a.run_ids()
            await a.heartbeat(one.scheduler, {long: 100.0, short: 1.0})
            a.break_link()
            await until(lambda: short in b.sent())
            assert on(one, long) == a.address
            one.scheduler.validate_state()
            both = a.has([held(short, ids[short])], [running(long, ids[long])])
            assert (await a.register(one.scheduler.address, both))["status"] == "OK"
            await a.finish(long, ids[long])
            await until(lambda: one.scheduler.tasks[long].state == "memory")
            assert short in a.freed()
            assert long not in b.sent()
            one.scheduler.validate_state()

    run(test())


def test_when_the_lease_is_over_it_is_done_elsewhere_and_the_late_one_refused() -> None:
    """Only one of the two may count."""

    async def test() -> None:
        async with living("a", "b", grace_s=0.1, after_s=10.0, lease_s=0.5) as (
            one,
            _presence,
            (a, b),
        ):
            one.submit({"x": [], "y": []}, ["x", "y"])
            await until(lambda: len(a.sent()) + len(b.sent()) == 2)
            (long,) = a.sent()
            ids = a.run_ids()
            await a.heartbeat(one.scheduler, {long: 100.0})
            a.break_link()
            await until(lambda: long in b.sent())
            answer = await a.register(
                one.scheduler.address, a.has([], [running(long, ids[long])])
            )
            assert answer["dtf"] == "fenced"

    run(test())


def test_a_task_may_have_a_lease_of_its_own() -> None:
    """It is said with the task, and counts in place of what is configured."""

    async def test() -> None:
        async with living("a", "b", grace_s=0.1, after_s=10.0, lease_s=0.0) as (
            one,
            _presence,
            (a, b),
        ):
            one.submit(
                {"x": [], "y": []},
                ["x", "y"],
                annotations={"dtf": {"x": {"lease": 3600.0}, "y": {"lease": 3600.0}}},
            )
            await until(lambda: len(a.sent()) + len(b.sent()) == 2)
            (long,) = a.sent()
            await a.heartbeat(one.scheduler, {long: 100.0})
            ws = one.scheduler.workers[a.address]
            a.break_link()
            await until(lambda: one.scheduler.get_events(a.address)[-1][1].get("keys"))
            assert {ts.key for ts in ws.processing} == {long}
            assert long not in b.sent()

    run(test())


@pytest.mark.parametrize("extensions", [{"spans": {("x", "no", "p"): 1.0}}, {"?": 1}])
def test_heartbeats_of_what_this_leader_does_not_know(extensions: Any) -> None:
    """A span that began under another leader must not close the worker."""

    async def test() -> None:
        async with living("a") as (one, _presence, (a,)):
            answer = await a.heartbeat(one.scheduler, {}, extensions=extensions)
            assert answer["status"] == "OK"

    run(test())


def test_the_installed_dask_has_all_that_links_lean_on() -> None:
    """A new version of Dask that breaks it is named here."""

    async def test() -> None:
        async with coordinator() as (one, _presence):
            assert dask_links.broken(one.scheduler) == ()

    run(test())
