"""The engine in a simulated scheduler: held and granted as in a real one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from distributed import Scheduler, SchedulerPlugin
from sim_loop import VirtualLoop
from sim_scheduler import Way
from sim_workloads import Machine, SimTask, Workload

from dtf_dask.scheduler_plugins import dask_grants
from dtf_dask.scheduler_plugins.engine import Engine
from dtf_dask.scheduler_plugins.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.keeper import Keeper
from dtf_dask.scheduler_plugins.ledger import Ledger
from dtf_dask.scheduler_plugins.quota import Quota


class EnginePlugin(SchedulerPlugin):
    """The adapter's parts with a clock of made-up time, and a failure is one."""

    name = "sim-engine"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def start(self, scheduler: Scheduler) -> None:
        """Take the choice of workers over."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        missing = dask_grants.broken(scheduler)
        assert not missing, missing
        ledger = Ledger(
            scheduler,
            self.engine,
            loop=loop,
            guarded=lambda act: act,
            clock=loop.time,
            wall=loop.wall_time,
        )
        self.keeper = Keeper(ledger)
        dask_grants.Hold(scheduler, ledger.places).begin()

    def update_graph(
        self, scheduler: Scheduler, *, tasks: list[Any], **more: Any
    ) -> None:
        """Tasks came."""
        self.keeper.submitted(tasks)

    def transition(
        self, key: Any, start: Any, finish: Any, *args: Any, **more: Any
    ) -> None:
        """A task changed its state."""
        self.keeper.moved(key, start, finish, more)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A worker came."""
        self.keeper.worker_joined(worker)


def _annotations(task: SimTask) -> dict[str, Any]:
    asked: dict[str, Any] = {
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
        return EnginePlugin(engine)

    return Way(
        name,
        key=lambda task: f"{task.name}-{task.key.partition('-')[2]}",
        annotations=_annotations,
        extra=_advert,
        plugin=plugin,
    )
