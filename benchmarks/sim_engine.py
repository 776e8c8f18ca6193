"""The engine in a simulated scheduler, by way of the real plugin."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from distributed import SchedulerPlugin
from sim_loop import VirtualLoop
from sim_scheduler import Way
from sim_workloads import Machine, SimTask, Workload

from dtf_dask.scheduler_plugins.adapter.plugin import SchedulingPlugin
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.policies.quota import Quota


def _annotations(task: SimTask) -> dict[str, Any]:
    # Names, since all keys have one prefix, as those of the peers: Dask reckons its
    # load by going through the prefixes of all that runs, and with one for each test
    # that cost more CPU than everything else.
    asked: dict[str, Any] = {
        "name": task.name,
        "class": task.priority_class,
        "tenant": task.tenant,
    }
    if task.demand.hardware:
        asked["hardware"] = task.demand.hardware
    if task.demand.gpus:
        asked["gpus"] = task.demand.gpus
    if task.deadline is not None:
        asked["deadline"] = task.deadline - task.submitted
    return {"dtf": asked}


def _advert(machine: Machine) -> dict[str, Any]:
    gpus = [
        {
            "id": f"GPU-{machine.name}-{n}",
            "index": n,
            "model": machine.kind.name,
            "memory": machine.kind.gpu_memory,
            "state": "ok",
        }
        for n in range(machine.kind.gpus)
    ]
    return {
        "dtf_hardware": {
            "version": 1,
            "facts": machine.facts,
            "gpus": gpus,
            "accept": "",
            "tokens": {},
            "problems": [],
        }
    }


def engine_way(
    name: str = "engine",
    settings: EngineSettings | None = None,
    *,
    taught: bool = True,
) -> Way:
    """The engine, with what past runs taught if ``taught``."""

    def plugin(workload: Workload) -> SchedulerPlugin:
        quotas = {name: Quota(weight) for name, weight in workload.weights.items()}
        base = settings or EngineSettings()
        engine = Engine(replace(base, tenants=replace(base.tenants, quotas=quotas)))
        if taught:
            for test, seconds in workload.history_s.items():
                engine.learn(test, "", [seconds] * 3)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return SchedulingPlugin(engine, loop=loop, clock=loop.time, wall=loop.wall_time)

    return Way(
        name,
        annotations=_annotations,
        extra=_advert,
        plugin=plugin,
    )
