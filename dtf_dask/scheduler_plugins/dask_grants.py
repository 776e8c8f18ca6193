"""The private names of Dask's scheduler by which tasks are held and granted.

Nothing here decides. A task whose key is among ``places`` is held in Dask's own state
"no-worker" until a worker stands there, and then goes to that worker and no other.
`broken` says what an installed version of Dask no longer has; who takes over asks it
first, and a contract test keeps it empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from inspect import unwrap
from typing import Any

from dask._task_spec import DataNode
from distributed import Scheduler
from distributed.core import Status
from distributed.protocol import Serialized, serialize
from distributed.scheduler import (
    NoValidWorkerError,
    NoWorkerError,
    SchedulerState,
    TaskState,
    WorkerState,
)
from distributed.stealing import WorkStealing

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

_REPLACED = (
    "is_rootish",
    "decide_worker_non_rootish",
    "valid_workers",
    "bulk_schedule_unrunnable_after_adding_worker",
    "_check_unrunnable_task_timeouts",
)
_CALLED = ("transition", "transitions", "worker_send", "add_resources", "_reschedule")
_ENTRIES = (
    ("waiting", "processing"),
    ("waiting", "no-worker"),
    ("no-worker", "processing"),
    ("no-worker", "released"),
    ("no-worker", "erred"),
    ("processing", "released"),
    ("processing", "erred"),
    ("released", "erred"),
    ("waiting", "released"),
)
_STREAMS = ("task-erred", "long-running", "steal-response", "reschedule")
_TASK_FIELDS = (
    *("annotations", "run_id", "retries", "processing_on", "exception_blame"),
    *("exception", "exception_text", "waiting_on", "waiters", "dependencies"),
    *("dependents", "resource_restrictions", "worker_restrictions", "run_spec"),
    *("host_restrictions", "loose_restrictions", "who_wants", "who_has", "actor"),
)
# Which function leans on which name: a replaced method that nobody calls any more
# would be ignored without a word.
_CALL_SITES: tuple[tuple[type, str, tuple[str, ...]], ...] = (
    (
        SchedulerState,
        "_transition_waiting_processing",
        ("is_rootish", "decide_worker_non_rootish", "_add_to_processing"),
    ),
    (
        SchedulerState,
        "_transition_no_worker_processing",
        ("decide_worker_non_rootish", "unrunnable", "_add_to_processing"),
    ),
    (SchedulerState, "_transition_waiting_no_worker", ("unrunnable",)),
    (SchedulerState, "_add_to_processing", ("acquire_resources", "_task_to_msg")),
    (SchedulerState, "_exit_processing_common", ("release_resources",)),
    (SchedulerState, "_task_to_msg", ("annotations", "run_id")),
    (WorkStealing, "balance", ("_get_thief", "move_task_request")),
    (
        Scheduler,
        "handle_worker_status_change",
        ("bulk_schedule_unrunnable_after_adding_worker", "log_event"),
    ),
    (Scheduler, "_check_no_workers", ("_check_unrunnable_task_timeouts",)),
    (Scheduler, "_create_taskstate_from_graph", ("update_graph", "transitions")),
    (Scheduler, "stimulus_task_erred", ("retries", "run_id")),
)

_FOREIGN: Any = object()


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what this module uses; empty if all is there."""
    missing = [
        f"Scheduler.{name}"
        for name in (*_REPLACED, *_CALLED)
        if not callable(getattr(scheduler, name, None))
    ]
    table = getattr(scheduler, "_TRANSITIONS_TABLE", {})
    missing += [f"{a} -> {b}" for a, b in _ENTRIES if (a, b) not in table]
    streams = getattr(scheduler, "stream_handlers", {})
    missing += [f"stream {op}" for op in _STREAMS if not callable(streams.get(op))]
    missing += [
        f"TaskState.{name}" for name in _TASK_FIELDS if not hasattr(TaskState, name)
    ]
    for owner, caller, called in _CALL_SITES:
        code = getattr(unwrap(getattr(owner, caller, _FOREIGN)), "__code__", None)
        missing += [
            f"{name} in {owner.__name__}.{caller}"
            for name in called
            if code is None or name not in code.co_names
        ]
    if not isinstance(getattr(scheduler, "unrunnable", None), dict):
        missing.append("Scheduler.unrunnable")
    if not hasattr(scheduler, "__dict__"):
        missing.append("methods of one scheduler that can be replaced")
    return tuple(missing)


