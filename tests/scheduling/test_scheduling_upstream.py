"""What becomes of tasks when one that they depend on fails: of all, or edge by edge."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import dask
import distributed
import pytest
from dask_room import Room, room, run
from distributed.scheduler import KilledWorker

from dtf_dask.errors import OverloadedError, TaskRefusedError, UpstreamFailedError
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings

TIMES: dict[str, int] = {}


def breaks(pause_s: float = 0.0, *inputs: object) -> None:
    time.sleep(pause_s)
    raise ValueError("broken")


def breaks_first(name: str, times: int) -> str:
    TIMES[name] = TIMES.get(name, 0) + 1
    if TIMES[name] <= times:
        raise ValueError("not yet")
    return "well"


def told(*inputs: object) -> list[str]:
    return [
        f"{type(one).__name__}: {one}" if isinstance(one, Exception) else str(one)
        for one in inputs
    ]


def dies() -> None:
    os._exit(1)


def on(failure: Any, **more: Any) -> Any:
    """What tasks submitted here do when others fail."""
    return dask.annotate(dtf={"on_upstream_failure": failure, **more})


async def ends(future: Any) -> Any:
    """Its result, or its error, soon."""
    try:
        return await asyncio.wait_for(future, 60)
    except Exception as error:
        return error


async def emptied(made: Room) -> None:
    """When nobody wants anything any more, nothing is left of it."""
    made.scheduler.validate_state()
    assert made.plugin.failure == ""
    made.scheduler.remove_client(made.client.id)
    engine: Any = made.plugin.engine
    await made.until(lambda: not made.scheduler.tasks and not engine._core.running)
    assert made.plugin.keeper is not None
    assert not made.plugin.keeper.holding.tasks
    assert not engine._core.lanes.tasks


@pytest.mark.parametrize("already", [False, True])
def test_each_edge_has_its_word(already: bool) -> None:
    """Named, unnamed, by "*": the same whether it fails later or has failed before."""

    async def check() -> None:
        async with room(None, threads=2) as made:
            client, pause_s = made.client, 0.0 if already else 0.3
            well = client.submit(sum, [1, 2], key="well")
            first = client.submit(breaks, pause_s, key="first")
            second = client.submit(breaks, pause_s + 0.1, key="second")
            if already:
                await asyncio.gather(first, second, return_exceptions=True)
            with on({"first": "run", "second": "run"}):
                both = client.submit(told, well, first, second, key="both")
            with on({"first": "run"}):
                one = client.submit(told, well, first, key="one")
                strict = client.submit(told, well, first, second, key="strict")
            with on({"first": "run", "*": "skip"}):
                skips = client.submit(told, first, second, key="skips")
            with on({"well": "run", "*": "fail"}):
                fails = client.submit(told, well, first, key="fails")
            error = "UpstreamFailedError: {!r} failed: ValueError('broken')"
            assert await ends(both) == [
                "3",
                error.format("first"),
                error.format("second"),
            ]
            assert await ends(one) == ["3", error.format("first")]
            assert str(await ends(strict)) == str(await ends(fails)) == "broken"
            found = await ends(skips)
            assert isinstance(found, UpstreamFailedError)
            assert str(found) == "it was skipped: 'second' failed: ValueError('broken')"
            del well, first, second, both, one, strict, skips, fails
            await emptied(made)

    run(check)


@pytest.mark.parametrize("already", [False, True])
def test_a_chain_ends_where_a_task_wants_to_run(already: bool) -> None:
    """Skips and failures go on, and name what failed first; one that runs ends them."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            first = client.submit(breaks, 0.0 if already else 0.3, key="first")
            if already:
                await ends(first)
            with on("skip"):
                one = dask.delayed(told)(first, dask_key_name="one")
                two = dask.delayed(told)(one, dask_key_name="two")
            plain = dask.delayed(told)(two, dask_key_name="plain")
            with on("run"):
                runs = dask.delayed(told)(plain, dask_key_name="runs")
            last = dask.delayed(told)(runs, dask_key_name="last")
            # One graph, of which nobody wants what is between.
            with dask.config.set({"optimization.fuse.active": False}):
                end, middle = client.compute([last, two], optimize_graph=False)
            cause = "'first' failed: ValueError('broken')"
            assert await ends(end) == [str([f"UpstreamFailedError: {cause}"])]
            found = await ends(middle)
            assert isinstance(found, UpstreamFailedError)
            assert str(found) == f"it was skipped: {cause}"
            del first, one, two, plain, runs, last, end, middle
            await emptied(made)

    run(check)


