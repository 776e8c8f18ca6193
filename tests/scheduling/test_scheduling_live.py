"""Governed tasks on real workers: they run, wait, move and end as they should."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import dask
import pytest
from dask_room import Room, advert, gathered, room, run

from dtf_dask.errors import (
    TaskRefusedError,
    TaskTimeoutError,
    UpstreamFailedError,
)

NOTES: list[Any] = []
"""What tasks of this process noted; each test begins with an empty list."""
LET_GO = threading.Event()
"""Ends a task that is too long."""


@pytest.fixture(autouse=True)
def _empty_notes() -> None:
    NOTES.clear()


def inc(x: int) -> int:
    return x + 1


def fails_at_first(times: int) -> str:
    NOTES.append((where(), time.monotonic()))
    if len(NOTES) <= times:
        raise ValueError("once more")
    return "done"


def note(name: str, pause_s: float, *inputs: object) -> None:
    time.sleep(pause_s)
    NOTES.append(name)
    if name == "fails":
        raise ValueError("it does")


def too_long() -> None:
    LET_GO.wait(60)
    NOTES.append("over")


def what_was_noted() -> list[Any]:
    return list(NOTES)


def where(number: int = 0, pause_s: float = 0.0) -> str:
    from distributed import get_worker

    time.sleep(pause_s)
    return str(get_worker().name)


def only_on(name: str) -> None:
    if where() != name:
        raise ValueError(f"it runs on {name} only")


def settled(made: Room) -> bool:
    """Whether nothing is left of what ran."""
    engine: Any = made.plugin.engine
    engine.check()
    return not engine._core.running and not engine._core.lanes.tasks


def test_plain_tasks_are_governed_and_run() -> None:
    """Roots go through the engine, their dependents through Dask; nothing is left."""

    async def check() -> None:
        async with room(None, None, threads=2) as made:
            futures = made.client.map(inc, range(200))
            total = made.client.submit(sum, futures)
            assert await asyncio.wait_for(total, 60) == sum(range(1, 201))
            granted = {task.stage for task in made.plugin.keeper.holding.tasks.values()}
            assert granted == {"over"}
            assert len(made.plugin.keeper.holding.tasks) == 200
            del futures, total
            await made.until(lambda: not made.scheduler.tasks)
            assert settled(made)
            assert made.plugin.keeper.holding.tasks == {}
            assert made.plugin.failure == ""

    run(check)


def test_only_annotated_tasks_are_governed_if_so_configured() -> None:
    """Plain ones, those bound to a worker and actors are Dask's own, and all run."""

    async def check() -> None:
        async with room(None, threads=2, govern_all=False) as made:
            plain = made.client.map(inc, range(20))
            bound = made.client.submit(where, 1, workers=["w0"])
            with dask.annotate(dtf={"class": "release"}):
                asked = made.client.submit(inc, 100)
            needs = made.client.submit(inc, plain[0], resources={"BOARD": 1})
            assert await gathered(made.client, plain) == list(range(1, 21))
            assert await bound == "w0"
            assert await asked == 101
            await made.until(lambda: made.held() == 1)
            ours = set(made.plugin.keeper.holding.tasks)
            assert ours == {asked.key, needs.key}

    run(check)


def test_a_late_worker_picks_up_a_waiting_task() -> None:
    """What nobody can run waits, and runs as soon as somebody comes who can."""

    async def check() -> None:
        async with room(None) as made:
            with dask.annotate(dtf={"hardware": "label.board == 'rpi4'"}):
                future = made.client.submit(where)
            await made.until(lambda: made.held() == 1)
            assert await made.client.submit(inc, 1) == 2
            await made.worker("board", advert({"label.board": "rpi4"}))
            assert await asyncio.wait_for(future, 60) == "board"

    run(check)


def test_a_gpu_task_never_runs_on_a_worker_without_one() -> None:
    """Not when others are idle and Dask would steal it."""

    async def check() -> None:
        config = {"distributed.scheduler.work-stealing-interval": "10ms"}
        with dask.config.set(config):
            async with room(advert(gpus=1), advert(), advert()) as made:
                with dask.annotate(dtf={"gpus": 1}):
                    gpu = made.client.map(where, range(12), pause_s=0.03, pure=False)
                await asyncio.sleep(0.1)
                with dask.annotate(dtf={"hardware": "gpu.count >= 1"}):
                    more = made.client.map(where, range(12), pause_s=0.01, pure=False)
                with dask.annotate(dtf={"gpus": 1}):
                    loose = made.client.map(
                        where,
                        range(12),
                        pause_s=0.02,
                        pure=False,
                        workers=["w1"],
                        allow_other_workers=True,
                    )
                futures = gpu + more + loose
                assert set(await gathered(made.client, futures)) == {"w0"}

    run(check)


