"""The ways of scheduling that benchmarks/simulate.py compares.

All respect what tasks demand. Plain Dask is told with ``resources=``: a worker has one
named after each demand that it fits, as much as it has threads, and its GPUs. Its tasks
have one key prefix, as ``client.map(run_test, ids)`` gives them: without resources they
then wait in the scheduler's queue, in order of priority, which serves these peers best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_scheduler import Way
from sim_workloads import CLASSES, DEMANDS, Machine, SimTask

_RANKS = {name: len(CLASSES) - n for n, name in enumerate(CLASSES)}
_NO_DEADLINE_S = 1e7  # static EDF runs these last


def _task_resources(task: SimTask) -> dict[str, Any]:
    resources: dict[str, float] = {}
    if task.demand.hardware:
        resources[f"is-{task.demand.name}"] = 1
    if task.demand.gpus:
        resources["gpu"] = task.demand.gpus
    return {"resources": resources} if resources else {}


def _worker_resources(machine: Machine) -> dict[str, float]:
    resources: dict[str, float] = {
        f"is-{demand.name}": machine.kind.threads
        for demand in DEMANDS.values()
        if demand.hardware and demand.fits(machine.kind)
    }
    if machine.kind.gpus:
        resources["gpu"] = machine.kind.gpus
    return resources


def _by_class(task: SimTask) -> dict[str, Any]:
    return {**_task_resources(task), "priority": _RANKS[task.priority_class]}


def _by_deadline(task: SimTask) -> dict[str, Any]:
    due = _NO_DEADLINE_S if task.deadline is None else task.deadline
    return {**_task_resources(task), "priority": -due}


FIFO = Way("fifo", annotations=_task_resources, resources=_worker_resources)
CLASS = Way("class", annotations=_by_class, resources=_worker_resources)
EDF = Way("edf", annotations=_by_deadline, resources=_worker_resources)
PEERS: Mapping[str, Way] = {way.name: way for way in (FIFO, CLASS, EDF)}


def ways() -> dict[str, Way]:
    """All of them, by name, in the order in which they are shown."""
    from sim_engine import engine_way

    return {**PEERS, "engine": engine_way()}
