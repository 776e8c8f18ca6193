"""How much work goes before a task, where it may run. Pure."""

from __future__ import annotations

import math
from itertools import islice

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.free_at import expected_end
from dtf_dask.scheduler_plugins.engine.lanes import Lane
from dtf_dask.scheduler_plugins.policies.admission import Backlog

_LANES_MAX = 256
_SAMPLE_MAX = 32
_KEPT_S = 0.5
"""For so long it holds what was reckoned of a lane's workers: a submission asks for
each of its tasks, and what runs does not change much meanwhile."""


class Forecast:
    """Looks at what waits and runs on the workers that a lane can have."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._running_s: dict[Lane, float] = {}
        self._reckoned_at = 0.0
        # With whom each lane shares workers, and how many, for one submission: it asks
        # for each of its tasks (34 us a task with a hundred lanes, without this).
        self._others: dict[Lane, list[tuple[Lane, float]]] = {}
        self._others_at = -math.inf

    def begin(self) -> None:
        """A submission: what waits may be other than at the last one."""
        self._others.clear()

    def ahead_s(self, lane: Lane, due: float, now: float) -> float:
        """Seconds of work that goes first: what runs, and waits more urgently."""
        running_s = self.running_s(lane, now)
        if not running_s:
            return 0.0
        waiting_s = 0.0
        for other, share in self._sharing(lane, now):
            waiting_s += share * self._backlog(other).ahead_s(due)
        return running_s + waiting_s

    def ahead_s_max(self, lane: Lane, now: float) -> float:
        """No less than `ahead_s` of any task of the lane."""
        waiting_s = 0.0
        for other, share in self._sharing(lane, now):
            waiting_s += share * self._backlog(other).total_s
        return self.running_s(lane, now) + waiting_s

    def next_s(self, lane: Lane, now: float) -> float | None:
        """About how long until the next task of a lane begins; None if nobody can say.

        Without a walk over tasks: what waits in another lane is taken to be as its
        most urgent task.
        """
        head = lane.head()
        if head is None or lane in self._core.parked or self._is_shut(lane):
            return None
        left_s = self.running_s(lane, now)
        if not left_s:
            # What has no room where nothing of ours runs is kept from it by others.
            return 0.0 if self._has_room(lane) else None
        for other, share in self._sharing(lane, now):
            first = other.head()
            if (
                other is not lane
                and first
                and (first.due, first.seq) < (*(head.due, head.seq),)
            ):
                left_s += share * other.live * self._core.expected_s(first.ask)
        return left_s / lane.threads

    def running_s(self, lane: Lane, now: float) -> float:
        """Seconds of work left on its workers; 0 if there is room for one of it."""
        if self._has_room(lane):
            return 0.0
        if now - self._reckoned_at > _KEPT_S:
            self._running_s.clear()
            self._reckoned_at = now
        left_s = self._running_s.get(lane)
        if left_s is None:
            left_s = self._running_s[lane] = self._left_s(lane, now)
        return left_s

    def _has_room(self, lane: Lane) -> bool:
        shape = lane.want.shape
        return any(
            group.free and group.stall(shape).has_free() for group in lane.groups
        )

    def _is_shut(self, lane: Lane) -> bool:
        """Whether nobody who could run it gets anything, if there is anybody."""
        places = (one for group in lane.groups for one in group.members.values())
        return all(place.barred for place in places)

    def _left_s(self, lane: Lane, now: float) -> float:
        core = self._core
        left_s, count, workers = 0.0, 0, 0
        for group in lane.groups:
            workers += len(group.members)
            for place in islice(group.members.values(), _SAMPLE_MAX):
                count += 1
                for task in place.held.values():
                    left_s += expected_end(core, task, place, now) - now
        return left_s * workers / count if count else 0.0

    def _backlog(self, lane: Lane) -> Backlog:
        """The lane's; from the first question on it is kept."""
        if lane.backlog is None:
            lane.backlog = Backlog()
            for task in lane.tasks():
                task.work_s = self._core.expected_s(task.ask)
                lane.backlog.add(task.due, task.work_s)
        return lane.backlog

    def _sharing(self, lane: Lane, now: float) -> list[tuple[Lane, float]]:
        """The lanes in which work waits that takes part of a lane's workers."""
        if now != self._others_at:
            self._others.clear()
            self._others_at = now
        others = self._others.get(lane)
        if others is None:
            others = self._others[lane] = [
                (other, share)
                for other in islice(self._core.lanes, _LANES_MAX)
                if other.live and (share := self._share(other, lane))
            ]
        return others

    def _share(self, other: Lane, lane: Lane) -> float:
        """The part of another lane's workers that this lane can have too."""
        if other is lane:
            return 1.0
        shared = sum(group.threads for group in other.groups if group in lane.scores)
        return shared / other.threads if other.threads else 0.0