_inside, _most = 0, 0
_lock = threading.Lock()


def alone(number: int) -> int:
    """Counts how many of these run at once."""
    global _inside, _most
    with _lock:
        _inside += 1
        _most = max(_most, _inside)
    time.sleep(0.01)
    with _lock:
        _inside -= 1
    return number


@pytest.mark.parametrize("how", ["dask", "annotation"])
def test_resources_are_never_oversubscribed(how: str) -> None:
    """Of three tasks of one unit, two run at a time where there are two units."""

    async def check() -> None:
        global _most
        _most = 0
        async with room() as made:
            await made.worker("w", nthreads=4, resources={"BOARD": 2})
            if how == "dask":
                futures = made.client.map(alone, range(20), resources={"BOARD": 1})
            else:
                with dask.annotate(dtf={"resources": {"BOARD": 1}}):
                    futures = made.client.map(alone, range(20))
            assert await gathered(made.client, futures) == list(range(20))
            assert _most == 2
            (ws,) = made.scheduler.workers.values()
            assert ws.used_resources == {"BOARD": 0}

    run(check)


def test_a_restricted_task_waits_for_its_worker() -> None:
    """Dask's ``workers=`` holds beside an annotation, also for one that comes later."""

    async def check() -> None:
        async with room(None) as made:
            with dask.annotate(dtf={"class": "release"}):
                here = made.client.submit(where, 1, workers=["w0"])
                later = made.client.submit(where, 2, workers=["127.0.0.1:45893"])
            assert await asyncio.wait_for(here, 60) == "w0"
            await made.until(lambda: made.held() == 1)
            await made.worker("late", port=45893)
            assert await asyncio.wait_for(later, 60) == "late"

    run(check)


def test_set_resources_lets_waiting_tasks_run() -> None:
    """And what is in use of them is still counted by Dask."""

    async def check() -> None:
        async with room(None) as made:
            future = made.client.submit(inc, 1, resources={"BOARD": 1})
            await made.until(lambda: made.held() == 1)
            await made.workers[0].set_resources(BOARD=1)
            assert await asyncio.wait_for(future, 60) == 2
            (ws,) = made.scheduler.workers.values()
            assert ws.used_resources == {"BOARD": 0}

    run(check)


def test_cancelled_while_held() -> None:
    """It leaves the engine, and can be submitted again."""

    async def check() -> None:
        async with room(None) as made:
            with dask.annotate(dtf={"gpus": 1}):
                future = made.client.submit(where, key="once")
                await made.until(lambda: made.held() == 1)
                await future.cancel()
                # After this nothing that Dask said of the cancelled one is under way.
                with dask.annotate(dtf={"gpus": 0}):
                    assert await made.client.submit(inc, 1) == 2
                await made.until(lambda: not made.scheduler.tasks)
                assert settled(made)
                again = made.client.submit(where, key="once")
                await made.until(lambda: made.held() == 1)
                await made.worker("gpu", advert(gpus=1))
                assert await asyncio.wait_for(again, 60) == "gpu"

    run(check)


def test_cancelled_while_it_runs_keeps_its_place_until_it_is_over() -> None:
    """The thread is still taken: nothing else is sent there before."""

    async def check() -> None:
        async with room(None) as made:
            LET_GO.clear()
            long = made.client.submit(too_long, key="long")
            await made.until(lambda: bool(made.workers[0].state.executing))
            await long.cancel()
            await made.until(lambda: "long" not in made.scheduler.tasks)
            other = made.client.submit(what_was_noted)
            await made.until(lambda: made.held() == 1)
            await asyncio.sleep(0.1)
            assert "long" in made.plugin.engine._core.running
            assert not NOTES
            assert not other.done()
            LET_GO.set()
            assert await asyncio.wait_for(other, 60) == ["over"]
            await made.until(lambda: settled(made))

    run(check)


@pytest.mark.parametrize("times", [1, 3])
def test_a_failed_attempt_is_tried_elsewhere_first(times: int) -> None:
    """Never first on the worker that just failed it; Dask's retries are obeyed."""

    async def check() -> None:
        async with room(None, None) as made:
            future = made.client.submit(fails_at_first, times, retries=times)
            assert await asyncio.wait_for(future, 60) == "done"
            assert len(NOTES) == times + 1
            assert NOTES[0][0] != NOTES[1][0]
            assert settled(made)

    run(check)


def test_retries_of_the_annotation_with_backoff() -> None:
    """They count like Dask's, and each is preceded by its pause."""

    async def check() -> None:
        async with room(None, delay_s=lambda attempt: 0.1 * attempt) as made:
            with dask.annotate(dtf={"retries": 2}):
                future = made.client.submit(fails_at_first, 9)
            with pytest.raises(ValueError, match="once more"):
                await asyncio.wait_for(future, 60)
            assert len(NOTES) == 3
            times = [at for _, at in NOTES]
            assert times[1] - times[0] > 0.09
            assert times[2] - times[1] > 0.19

    run(check)