def test_retries_come_first() -> None:
    """As long as it is tried again nothing that depends on it is decided."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            late = client.submit(breaks_first, "late", 2, key="late", retries=2)
            never = client.submit(breaks_first, "never", 9, key="never", retries=2)
            with on({"late": "skip", "*": "run"}):
                runs = client.submit(told, late, never, key="runs")
            cause = "'never' failed: ValueError('not yet')"
            assert await ends(runs) == ["well", f"UpstreamFailedError: {cause}"]
            assert (TIMES["late"], TIMES["never"]) == (3, 3)

    run(check)


@pytest.mark.parametrize("governed", [False, True])
def test_what_killed_its_workers_has_failed(governed: bool) -> None:
    """Dask gives it up with `KilledWorker`, without a word of any worker."""

    async def check() -> None:
        async with room(None) as made:
            made.scheduler.allowed_failures = 0
            options = {"nthreads": 1, "dashboard_address": None, "death_timeout": 30}
            async with distributed.Nanny(
                made.scheduler.address, name="mortal", memory_limit=0, **options
            ):
                client = made.client
                # One with a worker of its own choice is Dask's, not the engine's.
                with dask.annotate(
                    **({"dtf": {"class": "normal"}} if governed else {})
                ):
                    victim = client.submit(dies, key="victim", workers=["mortal"])
                with on("run"):
                    runs = client.submit(told, victim, key="runs", workers=["w0"])
                with on("skip"):
                    skips = client.submit(told, victim, key="skips")
                assert await ends(runs) == [
                    "UpstreamFailedError: 'victim' failed: its worker died while it ran"
                ]
                assert "it was skipped: 'victim'" in str(await ends(skips))
                assert isinstance(await ends(victim), KilledWorker)
                assert made.plugin.failure == ""

    run(check)


def test_time_limits_refusals_and_shed_tasks_are_failures() -> None:
    """Whatever ended it, those that depend on it are asked."""

    async def check() -> None:
        settings = EngineSettings(overload=OverloadSettings(queue_length_max=2))
        async with room(None, engine=Engine(settings)) as made:
            client = made.client
            with dask.annotate(dtf={"timeout": 0.2}):
                slow = client.submit(time.sleep, 1, key="slow")
            with dask.annotate(dtf={"class": "no-such"}):
                refused = client.submit(told, key="refused")
            with dask.annotate(dtf={"class": "nightly"}):
                shed = client.map(told, range(8), key=[f"shed-{n}" for n in range(8)])
            with on("run"):
                runs = client.submit(told, slow, refused, *shed, key="runs")
            found = await ends(runs)
            assert "'slow' failed: 'slow': it ran longer than the 0.2 s" in found[0]
            assert "'refused' failed: there is no priority class" in found[1]
            errors = [await ends(one) for one in shed]
            assert any(isinstance(one, OverloadedError) for one in errors)
            for one, words in zip(errors, found[2:], strict=True):
                assert isinstance(one, OverloadedError) == ("UpstreamFailed" in words)

    run(check)


def test_order_without_data_asks_only_those_who_say_so() -> None:
    """After a failure any task runs, but for one that gave a word for it."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            first = client.submit(breaks, 0.3, key="first")
            foreign = client.submit(breaks, 0.1, first, key="foreign")
            before = {"after": ["first"]}
            with dask.annotate(dtf=before):
                plain = client.submit(told, key="plain")
            with on({"first": "fail"}, **before):
                fails = client.submit(told, key="fails")
            with on("skip", after=["first", "foreign"]):
                skips = client.submit(told, key="skips")
            with on({"foreign": "run", "*": "skip"}, after=["foreign"]):
                runs = client.submit(told, key="runs")
            with on("skip", after=["skips"]):
                chained = client.submit(told, key="chained")
            cause = "'first' failed: ValueError('broken')"
            assert await ends(plain) == await ends(runs) == []
            for future in (skips, chained):
                found = await ends(future)
                assert isinstance(found, UpstreamFailedError)
                assert str(found) == f"it was skipped: {cause}"
            assert str(await ends(fails)) == cause
            with on("skip", **before):  # it has failed already
                again = client.submit(told, key="again")
            assert str(await ends(again)) == f"it was skipped: {cause}"
            del plain, fails, skips, runs, chained, again, first, foreign
            await emptied(made)

    run(check)


