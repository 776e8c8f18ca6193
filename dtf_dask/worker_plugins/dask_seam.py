"""The names of Dask's worker that dtf leans on without a promise, in this module.

`broken` names what an installed version of Dask no longer has; a contract test keeps
it empty, and who needs a name asks first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distributed import Worker
from distributed.worker_state_machine import TaskState


def broken(worker: Worker) -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = []
    if not isinstance(getattr(worker, "startup_information", None), dict):
        missing.append("Worker.startup_information")
    if not isinstance(getattr(worker, "metrics", None), dict):
        missing.append("Worker.metrics")
    if not callable(getattr(worker, "get_startup_information", None)):
        missing.append("Worker.get_startup_information")
    if not hasattr(getattr(worker, "batched_stream", None), "comm"):
        missing.append("Worker.batched_stream.comm")
    if not hasattr(getattr(worker, "memory_manager", None), "memory_limit"):
        missing.append("Worker.memory_manager.memory_limit")
    state = getattr(worker, "state", None)
    if not isinstance(getattr(state, "total_resources", None), dict):
        missing.append("WorkerState.total_resources")
    if not isinstance(getattr(state, "tasks", None), dict):
        missing.append("WorkerState.tasks")
    if "annotations" not in TaskState.__annotations__:
        missing.append("TaskState.annotations")
    return tuple(missing)


def say_at_registration(
    worker: Worker, name: str, say: Callable[[Worker], Awaitable[Any]]
) -> None:
    """Have what ``say`` returns in ``WorkerState.extra`` before any task is given.

    It is asked at every registration, and awaited.
    """
    worker.startup_information[name] = say


def say_at_heartbeats(
    worker: Worker, name: str, say: Callable[[Worker], Mapping[str, Any]]
) -> None:
    """Have what ``say`` returns in ``WorkerState.metrics``; asked on the loop."""
    worker.metrics[name] = say


def is_connected(worker: Worker) -> bool:
    """Whether an event would reach the scheduler; else Dask drops it in silence."""
    comm = worker.batched_stream.comm
    return comm is not None and not comm.closed()


def memory_limit(worker: Worker) -> int | None:
    """The bytes that Dask lets the worker have; None for no limit."""
    limit: int | None = worker.memory_manager.memory_limit
    return limit or None


def total_resources(worker: Worker) -> Mapping[str, float]:
    """What the worker was given by ``--resources``, or later."""
    return dict(worker.state.total_resources)


def task_annotations(worker: Worker, key: Any) -> Mapping[str, Any]:
    """What the scheduler sent along with a task; empty if the worker has no such."""
    task = worker.state.tasks.get(key)
    return (task.annotations if task is not None else None) or {}
