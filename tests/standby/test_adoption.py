"""What a new leader makes of what workers bring: what was done or begun stays so."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from adoption_kit import (
    CLIENT,
    Shadow,
    erred,
    held,
    inventory,
    paused,
    random_graph,
    running,
    shadow,
)

from dtf_dask.durable.inventory import Inventory
from dtf_dask.standby import dask_adopting, dask_makings, dask_takeover
from dtf_dask.standby.takeover_steps import adopt, reconcile

A, B = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"
TERM = 7


async def taken_over(
    graph: dict[Any, Any], wanted: Any, brought: dict[str, Inventory], **more: Any
) -> Shadow:
    one = shadow()
    one.submit(graph, wanted, **more)
    dask_takeover.number_runs(TERM)
    for address in brought:
        await one.join(address)
    await adopt(one.scheduler, brought, paused, one.schedule)
    one.scheduler.validate_state()
    return one


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_results_are_taken_and_what_runs_goes_on_and_only_the_rest_is_sent() -> None:
    """x is done, y runs under its old run id, z needs both and waits; n is sent."""

    async def test() -> None:
        graph = {"x": [], "y": ["x"], "z": ["x", "y"], "n": []}
        brought = {A: inventory(A, [held("x")], [running("y", 41)]), B: inventory(B)}
        one = await taken_over(graph, ["z", "n"], brought)
        tasks = one.scheduler.tasks
        assert one.states() == {
            "x": "memory",
            "y": "processing",
            "z": "waiting",
            "n": "processing",
        }
        assert tasks["y"].run_id == 41
        assert tasks["n"].run_id >> 32 == TERM
        assert one.sent("compute-task") == {B: {"n"}}
        assert one.sent("free-keys") == {}
        # What A says of y then counts.
        done = {"nbytes": 8, "type": b"", "typename": "int", "metadata": {}}
        one.scheduler.stream_handlers["task-finished"](
            **{"key": "y", "worker": A, "run_id": 41, "stimulus_id": "t", **done},
            thread=1,
            startstops=[],
        )
        assert tasks["y"].state == "memory"
        assert tasks["z"].state == "processing"
        assert one.streams[A].keys("compute-task") == {"z"}

    run(test())


def test_clients_hear_of_results_and_errors() -> None:
    """Futures that wait resolve."""

    async def test() -> None:
        brought = {A: inventory(A, [held("x")], failed=[erred("y")])}
        graph: dict[str, list[str]] = {"x": [], "y": [], "after": ["y"]}
        one = await taken_over(graph, ["x", "y", "after"], brought)
        assert one.states() == {"x": "memory", "y": "erred", "after": "erred"}
        assert one.to_client.keys("key-in-memory") == {"x"}
        assert one.to_client.keys("task-erred") == {"y", "after"}
        said = one.to_client.said("task-erred")[0]["exception"]
        assert said.header["serializer"] == "pickle"
        assert one.scheduler.tasks["y"].erred_on == {A}

    run(test())


def test_what_nobody_wants_is_freed() -> None:
    """Forgotten keys are freed, whatever they are to the worker; so are inputs whose
    takers are all done."""

    async def test() -> None:
        brought = {
            A: inventory(
                A,
                [held("gone"), held("x"), held("y")],
                [running("gone-too")],
                [erred("gone-as-well")],
            )
        }
        one = await taken_over({"x": [], "y": ["x"]}, ["y"], brought)
        assert one.states() == {"x": "released", "y": "memory"}
        assert one.streams[A].keys("free-keys") == {
            *("gone", "gone-too", "gone-as-well", "x")
        }
        assert one.sent("compute-task") == {}

    run(test())


def test_memory_wins_over_an_attempt_and_a_late_attempt_over_an_early_one() -> None:
    """Of two workers with one task one is chosen; the other is told to forget it."""

    async def test() -> None:
        brought = {
            A: inventory(A, [held("m")], [running("r", 5)], [erred("e", 3)]),
            B: inventory(B, [], [running("m", 9), running("r", 6), running("e", 4)]),
        }
        one = await taken_over({"m": [], "r": [], "e": []}, ["m", "r", "e"], brought)
        tasks = one.scheduler.tasks
        assert tasks["m"].state == "memory"
        assert tasks["r"].processing_on.address == B
        assert tasks["e"].processing_on.address == B
        assert one.streams[A].keys("free-keys") == {"r", "e"}
        assert one.streams[B].keys("free-keys") == {"m"}

    run(test())


def test_an_attempt_whose_inputs_are_gone_is_taken_back_as_dask_does() -> None:
    """It could not be processing by Dask's own rules: its inputs are made again."""

    async def test() -> None:
        brought = {A: inventory(A, [], [running("y")])}
        one = await taken_over({"x": [], "y": ["x"]}, ["y"], brought)
        assert one.states() == {"x": "processing", "y": "waiting"}
        assert one.streams[A].keys("free-keys") == {"y"}

    run(test())


