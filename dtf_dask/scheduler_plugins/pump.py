"""Who goes where now: the race of waiting tasks for the room there is. Pure.

Only lanes that may have got room race; the others wait in stalls until a worker of a
group that they can have has room again, and then the most urgent of them races. So what
a decision costs does not grow with what waits.
"""

from __future__ import annotations

from dtf_dask.scheduler_plugins.choose import Chooser
from dtf_dask.scheduler_plugins.core import Core
from dtf_dask.scheduler_plugins.lanes import Lane, Task
from dtf_dask.scheduler_plugins.places import Place
from dtf_dask.scheduler_plugins.stall import Stall
from dtf_dask.scheduler_plugins.terms import Grant, Plan


class Pump:
    """Takes the most urgent task that can have room, until none can."""

    def __init__(self, core: Core, chooser: Chooser) -> None:
        self._core = core
        self._chooser = chooser

    def run(self, plan: Plan, now: float) -> None:
        """Grant all that can be granted."""
        core = self._core
        lanes = core.lanes
        woken, core.woken = core.woken, {}
        for stall in woken:
            self._wake(stall, now)
        while lanes.next_key() is not None:
            self._turn(lanes.turn(), plan, now)

    def _turn(self, lane: Lane, plan: Plan, now: float) -> None:
        """The most urgent lane tries to place its head."""
        core = self._core
        source, lane.source = lane.source, None
        task = lane.head()
        if task is None:
            self._wake_next(source, True, now)
            return
        if self._parks(lane, task):
            self._wake_next(source, True, now)
            return
        found = self._placed(lane, task)
        if found is not None:
            task, place = found
            core.grant(task, place, now)
            plan.grants.append(Grant(task.key, place.name, task.gpus))
            head = lane.head()
            if head is not None:
                lane.level = 0
                core.lanes.race(lane, core.key(lane, head, now), head.seq, source)
        elif lane.level + 1 < len(lane.levels):
            lane.level += 1
            key = core.key(lane, task, now) + lane.levels[lane.level][0]
            core.lanes.race(lane, key, task.seq, source)
            return
        else:
            self._block(lane, task, now)
        self._wake_next(source, found is not None, now)

    def _placed(self, lane: Lane, task: Task) -> tuple[Task, Place] | None:
        """The first of the lane's tasks that a worker has room for, with the worker.

        They are alike but for what only some of them avoid.
        """
        count = lane.levels[lane.level][1]
        place = self._chooser.choose(task, lane, count)
        if place is not None:
            return task, place
        if not self._particular(task, lane):
            return None
        heap = sorted(lane.tasks(), key=lambda t: (t.due, t.seq))
        for other in heap[1 : 1 + self._core.settings.aside_max]:
            place = self._chooser.choose(other, lane, count)
            if place is not None:
                return other, place
        return None

    def _particular(self, task: Task, lane: Lane) -> bool:
        """Whether a task may find no room where others of its lane would."""
        return self._chooser.bars(task, lane) is not None and lane.live > 1

    def _parks(self, lane: Lane, task: Task) -> bool:
        """Whether it waits for something other than a worker."""
        core = self._core
        if task.want.tokens and not core.tokens.fit(task.want.tokens):
            core.parked[lane] = None
            return True
        if core.tenants.may_start(lane.tenant, task.want.need.amounts):
            core.parked[lane] = None
            return True
        return False

    def _block(self, lane: Lane, task: Task, now: float) -> None:
        """Nobody has room: the lane waits wherever it may get some."""
        key = self._core.key(lane, task, now)
        offsets = lane.offsets
        for stall in lane.missing:
            stall.wait(lane, key + offsets.get(stall.group, 0.0), task.seq)
        lane.missing.clear()
        lane.settled = task.due

    def _wake_next(self, source: Stall | None, granted: bool, now: float) -> None:
        """If the room that let a lane race is still there, the next lane may race.

        Room behind what a worker runs is for the most urgent lane only, if that did not
        take it: work that is too long for it must not see others slip in before it.
        """
        if source is None or not source.lanes:
            return
        place = source.best()
        if place is None:
            return
        if granted or place.fits(source.shape):
            self._wake(source, now)

    def _wake(self, stall: Stall, now: float) -> None:
        """Let the most urgent lane that waits here race."""
        core = self._core
        while (lane := stall.next_waiting()) is not None:
            head = lane.head()
            if head is None or lane in core.parked:
                continue
            if lane.active is not None:
                continue
            offset = lane.offsets.get(stall.group, 0.0)
            lane.level = next(
                n for n, (level, _) in enumerate(lane.levels) if level >= offset
            )
            key = core.key(lane, head, now) + lane.levels[lane.level][0]
            core.lanes.race(lane, key, head.seq, stall)
            return
