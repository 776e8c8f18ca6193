"""Moves tasks of Dask's scheduler to where they are, and says what workers said.

Nothing here decides. `dask_takeover.broken` says what an installed version of Dask no
longer has of what is used here.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState, WorkerState
from distributed.stealing import WorkStealing

from dtf_dask.durable.inventory import Erred, Held, Running
from dtf_dask.standby.adoption import Result
from dtf_dask.standby.applying import FIRE_AND_FORGET
from dtf_dask.standby.dask_takeover import OPEN, Key, blame, serialized

_logger = logging.getLogger(__name__)


class Adopting:
    """Moves tasks to where they are already, without a word to the workers.

    What follows for others, and what nobody needs, is collected until `finish`. Each
    step asks whether the task is still as it was when it was planned.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._stimulus = f"dtf-adopt-{time.time()}"
        self._follow: dict[Key, Any] = {}
        self._erred: dict[Key, Any] = {}
        self._said: dict[str, list[dict[str, Any]]] = {}
        self._touched: dict[TaskState, None] = {}
        self._busy: dict[WorkerState, None] = {}
        self._seceded: list[tuple[TaskState, WorkerState]] = []

    def memory(self, key: Key, result: Result) -> bool:
        """A task is done; whether it was open."""
        scheduler, workers = self._scheduler, self._scheduler.workers
        ts = scheduler.tasks.get(key)
        holders = [workers[one] for one in result.workers if one in workers]
        if ts is None or ts.state not in OPEN or not holders:
            return False
        if ts.actor and result.actor_at not in workers:
            return False  # who only reaches it has no actor
        was = self._release(ts)
        ts.set_nbytes(max(0, result.nbytes))
        ts.state = "memory"
        if result.typename:
            ts.type = result.typename
            ts.group.add_type(result.typename)
        for ws in holders:
            scheduler.add_replica(ts, ws)
        if ts.actor:
            workers[result.actor_at].actors.add(ts)
        ts.waiters = set()
        for dts in ts.dependents:
            if dts.state == "waiting":
                ts.waiters.add(dts)
                if dts.waiting_on and ts in dts.waiting_on:
                    dts.waiting_on.discard(ts)
                    if not dts.waiting_on:
                        self._follow[dts.key] = "processing"
        for dts in ts.dependencies:
            if dts.waiters:
                dts.waiters.discard(ts)
                self._touched[dts] = None
        for cs in ts.who_wants or ():
            said = {"op": "key-in-memory", "key": key}
            self._said.setdefault(cs.client_key, []).append(said)
        self._touched[ts] = None
        self._tell(key, was, "memory", worker=holders[0].address, nbytes=ts.nbytes)
        return True

    def running(self, key: Key, worker: str, attempt: Running) -> bool:
        """A worker is at a task; whether it was open, and its inputs are there."""
        scheduler = self._scheduler
        ts, ws = scheduler.tasks.get(key), scheduler.workers.get(worker)
        if ts is None or ws is None or ts.state not in OPEN or not ts.run_spec:
            return False
        if not all(dts.who_has for dts in ts.dependencies):
            return False
        was = self._release(ts)
        ws.add_to_processing(ts)
        ts.processing_on, ts.state, ts.run_id = ws, "processing", attempt.run_id
        scheduler.acquire_resources(ts, ws)
        scheduler.n_tasks += 1
        if ts.actor:
            ws.actors.add(ts)
        for dts in ts.dependencies:
            if not dts.waiters:
                dts.waiters = set()
            dts.waiters.add(ts)
        ts.waiters = {dts for dts in ts.dependents if dts.state == "waiting"}
        ws.executing[ts] = attempt.for_s
        self._busy[ws] = None
        self._touched[ts] = None
        self._tell(key, was, "processing")
        if attempt.seceded:
            self._seceded.append((ts, ws))
        return True

    def erred(self, key: Key, worker: str, failed: Erred) -> bool:
        """A task failed; whether it was open. It may have another try."""
        ts = self._scheduler.tasks.get(key)
        if ts is None or ts.state not in OPEN:
            return False
        was = self._release(ts)
        ts.run_id = failed.run_id
        if ts.retries > 0:
            ts.retries -= 1
            free(self._scheduler, worker, [key])
            if was != "released":
                self._follow[key] = "waiting"
            return True
        blame(ts, worker, failed)
        self._erred[key] = "erred"
        return True

    def finish(self) -> None:
        """Say and do what follows. Tasks that are wanted and open stay so."""
        scheduler = self._scheduler
        stealing = scheduler.extensions.get("stealing")
        for ts, ws in self._seceded:
            if ts in ws.processing and ts not in ws.long_running:
                if isinstance(stealing, WorkStealing):
                    stealing.remove_key_from_stealable(ts)
                ws.add_to_long_running(ts)
        for ws in self._busy:
            scheduler.check_idle_saturated(ws)
        if self._said:
            scheduler.send_all(self._said, {})
        if self._erred:
            scheduler.transitions(self._erred, self._stimulus)
        if self._follow:
            scheduler.transitions(self._follow, self._stimulus)

    def drop_unneeded(self) -> None:
        """Free what was adopted, or led to it, and nobody needs."""
        scheduler = self._scheduler
        unneeded: dict[Key, Any] = {}
        once = scheduler.clients[FIRE_AND_FORGET]
        for ts in self._touched:
            if scheduler.tasks.get(ts.key) is not ts:
                continue
            if ts.state == "memory" and ts in once.wants_what:
                scheduler._client_releases_keys([ts.key], once, unneeded)
            if (
                ts.state in ("memory", "processing")
                and not ts.waiters
                and not ts.who_wants
            ):
                unneeded.setdefault(ts.key, "released")
        self._touched.clear()
        scheduler.transitions(unneeded, self._stimulus)

    def _release(self, ts: TaskState) -> str:
        was = str(ts.state)
        if was != "released":
            # What it leads to is seen to in `drop_unneeded`; it itself goes on.
            self._scheduler._transition(ts.key, "released", self._stimulus)
            self._touched.update(dict.fromkeys(ts.dependencies))
        return was

    def _tell(self, key: Key, was: str, now: Any, **more: Any) -> None:
        """Tell plugins, as Dask does."""
        scheduler = self._scheduler
        more["stimulus_id"] = self._stimulus
        for plugin in list(scheduler.plugins.values()):
            try:
                plugin.transition(key, "released", now, **more)
            except Exception:
                _logger.exception("A plugin failed as %r, %s, was adopted", key, was)


