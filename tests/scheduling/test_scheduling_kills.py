"""Attempts that are ended for others, gangs, and workers that are processes and die."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import dask
import distributed
import pytest
from dask_room import advert, gathered, room, run

from dtf_dask import LocalCluster
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.terms import Kill, Plan


class Killer(Engine):
    """Ends what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.kills: list[Kill] = []

    def pump(self, now: float) -> Plan:
        """Decide, and end those."""
        plan = super().pump(now)
        plan.kills, self.kills = [*plan.kills, *self.kills], []
        return plan


STOP: dict[str, threading.Event] = {}
SEEN: list[tuple[str, float]] = []


class Killing(distributed.WorkerPlugin):
    """Ends what stands for a process, as the runner's plugin ends a real one."""

    name = "killing"

    def transition(self, key: Any, start: Any, finish: Any, **more: Any) -> None:
        if start == "executing" and finish == "released" and key in STOP:
            SEEN.append(("killed", time.monotonic()))
            STOP[key].set()


def stoppable(key: str, seconds: float) -> str:
    SEEN.append((key, time.monotonic()))
    return "stopped" if STOP[key].wait(seconds) else "done"


def urgent() -> None:
    SEEN.append(("urgent", time.monotonic()))


def test_preemption_is_fast_and_the_work_is_done_later() -> None:
    """A killed task frees its place when it is over, and runs again, with no retry."""

    async def check() -> None:
        STOP["low"] = threading.Event()
        SEEN.clear()
        engine = Killer()
        async with room(None, engine=engine) as made:
            await made.client.register_plugin(Killing())
            with dask.annotate(dtf={"preemptible": True, "class": "nightly"}):
                low = made.client.submit(stoppable, "low", 100.0, key="low")
            await made.until(lambda: [name for name, _ in SEEN] == ["low"])
            await asyncio.sleep(0.1)
            engine.kills.append(Kill("low", "w0", "it gives way"))
            with dask.annotate(dtf={"class": "interactive"}):
                high = made.client.submit(urgent)
            # How fast that is, bench_scheduling.py --live measures.
            await asyncio.wait_for(high, 60)
            names = [name for name, _ in SEEN]
            assert names[:3] == ["low", "killed", "urgent"]
            STOP["low"].clear()
            await made.until(lambda: [name for name, _ in SEEN][-1] == "low")
            STOP["low"].set()
            assert await asyncio.wait_for(low, 60) == "stopped"

    run(check)


RING_S = 0.6


def ring(number: int) -> tuple[str, float]:
    from distributed import get_worker

    began = time.monotonic()
    time.sleep(RING_S)
    return str(get_worker().name), began


def test_a_gang_starts_at_once_or_not_at_all() -> None:
    """Three tasks wait for the third worker, and then begin together on three."""

    async def check() -> None:
        async with room(None, None) as made:
            with dask.annotate(dtf={"gang": {"name": "ring", "size": 3}}):
                futures = made.client.map(ring, range(3), pure=False)
            await asyncio.sleep(0.3)
            assert not any(worker.state.executing for worker in made.workers)
            await made.worker("w2")
            found = await gathered(made.client, futures)
            assert {name for name, _ in found} == {"w0", "w1", "w2"}
            times = [began for _, began in found]
            assert max(times) - min(times) < RING_S  # all three run at the same time

    run(check)


def test_tokens_are_the_whole_clusters() -> None:
    """Two workers with one licence: one task at a time."""

    async def check() -> None:
        async with room(advert(tokens={"sim": 1}), advert()) as made:
            with dask.annotate(dtf={"tokens": {"sim": 1}}):
                futures = made.client.map(ring, range(3), pure=False)
            times = sorted(began for _, began in await gathered(made.client, futures))
            assert times[1] - times[0] > 0.9 * RING_S
            assert times[2] - times[1] > 0.9 * RING_S

    run(check)


def pid(number: int, pause_s: float = 0.0) -> int:
    time.sleep(pause_s)
    return os.getpid()


@pytest.mark.filterwarnings("ignore")
def test_processes_that_die_and_restart() -> None:
    """On a real cluster by way of the preload: kill -9, and `client.restart`."""
    with (
        LocalCluster(n_workers=2, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        plugin = cluster.scheduler.plugins["dtf-scheduling"]
        futures = client.map(pid, range(30), pause_s=0.05, pure=False)
        victim = client.submit(pid, -1, timeout="20 s").result()
        os.kill(victim, signal.SIGKILL)
        found = client.gather(futures)
        assert len(found) == 30
        assert plugin.failure == ""
        held = client.submit(pid, 0, hardware="label.none == 'x'")
        running = client.map(pid, range(10), pause_s=0.2, pure=False)
        time.sleep(0.2)
        client.restart(timeout=200)
        assert held.cancelled()
        assert all(future.cancelled() for future in running)
        assert client.submit(pid, 1).result(timeout=200) != victim
        assert plugin.failure == ""