def test_what_was_cancelled_did_not_do_well() -> None:
    """Those that need its result are cancelled with it, as in Dask; those that run
    after it start, unless they gave a word for it.
    """

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            with dask.annotate(dtf={"gpus": 1}):
                never = client.submit(told, key="never")
            with on("run"):
                needs = client.submit(told, never, key="needs")
            with dask.annotate(dtf={"after": ["never"]}):
                plain = client.submit(told, key="plain")
            with on({"never": "run"}, after=["never"]):
                runs = client.submit(told, key="runs")
            with on("skip", after=["never"]):
                skips = client.submit(told, key="skips")
            await made.until(lambda: made.held() == 4)
            await never.cancel()
            assert await ends(plain) == await ends(runs) == []
            assert str(await ends(skips)) == "it was skipped: 'never' was cancelled"
            assert needs.cancelled()
            del never, needs, plain, runs, skips
            await emptied(made)

    run(check)


def test_a_skipped_task_may_be_tried_again() -> None:
    """Once what failed did well, by `client.retry`."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            first = client.submit(breaks_first, "again", 1, key="first")
            with on("skip"):
                skips = client.submit(told, first, key="skips")
            with on("skip", after=["first"]):
                behind = client.submit(told, key="behind")
            assert isinstance(await ends(skips), UpstreamFailedError)
            assert isinstance(await ends(behind), UpstreamFailedError)
            with on("skip"):
                late = client.submit(told, first, key="late")
            assert isinstance(await ends(late), UpstreamFailedError)
            await client.retry([skips, late, behind])
            assert await ends(skips) == await ends(late) == ["well"]
            assert await ends(behind) == []

    run(check)


def test_a_word_for_a_stranger_is_refused() -> None:
    """A misspelt key would be obeyed by nobody; what it depends on is named."""

    async def check() -> None:
        async with room(None) as made:
            client = made.client
            first = client.submit(told, key="first")
            with on({"frist": "run", "*": "skip"}, after=["first"]):
                wrong = client.submit(told, key="wrong")
            with on({"first": "run"}):
                alone = client.submit(told, key="alone")
            with on({"first": "rerun"}):
                bad = client.submit(told, first, key="bad")
            with pytest.raises(TaskRefusedError, match="names 'frist', on which it d"):
                await asyncio.wait_for(wrong, 60)
            with pytest.raises(TaskRefusedError, match="it depends on nothing"):
                await asyncio.wait_for(alone, 60)
            with pytest.raises(TaskRefusedError, match="one of skip, run, fail for"):
                await asyncio.wait_for(bad, 60)
            assert await first == []
            assert made.plugin.failure == ""

    run(check)


def test_who_runs_after_each_other_is_refused_and_others_run() -> None:
    """In one graph a circle of `after` can be made: it would wait for ever."""

    async def check() -> None:
        async with room(None) as made:
            client, nodes = made.client, []
            for name, before in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "c")):
                with dask.annotate(dtf={"after": [before]}):
                    nodes.append(dask.delayed(told)(dask_key_name=name))
            plain = dask.delayed(told)(dask_key_name="e")
            with dask.config.set({"optimization.fuse.active": False}):
                futures = client.compute([*nodes, plain], optimize_graph=False)
            for future in futures[:3]:
                with pytest.raises(TaskRefusedError, match="closes a circle: "):
                    await asyncio.wait_for(future, 60)
            assert await asyncio.wait_for(futures[3], 60) == []
            assert await asyncio.wait_for(futures[4], 60) == []
            assert made.plugin.failure == ""

    run(check)
