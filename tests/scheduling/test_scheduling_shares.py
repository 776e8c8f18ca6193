"""Tenants, shedding and policies of others, on a real scheduler with real workers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dask
import distributed
import pytest
from dask_room import Room, gathered, room, run

from dtf_dask.errors import DtfError
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.terms import Ask
from dtf_dask.scheduler_plugins.policies.custom import Policies, WorkerView
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings
from dtf_dask.scheduler_plugins.policies.quota import Quota, TenantSettings

BEGUN: list[str] = []
"""What began, in order; each test starts with an empty list."""
GATES: dict[str, threading.Event] = {}


@pytest.fixture(autouse=True)
def _nothing_begun() -> None:
    BEGUN.clear()
    GATES.clear()


def gated(name: str) -> str:
    BEGUN.append(name)
    assert GATES[name].wait(200)
    return name


def brief(name: str) -> str:
    BEGUN.append(name)
    time.sleep(0.1)
    return name


def plain(name: str) -> str:
    return name


@asynccontextmanager
async def client_of(made: Room) -> AsyncIterator[distributed.Client]:
    """One client more."""
    async with distributed.Client(
        made.scheduler.address, asynchronous=True, set_as_default=False
    ) as client:
        yield client


def submit(
    client: distributed.Client, function: Any, names: list[str], **asked: Any
) -> list[distributed.Future]:
    """A task for each name, which is its key too."""
    for name in names:
        GATES[name] = threading.Event()
    with dask.annotate(dtf=asked):
        return [client.submit(function, name, key=name) for name in names]


async def told(made: Room) -> list[str]:
    """What the scheduler told operators."""
    events = await made.client.get_events("dtf-scheduling")
    return [f"{event['subject']}: {event['message']}" for _, event in events]


def test_what_is_guaranteed_may_be_borrowed_and_comes_back() -> None:
    """One client has all threads while it is alone; as they come free the other one
    gets its guarantee first, and no more than its largest share.
    """

    async def check() -> None:
        quota = Quota(guaranteed_share=0.5, share_max=0.5)
        tenants = TenantSettings(quotas={"owner": quota})
        engine = Engine(EngineSettings(tenants=tenants, prefetch_s=0.0))
        async with (
            room(None, None, threads=2, engine=engine) as made,
            client_of(made) as other,
        ):
            borrows = [f"b{n}" for n in range(8)]
            owns = [f"o{n}" for n in range(3)]
            futures = submit(made.client, gated, borrows, tenant="borrower")
            await made.until(lambda: len(BEGUN) == 4)
            own_futures = submit(other, gated, owns, tenant="owner")
            await made.until(lambda: made.held() == 7)
            for number, next_one in enumerate(["o0", "o1", "b4"]):
                GATES[f"b{number}"].set()
                await made.until(lambda n=number: len(BEGUN) == 5 + n)  # type: ignore[misc]
                assert BEGUN[-1] == next_one
            why = await made.client.scheduler.dtf_explain(keys=["o2"])
            assert "its quota allows" in str(why)
            GATES["o0"].set()
            await made.until(lambda: "o2" in BEGUN)
            for gate in GATES.values():
                gate.set()
            assert await gathered(made.client, futures) == borrows
            assert await gathered(other, own_futures) == owns
            assert made.plugin.failure == ""

    run(check)


def test_two_clients_share_though_one_came_first() -> None:
    """Who had less goes first: the second does not wait for all of the first's."""

    async def check() -> None:
        engine = Engine(EngineSettings(prefetch_s=0.0))
        async with room(None, engine=engine) as made, client_of(made) as other:
            first = submit(made.client, brief, [f"a{n}" for n in range(14)], tenant="a")
            await made.until(lambda: len(BEGUN) == 2)
            second = submit(other, brief, [f"b{n}" for n in range(5)], tenant="b")
            await gathered(other, second)
            ran = [name[0] for name in BEGUN]
            assert ran.count("b") == 5
            assert ran.count("a") <= 9, ran
            await gathered(made.client, first)

    run(check)


def test_the_newest_of_the_lowest_class_are_shed_first() -> None:
    """Class by class; each has an error that says so; it ends when there is room."""

    async def check() -> None:
        overload = OverloadSettings(queue_length_max=4)
        engine = Engine(EngineSettings(overload=overload))
        async with room(engine=engine) as made:
            asked: dict[str, Any] = {}
            shed: list[str] = []

            async def more(name: str, priority_class: str) -> None:
                ask = {"class": priority_class}
                (future,) = submit(made.client, plain, [name], **ask)
                asked[name] = future
                await made.until(lambda: name in made.scheduler.tasks)
                # The decision is in a turn of its own.
                await made.until(lambda: not made.plugin.keeper.holding.awake)
                states = {n: made.scheduler.tasks[n].state for n in asked}
                new = [n for n, state in states.items() if state == "erred"]
                shed.extend(n for n in new if n not in shed)

            for name in ("n0", "n1"):
                await more(name, "nightly")
            for name in ("m0", "m1"):
                await more(name, "normal")
            assert shed == []
            for name in ("i0", "i1", "i2", "i3", "i4"):
                await more(name, "interactive")
            await more("n2", "nightly")
            assert shed == ["n1", "n0", "m1", "m0", "i4", "n2"]
            for name in shed:
                with pytest.raises(DtfError, match="the scheduler is overloaded"):
                    await asked[name]
            assert any("overloaded" in line for line in await told(made))
            await made.worker("w0")
            kept = [f"i{n}" for n in range(4)]
            assert await gathered(made.client, [asked[name] for name in kept]) == kept
            await more("n3", "nightly")
            assert await asyncio.wait_for(asked["n3"], 60) == "n3"
            assert "the overload is over" in (await told(made))[-1]
            assert made.plugin.failure == ""

    run(check)


class Raises:
    """A policy of somebody's that has a flaw."""

    def filter(self, ask: Ask, worker: WorkerView) -> tuple[str, ...]:
        if ask.name == "odd":
            raise ZeroDivisionError("it divides by the load")
        return ("is not the first",) if worker.name != "w0" else ()


def test_a_policy_that_raises_is_switched_off_and_scheduling_goes_on() -> None:
    """It is said once, with what it raised; tasks run as if it were not there."""

    async def check() -> None:
        engine = Engine(EngineSettings(prefetch_s=0.0), Policies({"flawed": Raises()}))
        async with room(None, None, engine=engine) as made:

            def here(name: str) -> str:
                time.sleep(0.05)
                return str(distributed.get_worker().name)

            before = submit(made.client, here, [f"x{n}" for n in range(6)])
            assert set(await gathered(made.client, before)) == {"w0"}
            (odd,) = submit(made.client, here, ["odd-1"], name="odd")
            assert await asyncio.wait_for(odd, 60) in ("w0", "w1")
            after = submit(made.client, here, [f"y{n}" for n in range(6)])
            assert set(await gathered(made.client, after)) == {"w0", "w1"}
            (words,) = [line for line in await told(made) if "switched off" in line]
            raised = "it raised ZeroDivisionError: it divides by the load"
            assert words == f"flawed: switched off: {raised}. Scheduling goes on."
            assert made.plugin.failure == ""

    run(check)
