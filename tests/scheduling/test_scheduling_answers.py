"""What the scheduler answers about tasks, and what it does when it is told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import dask
import pytest
from dask_room import advert, gathered, room, run
from distributed.scheduler import NoValidWorkerError

from dtf_dask.errors import DeadlineError, UsageError
from dtf_dask.worker_plugins.hardware.granted import granted_gpus

ORDER: list[str] = []
SPANS: list[tuple[str, float, float]] = []


def note(name: str, pause_s: float = 0.0) -> str:
    time.sleep(pause_s)
    ORDER.append(name)
    return name


def spend(name: str) -> None:
    began = time.monotonic()
    time.sleep(0.05)
    SPANS.append((name, began, time.monotonic()))


def where() -> str:
    from distributed import get_worker

    return str(get_worker().name)


def test_explain_says_what_each_worker_lacks() -> None:
    """Of a task that waits; of one that is nobody's, and of one that ran."""

    async def check() -> None:
        async with room(advert({"memory": 2**30})) as made:
            with dask.annotate(dtf={"hardware": "gpu.count >= 1"}):
                waits = made.client.submit(note, "waits")
            done = made.client.submit(note, "done")
            await done
            await made.until(lambda: made.held() == 1)
            answers = await made.client.scheduler.dtf_explain(
                keys=[waits.key, done.key, "stranger"]
            )
            first, second, third = answers
            assert first["state"] == "waiting"
            assert "gpu.count >= 1" in first["needs"]
            assert first["lacks"][0]["example"] == "w0"
            assert second["state"] == "memory"
            assert third["state"] == "unknown"

    run(check)


def test_queue_and_workers() -> None:
    """Rows of plain values, and no failure."""

    async def check() -> None:
        async with room(advert(gpus=1), {"version": 9}) as made:
            with dask.annotate(dtf={"hardware": "gpu.count >= 4", "tenant": "ada"}):
                waits = made.client.submit(note, "waits")
            await made.until(lambda: made.held() == 1)
            queue = await made.client.scheduler.dtf_queue()
            assert queue["failure"] == ""
            assert [row["tenant"] for row in queue["rows"]] == ["ada"]
            assert queue["summary"]["waiting"] == 1
            workers = await made.client.scheduler.dtf_workers()
            assert [row["name"] for row in workers["rows"]] == ["w0", "w1"]
            assert "version 9" in str(workers["adverts"][1]["problems"])
            del waits

    run(check)


def test_reprioritising_works_on_waiting_tasks() -> None:
    """The last one submitted runs next; nonsense is refused."""

    async def check() -> None:
        ORDER.clear()
        async with room(None) as made:
            await made.worker("one", nthreads=1, resources={"ONE": 1})
            one: dict[str, Any] = {"resources": {"ONE": 1}}
            first = made.client.submit(note, "first", 0.3, **one)
            names = ["a", "b", "c", "d"]
            rest = [made.client.submit(note, name, **one) for name in names]
            await made.until(lambda: made.held() == 4)
            tell = made.client.scheduler.dtf_reprioritize
            answer = await tell(keys=[rest[3].key], priority_class="interactive")
            assert answer["changed"] == 1
            answer = await tell(keys=[rest[2].key], priority=5)
            assert answer["changed"] == 1
            with pytest.raises(UsageError, match="priority_class"):
                await tell(keys=[rest[2].key], priority_class="no such!")
            await gathered(made.client, [first, *rest])
            assert ORDER == ["first", "d", "c", "a", "b"]

    run(check)


def test_gpus_are_told_to_the_attempt() -> None:
    """Each task sees the device that it was granted, and no two at once the same."""

    def seen(number: int) -> tuple[str, ...]:
        time.sleep(0.02)
        return granted_gpus()

    async def check() -> None:
        async with room(advert(gpus=2), threads=4) as made:
            with dask.annotate(dtf={"gpus": 1}):
                futures = [
                    made.client.submit(seen, number, key=f"gpu-{number}")
                    for number in range(6)
                ]
            found = await gathered(made.client, futures)
            assert [len(one) for one in found] == [1] * 6
            assert len(set(found)) == 2

    run(check)