def test_a_task_that_runs_too_long_fails_in_time() -> None:
    """It says so while it still runs, and its thread is not given away meanwhile."""

    async def check() -> None:
        LET_GO.clear()
        async with room(None) as made:
            began = time.monotonic()
            with dask.annotate(dtf={"timeout": 0.2}):
                future = made.client.submit(too_long)
            with pytest.raises(TaskTimeoutError, match=r"longer than the 0\.2 s"):
                await asyncio.wait_for(future, 60)
            assert time.monotonic() - began > 0.15
            after = made.client.submit(what_was_noted)
            await made.until(lambda: made.held() == 1)
            await asyncio.sleep(0.3)
            assert NOTES == []
            assert not after.done()
            LET_GO.set()
            assert await asyncio.wait_for(after, 60) == ["over"]
            await made.until(lambda: settled(made))

    run(check)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"hardware": "gpu.cont >= 1"}, "did you mean 'gpu.count'"),
        ({"memory": -5}, "memory = -5"),
        ({"colour": "red"}, "unknown annotation 'colour'"),
        ({"name": ""}, "1 to 1000 printable"),
        ({"name": "x" * 1001, "deadline": 5.0}, "1 to 1000 printable"),
        ("gpu please", "expected a mapping"),
    ],
)
def test_nonsense_is_refused_and_the_scheduler_goes_on(wish: Any, words: str) -> None:
    """The error names the fault; what depends on it fails with it."""

    async def check() -> None:
        async with room(None) as made:
            with dask.annotate(dtf=wish):
                bad = made.client.submit(inc, 1)
            after = made.client.submit(inc, bad)
            with pytest.raises(TaskRefusedError, match=words):
                await asyncio.wait_for(bad, 60)
            with pytest.raises(TaskRefusedError, match=words):
                await asyncio.wait_for(after, 60)
            assert await made.client.submit(inc, 5) == 6
            assert made.plugin.failure == ""

    run(check)


def test_a_task_is_learned_of_under_the_name_that_it_has() -> None:
    """Calls of one function that are named differ, and other calls are apart."""

    async def check() -> None:
        async with room(None) as made:
            client, engine = made.client, made.plugin.engine
            for name, pause_s in (("quick", 0.0), ("slow[a]", 0.6), ("slow[b]", 0.6)):
                with dask.annotate(dtf={"name": name, "class": "release"}):
                    await client.submit(where, 1, pause_s, pure=False)
            await client.submit(where, 2)
            learned = {
                name: estimate.seconds
                for name in ("quick", "slow[a]", "slow[b]", "where")
                for estimate in engine._core.estimates.groups(name).values()
            }
            assert (
                learned["quick"] < 0.5 <= learned["slow[a]"] <= learned["slow[b]"] * 2
            )
            assert learned["where"] < 0.5
            with dask.annotate(dtf={"name": "slow[c]", "deadline": 0.1}):
                late = client.submit(where, 3)
            await late
            note = made.plugin.keeper.holding.tasks[late.key].note
            assert "cannot meet: needs about" in note

    run(check)


def test_failures_are_counted_under_the_name_of_a_task() -> None:
    """What fails on one kind of machine under one name is kept from it; no other is."""

    async def check() -> None:
        kinds = [advert({"cpu.model": model}) for model in ("Good", "Bad")]
        async with room(*kinds) as made:
            for model, name in (("Good", "picky"), *[("Bad", "picky")] * 3):
                wish = {"name": name, "hardware": f"cpu.model == '{model}'"}
                with dask.annotate(dtf=wish):
                    future = made.client.submit(only_on, "w0", pure=False)
                if model == "Good":
                    await future
                else:
                    with pytest.raises(ValueError, match="on w0 only"):
                        await future
            rows = made.plugin.engine._core.breakers.rows(time.monotonic())
            assert "picky" in {name for (name, _), _, _ in rows}
            assert "only_on" not in {name for (name, _), _, _ in rows}

    run(check)


def test_upstream_failures() -> None:
    """A dependent may be skipped, or run with the error; strict ones fail."""

    async def check() -> None:
        async with room(None) as made:

            def breaks() -> None:
                time.sleep(0.1)
                raise ValueError("broken")

            def kind(value: object) -> str:
                return f"{type(value).__name__}: {value}"

            client = made.client
            first = client.submit(breaks, key="first")
            strict = client.submit(kind, first, key="strict")
            with dask.annotate(dtf={"on_upstream_failure": "run"}):
                runs = client.submit(kind, first, key="runs")
                later = client.submit(kind, strict, key="later")
            with dask.annotate(dtf={"on_upstream_failure": "skip"}):
                skipped = client.submit(kind, first, key="skipped")
            words = "UpstreamFailedError: 'first' failed: .*broken"
            assert re.match(words, await asyncio.wait_for(runs, 60))
            assert re.match(words, await asyncio.wait_for(later, 60))
            with pytest.raises(UpstreamFailedError, match="it was skipped: 'first'"):
                await asyncio.wait_for(skipped, 60)
            for future in (first, strict):
                with pytest.raises(ValueError, match="broken"):
                    await asyncio.wait_for(future, 60)
            assert made.plugin.failure == ""
            assert settled(made)

    run(check)


