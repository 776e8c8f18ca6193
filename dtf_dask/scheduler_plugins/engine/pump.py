"""Who goes where now: the race of waiting tasks for the room there is. Pure.

Only lanes that may have got room race; the others wait in stalls until a worker of a
group that they can have has room again, and then the most urgent of them races. So what
a decision costs does not grow with what waits.
"""

from __future__ import annotations

from heapq import nsmallest

from dtf_dask.scheduler_plugins.engine.choose import Chooser
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.stall import Stall
from dtf_dask.scheduler_plugins.engine.terms import Grant, Plan

_VAIN_MAX = 64
"""Lanes that may race for one place in vain, in one run: it may be for nobody."""


class Pump:
    """Takes the most urgent task that can have room, until none can."""

    def __init__(self, core: Core, chooser: Chooser, gangs: Gangs) -> None:
        self._core = core
        self._chooser = chooser
        self._gangs = gangs
        self._vain: dict[Stall, int] = {}  # lanes that raced in vain, in this run
        self._blocked: dict[Lane, None] = {}

    def run(self, plan: Plan, now: float) -> None:
        """Grant all that can be granted."""
        core = self._core
        lanes = core.lanes
        self._chooser.begin()
        self._vain.clear()
        woken, core.woken = core.woken, {}
        for stall in woken:
            self._wake(stall, now)
        first = lanes.next_key()
        if first is not None:
            self._gangs.run(plan, now, before=first)
            while lanes.next_key() is not None:
                self._turn(lanes.turn(), plan, now)
        self._gangs.run(plan, now)
        blocked, self._blocked = self._blocked, {}
        for lane in blocked:
            task = lane.head()
            if task is not None and lane.active is None and lane not in core.parked:
                self._wait(lane, task, now)

    def _turn(self, lane: Lane, plan: Plan, now: float) -> None:
        """The most urgent lane tries to place its head."""
        core = self._core
        source, lane.source = lane.source, None
        task = lane.head()
        if task is None or self._parks(lane, task, now):
            self._wake_next(source, True, now)
            return
        found = self._placed(lane, task, now)
        if found is not None:
            task, place = found
            core.grant(task, place, now)
            plan.grants.append(Grant(task.key, place.name, task.gpus))
            head = lane.head()
            if head is not None and self._hopeless(lane, head):
                self._block(lane)
            elif head is not None:
                lane.level = 0
                core.lanes.race(lane, core.key(lane, head, now), head.seq, source)
        elif lane.level + 1 < len(lane.levels) and not self._hopeless(lane, task):
            lane.level += 1
            key = core.key(lane, task, now, lane.levels[lane.level][0])
            core.lanes.race(lane, key, task.seq, source)
            return
        else:
            self._block(lane)
        self._wake_next(source, found is not None, now)

    def _hopeless(self, lane: Lane, task: Task) -> bool:
        """Whether it is plain, without a search, that nobody has room for it."""
        for group, _ in lane.offers:
            if group.free:
                return False
        if not task.shape.plain or not lane.offers:
            return True
        return not self._chooser.short(task, lane)

    def _placed(self, lane: Lane, task: Task, now: float) -> tuple[Task, Place] | None:
        """The first of the lane's tasks that a worker has room for, with the worker.

        They are alike but for what rules workers out for only some of them.
        """
        choose = self._chooser.choose
        count = lane.levels[lane.level][1]
        place = choose(task, lane, count, now)
        if place is not None:
            return task, place
        if lane.live == 1:
            return None
        if self._chooser.bars(task, lane, now) is None:
            return None
        shape = task.shape
        if not any(group.stall(shape).best() for group, _ in lane.offers[:count]):
            return None  # for nobody is there room
        count_max = 1 + self._core.settings.aside_max
        first = nsmallest(count_max, lane.tasks(), key=lambda t: (t.due, t.seq))
        for other in first[1:]:
            place = choose(other, lane, count, now)
            if place is not None:
                return other, place
        return None

    def _parks(self, lane: Lane, task: Task, now: float) -> bool:
        """Whether it waits for something other than a worker."""
        core = self._core
        tokens = task.want.tokens
        if (tokens and self._waits_for_tokens(task, now)) or not core.may_start(task):
            core.parked[lane] = None
            return True
        return False

    def _waits_for_tokens(self, task: Task, now: float) -> bool:
        """Too few are free, or who asked for more of them is overdue."""
        core = self._core
        tokens = task.want.tokens
        if not core.tokens.fit(tokens):
            return True
        names = {name for name, _ in tokens}
        for lane in core.parked:
            first = lane.head()
            if first is None or first.due > now or first.seq == task.seq:
                continue
            wanted = first.want.tokens
            if names.isdisjoint(name for name, _ in wanted):
                continue
            if (first.due, first.seq) < (task.due, task.seq):
                return not core.tokens.never(wanted)
        return False

    def _block(self, lane: Lane) -> None:
        """Nobody has room: the lane waits, from the end of this run on.

        Not at once: the most urgent would be let race for the same room again, and the
        others behind it never.
        """
        self._blocked[lane] = None

    def _wait(self, lane: Lane, task: Task, now: float) -> None:
        """The lane waits wherever it may get room."""
        key = self._core.key(lane, task, now)
        offsets = lane.offsets
        for stall in lane.missing:
            at = min(key + offsets.get(stall.group, 0.0), task.latest)
            stall.wait(lane, at, task.seq)
        lane.missing.clear()
        lane.settled = task.due
        if lane.want.hungry and not lane.alarm:
            lane.alarm = True
            keep_at = self._gangs.keep_at(task, now)
            self._core.timers.add(max(keep_at, now), "large", lane)

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
        if granted:
            self._wake(source, now)
        elif place.fits(source.shape):
            vain = self._vain[source] = self._vain.get(source, 0) + 1
            if vain < _VAIN_MAX:
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
            key = core.key(lane, head, now, lane.levels[lane.level][0])
            core.lanes.race(lane, key, head.seq, stall)
            return
