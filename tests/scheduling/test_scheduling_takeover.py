"""The plugin in a real scheduler that takes over: told in the order of a takeover."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import dask
import distributed
import pytest
from dask._task_spec import Task
from dask_room import Room, advert, gathered, room, run
from distributed import Scheduler

from dtf_dask.durable.successor import RECORDS, Attempt, Successor
from dtf_dask.errors import TaskTimeoutError
from dtf_dask.scheduler_plugins.adapter import dask_grants, keeping
from dtf_dask.scheduler_plugins.adapter.keeper import Keeper
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings


class Kept:
    """Records that outlive a scheduler, in memory."""

    def __init__(self, found: Mapping[str, bytes] | None = None) -> None:
        self.found = dict(found or {})

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        self.keep_lazily(records)

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        for name, value in records.items():
            if value is None:
                self.found.pop(name, None)
            else:
                self.found[name] = value

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        return sorted(row for row in self.found.items() if row[0].startswith(prefix))


class Submitted(Task):
    """A task whose submission was written down."""

    at_s = 0.0

    def __reduce__(self) -> Any:
        return remade, (self.key, self.func, self.args, self.at_s)


def remade(key: str, function: Any, args: tuple[Any, ...], at_s: float) -> Submitted:
    task = Submitted(key, function, *args)
    task.at_s = at_s
    return task


@asynccontextmanager
async def successor(
    kept: Kept, *workers: Any, threads: int = 1, **options: Any
) -> AsyncIterator[Room]:
    """A room whose scheduler is taking over."""
    setattr(Scheduler, RECORDS, kept)  # before its plugins start
    try:
        engine = Engine(EngineSettings(prefetch_s=0.0))
        async with room(*workers, threads=threads, engine=engine, **options) as made:
            assert isinstance(made.plugin, Successor)
            made.plugin.recalling()
            yield made
    finally:
        delattr(Scheduler, RECORDS)


def runs(made: Room, key: str, worker: str, **more: Any) -> Attempt:
    """Let a task run on a worker, as it would have been put there."""
    keeper = made.plugin.keeper
    assert keeper is not None
    post = keeper.holding.posts.get(worker)
    assert post is not None
    keeper.holding.places[key] = post.ws
    dask_grants.grant(made.scheduler, [key])
    assert made.scheduler.tasks[key].processing_on is post.ws
    return Attempt(key, post.ws.address, **more)


async def submitted(made: Room, key: str, at_s: float, function: Any) -> Any:
    """A future of what notes its key, submitted then."""
    task = remade(key, function, (key,), at_s)
    (future,) = made.client.get({key: task}, [key], sync=False)
    await made.until(lambda: key in made.scheduler.tasks)
    return future


def keeper_of(made: Room) -> tuple[Keeper, keeping.Keeping]:
    keeper = made.plugin.keeper
    assert keeper is not None
    assert keeper.keeping is not None
    return keeper, keeper.keeping


ORDER: list[str] = []
GATE = threading.Event()
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    ORDER.clear()
    GATE.clear()
    yield
    GATE.set()


def note(name: str) -> str:
    ORDER.append(name)
    return name


def wait(name: str) -> str:
    assert GATE.wait(WAIT_S)
    return note(name)


def grow(name: str) -> str:
    """Fails once."""
    note(name)
    if ORDER.count(name) == 1:
        raise ValueError("the first time")
    return name


async def a_while(made: Room) -> None:
    """Let the scheduler do what it would do by now."""
    for _ in range(5):
        await asyncio.sleep(0.01)
    made.plugin.engine.check()


def test_nothing_is_placed_before_all_is_known() -> None:
    """Then what waits goes in the order of submission; what runs has its thread,
    and is not begun anew."""

    async def test() -> None:
        async with successor(Kept(), None) as made:
            first = await submitted(made, "first", 50.0, wait)
            late = await submitted(made, "late", 200.0, note)
            early = await submitted(made, "early", 100.0, note)
            await a_while(made)
            assert made.held() == 3
            made.plugin.adopted([runs(made, "first", "w0", for_s=100.0)])
            await a_while(made)
            assert made.held() == 2
            made.plugin.settled()
            await a_while(made)
            assert made.plugin.engine.summary(0.0)["running"] == 1
            assert made.held() == 2
            GATE.set()
            assert await gathered(made.client, [first, late, early])
            assert ORDER == ["first", "early", "late"]

    run(test)


def test_what_is_told_of_old_while_tasks_run_has_its_place_too() -> None:
    """It goes before what was submitted after it; who comes when all is told is new."""

    async def test() -> None:
        async with successor(Kept(), None) as made:
            first = await submitted(made, "first", 50.0, wait)
            late = await submitted(made, "late", 200.0, note)
            made.plugin.adopted([runs(made, "first", "w0", for_s=100.0)])
            made.plugin.resumed()
            early = await submitted(made, "early", 100.0, note)
            await a_while(made)
            made.plugin.settled()
            new = await submitted(made, "new", 25.0, note)
            await a_while(made)
            GATE.set()
            assert await gathered(made.client, [first, late, early, new])
            assert ORDER == ["first", "early", "late", "new"]

    run(test)


def test_a_deadline_counts_from_the_submission() -> None:
    """An hour ago it was an hour: whoever it is nearest for goes first."""

    async def test() -> None:
        async with successor(Kept()) as made:
            now = time.time()
            with dask.annotate(dtf={"deadline": "60 min"}):
                late = await submitted(made, "late", now - 60, note)
                soon = await submitted(made, "soon", now - 3500, note)
            made.plugin.settled()
            keeper, _ = keeper_of(made)
            left = keeper.holding.tasks["soon"].ask.deadline - keeper.holding.clock()
            assert 50 < left <= 100
            await made.worker("w0")
            assert await gathered(made.client, [late, soon])
            assert ORDER == ["soon", "late"]

    run(test)


def test_a_timeout_counts_from_the_true_start() -> None:
    """Of one that has run for longer than it may, nothing is waited for."""

    async def test() -> None:
        async with successor(Kept(), None) as made:
            with dask.annotate(dtf={"timeout": "100 s"}):
                task = await submitted(made, "long", 0.0, wait)
                other = await submitted(made, "other", 1.0, note)
            made.plugin.adopted([runs(made, "long", "w0", for_s=99.9)])
            made.plugin.settled()
            with pytest.raises(TaskTimeoutError, match="100 s"):
                await asyncio.wait_for(task, WAIT_S)
            GATE.set()
            assert await gathered(made.client, [other])

    run(test)


def test_what_runs_has_its_devices_and_what_parts_has_them_still() -> None:
    """One that runs has the device that it was granted; one that was taken back and
    goes on has its own until its worker says that it is over."""

    async def test() -> None:
        async with successor(Kept(), advert(gpus=2), threads=4) as made:
            with dask.annotate(dtf={"gpus": 1}):
                first = await submitted(made, "first", 0.0, wait)
                second = await submitted(made, "second", 1.0, note)
                third = await submitted(made, "third", 2.0, note)
            await a_while(made)
            attempts = [runs(made, "first", "w0", for_s=1.0, gpus=("GPU-1",))]
            (worker,) = made.workers
            gone = Attempt("second", worker.address, 1.0, gpus=("GPU-0",), wanted=False)
            made.plugin.adopted([*attempts, gone])
            running = made.plugin.engine._core.running
            assert {key: task.gpus for key, task in running.items()} == {
                "first": (1,),
                "second": (0,),
            }
            made.plugin.settled()
            # The worker knows nothing of "second": its place is free when it says so.
            assert await gathered(made.client, [second, third])
            assert running.keys() == {"first"}
            GATE.set()
            assert await gathered(made.client, [first])

    run(test)


def test_who_left_its_thread_to_others_takes_none() -> None:
    """A task that had seceded runs, and another one on its worker of one thread."""

    async def test() -> None:
        async with successor(Kept(), None) as made:
            first = await submitted(made, "first", 0.0, secede)
            second = await submitted(made, "second", 1.0, note)
            one = runs(made, "first", "w0", for_s=1.0, seceded=True)
            ts = made.scheduler.tasks["first"]
            await made.until(lambda: ts in ts.processing_on.long_running)
            made.plugin.adopted([one])
            made.plugin.settled()
            assert await gathered(made.client, [second])
            GATE.set()
            assert await gathered(made.client, [first])
            await a_while(made)
            assert made.plugin.engine.summary(0.0)["threads_used"] == 0

    run(test)


def secede(name: str) -> str:
    distributed.secede()
    note("seceded")
    return wait(name)


def test_one_that_runs_after_others_waits_for_those_that_are_not_over() -> None:
    """Whom nobody knows any more has ended; whom it waits for may run, or wait."""

    async def test() -> None:
        async with successor(Kept(), None, threads=2) as made:
            first = await submitted(made, "first", 0.0, wait)
            with dask.annotate(dtf={"after": ["first", "forgotten"]}):
                then = await submitted(made, "then", 0.0, note)
            made.plugin.adopted([runs(made, "first", "w0", for_s=1.0)])
            made.plugin.settled()
            await a_while(made)
            assert made.held() == 1
            GATE.set()
            assert await gathered(made.client, [first, then])
            assert ORDER == ["first", "then"]

    run(test)


def test_a_worker_that_comes_late_has_what_runs_there() -> None:
    """Its attempts are adopted after all was settled; a task that waits meanwhile has
    its place where it runs."""

    async def test() -> None:
        async with successor(Kept(), threads=1) as made:
            first = await submitted(made, "first", 0.0, wait)
            second = await submitted(made, "second", 1.0, note)
            made.plugin.adopted([])
            made.plugin.settled()
            await a_while(made)
            keeper, _ = keeper_of(made)
            keeper.holding.recalling = True  # so that nobody is placed meanwhile
            await made.worker("w0")
            await made.until(lambda: len(made.scheduler.running) == 1)
            made.plugin.adopted([runs(made, "first", "w0", for_s=1.0)])
            keeper.holding.recalling = False
            keeper.holding.wake()
            await a_while(made)
            assert made.held() == 1
            GATE.set()
            assert await gathered(made.client, [first, second])
            assert ORDER == ["first", "second"]

    run(test)


def test_what_is_learned_outlives_a_scheduler() -> None:
    """Durations, who failed where, and what was made more urgent: the next scheduler
    has them before it places anything; of what is over nothing is left."""

    async def test() -> None:
        kept = Kept()
        async with successor(kept, None, delay_s=lambda attempt: 600.0) as made:
            made.plugin.settled()
            with dask.annotate(dtf={"retries": 3}):
                failing = await submitted(made, "grow-1", 0.0, grow)
            await gathered(made.client, [await submitted(made, "a-1", 0.0, note)])
            await made.workers.pop().close()
            held = [
                await submitted(made, f"held-{number}", number, note)
                for number in range(3)
            ]
            await made.until(lambda: made.held() == 4)
            scheduler = made.client.scheduler
            answer = await scheduler.dtf_reprioritize(
                keys=["held-2"], priority_class="interactive"
            )
            assert answer == {"changed": 1}
            keeper, kept_by = keeper_of(made)
            kept_by.tick()
            known = made.plugin.engine._core.estimates.groups("a")
            assert known
            kept = Kept(kept.found)  # it is killed
            del failing, held
        ORDER.clear()
        async with successor(kept, delay_s=lambda attempt: 600.0) as made:
            held = [
                await submitted(made, f"held-{number}", number, note)
                for number in range(3)
            ]
            with dask.annotate(dtf={"retries": 3}):
                failing = await submitted(made, "grow-1", 0.0, note)
            made.plugin.settled()
            assert made.plugin.engine._core.estimates.groups("a") == known
            keeper, kept_by = keeper_of(made)
            task = keeper.holding.tasks["grow-1"]
            assert (task.attempts, task.avoid) == (1, {"w0"})
            await made.worker("w1")
            await gathered(made.client, [*held, failing])
            assert ORDER.index("held-2") == 0
            del held, failing, task
            await made.until(lambda: not keeper.holding.tasks)
            kept_by.tick()
            kinds = {name[len(keeping.PREFIX)] for name in kept.found}
            assert kinds == {"l"}

    run(test)


def test_breakers_rest_as_long_as_they_would_have() -> None:
    """One that is open is open in the next scheduler too, until then."""

    async def test() -> None:
        kept = Kept()
        async with successor(kept, None) as made:
            made.plugin.settled()
            breakers = made.plugin.engine._core.breakers
            keeper, kept_by = keeper_of(made)
            now = keeper.holding.clock()
            breakers._open(("", "w0"), breakers._breaker(("", "w0")), "bad", now)
            kept_by.tick()
            before = set(kept.found.items())
            kept_by.tick()
            assert set(kept.found.items()) == before  # nothing has changed
        async with successor(kept, None) as made:
            waiting = await submitted(made, "x", 0.0, note)
            made.plugin.settled()
            await a_while(made)
            assert made.held() == 1
            (row,) = made.plugin.engine.worker_rows(time.monotonic())
            assert row["breaker"] == "open"
            assert "bad" in row["shut"]
            del waiting

    run(test)


@pytest.mark.logs("1 records of the scheduler that led before cannot be read")
def test_records_that_make_no_sense_are_left_out() -> None:
    """Of another version's, or damaged ones, it is said how many there were."""

    async def test() -> None:
        kept = Kept()
        kept.found = {f"{keeping.PREFIX}l/1": b"x"}
        async with successor(kept, None) as made:
            made.plugin.settled()
            assert made.plugin.failure == ""
            future = await submitted(made, "x", 0.0, note)
            assert await gathered(made.client, [future])

    run(test)