def test_a_failed_task_has_the_tries_that_it_has_left() -> None:
    """A failure that was not counted costs one; one that was is no news."""

    async def test() -> None:
        one = shadow()
        one.submit(
            {"new": [], "old": []},
            ["new", "old"],
            annotations={"retries": {"new": 1, "old": 1}},
        )
        one.scheduler.tasks["old"].run_id = 3
        await one.join(A)
        brought = {A: inventory(A, failed=[erred("new", 3), erred("old", 3)])}
        await adopt(one.scheduler, brought, paused, one.schedule)
        one.scheduler.validate_state()
        tasks = one.scheduler.tasks
        assert (tasks["new"].retries, tasks["old"].retries) == (0, 1)
        assert one.streams[A].keys("compute-task") == {"new", "old"}

    run(test())


def test_a_task_that_left_its_thread_stays_so() -> None:
    """A task in state long-running takes no thread of its worker."""

    async def test() -> None:
        brought = {A: inventory(A, [], [running("x", 4, seceded=True)])}
        one = await taken_over({"x": [], "y": []}, ["x", "y"], brought)
        ws = one.scheduler.workers[A]
        assert ws.long_running == {one.scheduler.tasks["x"]}
        assert one.sent("compute-task") == {A: {"y"}}

    run(test())


def test_scattered_values_are_kept_or_the_client_is_told() -> None:
    """A value of no task is lost if no worker brings it, and with it what needs it."""

    async def test() -> None:
        one = shadow()
        for key in ("here", "nowhere"):
            one.scheduler.new_task(key, None, "released")
        one.scheduler.client_desires_keys(["here", "nowhere"], CLIENT)
        one.submit({"y": ["here"], "z": ["nowhere"]}, ["y", "z"])
        await one.join(A)
        brought = {A: inventory(A, [held("here", -1)])}
        await adopt(one.scheduler, brought, paused, one.schedule)
        one.scheduler.validate_state()
        assert one.states() == {"here": "memory", "y": "processing"}
        assert one.to_client.keys("cancelled-keys") == {"nowhere", "z"}

    run(test())


def test_an_actor_lives_on_where_it_is() -> None:
    """It is known as one of its worker's, so that its loss is told, not made good."""

    async def test() -> None:
        brought = {A: inventory(A, [held("x")], actors=("x",))}
        one = await taken_over({"x": []}, ["x"], brought, actors=["x"])
        assert one.scheduler.workers[A].actors == {one.scheduler.tasks["x"]}
        await one.scheduler.remove_worker(A, stimulus_id="gone")
        assert one.states() == {"x": "erred"}

    run(test())


def test_an_actor_is_at_one_worker_whoever_else_reaches_it() -> None:
    """Others have it in their memory too, as what they ask it through."""

    async def test() -> None:
        has_it = inventory(A, [held("x")], actors=("x",))
        reaches_it = inventory(B, [held("x")])
        for brought in ({A: has_it, B: reaches_it}, {B: reaches_it, A: has_it}):
            one = await taken_over({"x": []}, ["x"], brought, actors=["x"])
            one.scheduler.validate_state()
            ts = one.scheduler.tasks["x"]
            assert {ws.address for ws in ts.who_has or ()} == {A, B}
            assert one.scheduler.workers[A].actors == {ts}
            assert not one.scheduler.workers[B].actors
        one = await taken_over({"x": []}, ["x"], {B: reaches_it}, actors=["x"])
        assert one.states()["x"] != "memory"

    run(test())


