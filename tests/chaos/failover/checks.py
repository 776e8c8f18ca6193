"""A preload of the schedulers that are tried: they say whether all holds that must."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from dtf_dask.durable.successor import Attempt, Successor
from failover import tasks

OP = "dtf_check"
_FRAMES = 4


async def dask_setup(scheduler: Scheduler) -> None:
    """Have a scheduler answer; called by Dask."""
    folder = Path(os.environ[tasks.FOLDER])
    _note_dropped(scheduler, folder / tasks.DROPPED)
    led = Led(scheduler, folder / tasks.LED)
    assert isinstance(led, Successor), "it would never be told"
    scheduler.add_plugin(led, name="failover-led")
    scheduler.handlers[OP] = lambda: (
        checked(scheduler) if led.leads else {"settled": False}
    )


class Led(SchedulerPlugin):
    """Writes down each term in which its scheduler took over, as soon as it has."""

    def __init__(self, scheduler: Any, file: Path) -> None:
        self._scheduler, self._file = scheduler, file
        self.leads = False

    def recalling(self) -> None:
        """Nothing is to be done."""

    def adopted(self, attempts: Sequence[Attempt]) -> None:
        """Nothing is to be done."""

    def resumed(self) -> None:
        """Nothing is to be done."""

    def settled(self) -> None:
        """All of old is taken over, and what nobody needs is free."""
        self.leads = True
        with self._file.open("a") as to:
            to.write(f"{self._scheduler.dtf_durability.term}\n")


def _note_dropped(scheduler: Any, file: Path) -> None:
    """Write down of what Dask's memory manager has a copy dropped.

    The worker that computed it may be the one that drops it, so that what is left dies
    with a worker that never ran it.
    """
    own = scheduler.request_remove_replicas

    def noted(addr: str, keys: list[str], *, stimulus_id: str) -> None:
        with file.open("a") as to:
            to.write("".join(f"{key}\n" for key in keys))
        own(addr, keys, stimulus_id=stimulus_id)

    scheduler.request_remove_replicas = noted


def checked(scheduler: Any) -> dict[str, Any]:
    """What is broken, in words, and how much there is of what."""
    broken: list[str] = []
    plugin = scheduler.plugins["dtf-scheduling"]
    answer: dict[str, Any] = {"broken": broken, "settled": True}
    if plugin.failure:
        broken.append(f"the engine does not schedule: {plugin.failure}")
        return answer
    try:
        scheduler.validate_state()
    except AssertionError as error:
        where = "".join(traceback.format_exception(error)[-_FRAMES:])
        broken.append(f"Dask's own checks: {where} of {_seen(error)}")
    keeper = plugin.keeper
    holding, engine = keeper.holding, plugin.engine
    try:
        engine.check()
    except AssertionError as error:
        broken.append(f"the engine's checks: {error}")
    core = engine._core
    for key, task in holding.tasks.items():
        ts = scheduler.tasks.get(key)
        if ts is None:
            broken.append(f"{key!r} is governed, and Dask does not know it")
        elif task.stage == "granted" and ts.processing_on is not task.place:
            broken.append(f"{key!r} is granted, and {ts.state} in Dask")
        elif task.stage == "granted" and key not in core.running:
            broken.append(f"{key!r} is granted, and the engine does not know it")
        elif task.stage == "held" and key not in core.lanes.tasks:
            broken.append(f"{key!r} is held, and the engine does not know it")
        elif ts.state == "processing" and task.stage != "granted":
            broken.append(f"{key!r} runs, and is {task.stage} here")
    for key in core.running:
        if key not in holding.tasks and keeper.attempts.farewells.get(key) is None:
            broken.append(f"{key!r} runs for the engine, and for nobody else")
    durability = scheduler.dtf_durability
    answer |= {
        "tasks": len(scheduler.tasks),
        "governed": len(holding.tasks),
        "running": len(core.running),
        "waiting": len(core.lanes.tasks),
        "workers": len(scheduler.workers),
        "clients": len(scheduler.clients),
        "journal": len(durability.records("j/")),
        "rss": psutil.Process().memory_info().rss,
        "at_s": time.monotonic(),
    }
    return answer


def _seen(error: AssertionError) -> dict[str, str]:
    """What the function that failed looked at."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return (
        {}
        if frame is None
        else {
            name: repr(value)[:300] for name, value in frame.tb_frame.f_locals.items()
        }
    )
