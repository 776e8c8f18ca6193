"""The seam: what it uses of Dask is there, and the plugin stands back if it is not."""

from __future__ import annotations

import dask
import distributed
import pytest
from dask_room import room, run
from distributed.scheduler import Scheduler, SchedulerState

from dtf_dask.scheduler_plugins.adapter import dask_contract, dask_grants


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def test_the_installed_dask_has_what_the_seam_uses() -> None:
    """Names, entries of the transition table and call sites, by a real scheduler."""

    async def check() -> None:
        async with room() as made:
            assert dask_contract.broken(made.scheduler) == ()
            assert made.plugin.failure == ""

    run(check)


def test_the_installed_dask_is_one_that_was_tested() -> None:
    """The range that is stated includes what these tests run with."""
    oldest, newest = map(version, dask_contract.VERSIONS)
    assert oldest <= version(distributed.__version__) <= newest


@pytest.mark.logs("Tasks are scheduled by Dask alone")
def test_a_name_that_is_gone_leaves_scheduling_to_dask() -> None:
    """It is said once, nothing is replaced, and tasks run."""

    async def check() -> None:
        with pytest.MonkeyPatch.context() as patch:
            real = SchedulerState._transition_waiting_processing

            def other(self: Scheduler, key: str, stimulus_id: str) -> object:
                return real(self, key, stimulus_id)

            patch.setattr(SchedulerState, "_transition_waiting_processing", other)
            patch.setattr(dask_contract, "REPLACED", ("no_such",))
            async with room(None) as made:
                assert "Scheduler.no_such" in made.plugin.failure
                assert "is_rootish in" in made.plugin.failure
                assert "is_rootish" not in vars(made.scheduler)
                assert await made.client.submit(sum, [1, 2]) == 3

    run(check)


TRIES: list[int] = []


def fails_once() -> int:
    TRIES.append(1)
    return len(TRIES) // (len(TRIES) - 1)


def test_a_task_is_held_in_one_step() -> None:
    """Dask's own way has three; what a worker gives back is held in one, too."""

    async def check() -> None:
        async with room(None) as made:
            client, scheduler = made.client, made.scheduler
            with dask.annotate(dtf={"hardware": "label.none == 'x'"}):
                held = client.submit(sum, [1, 2])
            await made.until(lambda: made.held() == 1)
            assert _states(scheduler, held.key) == [("released", "no-worker")]
            TRIES.clear()
            again = client.submit(fails_once, retries=1)
            assert await again == 2
            assert _states(scheduler, again.key) == [
                *(("released", "no-worker"), ("no-worker", "processing")),
                *(("processing", "released"), ("released", "no-worker")),
                *(("no-worker", "processing"), ("processing", "memory")),
            ]

    run(check)


def _states(scheduler: Scheduler, key: object) -> list[tuple[str, str]]:
    return [
        (one.start, one.finish)
        for one in scheduler.transition_log
        if one.key == key and one.start != one.finish
    ]


def test_giving_back_leaves_nothing_behind() -> None:
    """After `Hold.end` the scheduler's methods and handlers are its own."""

    async def check() -> None:
        async with room() as made:
            scheduler = made.scheduler
            streams = dict(scheduler.stream_handlers)
            hold = dask_grants.Hold(scheduler, {})
            before = dict(vars(scheduler))
            hold.begin()
            hold.listen("task-erred", lambda message: True)
            hold.watch_failures(lambda *failing: None, lambda *failed: None)
            hold.end()
            assert {name: vars(scheduler).get(name) for name in before} == before
            assert scheduler.stream_handlers == streams

    run(check)
