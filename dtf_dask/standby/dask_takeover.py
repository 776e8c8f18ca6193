"""The private names of Dask's scheduler by which it takes over what workers have.

Nothing here decides; `adoption` does. `broken` says what an installed version of Dask
no longer has of it, and of what `dask_adopting` uses; a contract test keeps it empty.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from inspect import unwrap
from typing import Any, TypeAlias

import msgpack
from distributed import Scheduler
from distributed.protocol.serialize import Serialized, serialize
from distributed.scheduler import SchedulerState, TaskState, WorkerState
from distributed.shuffle._core import ShuffleRunSpec

from dtf_dask.durable.inventory import Erred
from dtf_dask.durable.makings import NONE, mark_in, marked
from dtf_dask.errors import TaskLostError
from dtf_dask.standby.adoption import Known, Standing
from dtf_dask.submission.table import shown

Key: TypeAlias = Any  # Dask's are no bytes, and ours are more than it says
RUN_ID_BITS = 32
KNOWN_ERRED = "dtf-known-erred-"
"""How the stimulus begins by which tasks fail that failed under a leader before."""
_TEXT_MAX = 10_000
OPEN = frozenset({"released", "waiting", "queued", "no-worker"})
_STANDINGS: dict[str, Standing] = {
    **dict.fromkeys(OPEN, "open"),
    "processing": "processing",
    "memory": "memory",
    "erred": "erred",
}

_CALLED = (
    *("transition", "transitions", "worker_send", "send_all", "add_replica"),
    *("acquire_resources", "check_idle_saturated", "release_worker_data"),
    *("send_task_to_worker", "_client_releases_keys", "_transition"),
)
_STATE = ("tasks", "workers", "clients", "plugins", "extensions", "stream_handlers")
_TASK_FIELDS = (
    *("state", "run_id", "waiters", "waiting_on", "dependents", "dependencies"),
    *("who_has", "who_wants", "processing_on", "exception", "exception_blame"),
    *("exception_text", "traceback", "traceback_text", "erred_on", "retries", "actor"),
    *("type", "run_spec", "group", "priority", "suspicious"),
)
_WORKER_NAMES = (
    *("add_to_processing", "add_to_long_running", "long_running", "processing"),
    *("actors", "executing", "has_what", "_inc_needs_replica"),
)
_ENTRIES = (
    ("released", "waiting"),
    ("released", "erred"),
    ("released", "forgotten"),
    ("waiting", "released"),
    ("queued", "released"),
    ("no-worker", "released"),
    ("memory", "released"),
    ("processing", "released"),
)
_CALL_SITES = (
    (SchedulerState, "_task_to_msg", "_run_id_iterator"),
    (SchedulerState, "_transition_released_erred", "exception_blame"),
    (Scheduler, "stimulus_task_finished", "run_id"),
    (Scheduler, "stimulus_task_erred", "retries"),
)


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = [
        f"Scheduler.{name}"
        for name in (*_CALLED, *_STATE)
        if not hasattr(scheduler, name)
    ]
    missing += [
        f"TaskState.{name}" for name in _TASK_FIELDS if not hasattr(TaskState, name)
    ]
    missing += [
        f"WorkerState.{name}"
        for name in _WORKER_NAMES
        if not hasattr(WorkerState, name)
    ]
    table = getattr(scheduler, "_TRANSITIONS_TABLE", {})
    missing += [f"{a} -> {b}" for a, b in _ENTRIES if (a, b) not in table]
    streams = getattr(scheduler, "stream_handlers", {})
    missing += [
        f"stream {op}"
        for op in ("task-finished", "task-erred", "long-running")
        if not callable(streams.get(op))
    ]
    for owner, caller, name in _CALL_SITES:
        code = getattr(unwrap(getattr(owner, caller, broken)), "__code__", None)
        if code is None or name not in code.co_names:
            missing.append(f"{name} in {owner.__name__}.{caller}")
    if not isinstance(getattr(TaskState, "_run_id_iterator", None), itertools.count):
        missing.append("TaskState._run_id_iterator")
    if not _shuffle_numbers():
        missing.append("ShuffleRunSpec.run_id")
    return tuple(missing)


def _shuffle_numbers() -> Any:
    """What numbers the runs of P2P shuffles: a partial of next over a count."""
    field = getattr(ShuffleRunSpec, "__dataclass_fields__", {}).get("run_id")
    numbers = getattr(field, "default_factory", None)
    known = getattr(numbers, "func", None) is next and hasattr(numbers, "__setstate__")
    return numbers if known else None


def number_runs(term: int) -> None:
    """Number attempts of tasks from now on so that all of earlier terms are lower."""
    first = term << RUN_ID_BITS
    TaskState._run_id_iterator = itertools.count(first)
    # In place: the class's constructor holds this very object.
    _shuffle_numbers().__setstate__((next, (itertools.count(first + 1),), {}, {}))


def made_of(ts: TaskState) -> int:
    """The mark of a task's making; see `dtf_dask.durable.makings`."""
    if ts.run_spec is None:
        return mark_in(ts.annotations)
    made: int = getattr(ts.run_spec, "made", NONE)
    return made