def test_a_gpu_that_is_lost_takes_no_more_tasks() -> None:
    """A new advert counts at once, for tasks that wait as for those to come."""

    async def check() -> None:
        async with room(advert(gpus=1), advert(gpus=1)) as made:
            lost = advert(gpus=1)
            lost["gpus"][0]["state"] = "lost"
            lost["facts"]["gpu.count"] = 0
            made.workers[0].log_event("dtf-hardware", lost)
            rows: list[Any] = []

            async def told() -> bool:
                rows[:] = (await made.client.scheduler.dtf_workers())["rows"]
                return bool(rows[0]["gpus_lost"])

            while not await told():
                await asyncio.sleep(0.01)
            with dask.annotate(dtf={"gpus": 1}):
                futures = made.client.map(place, range(5), pure=False)
            assert set(await gathered(made.client, futures)) == {"w1"}

    run(check)


def place(number: int) -> str:
    from distributed import get_worker

    return str(get_worker().name)


def test_no_workers_timeout_fails_only_what_nobody_can_run() -> None:
    """Dask's own setting holds, with Dask's error; what merely queues is let be."""

    async def check() -> None:
        config = {"distributed.scheduler.no-workers-timeout": "300ms"}
        with dask.config.set(config):
            async with room(None) as made:
                queued = [
                    made.client.submit(note, f"q{number}", 0.2, pure=False)
                    for number in range(8)
                ]
                never = made.client.submit(note, "never", resources={"NONE": 1})
                with pytest.raises(NoValidWorkerError, match="NONE"):
                    await asyncio.wait_for(never, 60)
                assert len(await gathered(made.client, queued)) == 8
                assert made.plugin.failure == ""

    run(check)


def test_what_a_worker_lies_about_is_left_out_and_said() -> None:
    """A billion GPUs are none, a mapping that is none says nothing; others work on."""

    async def check() -> None:
        odd = advert({"gpu.count": 10**9, "memory": -1, "colour": "red"})
        odd["gpus"] = [{"id": n} for n in range(2000)]
        async with room(odd, {"version": 1, "facts": "many"}, advert(gpus=1)) as made:
            with dask.annotate(dtf={"hardware": "gpu.count >= 1"}):
                futures = [made.client.submit(where, key=f"w-{n}") for n in range(9)]
            assert set(await gathered(made.client, futures)) == {"w2"}
            told = await made.client.scheduler.dtf_workers()
            problems = {
                one["name"]: " ".join(one["problems"]) for one in told["adverts"]
            }
            assert "gpu.count = 1000000000" in problems["w0"]
            assert "expected a mapping" in problems["w1"]
            assert problems["w2"] == ""
            assert made.plugin.failure == ""

    run(check)


def test_what_cannot_be_in_time_is_said_refused_or_cancelled() -> None:
    """As the task wants it; what runs all the same is counted when it is late."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            for number in range(3):  # by what such tasks took
                await client.submit(time.sleep, 0.4, key=f"slow-{number}")
            with dask.annotate(dtf={"deadline": 0.1}):
                runs = client.submit(time.sleep, 2, key="slow-8")
            with dask.annotate(dtf={"deadline": 0.1, "on_late": "refuse"}):
                refused = client.submit(time.sleep, 0, key="slow-9")
            await made.until(lambda: runs.key in made.scheduler.tasks)
            answer = (await client.scheduler.dtf_explain(keys=[runs.key]))[0]
            assert "deadline" in answer["warning"]
            with pytest.raises(DeadlineError, match="deadline"):
                await asyncio.wait_for(refused, 60)
            with dask.annotate(dtf={"deadline": 0.2, "on_late": "cancel"}):
                cancelled = client.submit(time.sleep, 0, key="cancelled")
            with pytest.raises(DeadlineError):  # it cannot begin before that is over
                await asyncio.wait_for(cancelled, 60)
            await asyncio.wait_for(runs, 60)
            summary = (await client.scheduler.dtf_queue())["summary"]
            assert summary["deadlines_missed"] >= 1
            assert made.plugin.failure == ""

    run(check)


def test_an_exclusive_task_has_its_worker_to_itself() -> None:
    """Nothing begins beside it, and it does not wait for ever."""
    SPANS.clear()

    async def check() -> None:
        async with room(None, threads=3) as made:
            before = [made.client.submit(spend, f"a-{n}") for n in range(9)]
            with dask.annotate(dtf={"exclusive": True, "class": "interactive"}):
                alone = made.client.submit(spend, "alone")
            behind = [made.client.submit(spend, f"b-{n}") for n in range(9)]
            await gathered(made.client, [*before, alone, *behind])
            ((_, began, ended),) = [one for one in SPANS if one[0] == "alone"]
            beside = [
                name
                for name, start, stop in SPANS
                if name != "alone" and start < ended and stop > began
            ]
            assert beside == []

    run(check)
