"""The promises of the scheduler on workers that are processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import dask
import distributed
import pytest
from dask_room import Room, gathered, room, run

from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.policies.breaker_terms import BreakerSettings

_CONFIG = {
    "distributed.worker.preload": ["dtf_dask.preload"],
    "distributed.worker.profile.enabled": False,
}


def where(number: int, pause_s: float = 0.0) -> tuple[str, float]:
    """On which worker it ran, and when it began, by the clock of the machine."""
    began = time.time()
    time.sleep(pause_s)
    return str(distributed.get_worker().name), began


def fails_on(name: str, number: int) -> str:
    here = str(distributed.get_worker().name)
    if here == name:
        raise OSError("no such board")
    return here


@contextlib.asynccontextmanager
async def worker(made: Room, name: str, **labels: str) -> AsyncIterator[None]:
    """One worker more, of one thread, in a process."""
    config = {**_CONFIG, "dtf.hardware.labels": labels}
    async with distributed.Nanny(
        made.scheduler.address,
        name=name,
        nthreads=1,
        memory_limit=0,
        dashboard_address=":0",
        config=config,
    ):
        yield


def test_where_and_when_tasks_run_on_processes() -> None:
    """A late worker picks up what waits for it; what asks for a rig never runs
    elsewhere, however idle others are; what is put forward goes first; a gang starts
    at once on workers of its own.
    """

    async def check() -> None:
        # What a worker holds beyond what it runs, it runs in Dask's own order.
        engine = Engine(EngineSettings(prefetch_s=0.0))
        async with room(engine=engine) as made, contextlib.AsyncExitStack() as stack:
            client, tell = made.client, made.client.scheduler
            for name in ("w0", "w1"):
                await stack.enter_async_context(worker(made, name))
            rig = {"hardware": "label.board == 'rig'"}
            with dask.annotate(dtf=rig):
                waits = [client.submit(where, n, 0.02, key=f"r-{n}") for n in range(30)]
            await made.until(lambda: made.held() == 30)
            await tell.dtf_reprioritize(keys=["r-29"], priority_class="interactive")
            await tell.dtf_reprioritize(keys=["r-28"], priority=5)
            await stack.enter_async_context(worker(made, "rig", board="rig"))
            # Much that runs anywhere, so that Dask has reason to steal.
            other = client.map(where, range(60), pause_s=0.02, pure=False)
            found = await gathered(client, waits)
            assert {name for name, _ in found} == {"rig"}
            order = sorted(range(30), key=lambda number: found[number][1])
            assert order[:3] == [29, 28, 0]
            assert {"w0", "w1"} <= {name for name, _ in await gathered(client, other)}
            with dask.annotate(dtf=rig):
                last = client.submit(where, 30, 0.5, key="r-30")
            with dask.annotate(dtf={"gang": {"name": "ring", "size": 3}}):
                gang = client.map(where, range(3), pause_s=1.0, pure=False)
            ran = await gathered(client, gang)
            assert min(began for _, began in ran) - (await last)[1] > 0.4
            assert {name for name, _ in ran} == {"w0", "w1", "rig"}
            times = [began for _, began in ran]
            # All run at the same time; bench_scheduling.py --live measures.
            assert max(times) - min(times) < 1.0
            assert made.plugin.failure == ""
            made.scheduler.validate_state()

    run(check)


@pytest.mark.drill
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_fails_what_passes_elsewhere_is_shut_and_heals() -> None:
    """It gets nothing and says why; one task is tried after a while, then all."""

    async def check() -> None:
        breakers = BreakerSettings(open_s=1.0)
        engine = Engine(EngineSettings(breakers=breakers, prefetch_s=0.0))
        async with room(engine=engine) as made, contextlib.AsyncExitStack() as stack:
            client = made.client
            for name in ("bad", "good"):
                await stack.enter_async_context(worker(made, name))

            async def row() -> dict[str, Any]:
                rows = (await client.scheduler.dtf_workers())["rows"]
                return next(one for one in rows if one["name"] == "bad")

            while (await row())["breaker"] == "closed":
                futures = client.map(fails_on, ["bad"] * 4, range(4), pure=False)
                with dask.annotate(dtf={"retries": 1}):
                    futures += client.map(fails_on, ["bad"] * 4, range(4), pure=False)
                ended = asyncio.gather(*futures, return_exceptions=True)
                await asyncio.wait_for(ended, 60)
            shut = await row()
            assert shut["breaker"] == "open"
            assert "circuit breaker is open" in shut["shut"]
            blocked = client.submit(where, 0, 0.2, key="blocked")
            assert (await asyncio.wait_for(blocked, 60))[0] == "good"
            async with asyncio.timeout(60):
                while (await row())["breaker"] != "closed":
                    pairs = client.map(where, range(2), pause_s=0.05, pure=False)
                    await gathered(client, pairs)
            told = [event["message"] for _, event in await said(client)]
            states = [message.partition(":")[0] for message in told]
            assert states[0].startswith("open")
            assert states[-2:] == ["half-open", "closed"]
            both = await gathered(client, client.map(where, range(2), pause_s=0.3))
            assert {name for name, _ in both} == {"bad", "good"}

    run(check)


async def said(client: Any) -> Any:
    """What the scheduler told operators."""
    return await client.get_events("dtf-scheduling")
