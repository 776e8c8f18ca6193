"""The scheduling engine: events and the time go in, decisions with reasons come out.

Pure. It knows nothing of Dask: an adapter tells it what happens and carries out what it
decides. The parts: waiting tasks stand in `lanes`; workers are `places`, in `groups`;
they meet in a `stall`; `pump` decides who is next, and `choose` on which worker.

The life of a task, as its caller tells it: ``admit`` when it was submitted, ``ready``
when its inputs are there, a `Grant`, ``begun`` if the caller knows, ``ended``. After a
`Revoke` or a `Kill` it holds its place until ``ended`` says "released" or "killed"; it
may be ready again then, and keeps the time from which it has waited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from dtf_dask.explanation import Explanation
from dtf_dask.pressure import Pressure
from dtf_dask.scheduler_plugins.engine.admitting import Admitting
from dtf_dask.scheduler_plugins.engine.adopting import Adopting
from dtf_dask.scheduler_plugins.engine.after import Afters
from dtf_dask.scheduler_plugins.engine.choose import Chooser
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.crew import Crew
from dtf_dask.scheduler_plugins.engine.deadlines import Deadlines
from dtf_dask.scheduler_plugins.engine.endings import Endings
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.explain import Explainer
from dtf_dask.scheduler_plugins.engine.forecast import Forecast
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.invariants import check
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.memory import Memory
from dtf_dask.scheduler_plugins.engine.pressing import Pressing
from dtf_dask.scheduler_plugins.engine.pump import Pump
from dtf_dask.scheduler_plugins.engine.revoking import Revoking
from dtf_dask.scheduler_plugins.engine.tables import Tables
from dtf_dask.scheduler_plugins.engine.terms import (
    Admission,
    Ask,
    Ending,
    Key,
    Offer,
    Plan,
    Reject,
)
from dtf_dask.scheduler_plugins.policies.custom import Policies

_UNCHANGED: Any = object()


class Engine:
    """Decides which task runs on which worker.

    Examples
    --------
    >>> from dtf_dask.scheduler_plugins.engine.terms import Need
    >>> engine = Engine(EngineSettings())
    >>> engine.worker_joined("w", Offer(threads=1), now=0.0)
    >>> engine.ready(Ask("a", "a", Need()), now=1.0)
    >>> engine.pump(now=1.0).grants
    [Grant(key='a', worker='w', gpus=())]
    """

    def __init__(
        self, settings: EngineSettings | None = None, policies: Policies | None = None
    ) -> None:
        self.settings = settings or EngineSettings()
        core = self._core = Core(self.settings, policies or Policies())
        self._chooser = Chooser(core)
        self._gangs = Gangs(core, self._chooser)
        core.on_left = self._gangs.left
        core.on_barred = self._gangs.place_left
        self._afters = Afters(self.settings.after_max)
        self._deadlines = Deadlines(core)
        self._pressing = Pressing(core, self._gangs)
        self._pump = Pump(core, self._chooser, self._gangs)
        self._revoking = Revoking(core, self._chooser)
        self._forecast = Forecast(core)
        self._admitting = Admitting(core, self._afters, self._forecast)
        self._explainer = Explainer(
            core, self._chooser, self._gangs, self._afters, self._forecast
        )
        self._tables = Tables(core, self._forecast)
        self._endings = Endings(core, self._deadlines)
        self.memory = Memory(core, self._gangs)
        self._crew = Crew(core, self._gangs, self._endings)
        self.adopting = Adopting(core, self._gangs, self._afters)

    # -- workers ----------------------------------------------------------------

    def worker_joined(self, name: str, offer: Offer, now: float) -> None:
        """A worker is there. One that is there already has changed."""
        self._crew.changed(name, offer, now)

    def worker_changed(self, name: str, offer: Offer, now: float) -> None:
        """A worker has other things than it had; what runs there goes on.

        What runs on a device that is gone is killed, if it may be.
        """
        self._crew.changed(name, offer, now)

    def worker_left(self, name: str, now: float) -> list[Key]:
        """A worker is gone; what it held has ended as "lost".

        Returns
        -------
        list
            The keys of the tasks it held; they may be ready again.
        """
        return self._crew.left(name, now)

    def worker_load(self, name: str, foreign: int, now: float) -> None:
        """So many threads of a worker are taken by tasks that are not the engine's."""
        self._crew.loaded(name, foreign, now)

    def worker_paused(self, name: str, paused: bool, now: float) -> None:
        """A worker takes nothing for now, or again."""
        self._crew.paused(name, paused, now)

    def worker_health(self, name: str, ok: bool, reason: str, now: float) -> None:
        """What a worker's own check says; unhealthy, it gets nothing."""
        self._crew.health(name, ok, reason, now)

    def quarantine(self, name: str, reason: str, now: float) -> None:
        """Send a worker nothing, or again if there is no reason."""
        self._crew.quarantine(name, reason, now)

    # -- tasks ------------------------------------------------------------------

    def admit(
        self,
        asks: Sequence[Ask],
        now: float,
        *,
        known: Callable[[Key], bool] | None = None,
    ) -> list[Admission]:
        """What becomes of these, before they are ready: taken, warned of, refused.

        Parameters
        ----------
        known
            Whether a task exists and has not ended, of those that some are to run
            after. By default those that were submitted with them, wait or run are.
        """
        together = {ask.key for ask in asks}
        core = self._core

        def exists(key: Key) -> bool:
            if key in together or key in core.lanes.tasks or key in core.running:
                return True
            return known is not None and known(key)

        answers = self._admitting.admit(asks, exists, now)
        for ask, answer in zip(asks, answers, strict=True):
            if ask.gang is not None:
                self._gangs.expect(ask)
            if answer.refused is not None:
                self._over(ask.key, now)
        return answers

    def ready(self, ask: Ask, now: float, since: float | None = None) -> None:
        """A task's inputs are there: it waits for a worker, from now on or before."""
        core = self._core
        if ask.key in core.lanes.tasks or ask.key in core.running:
            return
        try:
            task = core.new_task(ask, now)
        except ValueError as error:
            core.rejects.append(Reject(ask.key, "impossible", str(error)))
            return
        task.ready_at = self._endings.since(ask.key, now if since is None else since)
        self._line_up(task, now)

    def withdraw(self, key: Key, now: float) -> None:
        """A task waits no longer. If it was not waiting, it never will again."""
        task = self._core.lanes.tasks.get(key)
        if task is not None:
            self._core.take(task, now)
        elif key not in self._core.running:
            self._over(key, now)

    def begun(self, key: Key, now: float) -> None:
        """A worker has started a task that it was granted."""
        core = self._core
        task = core.running.get(key)
        if task is None or task.place is None:
            return
        if key in core.queued:
            other = task.place.begin(task)
            core.begun([task], now)
            if other is not None:
                core.queued[other.key] = other
        elif task.begun_at is None:
            task.begun_at = now

    def seceded(self, key: Key, now: float) -> None:
        """A running task has given its thread back, and goes on."""
        core = self._core
        task = core.running.get(key)
        if task is not None and task.place is not None:
            self.begun(key, now)
            core.begun(task.place.secede(task), now)
            core.freed(task.place)

    def ended(
        self,
        key: Key,
        ending: Ending,
        duration_s: float | None,
        now: float,
        *,
        final: bool = True,
    ) -> None:
        """A task has ended, and its place is free.

        One that was not granted will not be ready again, unless it was lost.

        Parameters
        ----------
        duration_s
            For how long it ran, if that is known.
        final
            Whether a failure is its last: those that run after it wait for that.
        """
        core = self._core
        task = core.running.get(key)
        if task is not None:
            self._endings.end(task, ending, duration_s, now)
            if ending == "done" or (ending == "failed" and final):
                self._over(key, now)
            return
        if ending in ("lost", "killed") or not final:
            return  # that has been said already: its worker has left
        waiting = core.lanes.tasks.get(key)
        if waiting is not None:
            core.take(waiting, now)
        self._over(key, now)

    def reprioritize(
        self,
        keys: Iterable[Key],
        now: float,
        *,
        priority_class: str | None = None,
        priority: float | None = None,
        deadline: float | None = _UNCHANGED,
    ) -> int:
        """Give waiting tasks another place in the order; returns how many waited.

        A deadline of None takes theirs away.
        """
        core = self._core
        changes: dict[str, Any] = {}
        if priority_class is not None:
            changes["priority_class"] = priority_class
        if priority is not None:
            changes["priority"] = priority
        if deadline is not _UNCHANGED:
            changes["deadline"] = deadline
        count = 0
        for key in keys:
            task = core.lanes.tasks.get(key)
            if task is None:
                continue
            core.take(task, now)
            task.ask = replace(task.ask, **changes)
            self._line_up(task, now)
            count += 1
        return count

    def learn(self, name: str, group: str, durations: Iterable[float]) -> None:
        """How long tasks of this name took before, the oldest first.

        ``group`` is a kind of machine, as `worker_rows` tells it.
        """
        for seconds in durations:
            self._core.estimates.learn(name, group, seconds)

    # -- decisions --------------------------------------------------------------

    def pump(self, now: float) -> Plan:
        """Decide all that can be decided now."""
        core = self._core
        plan = Plan()
        self._endings.look_at_breakers(now)
        for what, subject in core.timers.due(now):
            self._due(what, subject, now)
        core.shed(now)
        core.refresh(now)
        self._pump.run(plan, now)
        if plan.grants:
            core.overload.started(len(plan.grants), now)
        plan.pressure = core.overload.changed(len(core.lanes.tasks), now)
        self._pressing.run(now)
        again_at = self._revoking.run(plan, now)
        for kill in core.kills:  # but for those that ended meanwhile
            task = core.running.get(kill.key)
            if task is not None and task.kill:
                plan.kills.append(kill)
        core.kills.clear()
        core.notices += core.policies.take_notices()
        plan.rejects, core.rejects = core.rejects, []
        plan.notices, core.notices = core.notices, []
        for at in (core.timers.next_at(), self._gangs.wake_at, core.breakers.wake_at):
            if at is not None and (again_at is None or at < again_at):
                again_at = at
        # Where workers are awake that were kept for a gang, they are anybody's again.
        plan.wake_at = now if core.woken else again_at
        return plan

    def explain(self, key: Key, now: float) -> Explanation | None:
        """Why a task waits, or why it runs where it runs; None if it is unknown."""
        return self._explainer.explain(key, now)

    @property
    def tables(self) -> Tables:
        """More than `queue_rows` and the like, for who looks on all the time."""
        return self._tables

    def queue_rows(self, now: float) -> list[dict[str, Any]]:
        """Waiting tasks, by what they want, class and tenant, as plain values."""
        return self._tables.queue_rows(now)

    def worker_rows(self, now: float) -> list[dict[str, Any]]:
        """Workers, as plain values."""
        return self._tables.worker_rows(now)

    def pressure(self, now: float) -> Pressure:
        """How full the queue is."""
        return self._core.overload.told(len(self._core.lanes.tasks), now)

    def summary(self, now: float) -> dict[str, Any]:
        """The engine in a few numbers, as plain values."""
        return self._tables.summary(now)

    def check(self) -> None:
        """Assert all that must hold at any time."""
        check(self._core)

    # -- parts ------------------------------------------------------------------

    def _line_up(self, task: Task, now: float) -> None:
        """A task takes its place: with its gang, behind others, or in a lane."""
        core = self._core
        core.set_due(task, now)
        if task.ask.deadline is not None:
            self._deadlines.watch(task)
        if self._pressing.presses(task.ask):
            self._pressing.watch(task)
        if task.ask.after and self._afters.left(task.key):
            core.hold(task)
        elif task.ask.gang is not None and task.ask.gang.size > 1:
            core.hold(task)
            if not self._gangs.member_ready(task):
                self._reject_member(task, now)
        else:
            core.wait(task, now)

    def _over(self, key: Key, now: float) -> None:
        """A task will never be ready again; others may have waited for that."""
        self._endings.forget(key)
        core = self._core
        for follower in self._afters.over(key):
            task = core.lanes.tasks.get(follower)
            if task is not None and task.state == "held":
                core.take(task, now)
                self._line_up(task, now)
        for task in self._gangs.over(key):
            self._reject_member(task, now)

    def _reject_member(self, task: Task, now: float) -> None:
        """A gang that will never be whole keeps nobody waiting."""
        gang = task.ask.gang
        assert gang is not None
        message = f"another member of its gang {gang.name!r} will not run"
        self._core.rejects.append(Reject(task.key, "upstream", message))
        self._core.take(task, now)

    def _due(self, what: str, subject: Any, now: float) -> None:
        """A timer has gone off."""
        if what == "late":
            self._deadlines.due(subject, now)
            return
        if what == "pressed":
            self._pressing.due(subject)
            return
        lane: Lane = subject
        lane.alarm = False
        head = lane.head()
        if head is None or head.unit is not None:
            return
        keep_at = self._gangs.keep_at(head, now)
        if keep_at <= now:
            self._gangs.add_large(head)
        else:
            lane.alarm = True
            self._core.timers.add(keep_at, "large", lane)
