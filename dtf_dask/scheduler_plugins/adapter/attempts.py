"""Governed tasks on their workers: granted, revoked, killed, timed out, over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed.scheduler import WorkerState

from dtf_dask.errors import TaskTimeoutError
from dtf_dask.grant import ANNOTATION, granted
from dtf_dask.scheduler_plugins.adapter import dask_grants
from dtf_dask.scheduler_plugins.adapter.farewells import Farewell, Farewells
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding, computed
from dtf_dask.scheduler_plugins.engine.terms import Ending, Grant, Kill, Revoke

_BACK, _GONE = "dtf-back-", "dtf-gone-"
_BEGUN = frozenset({"executing", "long-running", "memory", "cancelled", "resumed"})
_HEARTBEAT_S = 0.5
_WORDS_MAX = 200


class Attempts:
    """Sends tasks to workers, and sees to it that each attempt's end is told."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self.farewells = Farewells()
        self._revoking: dict[str, tuple[Key, int | None]] = {}
        self._asked = 0

    # -- what is to be done --------------------------------------------------------

    def grant(self, grants: list[Grant], now: float) -> None:
        """Send tasks to workers."""
        holding = self._holding
        sent = []
        for grant in grants:
            task, post = holding.tasks.get(grant.key), holding.posts.get(grant.worker)
            key: Key = grant.key
            ts = holding.scheduler.tasks.get(key)
            if task is None or post is None or ts is None or ts.state != "no-worker":
                holding.engine.ended(grant.key, "released", None, now)
                continue
            if grant.gpus:
                names = {gpu.index: gpu.id for gpu in post.offer.gpus}
                chosen = granted((names[index], index) for index in grant.gpus)
                ts.annotations = {**(ts.annotations or {}), ANNOTATION: chosen}
            self._put(task, post.ws, now)
            sent.append(task)
        self._send(sent, now)

    def adopt(
        self, task: Governed, ws: WorkerState, began: float, *, seceded: bool
    ) -> None:
        """A task runs there since then, and the engine has accounted for it."""
        now = self._holding.clock()
        self._put(task, ws, now)
        task.begun_at = began
        if task.ask.timeout_s is not None:
            self.forget(task)
            self._watch(task, max(0.0, began + task.ask.timeout_s - now))
        if seceded:
            self._secede(task, ws, now)

    def part(self, task: Governed, ws: WorkerState, name: str, now: float) -> None:
        """An attempt was taken back there, and may go on; it has its place still."""
        self.farewells.add(task.key, name, ws.address, "released", now)
        if task.stage == "held":
            task.stage = "parting"

    def resume(self, task: Governed, now: float) -> bool:
        """Leave a task where an attempt of it may still run; whether that is so.

        As Dask does: the worker goes on with it as if nothing had been.
        """
        farewell = self.farewells.get(task.key)
        post = farewell and self._holding.posts.get(farewell.worker)
        if not farewell or farewell.ending != "released" or not post or not post.runs:
            return False
        self.farewells.drop(task.key)
        self._put(task, post.ws, now)
        self._send([task], now)
        return True

    def revoke(self, revokes: list[Revoke]) -> None:
        """Ask workers for tasks that they have not begun."""
        for revoke in revokes:
            if found := self._holding.running(revoke.key):
                _, ts, ws = found
                self._asked += 1
                stimulus = f"{_BACK}{self._asked}"
                self._revoking[stimulus] = (revoke.key, ts.run_id)
                dask_grants.ask_back(
                    self._holding.scheduler, ws.address, revoke.key, stimulus
                )

    def kill(self, kills: list[Kill]) -> None:
        """End attempts; their places stay taken until the workers confirm it."""
        keys = []
        for kill in kills:
            if found := self._holding.running(kill.key):
                task = found[0]
                task.ending, task.note = "killed", kill.reason
                keys.append(kill.key)
        if keys:
            dask_grants.release(self._holding.scheduler, keys)

    def ask_whether_over(self, now: float) -> float | None:
        """Ask about attempts that were taken back; when to ask again."""
        if not self.farewells:
            return None
        ask, silent = self.farewells.due(now)
        for one in ask:
            dask_grants.ask_back(
                self._holding.scheduler, one.address, one.key, f"{_GONE}{one.number}"
            )
        for one in silent:
            self._parted(one, one.ending, now)
        return self.farewells.wake_at()

    # -- what is heard -------------------------------------------------------------

    def off_worker(self, task: Governed, finish: str, more: Mapping[str, Any]) -> None:
        """A granted task is on its worker no more, as far as Dask is concerned."""
        holding, ws = self._holding, task.place
        if task.stage != "granted" or ws is None:
            return
        now, engine = holding.clock(), holding.engine
        ending, task.ending = task.ending, None
        self._leave(task)
        task.stage = "over"
        if finish == "memory":
            task.avoid, task.attempts = frozenset(), 0
            engine.ended(task.key, "done", computed(more.get("startstops")), now)
        elif holding.scheduler.workers.get(ws.address) is not ws:
            engine.ended(task.key, "lost", None, now)
        elif ending == "failed" or (finish == "erred" and ending is None):
            seconds, final = computed(more.get("startstops")), finish == "erred"
            engine.ended(task.key, "failed", seconds, now, final=final)
        elif ending == "released":
            engine.ended(task.key, "released", None, now)
        else:
            self._part(task, ws, ending, now)
        holding.wake()

    def erring(self, message: Mapping[str, Any]) -> None:
        """A worker says that a task failed; Dask does not know it yet."""
        found = self._holding.running(message.get("key"))
        if found is None or found[1].run_id != message.get("run_id"):
            return
        task, _, ws = found
        if ws.address == message.get("worker"):
            task.ending = "failed"
            task.error = str(message.get("exception_text", ""))[:_WORDS_MAX]
            self._failed(task, avoid=True)

    def seceded(self, message: Mapping[str, Any]) -> None:
        """A task has left its worker's thread to others, and Dask knows it."""
        found = self._holding.running(message.get("key"))
        if found is None:
            self._holding.posts.touched(str(message.get("worker")))
        elif found[1] in found[2].long_running and not found[0].seceded:
            self._secede(found[0], found[2], self._holding.clock())
        self._holding.wake()

    def rescheduled(self, message: Mapping[str, Any]) -> None:
        """A task raised `distributed.Reschedule`: it wants to run elsewhere."""
        found = self._holding.running(message.get("key"))
        if found is not None and found[2].address == message.get("worker"):
            task = found[0]
            task.ending = "released"
            task.avoid |= {task.worker}
            self._holding.tried[task.key] = task

    def answered(self, key: Key, stimulus: str, state: str | None) -> bool:
        """A worker answered what it was asked; whether the question was ours."""
        holding = self._holding
        now = holding.clock()
        if stimulus.startswith(_GONE):
            number = int(stimulus.removeprefix(_GONE))
            over = self.farewells.answered(key, number, state, now)
            if over is not None:
                self._parted(over, over.ending, now)
            return True
        if not stimulus.startswith(_BACK):
            return False
        asked, found = self._revoking.pop(stimulus, None), holding.running(key)
        if asked is not None and found is not None and found[1].run_id == asked[1]:
            if state in _BEGUN:
                holding.engine.begun(key, now)
                holding.wake()
            else:
                found[0].ending = "released"
                dask_grants.reschedule(holding.scheduler, key)
        return True

    def worker_left(self, address: str, now: float) -> None:
        """Nothing runs there any more."""
        for one in self.farewells.at(address):
            self.farewells.drop(one.key)
            self._parted(one, "lost", now)

    def clear(self, now: float) -> None:
        """No task is there any more, by Dask's word."""
        for one in list(self.farewells):
            self.farewells.drop(one.key)
            self._parted(one, "released", now)
        self._revoking.clear()

    def forget(self, task: Governed) -> None:
        """Stop what is under way for a task."""
        if task.timer is not None:
            task.timer.cancel()
            task.timer = None

    # -- one attempt ---------------------------------------------------------------

    def _put(self, task: Governed, ws: WorkerState, now: float) -> None:
        post = self._holding.posts.at(ws.address)
        assert post is not None
        task.stage, task.ending, task.worker = "granted", None, post.name
        task.place = self._holding.places[task.key] = ws
        task.begun_at = now if post.has_free_thread() else None
        task.seceded = False
        post.own += 1
        if task.ask.timeout_s is not None:
            self._watch(task, task.ask.timeout_s)

    def _secede(self, task: Governed, ws: WorkerState, now: float) -> None:
        post = self._holding.posts.at(ws.address)
        assert post is not None
        task.seceded = True
        post.own -= 1
        self._holding.engine.seceded(task.key, now)

    def _send(self, tasks: list[Governed], now: float) -> None:
        holding = self._holding
        if not tasks:
            return
        dask_grants.grant(holding.scheduler, [task.key for task in tasks])
        for task in tasks:
            ts = holding.scheduler.tasks.get(task.key)
            if task.stage == "granted" and (ts is None or ts.state == "no-worker"):
                # The worker has just stopped to take tasks.
                if task.place is not None:
                    holding.posts.touched(task.place.address)
                self._leave(task)
                task.stage = "known"
                holding.engine.ended(task.key, "released", None, now)
                holding.arrive(task)

    def _leave(self, task: Governed) -> None:
        self.forget(task)
        post = task.place and self._holding.posts.at(task.place.address)
        if post and not task.seceded:
            post.own -= 1
        task.place = None
        if task.key in self._holding.places:
            self._holding.places[task.key] = None

    def _part(
        self, task: Governed, ws: WorkerState, ending: object, now: float
    ) -> None:
        """It may still run there, whatever Dask thinks."""
        why: Ending = "released"
        if ending == "killed":
            why = "killed"
        elif ending == "timeout":
            why = "failed"
            dask_grants.free(self._holding.scheduler, ws.address, task.key)
        self.farewells.add(task.key, task.worker, ws.address, why, now)

    def _parted(self, one: Farewell, ending: Ending, now: float) -> None:
        key: Key = one.key
        task = self._holding.tasks.get(key)
        ts = self._holding.scheduler.tasks.get(key)
        final = ts is None or ts.state == "erred"
        self._holding.engine.ended(one.key, ending, None, now, final=final)
        if final:  # whoever runs after it need not wait
            self._holding.engine.withdraw(one.key, now)
        if task is not None and task.stage == "parting":
            task.stage = "over"
            self._holding.arrive(task)
        self._holding.wake()

    def _failed(self, task: Governed, *, avoid: bool) -> None:
        task.attempts += 1
        if avoid:
            task.avoid |= {task.worker}
        self._holding.tried[task.key] = task

    def _watch(self, task: Governed, after_s: float) -> None:
        task.timer = self._holding.later(after_s, lambda: self._timed_out(task))

    def _timed_out(self, task: Governed) -> None:
        """It may have run for too long: its worker says since when it does."""
        found, limit = self._holding.running(task.key), task.ask.timeout_s
        if found is None or found[0] is not task or limit is None:
            return
        _, ts, ws = found
        if task.begun_at is None:
            ran = ws.executing.get(ts)
            left = _HEARTBEAT_S
            if ran is not None:
                left = limit - ran - max(0.0, self._holding.wall() - ws.last_seen)
            if left > 0:
                self._watch(task, left)
                return
        message = f"it ran longer than the {limit:g} s that it was given"
        task.ending, task.error = "timeout", message
        self._failed(task, avoid=ts.retries > 0)
        if ts.retries > 0:
            ts.retries -= 1
            dask_grants.release(self._holding.scheduler, [task.key])
        else:
            self._holding.fail(task, TaskTimeoutError(f"{task.key!r}: {message}"))