class Hold:
    """Keeps tasks from Dask's own choice while it is in force.

    Parameters
    ----------
    places
        By key of a governed task, the worker it was granted, or None. Its owner
        changes it; it is only read here.
    timed_out
        Hears which governed tasks have been held for longer than Dask's
        ``no-workers-timeout``, the oldest first; says which of them failed for it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        places: Mapping[Any, WorkerState | None],
        timed_out: Callable[[list[Any]], set[Any]] = lambda keys: set(),
    ) -> None:
        self._timed_out = timed_out
        self._scheduler = scheduler
        self._places = places
        self._before: list[tuple[Any, str, Any]] = []
        self._streams: dict[str, Any] = {}
        self._handlers: dict[str, Any] = {}

    def begin(self) -> None:
        """Replace the methods that choose, on this one scheduler."""
        scheduler, places = self._scheduler, self._places
        was_rootish = scheduler.is_rootish
        was_decided = scheduler.decide_worker_non_rootish
        was_valid = scheduler.valid_workers
        was_timed_out = scheduler._check_unrunnable_task_timeouts

        def granted(ts: TaskState) -> WorkerState | None:
            place = places.get(ts.key)
            return place if place in scheduler.running else None

        def is_rootish(ts: TaskState) -> bool:
            return ts.key not in places and was_rootish(ts)

        def decide_worker_non_rootish(ts: TaskState) -> WorkerState | None:
            return granted(ts) if ts.key in places else was_decided(ts)

        def valid_workers(ts: TaskState) -> set[WorkerState] | None:
            if ts.key not in places:
                return was_valid(ts)
            place = granted(ts)
            return set() if place is None else {place}

        def bulk_schedule(ws: WorkerState) -> dict[Any, str]:
            runnable = []
            for ts in scheduler.unrunnable:
                if ts.key not in places:
                    valid = was_valid(ts)
                    if valid is None or ws in valid:
                        runnable.append(ts)
            # Recommendations are processed from the last one on.
            runnable.sort(key=lambda ts: ts.priority or (), reverse=True)
            return {ts.key: "processing" for ts in runnable}

        def check_timeouts(timestamp: float, **more: Any) -> set[Any]:
            # Ours queue there, which is no reason to fail.
            unrunnable = scheduler.unrunnable
            held = {ts: at for ts, at in unrunnable.items() if ts.key in places}
            for ts in held:
                del unrunnable[ts]
            try:
                affected = was_timed_out(timestamp, **more)
            finally:
                left = {**held, **unrunnable}
                unrunnable.clear()
                # By the time: Dask looks at the oldest first.
                unrunnable.update(sorted(left.items(), key=lambda row: row[1]))
            oldest = timestamp - (scheduler.no_workers_timeout or 0.0)
            old = [ts.key for ts, at in held.items() if at < oldest]
            return affected | self._timed_out(old) if old else affected

        own = (
            is_rootish,
            decide_worker_non_rootish,
            valid_workers,
            bulk_schedule,
            check_timeouts,
        )
        for name, method in zip(_REPLACED, own, strict=True):
            self._replace(scheduler, name, method)
        stealing = scheduler.extensions.get("stealing")
        if isinstance(stealing, WorkStealing):
            # A task with loose restrictions is stolen whatever `valid_workers` says.
            was_thief = stealing._get_thief

            def get_thief(owner: Any, ts: TaskState, *more: Any, **kw: Any) -> Any:
                return None if ts.key in places else was_thief(owner, ts, *more, **kw)

            self._replace(stealing, "_get_thief", get_thief)

    def end(self) -> None:
        """Let Dask choose again; what is held is not moved by this."""
        for owner, name, method in self._before:
            if method is _FOREIGN:
                delattr(owner, name)
            else:
                setattr(owner, name, method)
        for kept, handlers in (
            (self._streams, self._scheduler.stream_handlers),
            (self._handlers, self._scheduler.handlers),
        ):
            handlers.update(kept)
            kept.clear()
        self._before.clear()

    def _replace(self, owner: Any, name: str, method: Any) -> None:
        self._before.append((owner, name, vars(owner).get(name, _FOREIGN)))
        setattr(owner, name, method)

    def listen(
        self,
        op: str,
        before: Callable[[dict[str, Any]], bool],
        after: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Hear a worker's messages of one kind before Dask does.

        ``before`` says whether Dask is to see the message. Neither may raise: Dask
        would drop the worker's connection.
        """
        self._streams[op] = original = self._scheduler.stream_handlers[op]

        def handler(**message: Any) -> None:
            if before(message):
                original(**message)
                if after is not None:
                    after(message)

        self._scheduler.stream_handlers[op] = handler

    def listen_to_resources(self, after: Callable[[str], None]) -> None:
        """Hear of a worker whose resources were changed; keep what is in use of them.

        Dask itself sets what is in use to nothing, whatever runs there.
        """
        scheduler = self._scheduler
        self._handlers["set_resources"] = scheduler.handlers["set_resources"]

        def set_resources(worker: str, resources: dict[str, float]) -> str:
            answer = scheduler.add_resources(worker=worker, resources=resources)
            ws = scheduler.workers[worker]
            for ts in ws.processing:
                scheduler.acquire_resources(ts, ws)
            after(worker)
            return answer

        scheduler.handlers["set_resources"] = set_resources