def test_after_waits_for_any_outcome() -> None:
    """Of tasks of the engine, and of Dask's own."""

    async def check() -> None:
        async with room(None, threads=4) as made:
            client = made.client
            root = client.submit(note, "root", 0.1, key="root")
            foreign = client.submit(note, "fails", 0.1, root, key="foreign")
            with dask.annotate(dtf={"after": ["root", "foreign"]}):
                last = client.submit(note, "last", 0, key="last")
            await asyncio.wait_for(last, 60)
            assert NOTES == ["root", "fails", "last"]
            with pytest.raises(ValueError, match="it does"):
                await foreign

    run(check)


def test_after_names_tasks_of_the_same_graph_done_ones_and_cancelled_ones() -> None:
    """What is over counts, what is cancelled is over; the unknown is refused."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            done = client.submit(note, "done", 0, key="done")
            await done
            with dask.annotate(dtf={"gpus": 1}):
                never = client.submit(note, "never", 0, key="never")
            with dask.annotate(dtf={"after": ["done"]}):
                second = client.submit(note, "second", 0, key="second")
            await asyncio.wait_for(second, 60)
            with dask.annotate(dtf={"after": ["never"]}):
                third = client.submit(note, "third", 0, key="third")
            await made.until(lambda: made.held() == 2)
            answer = (await client.scheduler.dtf_explain(keys=["third"]))[0]
            assert answer["state"] == "held"
            assert "never" in answer["why"]
            await never.cancel()
            await asyncio.wait_for(third, 60)
            with dask.annotate(dtf={"after": ["nobody"]}):
                refused = client.submit(note, "refused", 0, key="refused")
            with pytest.raises(TaskRefusedError, match="names no task: nobody"):
                await asyncio.wait_for(refused, 60)
            assert NOTES == ["done", "second", "third"]
            assert settled(made)

    run(check)


def test_a_worker_that_dies_gives_its_tasks_back() -> None:
    """They are run by another one."""

    async def check() -> None:
        async with room(None) as made:
            futures = made.client.map(where, range(4), pause_s=0.2, pure=False)
            await made.until(lambda: bool(made.workers[0].state.executing))
            await made.worker("other")
            await made.workers[0].close()
            assert set(await gathered(made.client, futures)) == {"other"}
            await made.until(lambda: settled(made))

    run(check)


def test_retiring_a_worker() -> None:
    """It gets nothing new, and what it holds is finished or run elsewhere."""

    async def check() -> None:
        async with room(None, None) as made:
            futures = made.client.map(where, range(20), pause_s=0.02, pure=False)
            await made.until(lambda: bool(made.workers[0].state.executing))
            await made.client.retire_workers([made.workers[0].address])
            names = await gathered(made.client, futures)
            assert len(names) == 20
            assert names[-1] == "w1"
            assert made.plugin.failure == ""

    run(check)


def fail_later(plugin: Any, hook: str, count: int) -> None:
    """Let the keeper's hook raise at its n-th call."""
    real, calls = getattr(plugin.keeper, hook), iter(range(10**9))

    def broken(*args: Any) -> Any:
        if next(calls) >= count:
            raise RuntimeError("a bug in the engine")
        return real(*args)

    setattr(plugin.keeper, hook, broken)
    if hook == "pump":
        plugin.keeper.holding.pump = broken


@pytest.mark.logs("Tasks are scheduled by Dask alone", "The scheduling engine failed")
@pytest.mark.parametrize(
    ("hook", "count"), [("submitted", 0), ("moved", 0), ("moved", 37), ("pump", 3)]
)
def test_a_hook_that_raises_hands_all_back_to_dask(hook: str, count: int) -> None:
    """Fail-open: everything still completes, and the failure can be read."""

    async def check() -> None:
        async with room(None, None) as made:
            fail_later(made.plugin, hook, count)
            futures = made.client.map(inc, range(50))
            assert await gathered(made.client, futures) == list(range(1, 51))
            assert "a bug in the engine" in made.plugin.failure
            answer = await made.client.scheduler.dtf_queue()
            assert "a bug in the engine" in answer["failure"]
            assert await made.client.submit(inc, 100) == 101

    run(check)