def mark_value(ts: TaskState, made: int) -> None:
    """Write down of which making a value is that was scattered."""
    ts.annotations = marked(ts.annotations, made)


def is_of(scheduler: Scheduler, key: Key, made: int) -> bool:
    """Whether a task is known, and was made so."""
    ts = scheduler.tasks.get(key)
    return ts is not None and made_of(ts) == made


class SchedulerView:
    """A scheduler, as `adoption.plan` looks at it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks, self._workers = scheduler.tasks, scheduler.workers

    def known(self, key: Key) -> Known | None:
        """A task, or None if nobody wants it any more."""
        ts = self._tasks.get(key)
        if ts is None:
            return None
        run_id = -1 if ts.run_id is None else ts.run_id
        on = ts.processing_on
        standing, worker = _STANDINGS[ts.state], on.address if on else ""
        return Known(standing, worker, run_id, made_of(ts), ts.run_spec is None)

    def needs(self, key: Key) -> list[Key]:
        """The inputs of a task."""
        return [dts.key for dts in self._tasks[key].dependencies]

    def has(self, worker: str, key: Key) -> bool:
        """Whether a worker is known to have a result."""
        ws = self._workers.get(worker)
        return ws is not None and self._tasks[key] in ws.has_what

    def held_by(self, worker: str) -> list[Key]:
        """All results that a worker is known to have."""
        ws = self._workers.get(worker)
        return [ts.key for ts in ws.has_what] if ws is not None else []

    def processing_on(self, worker: str) -> list[Key]:
        """All tasks that were sent to a worker, the most urgent first."""
        ws = self._workers.get(worker)
        if ws is None:
            return []
        return [ts.key for ts in sorted(ws.processing, key=_urgency)]


def _urgency(ts: TaskState) -> Any:
    return ts.priority or ()


def needs_of(scheduler: Scheduler, keys: Iterable[Key]) -> set[Key]:
    """The inputs of tasks."""
    tasks = scheduler.tasks
    return {dts.key for key in keys for dts in tasks[key].dependencies}


# -- what became of tasks --------------------------------------------------------------


def error_words(
    scheduler: Scheduler, key: Key, bytes_max: int
) -> dict[str, Any] | None:
    """Why a task failed, as plain values; None if it failed for another.

    An error that is too large, or cannot be packed, is told by its text.
    """
    ts = scheduler.tasks.get(key)
    if ts is None or ts.exception_blame is not ts:
        return None
    exception, traceback = _packed(ts.exception), _packed(ts.traceback)
    text = str(ts.exception_text or "")[:_TEXT_MAX]
    if exception is None or len(exception) > bytes_max:
        error = RuntimeError(text or "its error cannot be kept")
        exception = _packed(Serialized(*serialize(error))) or b""
    if traceback is None or len(exception) + len(traceback) > bytes_max:
        traceback = b""
    return {
        "exception": exception,
        "traceback": traceback,
        "exception_text": text,
        "traceback_text": str(ts.traceback_text or "")[:_TEXT_MAX],
        "run_id": ts.run_id or 0,
        "made": made_of(ts),
        "worker": next(iter(sorted(ts.erred_on or ())), ""),
    }


def _packed(value: Any) -> bytes | None:
    """As `serialized` reads it; None if it cannot be."""
    try:
        if value is None:
            return b""
        if isinstance(value, bytes):  # Dask's own errors
            packed: bytes = msgpack.packb((None, [value]))
        else:
            frames = [bytes(frame) for frame in value.frames]
            packed = msgpack.packb((value.header, frames))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return packed


def serialized(packed: bytes) -> Any:
    """An exception or traceback as clients get it; None if there is none.

    What a worker brings that makes no sense is told as an error of its own: it must not
    be what ends a takeover, and each one after it.
    """
    if not packed:
        return None
    try:
        header, frames = msgpack.unpackb(packed, use_list=False, strict_map_key=False)
        if not all(isinstance(frame, bytes) for frame in frames):
            raise TypeError("frames that are no bytes")
        if header is None:
            return frames[0]
        return Serialized(dict(header), list(frames))
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        unread = RuntimeError(f"the task failed; its error cannot be read: {error}")
        return Serialized(*serialize(unread))


def counts(
    scheduler: Scheduler, keys: Iterable[Key]
) -> list[tuple[Key, int, int, int, int]]:
    """Of tasks that are to be tried again: tries left, suspicions, the last attempt,
    and the mark of the making."""
    found = []
    for key in keys:
        ts = scheduler.tasks.get(key)
        if ts is not None and (
            ts.suspicious or ts.retries or "retries" in (ts.annotations or ())
        ):
            last = ts.run_id or 0
            if ts.state == "processing":
                last = 0  # of an attempt that has begun since nothing is known
            found.append((key, ts.retries, ts.suspicious, last, made_of(ts)))
    return found


def fail_known(scheduler: Scheduler, errors: Iterable[tuple[str, Erred]]) -> None:
    """Have tasks failed that failed before, with all that need them."""
    wishes: dict[Key, Any] = {}
    for worker, erred in errors:
        ts = scheduler.tasks.get(erred.key)  # type: ignore[arg-type]
        if ts is not None and ts.state == "released":
            blame(ts, worker, erred)
            wishes[erred.key] = "erred"
    scheduler.transitions(wishes, f"{KNOWN_ERRED}{time.time()}")


def lose_actors(scheduler: Scheduler, keys: Iterable[Key]) -> None:
    """Have actors failed whose workers are gone, with all that need them."""
    wishes: dict[Key, Any] = {}
    for key in keys:
        ts = scheduler.tasks.get(key)
        if ts is not None and ts.state == "released":
            error = TaskLostError(
                f"the actor {shown(key)} is lost, with its state: its worker and the"
                " scheduler that led died"
            )
            packed = _packed(Serialized(*serialize(error))) or b""
            blame(ts, "", Erred(key, ts.run_id or 0, packed, b"", str(error), ""))
            wishes[key] = "erred"
    scheduler.transitions(wishes, f"dtf-actor-lost-{time.time()}")


def stop_making(scheduler: Scheduler, key: Key) -> None:
    """No worker makes an actor any more: Dask 2026.8 keeps it among its worker's."""
    ts = scheduler.tasks.get(key)
    if ts is not None and ts.actor:
        for ws in scheduler.workers.values():
            ws.actors.discard(ts)