# -- moving tasks -------------------------------------------------------------------


def grant(scheduler: Scheduler, keys: Iterable[Any]) -> None:
    """Send held tasks to the workers that stand in ``places``, in this order."""
    # Recommendations are processed from the last one on.
    ordered: Any = dict.fromkeys(reversed(list(keys)), "processing")
    scheduler.transitions(ordered, _stimulus("grant"))


def release(scheduler: Scheduler, keys: Iterable[Any]) -> None:
    """Take tasks back from their workers; those that are wanted wait again."""
    scheduler.transitions(dict.fromkeys(keys, "released"), _stimulus("release"))


def reschedule(scheduler: Scheduler, key: Any) -> None:
    """Take back a task that its worker has said it gave up."""
    scheduler._reschedule(key, stimulus_id=_stimulus("revoke"))


def go_on(scheduler: Scheduler, keys: Iterable[Any]) -> None:
    """Let tasks run that wait for nothing any more, since an edge was cut."""
    scheduler.transitions(dict.fromkeys(keys, "processing"), _stimulus("go-on"))


def fail(scheduler: Scheduler, key: Any, error: BaseException) -> None:
    """Let a task end with an error of ours, from whatever state it is in.

    As Dask does when it times out (`Scheduler._check_unrunnable_task_timeouts`).
    """
    ts = scheduler.tasks.get(key)
    if ts is None or ts.state in ("memory", "erred", "forgotten"):
        return
    stimulus, exception = _stimulus("fail"), Serialized(*serialize(error))
    if ts.state in ("waiting", "released"):
        # There is no such entry in the table: it goes the way of those whose input
        # failed, and is what failed itself.
        ts.exception, ts.exception_text, ts.exception_blame = exception, str(error), ts
        scheduler.transitions({key: "erred"}, stimulus)
    else:
        follow = scheduler.transition(
            key,
            "erred",
            exception=exception,
            exception_text=str(error),
            cause=key,
            stimulus_id=stimulus,
        )
        scheduler.transitions(follow, stimulus)


def free(scheduler: Scheduler, address: str, key: Any) -> None:
    """Tell a worker that nobody wants what it runs."""
    message = {"op": "free-keys", "keys": [key], "stimulus_id": _stimulus("free")}
    if address in scheduler.stream_comms:
        scheduler.worker_send(address, message)


def ask_back(scheduler: Scheduler, address: str, key: Any, stimulus: str) -> None:
    """Ask a worker for a task that it has not begun, or whether it still has it.

    The answer is a "steal-response" with the same stimulus.
    """
    message = {"op": "steal-request", "key": key, "stimulus_id": stimulus}
    if address in scheduler.stream_comms:
        scheduler.worker_send(address, message)


# -- looking ------------------------------------------------------------------------


def loop_of(scheduler: Scheduler) -> Any:
    """The event loop that Dask handles its messages in."""
    return scheduler.loop.asyncio_loop  # type: ignore[attr-defined]


def is_running(ws: WorkerState) -> bool:
    """Whether a worker takes new tasks: it is not paused and not about to leave."""
    return ws.status == Status.running


def cut(ts: TaskState, dts: TaskState, value: Any) -> None:
    """Let a task that waits run with a value of ours instead of an input.

    Parameters
    ----------
    ts
        Which waits for ``dts``.
    value
        What it gets in its place.
    """
    assert ts.run_spec is not None
    ts.run_spec = ts.run_spec.substitute({dts.key: DataNode(None, value)})
    ts.dependencies.discard(dts)
    dts.dependents.discard(ts)
    if ts.waiting_on:
        ts.waiting_on.discard(dts)
    if dts.waiters:
        dts.waiters.discard(ts)
    ts.has_lost_dependencies = False


def no_worker_error(scheduler: Scheduler, key: Any) -> Exception:
    """What Dask's own ``no-workers-timeout`` fails a task with."""
    timeout = scheduler.no_workers_timeout or 0.0
    if not scheduler.running:
        return NoWorkerError(task=key, timeout=timeout)
    ts = scheduler.tasks[key]
    return NoValidWorkerError(
        task=key,
        host_restrictions=set(ts.host_restrictions or ()),
        worker_restrictions=set(ts.worker_restrictions or ()),
        resource_restrictions=dict(ts.resource_restrictions or {}),
        timeout=timeout,
    )


def _stimulus(word: str) -> str:
    return f"dtf-{word}-{time.time()}"
