"""A shadow takes over: workers of old are called, waited for, and go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption_kit import Shadow, erred, held, running
from distributed.diagnostics.plugin import SchedulerPlugin
from hand_worker import (
    PATIENCE_S,
    HandWorker,
    Records,
    connected_rpc,
    coordinator,
    until,
)

from dtf_dask.durable.inventory import KEY, Erred
from dtf_dask.durable.operations import COUNTS, ERRED, decode_operation
from dtf_dask.durable.successor import Attempt
from dtf_dask.standby import takeover_steps
from dtf_dask.standby.away import Presence
from dtf_dask.standby.dask_takeover import serialized
from dtf_dask.standby.takeover import Settled, take_over

TERM = 5
_GRACE_S = 2.0


class Successor(SchedulerPlugin):
    """Writes down in which order it is told of a takeover."""

    name = "successor"

    def __init__(self) -> None:
        self.said: list[Any] = []

    def recalling(self) -> None:
        self.said.append("recalling")

    def adopted(self, attempts: Any) -> None:
        self.said += attempts

    def resumed(self) -> None:
        self.said.append("resumed")

    def settled(self) -> None:
        self.said.append("settled")

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        self.said.append((key, finish))


async def taking_over(
    one: Shadow, presence: Presence, records: Records, **more: Any
) -> Settled:
    async def listen() -> None:
        """It listens from the beginning."""

    return await take_over(
        one.scheduler,
        records,
        presence,
        **{
            "term": TERM,
            "listen": listen,
            "schedule": one.schedule,
            **more,
        },
    )


@contextlib.asynccontextmanager
async def led_before(
    *names: str, heartbeats: dict[str, dict[Any, float]] | None = None
) -> AsyncIterator[tuple[Records, list[HandWorker]]]:
    """What a leader wrote down before it died, and the workers that it had."""
    records = Records()
    workers = [await HandWorker(name).start() for name in names]
    async with coordinator(after_s=10.0) as (one, presence):
        await taking_over(one, presence, records, term=TERM - 1)
        for worker in workers:
            await worker.register(one.scheduler.address)
            said = (heartbeats or {}).get(worker.name, {})
            if said:
                here = {"workers": dict.fromkeys(said, worker.address)}
                one.submit({key: [] for key in said}, said, annotations=here)
                await until(lambda worker=worker: worker.sent())
                assert set(worker.sent()) == set(said)
                await worker.heartbeat(one.scheduler, said)
        kept = dict(records.kept)
        for worker in workers:
            worker.break_link()
    records.kept, records.operations = kept, []
    for worker in workers:
        worker.heard.clear()
    try:
        yield records, workers
    finally:
        for worker in workers:
            await worker.close()


def run(coroutine: Any) -> None:
    asyncio.run(coroutine)


def test_workers_of_old_go_on_and_nothing_is_done_twice() -> None:
    """x is done, y runs and finishes while others are waited for, z is computed."""

    async def test() -> None:
        async with led_before("a", "b") as (records, (a, b)), coordinator() as both:
            one, presence = both
            successor = Successor()
            one.scheduler.add_plugin(successor)
            graph = {"x": [], "y": ["x"], "z": ["y"], "n": [], "k": []}
            one.submit(graph, ["z", "n", "k"])
            successor.said.clear()
            lead = asyncio.create_task(taking_over(one, presence, records))
            await until(lambda: a.called and b.called)
            assert a.called == [(one.scheduler.address, TERM)]
            brings = a.has([held("x", 3), held("k", 2)], [running("y", 4, for_s=7.0)])
            await a.register(one.scheduler.address, brings)
            await a.finish("y", 4)
            assert (await b.heartbeat(one.scheduler, {}))["status"] == "OK"
            assert not lead.done()
            # Before it is known what workers have nobody is told that nobody has it.
            async with connected_rpc(one.scheduler) as rpc:
                asked = asyncio.ensure_future(rpc.who_has(keys=["k"]))
                done, _ = await asyncio.wait([asked], timeout=0.1)
                assert not done
                await b.register(one.scheduler.address)
                assert await asked == {"k": (a.address,)}
            settled = await lead
            await until(lambda: "z" in a.sent() + b.sent())
            assert (settled.workers, settled.missing) == (2, 0)
            assert (settled.recovered["memory"], settled.recovered["running"]) == (2, 1)
            tasks = one.scheduler.tasks
            assert tasks["y"].state == "memory"
            assert "y" not in a.freed()
            assert sorted(a.sent() + b.sent()) == ["n", "z"]
            assert all(run_id >> 32 == TERM for run_id in b.run_ids().values())
            order = successor.said
            adopted = Attempt("y", a.address, 7.0)
            begun = [(key, "waiting") for key in ("z", "n")]
            assert order.index(("y", "processing")) < order.index(adopted)
            assert order.index(adopted) < min(map(order.index, begun))
            assert max(map(order.index, begun)) < order.index("settled")
            one.scheduler.validate_state()

    run(test())


def test_the_most_urgent_go_on_before_all_others_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plugins place tasks once the first ones wait, and hear when all do."""
    monkeypatch.setattr(takeover_steps, "SLICE", 2)

    async def test() -> None:
        async with led_before("a") as (records, (a,)), coordinator() as both:
            one, presence = both
            successor = Successor()
            one.scheduler.add_plugin(successor)
            names = [f"t{number}" for number in range(6)]
            one.submit({name: [] for name in names}, names)
            lead = asyncio.create_task(taking_over(one, presence, records))
            await until(lambda: a.called)
            await a.register(one.scheduler.address)
            await lead
            said = [
                word
                for word in successor.said
                if word == "resumed" or word[1:] == ("waiting",)
            ]
            waits = [(name, "waiting") for name in names]
            assert said == [*waits[:2], "resumed", *waits[2:]]
            assert successor.said.index("settled") > successor.said.index(waits[-1])

    run(test())