def blame(ts: TaskState, worker: str, failed: Erred) -> None:
    """Write down why a task failed; it is to go from "released" to "erred" then."""
    ts.exception = serialized(failed.exception)
    ts.traceback = serialized(failed.traceback)
    ts.exception_text = failed.exception_text
    ts.traceback_text = failed.traceback_text
    ts.exception_blame = ts
    ts.erred_on = {*(ts.erred_on or ()), worker} if worker else ts.erred_on
    ts.run_id = failed.run_id


# -- what is wanted --------------------------------------------------------------------


def wanted(scheduler: Scheduler) -> list[Key]:
    """Open tasks that clients want, the most urgent first."""
    found = [
        ts
        for ts in scheduler.tasks.values()
        if ts.state == "released" and ts.who_wants and ts.run_spec
    ]
    found.sort(key=_urgency)
    return [ts.key for ts in found]


def forget_lost_values(scheduler: Scheduler) -> list[Key]:
    """Forget values that were scattered and that nobody has; clients are told."""
    lost = [
        ts.key
        for ts in scheduler.tasks.values()
        if ts.state == "released" and not ts.run_spec
    ]
    scheduler.transitions(dict.fromkeys(lost, "forgotten"), f"dtf-lost-{time.time()}")
    return lost


def want(scheduler: Scheduler, keys: Iterable[Key]) -> None:
    """Have tasks computed that are still open, with all that they need."""
    tasks = scheduler.tasks
    # Recommendations are processed from the last one on.
    wishes: Any = {
        key: "waiting"
        for key in reversed(list(keys))
        if key in tasks and tasks[key].state == "released"
    }
    scheduler.transitions(wishes, f"dtf-wanted-{time.time()}")
