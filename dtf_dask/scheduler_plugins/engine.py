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

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from dtf_dask.scheduler_plugins.choose import Chooser
from dtf_dask.scheduler_plugins.core import Core
from dtf_dask.scheduler_plugins.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.lanes import Task
from dtf_dask.scheduler_plugins.pump import Pump
from dtf_dask.scheduler_plugins.terms import (
    Admission,
    Ask,
    Ending,
    Explanation,
    Key,
    Offer,
    Plan,
    Reject,
)

_KEPT_MAX = 100_000


class Engine:
    """Decides which task runs on which worker.

    Examples
    --------
    >>> engine = Engine(EngineSettings())
    >>> engine.worker_joined("w", Offer(threads=1), now=0.0)
    >>> engine.ready(Ask("a", "a", Need()), now=1.0)
    >>> engine.pump(now=1.0).grants
    [Grant(key='a', worker='w', gpus=())]
    """

    def __init__(
        self, settings: EngineSettings | None = None, policies: object = None
    ) -> None:
        self.settings = settings or EngineSettings()
        self._core = Core(self.settings)
        self._chooser = Chooser(self._core)
        self._pump = Pump(self._core, self._chooser)
        # Since when those have waited that were taken back.
        self._waited: dict[Key, float] = {}

    # -- workers ----------------------------------------------------------------

    def worker_joined(self, name: str, offer: Offer, now: float) -> None:
        """A worker is there. One that is there already has changed."""
        core = self._core
        if name in core.places.workers:
            self.worker_changed(name, offer, now)
            return
        place, fresh = core.places.join(name, offer, now)
        core.tokens.add(offer.tokens)
        self._entered(name, fresh, now)
        core.freed(place)

    def worker_changed(self, name: str, offer: Offer, now: float) -> None:
        """A worker has other things than it had; what runs there goes on."""
        core = self._core
        place = core.places.workers.get(name)
        if place is None:
            self.worker_joined(name, offer, now)
            return
        core.tokens.add(place.offer.tokens, -1)
        core.tokens.add(offer.tokens)
        _, fresh = core.places.change(place, offer)
        self._entered(name, fresh, now)
        core.freed(place)

    def worker_left(self, name: str, now: float) -> list[Key]:
        """A worker is gone; what it held has ended as "lost".

        Returns
        -------
        list
            The keys of the tasks it held; they may be ready again.
        """
        core = self._core
        place = core.places.workers.get(name)
        if place is None:
            return []
        held = list(place.held.values())
        for task in held:
            self._end(task, "lost", None, now)
        core.places.leave(name)
        core.tokens.add(place.offer.tokens, -1)
        core.tenants.threads = core.places.threads
        return [task.key for task in held]

    def worker_load(self, name: str, foreign: int, now: float) -> None:
        """So many threads of a worker are taken by tasks that are not the engine's."""
        place = self._core.places.workers.get(name)
        if place is None or place.foreign == foreign:
            return
        less = foreign < place.foreign
        place.foreign = max(0, foreign)
        if less:
            self._promote(place.promote(), now)
            self._core.freed(place)
        else:
            place.reload()

    def worker_paused(self, name: str, paused: bool, now: float) -> None:
        """A worker takes nothing for now, or again."""
        place = self._core.places.workers.get(name)
        if place is not None and place.paused != paused:
            place.paused = paused
            place.barred = "it is paused" if paused else ""
            if not paused:
                self._core.freed(place)

    # -- tasks ------------------------------------------------------------------

    def admit(self, asks: Sequence[Ask], now: float) -> list[Admission]:
        """What becomes of these, before they are ready: taken, warned of, refused."""
        return [Admission() for ask in asks]

    def ready(self, ask: Ask, now: float) -> None:
        """A task's inputs are there: it waits for a worker from now on."""
        core = self._core
        if ask.key in core.lanes.tasks or ask.key in core.running:
            return
        try:
            task = core.new_task(ask, now)
        except ValueError as error:
            core.rejects.append(Reject(ask.key, "impossible", str(error)))
            return
        if self._waited:
            task.ready_at = self._waited.pop(ask.key, now)
        core.set_due(task)
        core.wait(task, now)

    def withdraw(self, key: Key, now: float) -> None:
        """A task waits no longer; it may be ready again later."""
        task = self._core.lanes.tasks.get(key)
        if task is not None:
            self._core.take(task)

    def begun(self, key: Key, now: float) -> None:
        """A worker has started a task that it was granted."""
        task = self._core.running.get(key)
        if task is not None and task.begun_at is None:
            task.begun_at = now
            if task.queued and task.place is not None:
                task.place.begin(task)

    def seceded(self, key: Key, now: float) -> None:
        """A running task has given its thread back, and goes on."""
        task = self._core.running.get(key)
        if task is not None and task.place is not None:
            self._promote(task.place.secede(task), now)
            self._core.freed(task.place)

    def ended(
        self, key: Key, ending: Ending, duration_s: float | None, now: float
    ) -> None:
        """A task has ended, and its place is free.

        One that was not granted is forgotten: it will not be ready again.
        """
        task = self._core.running.get(key)
        if task is None:
            self.withdraw(key, now)
            return
        self._end(task, ending, duration_s, now)

    def reprioritize(
        self,
        keys: Iterable[Key],
        now: float,
        *,
        priority_class: str | None = None,
        priority: float | None = None,
        deadline: float | None = None,
    ) -> int:
        """Give waiting tasks another place in the order; returns how many waited.

        What is None stays as it is; a deadline of infinity takes theirs away.
        """
        core = self._core
        changes: dict[str, Any] = {}
        if priority_class is not None:
            changes["priority_class"] = priority_class
        if priority is not None:
            changes["priority"] = priority
        if deadline is not None:
            changes["deadline"] = None if deadline == math.inf else deadline
        count = 0
        for key in keys:
            task = core.lanes.tasks.get(key)
            if task is None:
                continue
            core.take(task)
            task.ask = replace(task.ask, **changes)
            core.set_due(task)
            core.wait(task, now)
            count += 1
        return count

    def learn(self, name: str, group: str, durations: Iterable[float]) -> None:
        """How long tasks of this name took before, the oldest first."""
        for seconds in durations:
            self._core.estimates.learn(name, group, seconds)

    # -- decisions --------------------------------------------------------------

    def pump(self, now: float) -> Plan:
        """Decide all that can be decided now."""
        core = self._core
        plan = Plan()
        core.refresh(now)
        self._pump.run(plan, now)
        plan.rejects, core.rejects = core.rejects, []
        plan.notices, core.notices = core.notices, []
        plan.wake_at = core.timers.next_at
        return plan

    def explain(self, key: Key, now: float) -> Explanation | None:
        """Why a task waits, or why it runs where it runs; None if it is unknown."""
        return None

    def queue_rows(self, now: float) -> list[dict[str, Any]]:
        """Waiting tasks by lane, the most urgent first, as plain values."""
        return []

    def worker_rows(self, now: float) -> list[dict[str, Any]]:
        """Workers, as plain values."""
        return []

    def summary(self, now: float) -> dict[str, Any]:
        """The engine in a few numbers, as plain values."""
        return {}

    def check(self) -> None:
        """Assert all that must hold at any time."""

    def _entered(self, name: str, fresh: bool, now: float) -> None:
        """A worker is in a group that it was not in before, or can do more."""
        core = self._core
        core.tenants.threads = core.places.threads
        group = core.places.workers[name].group
        if group is None:
            return
        if group.accept is not None:
            core.accepts_changed(now)
        if fresh:
            core.group_entered(group, now)
        if core.parked:
            core.unpark(now)

    def _promote(self, tasks: list[Task], now: float) -> None:
        for task in tasks:
            task.begun_at = task.begun_at or now

    def _end(
        self, task: Task, ending: Ending, duration_s: float | None, now: float
    ) -> None:
        core, ask = self._core, task.ask
        place = task.place
        assert place is not None
        core.release(task, now)
        if ending == "done" and duration_s is not None:
            core.estimates.learn(ask.name, place.kind, duration_s, ask.priority_class)
        if ending in ("released", "killed") and len(self._waited) < _KEPT_MAX:
            self._waited[ask.key] = task.ready_at
