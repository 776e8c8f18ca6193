"""Work that would be late: others of lower classes give way to it, if they may. Pure.

Nobody is killed in vain: all victims are on one worker, which is kept for the task that
they gave way to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.terms import Ask
from dtf_dask.scheduler_plugins.policies.preempt import Preemption, Running

_WORKERS_MAX = 1000


class Pressing:
    """Finds room for tasks whose time has come."""

    def __init__(self, core: Core, gangs: Gangs) -> None:
        self._core = core
        self._gangs = gangs
        self._preemption = Preemption(core.settings.preempt)
        self._preempting = {one.name for one in core.settings.classes if one.preempts}
        self._pressed: list[Task] = []

    def presses(self, ask: Ask) -> bool:
        """Whether others may have to give way to it."""
        return ask.deadline is not None or ask.priority_class in self._preempting

    def watch(self, task: Task) -> None:
        """Look at a task when it must begin, or at once if its class does not wait."""
        settings = self._core.settings
        if task.ask.priority_class in self._preempting:
            self._pressed.append(task)
        elif task.ask.deadline is not None:
            at = task.latest - settings.preempt_lead_s
            self._core.timers.add(at, "pressed", task, task)

    def due(self, task: Task) -> None:
        """Its time has come; whether it has room is known when others were placed."""
        self._pressed.append(task)

    def run(self, now: float) -> None:
        """Make room for those that still wait."""
        core = self._core
        pressed, self._pressed = self._pressed, []
        for task in pressed:
            if core.lanes.tasks.get(task.key) is not task or task.state != "waiting":
                continue
            deadline = task.ask.deadline
            if deadline is not None and deadline <= now:
                continue  # it is late whoever gives way
            if not self._make_room(task, now):
                at = now + core.settings.refresh_s
                core.timers.add(at, "pressed", task, task)

    def _make_room(self, task: Task, now: float) -> bool:
        core = self._core
        if task.unit is not None and task.unit.kept:
            return False  # it may come to that by itself
        rank = core.rank.get(task.ask.priority_class)
        if rank is None or not core.may_start(task):
            return False
        if not core.tokens.fit(task.want.tokens):
            return False
        lane = core.lane_of(task)
        running = self._running(task, lane)

        def fits(worker: str, without: Sequence[Running]) -> bool:
            place = core.places.workers[worker]
            return place.fits_without(
                task.shape, [core.running[r.key] for r in without]
            )

        name = task.ask.name
        eviction = self._preemption.choose(name, rank, running, fits, now)
        if eviction is None:
            return False
        for victim in eviction.victims:
            core.kill(core.running[victim.key], eviction.reason)
        self._gangs.keep_for(task, core.places.workers[eviction.worker], now)
        return True

    def _running(self, task: Task, lane: Lane) -> list[Running]:
        """What runs where the task may, but where work is held that would go first."""
        core, avoid = self._core, task.ask.avoid
        wanted = task.want.workers
        places = (
            place
            for group in lane.groups
            for name, place in group.members.items()
            if (wanted is None or name in wanted) and name not in avoid
            if not (place.queue or place.barred or place.reserved)
        )
        return [
            Running(
                *(one.key, place.name, core.rank.get(one.ask.priority_class, 0)),
                started=one.granted_at if one.begun_at is None else one.begun_at,
                preemptible=one.ask.preemptible,
                kills=core.kill_counts.get(one.key, 0),
                dying=bool(one.kill),
            )
            for place in islice(places, _WORKERS_MAX)
            for one in place.held.values()
        ]
