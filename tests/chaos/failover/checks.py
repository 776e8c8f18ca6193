"""A preload of the schedulers that are tried: they say whether all holds that must."""

from __future__ import annotations

import time
from typing import Any

import psutil
from distributed import Scheduler

OP = "dtf_check"


async def dask_setup(scheduler: Scheduler) -> None:
    """Have a scheduler answer; called by Dask."""
    scheduler.handlers[OP] = lambda: checked(scheduler)


def checked(scheduler: Any) -> dict[str, Any]:
    """What is broken, in words, and how much there is of what."""
    broken: list[str] = []
    plugin = scheduler.plugins["dtf-scheduling"]
    answer: dict[str, Any] = {"broken": broken}
    if plugin.failure:
        broken.append(f"the engine does not schedule: {plugin.failure}")
        return answer
    try:
        scheduler.validate_state()
    except AssertionError as error:
        broken.append(f"Dask's own checks: {error!r}")
    keeper = plugin.keeper
    holding, engine = keeper.holding, plugin.engine
    answer["settled"] = not holding.recalling
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
