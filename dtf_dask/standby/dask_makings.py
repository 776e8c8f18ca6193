"""Tells workers of which making each task is that they are given, or a copy of it.

`broken` says what an installed version of Dask no longer has of what is used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature, unwrap
from typing import Any

from distributed import Scheduler
from distributed.active_memory_manager import ActiveMemoryManagerExtension
from distributed.scheduler import SchedulerState, TaskState

from dtf_dask.durable.makings import ANNOTATION, NONE
from dtf_dask.standby.dask_takeover import made_of

_CALLS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (SchedulerState, "_task_to_msg", ("dependencies", "annotations")),
    (SchedulerState, "_add_to_processing", ("_task_to_msg",)),
    (Scheduler, "send_task_to_worker", ("_task_to_msg",)),
    (Scheduler, "replicate", ("gather_on_worker",)),
    (Scheduler, "_rebalance_move_data", ("gather_on_worker",)),
    (ActiveMemoryManagerExtension, "run_once", ("_enact_suggestions",)),
    (
        ActiveMemoryManagerExtension,
        "_enact_suggestions",
        ("request_acquire_replicas",),
    ),
)
_PARAMETERS = {
    "request_acquire_replicas": ("self", "addr", "keys", "stimulus_id"),
    "gather_on_worker": ("self", "worker_address", "who_has"),
}


def broken() -> tuple[str, ...]:
    """Say what is missing of what is used here; empty if all is there."""
    missing = []
    for owner, caller, names in _CALLS:
        code = getattr(unwrap(getattr(owner, caller, broken)), "__code__", None)
        known = () if code is None else (*code.co_names, *code.co_freevars)
        within = [
            one for one in getattr(code, "co_consts", ()) if hasattr(one, "co_names")
        ]
        known += tuple(name for one in within for name in one.co_names)
        missing += [
            f"{name} in {owner.__name__}.{caller}"
            for name in names
            if name not in known
        ]
    for name, parameters in _PARAMETERS.items():
        function = getattr(Scheduler, name, None)
        if function is None or tuple(signature(function).parameters) != parameters:
            missing.append(f"Scheduler.{name}")
    return tuple(missing)


def install(scheduler: Scheduler) -> None:
    """Have workers told from now on."""
    own_task = scheduler._task_to_msg
    own_copies = scheduler.request_acquire_replicas
    own_gather = scheduler.gather_on_worker

    def task(ts: Any) -> dict[str, Any]:
        message = own_task(ts)
        # In the order of `who_has`, which Dask makes in the same way.
        marks = [made_of(ts), *map(made_of, ts.dependencies)]
        if any(marks):
            message["annotations"] = {**message["annotations"], ANNOTATION: marks}
        return message

    def copies(addr: str, keys: Iterable[Any], *, stimulus_id: str) -> None:
        keys = list(keys)
        own_copies(addr, keys, stimulus_id=stimulus_id)
        tell(scheduler, addr, keys)

    async def gather(worker_address: str, who_has: Mapping[Any, Any]) -> set[Any]:
        asked = {key: scheduler.tasks.get(key) for key in who_has}
        failed = await own_gather(worker_address, dict(who_has))
        same = [
            key
            for key, ts in asked.items()
            if key not in failed and ts is not None and scheduler.tasks.get(key) is ts
        ]
        tell(scheduler, worker_address, same)
        return failed

    vars(scheduler).update(
        _task_to_msg=task, request_acquire_replicas=copies, gather_on_worker=gather
    )


def tell_holders(scheduler: Scheduler, tasks: Iterable[TaskState]) -> None:
    """Tell all that have a result, each, of which making it is."""
    by_worker: dict[str, list[Any]] = {}
    for ts in tasks:
        for ws in ts.who_has or ():
            by_worker.setdefault(ws.address, []).append(ts.key)
    for worker, keys in by_worker.items():
        tell(scheduler, worker, keys)


def tell(scheduler: Scheduler, worker: str, keys: Iterable[Any]) -> None:
    """Tell a worker of what the copies are that it has, or will have."""
    ws = scheduler.workers.get(worker)
    if ws is None or worker not in scheduler.stream_comms:
        return
    if ANNOTATION not in ws.metrics:
        return  # it would not understand, and end
    tasks = scheduler.tasks
    marks = [(key, made_of(tasks[key])) for key in keys if key in tasks]
    marks = [one for one in marks if one[1] != NONE]
    if marks:
        scheduler.stream_comms[worker].send({"op": ANNOTATION, "marks": marks})