def _task(scheduler: Scheduler, key: Key) -> TaskState | None:
    return scheduler.tasks.get(key)


# -- what is said to a scheduler as if a worker had said it ----------------------------


def finished(scheduler: Scheduler, worker: str, held: Held) -> None:
    """A task in processing is done, by its worker's inventory."""
    ts = _task(scheduler, held.key)
    if ts is None or ts.processing_on is None or ts.processing_on.address != worker:
        return
    scheduler.stream_handlers["task-finished"](
        key=held.key,
        worker=worker,
        run_id=ts.run_id,
        nbytes=held.nbytes,
        type=b"",
        typename=held.typename,
        metadata={},
        thread=None,
        startstops=[],
        stimulus_id=f"dtf-finished-{time.time()}",
    )


def failed(scheduler: Scheduler, worker: str, erred: Erred) -> None:
    """A task in processing failed, by its worker's inventory."""
    ts = _task(scheduler, erred.key)
    if ts is None or ts.processing_on is None or ts.processing_on.address != worker:
        return
    scheduler.stream_handlers["task-erred"](
        key=erred.key,
        worker=worker,
        run_id=ts.run_id,
        exception=serialized(erred.exception),
        traceback=serialized(erred.traceback),
        exception_text=erred.exception_text,
        traceback_text=erred.traceback_text,
        thread=None,
        startstops=[],
        stimulus_id=f"dtf-failed-{time.time()}",
    )


def kept(scheduler: Scheduler, worker: str, running: Running) -> None:
    """A task in processing goes on at its worker, under the run id it says."""
    ts = _task(scheduler, running.key)
    if ts is None or ts.processing_on is None or ts.processing_on.address != worker:
        return
    ts.run_id = running.run_id
    if running.seceded and ts not in ts.processing_on.long_running:
        scheduler.stream_handlers["long-running"](
            key=running.key,
            worker=worker,
            run_id=running.run_id,
            compute_duration=None,
            stimulus_id=f"dtf-kept-{time.time()}",
        )


def send_again(scheduler: Scheduler, worker: str, key: Key) -> None:
    """Send a task to its worker once more."""
    ts = scheduler.tasks.get(key)
    on = ts.processing_on if ts is not None else None
    if ts is not None and on is not None and on.address == worker:
        scheduler.send_task_to_worker(worker, ts)


def add_copy(scheduler: Scheduler, worker: str, key: Key) -> None:
    """A worker has a result, too."""
    ts, ws = scheduler.tasks.get(key), scheduler.workers.get(worker)
    if ts is not None and ws is not None and ts.state == "memory":
        scheduler.add_replica(ts, ws)


def lose_copy(scheduler: Scheduler, worker: str, key: Key) -> None:
    """A worker has a result no more.

    What is on that worker and needs it has to fetch it: of that Dask keeps account, as
    a task is sent, and its own workers never lose what a task of theirs needs.
    """
    scheduler.release_worker_data(key, worker, f"dtf-lost-{time.time()}")
    ts, ws = scheduler.tasks.get(key), scheduler.workers[worker]
    if ts is not None and ts.who_has and ws not in ts.who_has:
        for _ in ws.processing & ts.dependents:
            ws._inc_needs_replica(ts)


def free(scheduler: Scheduler, worker: str, keys: list[Key]) -> None:
    """Have a worker forget tasks, whatever they are to it."""
    if keys and worker in scheduler.stream_comms:
        said = {"op": "free-keys", "keys": keys, "stimulus_id": f"dtf-{time.time()}"}
        scheduler.worker_send(worker, said)


def remember_erred(scheduler: Scheduler, worker: str, key: Key) -> None:
    """A worker has a failed task, which it is to forget when the scheduler does."""
    ts = scheduler.tasks.get(key)
    if ts is not None and ts.state == "erred":
        ts.erred_on = {*(ts.erred_on or ()), worker}
