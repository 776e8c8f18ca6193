"""The private names of Dask's scheduler by which tasks are held and granted.

Nothing here decides. A task whose key is among ``places`` is held in Dask's own state
"no-worker" until a worker stands there, and then goes to that worker and no other.
`dask_contract` says what an installed version of Dask no longer has of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from distributed import Scheduler
from distributed.core import Status
from distributed.scheduler import (
    NoValidWorkerError,
    NoWorkerError,
    TaskState,
    WorkerState,
)
from distributed.stealing import WorkStealing

from dtf_dask.scheduler_plugins.adapter import dask_failures
from dtf_dask.scheduler_plugins.adapter.dask_contract import REPLACED

_FOREIGN: Any = object()


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
    unplaced
        Keys of tasks that Dask itself found no worker for. Its owner keeps it: among
        a hundred thousand that are held, a worker that joins must not look for them.
    fitting
        Of a task that Dask itself places, the workers that may have it; None for any.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        places: Mapping[Any, WorkerState | None],
        timed_out: Callable[[list[Any]], set[Any]] = lambda keys: set(),
        unplaced: dict[Any, None] | None = None,
        fitting: Callable[[TaskState], set[WorkerState] | None] = lambda ts: None,
    ) -> None:
        self._fitting = fitting
        self._unplaced: dict[Any, None] = {} if unplaced is None else unplaced
        self._timed_out = timed_out
        self._scheduler = scheduler
        self._places = places
        self._before: list[tuple[Any, str, Any]] = []
        self._streams: dict[str, Any] = {}
        self._handlers: dict[str, Any] = {}

    def begin(self) -> None:
        """Replace the methods that choose, on this one scheduler."""
        scheduler, places, fitting = self._scheduler, self._places, self._fitting
        for ts in scheduler.unrunnable:
            if ts.key not in places:
                self._unplaced[ts.key] = None
        was_rootish = scheduler.is_rootish
        was_decided = scheduler.decide_worker_non_rootish
        was_valid = scheduler.valid_workers
        was_timed_out = scheduler._check_unrunnable_task_timeouts

        def granted(ts: TaskState) -> WorkerState | None:
            place = places.get(ts.key)
            return place if place in scheduler.running else None

        def is_rootish(ts: TaskState) -> bool:
            if ts.key in places or (ts.actor and fitting(ts) is not None):
                return False  # of root tasks Dask does not ask which workers are valid
            return was_rootish(ts)

        def decide_worker_non_rootish(ts: TaskState) -> WorkerState | None:
            return granted(ts) if ts.key in places else was_decided(ts)

        def valid_workers(ts: TaskState) -> set[WorkerState] | None:
            if ts.key not in places:
                valid, fit = was_valid(ts), fitting(ts) if ts.actor else None
                return valid if fit is None else fit if valid is None else fit & valid
            place = granted(ts)
            return set() if place is None else {place}

        def bulk_schedule(ws: WorkerState) -> dict[Any, str]:
            runnable = []
            for key in self._unplaced:
                ts = scheduler.tasks.get(key)
                if ts is not None and ts in scheduler.unrunnable and key not in places:
                    valid = valid_workers(ts)
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
        for name, method in zip(REPLACED, own, strict=True):
            self._replace(scheduler, name, method)
        self._hold_at_once()
        stealing = scheduler.extensions.get("stealing")
        if isinstance(stealing, WorkStealing):
            self._keep_from(stealing)

    def _hold_at_once(self) -> None:
        """Let tasks that are not granted yet be held in one step.

        Dask's way there has three, and each is told to every plugin: from "released"
        to "waiting", from there to "processing", which finds no worker, and then to
        "no-worker".
        """
        places = self._places
        table: dict[Any, Any] = dict(self._scheduler._TRANSITIONS_TABLE)
        was_waiting = table["released", "waiting"]
        was_processing = table["waiting", "processing"]
        hold = table["waiting", "no-worker"]

        def waiting(scheduler: Scheduler, key: Any, stimulus_id: str) -> Any:
            moved = was_waiting(scheduler, key, stimulus_id)
            follow = moved[0]
            if follow.get(key) == "processing" and places.get(key, _FOREIGN) is None:
                hold(scheduler, key, stimulus_id)
                # It is there; said all the same, for it overrules what led to this.
                follow[key] = "no-worker"
            return moved

        def processing(scheduler: Scheduler, key: Any, stimulus_id: str) -> Any:
            if places.get(key, _FOREIGN) is None:
                return hold(scheduler, key, stimulus_id)
            return was_processing(scheduler, key, stimulus_id)

        table["released", "waiting"] = waiting
        table["waiting", "processing"] = processing
        self._replace(self._scheduler, "_TRANSITIONS_TABLE", table)

    def _keep_from(self, stealing: WorkStealing) -> None:
        """Have no governed task stolen, nor looked at for that in vain."""
        places = self._places
        was_thief, was_put = stealing._get_thief, stealing.put_key_in_stealable

        def get_thief(owner: Any, ts: TaskState, *more: Any, **kw: Any) -> Any:
            # One with loose restrictions is stolen whatever `valid_workers` says.
            return None if ts.key in places else was_thief(owner, ts, *more, **kw)

        def put_key_in_stealable(ts: TaskState) -> None:
            if ts.key not in places:
                was_put(ts)

        self._replace(stealing, "_get_thief", get_thief)
        self._replace(stealing, "put_key_in_stealable", put_key_in_stealable)

    def end(self) -> None:
        """Let Dask choose again; what is held is not moved by this."""
        for owner, name, method in reversed(self._before):  # one may be there twice
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

    def watch_failures(
        self,
        failing: Callable[[TaskState, list[TaskState], str], Any],
        failed: Callable[[TaskState, list[TaskState]], Any],
    ) -> None:
        """Say how failures spread; see `dask_failures.watched`."""
        table = self._scheduler._TRANSITIONS_TABLE
        watched = dask_failures.watched(table, failing, failed)
        self._replace(self._scheduler, "_TRANSITIONS_TABLE", watched)

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


def addresses_at(scheduler: Scheduler, host: str) -> list[str]:
    """The workers at a host, by a name that Dask knows it by."""
    known = scheduler.host_info.get(scheduler.coerce_hostname(host), {})
    return sorted(known.get("addresses", ()))


def is_running(ws: WorkerState) -> bool:
    """Whether a worker takes new tasks: it is not paused and not about to leave."""
    return ws.status == Status.running


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