def random_inventories(
    chance: random.Random, graph: dict[str, list[str]], workers: list[str]
) -> dict[str, Inventory]:
    """Consistent in themselves only: whoever runs a task has its inputs."""
    rows: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {}
    for worker in workers:
        memory, run_, failed = rows[worker] = {}, {}, {}
        for key, needs in graph.items():
            fate = chance.choice(("", "", "", "memory", "run", "erred"))
            run_id = chance.randrange(1000)
            if fate == "memory":
                memory[key] = held(key, run_id, chance.randrange(100))
            elif fate == "run":
                run_[key] = running(key, run_id, seceded=chance.random() < 0.2)
                for need in needs:
                    if need not in run_ and need not in failed:
                        memory.setdefault(need, held(need, -1, 9))
            elif fate == "erred":
                failed[key] = erred(key, run_id)
        for key in list(run_):
            memory.pop(key, None)
        for key in list(failed):
            memory.pop(key, None)
        for key in chance.sample(("u", "v", "w"), chance.randrange(3)):
            memory[key] = held(key)
    return {
        worker: inventory(worker, memory.values(), run_.values(), failed.values())
        for worker, (memory, run_, failed) in rows.items()
    }


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_and_inventories(seed: int) -> None:
    """Dask's own checks hold; nothing in memory or running is sent, all that is missing
    and needed is on its way; no worker holds what nobody wants."""
    chance = random.Random(seed)
    graph = random_graph(chance, chance.randrange(2, 40))
    wanted = chance.sample(sorted(graph), chance.randrange(1, len(graph) + 1))
    workers = [f"tcp://127.0.0.1:{port}" for port in range(1, chance.randrange(2, 5))]
    brought = random_inventories(chance, graph, workers)

    async def test() -> None:
        one = await taken_over(graph, wanted, brought)
        tasks = one.scheduler.tasks
        brought_memory = {key.key for inv in brought.values() for key in inv.memory}
        sent = set().union(*one.sent("compute-task").values(), set())
        assert not sent & brought_memory
        for key, ts in tasks.items():
            if ts.state == "processing" and key not in sent:
                claimed = [
                    found
                    for found in brought[ts.processing_on.address].running
                    if found.key == key
                ]
                assert [found.run_id for found in claimed] == [ts.run_id]
            if key in brought_memory:
                assert ts.state in ("memory", "released")
            assert ts.state != "released" or not (ts.who_wants or ts.waiters)
            if ts.state in ("memory", "processing"):
                assert ts.who_wants or ts.waiters
        for worker, inv in brought.items():
            freed = one.streams[worker].keys("free-keys")
            for kept in inv.memory:
                ts = tasks.get(kept.key)
                has = ts is not None and ts in one.scheduler.workers[worker].has_what
                assert has != (kept.key in freed)
            for attempt in inv.running:
                ts = tasks.get(attempt.key)
                on = ts.processing_on if ts is not None else None
                mine = on is not None and on.address == worker
                assert mine != (attempt.key in freed) or attempt.key in sent

    run(test())


@pytest.mark.parametrize("seed", range(40))
def test_a_worker_that_was_away_is_reconciled(seed: int) -> None:
    """What it has is taken, what it lacks is sent again, and Dask's checks hold."""
    chance = random.Random(seed)
    graph = random_graph(chance, chance.randrange(2, 30))
    wanted = chance.sample(sorted(graph), chance.randrange(1, len(graph) + 1))

    async def test() -> None:
        one = shadow()
        one.schedule()
        for address in (A, B):
            await one.join(address, threads=2)
        one.submit(graph, wanted)
        scheduler = one.scheduler
        for _ in range(chance.randrange(6)):
            busy = [ts for ts in scheduler.tasks.values() if ts.state == "processing"]
            if not busy:
                break
            ts = chance.choice(busy)
            dask_adopting.finished(scheduler, ts.processing_on.address, held(ts.key))
        ws = scheduler.workers[A]
        fates = {
            ts.key: (chance.choice(("gone", "run", "done", "erred")), ts.run_id)
            for ts in sorted(ws.processing, key=lambda ts: ts.key)
        }
        kept = {ts.key for ts in ws.has_what if chance.random() < 0.8}
        # Whoever is at a task has its inputs.
        for key, (fate, _) in fates.items():
            if fate != "gone":
                kept |= {dts.key for dts in scheduler.tasks[key].dependencies}
        brought = inventory(
            A,
            [held(key) for key in sorted(kept)]
            + [held(key, n) for key, (fate, n) in fates.items() if fate == "done"],
            [running(key, n) for key, (fate, n) in fates.items() if fate == "run"],
            [erred(key, n) for key, (fate, n) in fates.items() if fate == "erred"],
        )
        before = one.streams[A].messages[:]
        reconcile(scheduler, A, brought)
        scheduler.validate_state()
        later = one.streams[A].messages[len(before) :]
        sent = {m["key"] for m in later if m["op"] == "compute-task"}
        for key, (fate, run_id) in fates.items():
            ts = scheduler.tasks[key]
            if not (ts.who_wants or ts.waiters):
                # Whoever needed it failed, before or after it did.
                assert ts.state in ("erred", "released")
                assert ts.state == "released" or fate == "erred"
            elif fate == "run":
                assert (ts.run_id, ts.processing_on) == (run_id, ws)
                assert key not in sent
            elif fate == "done":
                assert ts.state in ("memory", "released")
                assert key not in sent
            elif fate == "erred":
                assert ts.state == "erred"
            elif ts.processing_on is ws:
                assert key in sent

    run(test())


def test_the_installed_dask_has_all_that_a_takeover_leans_on() -> None:
    """A new version of Dask that breaks it is named here."""

    async def test() -> None:
        assert dask_takeover.broken(shadow().scheduler) == ()
        assert dask_makings.broken() == ()

    run(test())


def test_runs_are_numbered_above_those_of_all_terms_before() -> None:
    """Run ids tell an attempt of this leader from one of an earlier, shuffles' too."""
    from distributed.shuffle._core import ShuffleRunSpec

    dask_takeover.number_runs(3)
    assert ShuffleRunSpec(spec=None, worker_for={}, span_id=None).run_id >> 32 == 3  # type: ignore[arg-type]
    dask_takeover.number_runs(4)
    assert ShuffleRunSpec(spec=None, worker_for={}, span_id=None).run_id >> 32 == 4  # type: ignore[arg-type]