def test_a_worker_that_is_dead_is_not_waited_for() -> None:
    """Nobody listens at its address: its tasks are computed elsewhere at once."""

    async def test() -> None:
        async with (
            led_before("a", "b") as (records, (a, b)),
            coordinator(takeover_s=3600.0) as (one, presence),
        ):
            await a.die()
            one.submit({"x": []}, ["x"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await until(lambda: b.called)
            await b.register(one.scheduler.address)
            settled = await asyncio.wait_for(lead, PATIENCE_S)
            assert (settled.workers, settled.missing) == (1, 1)
            await until(lambda: b.sent() == ["x"])
            assert f"w/{a.address}" not in records.kept
            assert f"w/{b.address}" in records.kept

    run(test())


def test_a_silent_worker_is_waited_for_until_the_grace_is_over() -> None:
    """Then others compute what it ran; who comes late brings what still helps."""

    async def test() -> None:
        async with (
            led_before("a", "b") as (records, (a, b)),
            coordinator(takeover_s=1.0) as (one, presence),
        ):
            a.silent = True
            graph: dict[str, list[str]] = {"x": [], "y": [], "z": ["x", "y"]}
            one.submit(graph, ["z"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await asyncio.sleep(0)  # it has begun
            await b.register(one.scheduler.address)
            settled = await lead
            assert (settled.workers, settled.missing) == (1, 1)
            await until(lambda: b.sent())
            assert (await a.heartbeat(one.scheduler, {}))["status"] == "OK"
            begun, left = b.sent(), {"x", "y"} - set(b.sent())
            brings = a.has([held(key) for key in ("x", "y")])
            assert (await a.register(one.scheduler.address, brings))["status"] == "OK"
            await until(lambda: set(begun) <= a.freed() or len(begun) == 2)
            for key in left:
                assert one.scheduler.tasks[key].state == "memory"
            one.scheduler.validate_state()

    run(test())


def test_who_answers_is_waited_for_though_the_grace_is_over() -> None:
    """He lives, and is about to come: nothing that he ran is begun elsewhere."""

    async def test() -> None:
        async with (
            led_before("a", "b") as (records, (a, b)),
            coordinator(takeover_s=_GRACE_S) as (one, presence),
        ):
            one.submit({"x": [], "z": ["x"]}, ["z"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await asyncio.sleep(0)  # it has begun
            await b.register(one.scheduler.address)
            await until(lambda: a.called)
            await asyncio.sleep(_GRACE_S * 1.1)
            assert not lead.done()
            await a.register(one.scheduler.address, a.has([held("x")]))
            settled = await asyncio.wait_for(lead, PATIENCE_S)
            assert (settled.workers, settled.missing) == (2, 0)
            await until(lambda: a.sent() + b.sent() == ["z"])

    run(test())


@pytest.mark.logs("is not taken: an inventory of version", "duplicate name")
def test_who_answers_and_is_refused_is_not_waited_for() -> None:
    """It may be of another version, or another has its name: it will not be taken."""

    async def test() -> None:
        async with (
            led_before("a", "b", "c") as (records, (a, b, c)),
            coordinator(takeover_s=3600.0, grace_s=3600.0) as (one, presence),
        ):
            one.submit({"x": []}, ["x"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await asyncio.sleep(0)  # it has begun
            await b.register(one.scheduler.address)
            c.name = b.name
            assert "name taken" in (await c.register(one.scheduler.address))["message"]
            await until(lambda: a.called and c.called)
            assert not lead.done()
            other = {KEY: {**a.has().words(), "version": 0}}
            answer = await a.register(one.scheduler.address, extra=other)
            assert "of version 0" in answer["message"]
            settled = await asyncio.wait_for(lead, PATIENCE_S)
            assert (settled.workers, settled.missing) == (1, 2)
            await until(lambda: b.sent() == ["x"])
            assert f"w/{b.address}" in records.kept
            assert not {f"w/{one.address}" for one in (a, c)} & records.kept.keys()

    run(test())


def test_an_attempt_that_had_run_long_is_left_to_a_worker_that_is_cut_off() -> None:
    """It is on record; it is not begun elsewhere, and counts if it comes in time."""

    async def test() -> None:
        beats = {"a": {"long": 100.0}, "b": {"short": 1.0}}
        async with (
            led_before("a", "b", heartbeats=beats) as (records, (a, b)),
            coordinator(lease_s=3600.0, takeover_s=1.0) as (one, presence),
        ):
            a.silent = True
            one.submit({"long": [], "short": [], "after": ["long"]}, ["short", "after"])
            long_id = a.old_ids["long"]
            lead = asyncio.create_task(taking_over(one, presence, records))
            await asyncio.sleep(0)  # it has begun
            await b.register(one.scheduler.address)
            await lead
            await until(lambda: b.sent() == ["short"])
            assert one.scheduler.tasks["long"].processing_on.address == a.address
            one.scheduler.validate_state()
            brings = a.has([], [running("long", long_id, for_s=120.0)])
            assert (await a.register(one.scheduler.address, brings))["status"] == "OK"
            await a.finish("long", long_id)
            await until(lambda: a.sent() == ["after"] or "after" in b.sent())
            assert "long" not in b.sent() + a.sent()
            one.scheduler.validate_state()
            await until(lambda: not [n for n in records.kept if n.startswith("x/")])

    run(test())


def test_when_such_a_lease_is_over_the_attempt_is_begun_elsewhere() -> None:
    """And the worker that comes then is told that it is late."""

    async def test() -> None:
        beats = {"a": {"long": 100.0}}
        async with (
            led_before("a", "b", heartbeats=beats) as (records, (a, b)),
            coordinator(lease_s=1.0, takeover_s=1.0) as (one, presence),
        ):
            a.silent = True
            one.submit({"long": []}, ["long"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await asyncio.sleep(0)  # it has begun
            await b.register(one.scheduler.address)
            await lead
            assert one.scheduler.tasks["long"].processing_on.address == a.address
            await until(lambda: b.sent() == ["long"])
            brings = a.has([], [running("long", a.old_ids["long"])])
            assert (await a.register(one.scheduler.address, brings))["dtf"] == "fenced"

    run(test())


def test_what_failed_and_what_was_tried_is_written_down_and_taken_over() -> None:
    """An error and the tries that are left survive; a worker's old error is no news."""

    async def test() -> None:
        records = Records()
        worker = await HandWorker("a", threads=4).start()
        async with coordinator() as (one, presence):
            await taking_over(one, presence, records, term=TERM - 1)
            one.submit(
                {"bad": [], "above": ["bad"], "tried": []},
                ["above", "tried"],
                annotations={"retries": {"tried": 2}},
            )
            await worker.register(one.scheduler.address)
            await until(lambda: len(worker.sent()) == 2)
            for key in ("bad", "tried"):
                said = erred(key, worker.run_ids()[key])
                one.scheduler.stream_handlers["task-erred"](
                    key=key,
                    worker=worker.address,
                    run_id=said.run_id,
                    exception=serialized(said.exception),
                    traceback=None,
                    exception_text=said.exception_text,
                    traceback_text="",
                    thread=None,
                    startstops=[],
                    stimulus_id="failed",
                )
            await until(lambda: len(records.operations) == 2)
            written = list(map(decode_operation, records.operations))
            kept = dict(records.kept)
        failed = {op.body[0]: op.body[1] for op in written if op.kind == ERRED}
        counts = [op.body for op in written if op.kind == COUNTS]
        assert list(failed) == ["bad"]
        assert [(body[0], body[1]) for body in counts] == [(("tried",), (1,))]
        records.operations, records.kept = [], kept
        async with coordinator() as (one, presence):
            one.submit({"bad": [], "above": ["bad"]}, ["above"])
            lead = asyncio.create_task(
                taking_over(one, presence, records, erred=failed)
            )
            await until(lambda: worker.called)
            brings = worker.has(failed=[erred("bad", failed["bad"]["run_id"])])
            await worker.register(one.scheduler.address, brings)
            await lead
            assert one.states() == {"bad": "erred", "above": "erred"}
            assert one.to_client.keys("task-erred") == {"above"}
            assert one.scheduler.tasks["bad"].erred_on == {worker.address}
            assert records.operations == []
        await worker.close()

    run(test())


def test_an_error_that_cannot_be_read_ends_no_takeover() -> None:
    """The worker would bring it to each leader: its task failed, the rest goes on."""

    async def test() -> None:
        async with (
            led_before("a") as (records, [worker]),
            coordinator() as (one, presence),
        ):
            one.submit({"bad": [], "worse": []}, ["bad", "worse"])
            lead = asyncio.create_task(taking_over(one, presence, records))
            await until(lambda: worker.called)
            garbage = Erred("bad", 7, b"\xc1", b"", "no", "")
            nothing = Erred("worse", 8, b"\x92\xc0\x90", b"\x01", "no", "")
            await worker.register(
                one.scheduler.address, worker.has(failed=[garbage, nothing])
            )
            await lead
            assert one.states() == {"bad": "erred", "worse": "erred"}

    run(test())
