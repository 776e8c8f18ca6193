"""The tasks of Dask's worker: what it has, and how it drops some.

With `dask_rejoin`, whose `broken` asks this one's too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from dask.utils import typename
from distributed import Worker
from distributed.core import error_message
from distributed.metrics import time
from distributed.shuffle._exceptions import ShuffleClosedError
from distributed.shuffle._worker_plugin import ShuffleWorkerPlugin
from distributed.worker_state_machine import (
    FreeKeysEvent,
    StealResponseMsg,
    TaskState,
    WorkerState,
)

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running
from dtf_dask.durable.makings import NONE, mark_in, marked
from dtf_dask.durable.serialized import pack
from dtf_dask.grant import granted_devices

UNBEGUN = frozenset(
    {"waiting", "ready", "constrained", "fetch", "flight", "missing", "resumed"}
)
"""States of tasks that are dropped when the scheduler is gone."""
NOTHING_YET = frozenset(
    {"released", "cancelled", "resumed", "fetch", "flight", "missing", "forgotten"}
)
"""States of tasks of which the worker has nothing that it could give."""

_TASK = (
    *("run_id", "state", "nbytes", "type", "start_time", "exception", "traceback"),
    *("exception_text", "traceback_text", "previous", "annotations", "prefix"),
)
_STATE = ("tasks", "data", "actors", "executing", "long_running")


def broken() -> list[str]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = [
        f"TaskState.{name}" for name in _TASK if name not in TaskState.__annotations__
    ]
    missing += [
        f"WorkerState.{name}"
        for name in _STATE
        if name not in WorkerState.__annotations__
    ]
    received = [*inspect.signature(ShuffleWorkerPlugin.shuffle_receive).parameters]
    if received != ["self", *_RECEIVED]:
        missing.append(f"{_RECEIVE}({', '.join(_RECEIVED)}): {received}")
    return missing


def state_of(worker: Worker, key: Any) -> str | None:
    """A task's state on the worker, in Dask's words."""
    task = worker.state.tasks.get(key)
    return None if task is None else task.state


def drop(worker: Worker, states: Iterable[str] | None, why: str) -> int:
    """Drop tasks in these states, or all; returns how many.

    A thread that runs one goes on, and what it makes is thrown away.
    """
    wanted = None if states is None else frozenset(states)
    keys = [
        task.key
        for task in worker.state.tasks.values()
        if wanted is None or task.state in wanted
    ]
    free(worker, keys, why)
    return len(keys)


def free(worker: Worker, keys: list[Any], why: str) -> None:
    """Have the worker forget tasks, as if its scheduler had said so."""
    if keys:
        stimulus = f"{why}-{time()}"
        worker.handle_stimulus(FreeKeysEvent(keys=keys, stimulus_id=stimulus))


def give_up(worker: Worker, key: Any, stimulus_id: str) -> None:
    """Say that a task, which the worker knows nothing of, may be run elsewhere."""
    said = StealResponseMsg(key=key, state="ready", stimulus_id=stimulus_id)
    worker.batched_send(said.to_dict())


def mark_of(worker: Worker, key: Any) -> int:
    """Of which making a task is, or was; see `dtf_dask.durable.makings`."""
    task = worker.state.tasks.get(key)
    return NONE if task is None else mark_in(task.annotations)


def mark(worker: Worker, key: Any, made: int) -> None:
    """Write down of which making something is that is not run here."""
    task = worker.state.tasks.get(key)
    if task is not None and mark_in(task.annotations) != made:
        task.annotations = marked(task.annotations, made)


def is_parting(worker: Worker, key: Any) -> bool:
    """Whether a task is still run, or its result still fetched, that was taken back."""
    task = worker.state.tasks.get(key)
    return (
        task is not None
        and task.state in ("cancelled", "resumed")
        and task.previous in ("executing", "long-running", "flight")
    )


def running_count(worker: Worker) -> int:
    """How many tasks threads run, wanted or not."""
    return len(worker.state.executing) + len(worker.state.long_running)


def inventory(worker: Worker, term: int) -> Inventory:
    """What the worker has now."""
    memory, running, erred, actors, parting = [], [], [], [], []
    for key, task in worker.state.tasks.items():
        match task.state:
            case "memory":
                size, made = int(task.nbytes or 0), mark_in(task.annotations)
                memory.append(Held(key, size, typename(task.type), task.run_id, made))
                if key in worker.state.actors:
                    actors.append(key)
            case "executing" | "long-running":
                running.append(_begun(task, task.state))
            case "cancelled" | "resumed" if task.previous != "flight":
                parting.append(_begun(task, task.previous))
            case "error":
                erred.append(
                    Erred(
                        key,
                        task.run_id,
                        pack(task.exception),
                        pack(task.traceback),
                        task.exception_text,
                        task.traceback_text,
                        mark_in(task.annotations),
                    )
                )
    return Inventory(
        worker.id,
        term,
        tuple(memory),
        tuple(running),
        tuple(erred),
        tuple(actors),
        tuple(parting),
    )


def _begun(task: TaskState, state: str | None) -> Running:
    for_s = 0.0 if task.start_time is None else max(0.0, time() - task.start_time)
    gpus = granted_devices(task.annotations or {})
    seceded, made = state == "long-running", mark_in(task.annotations)
    return Running(task.key, task.run_id, for_s, seceded, gpus, made)


# Shuffles (P2P). A run of one lives in a scheduler and in all workers; it ends with the
# scheduler, and another begins it anew from its inputs.

SHUFFLING = frozenset(
    {
        *("shuffle-transfer", "rechunk-transfer", "hash-join-transfer"),
        "shuffle-barrier",
    }
)
"""Prefixes of tasks whose results mean something to one run of a shuffle only."""

_RECEIVE = "shuffle_receive"
_RECEIVED = ("shuffle_id", "run_id", "data")


def end_shuffles(worker: Worker, why: str) -> int:
    """End the runs of shuffles here, and drop what only they need; returns how many.

    Tasks that take results out of such a run are told to be run again, not that they
    failed.
    """
    runs: Any = getattr(worker.extensions.get("shuffle"), "shuffle_runs", None)
    found = list(getattr(runs, "_active_runs", {}).items())
    for name, run in found:
        runs.fail(name, run.run_id, why)
        run.fail(ShuffleClosedError(why))
    keys = [
        task.key
        for task in worker.state.tasks.values()
        if task.prefix in SHUFFLING and task.state not in ("cancelled", "released")
    ]
    free(worker, keys, "dtf-shuffle-ended")
    if found:
        worker.handlers[_RECEIVE] = _receiving(worker.extensions["shuffle"])
    return len(found)


def _receiving(plugin: Any) -> Any:
    """Take what peers send for runs of shuffles, but for those that were ended here.

    Dask would ask the scheduler for such a run, and the peer wait for the answer, even
    to close; but there may be no scheduler.
    """

    async def shuffle_receive(shuffle_id: Any, run_id: int, data: Any) -> Any:
        if run_id <= plugin.shuffle_runs._stale_run_ids.get(shuffle_id, -1):
            return error_message(ShuffleClosedError(f"run {run_id} was ended here"))
        return await plugin.shuffle_receive(shuffle_id, run_id, data)

    return shuffle_receive
