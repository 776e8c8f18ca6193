"""Whether a task had better wait for a faster worker than take a slow one now. Pure.

It does so where it is well known to take more than twice as long on the free worker as
on others, and one of those will be free so soon that it ends earlier there; or where it
would miss its deadline on the free worker, and not on others. What it waits for may not
come: others may be more urgent, or what runs there lasts longer. So it looks again
after a while, and in all it waits no longer than it hoped to save.
"""

from __future__ import annotations

import math
from itertools import islice

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.free_at import expected_end, free_at
from dtf_dask.scheduler_plugins.engine.groups import Group
from dtf_dask.scheduler_plugins.engine.lanes import Hope, Lane, Task
from dtf_dask.scheduler_plugins.engine.match import Shape
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.policies.estimate import Estimate
from dtf_dask.scheduler_plugins.policies.placement import SCORE_NEUTRAL

_GAIN = 0.75
"""It ends in less than this part of the time on the free worker, or does not wait."""

_PATIENCE = 1.5
"""For so many times what is expected it waits for the faster worker."""

_SOON = 0.1
"""Of its time on the free worker: what is free so soon is good enough."""

_WORKERS_MAX = 12  # of a group, that are looked at
_SOONEST_KEPT_S = 1.0
_SOONEST_MAX = 1024
_WELL_KNOWN = ("runs", "other groups")


class HoldingOut:
    """Looks at how long a task takes here and there, and when there will be room."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # When a worker of a group has room, and when that was reckoned.
        self._soonest: dict[tuple[Group, Shape], tuple[float, float]] = {}

    def holds_out(self, task: Task, lane: Lane, place: Place, now: float) -> bool:
        """Whether it had better not take this worker, though that is free now."""
        hope = task.hope
        if hope is not None and now < hope.until:
            return self._slow(task, hope, place)
        if hope is not None and now >= hope.last:
            return False
        core, kind = self._core, place.kind
        if core.placement.score(task.ask.name, kind) >= SCORE_NEUTRAL:
            return False
        here = core.estimate(task.ask, kind)
        if here.source not in _WELL_KNOWN or here.seconds <= core.settings.detour_s:
            return False
        hope = self._hope(task, lane, place, here, now)
        if hope is None:
            return False
        if task.hope is not None:  # it does not begin to wait again
            last = task.hope.last
            hope = hope._replace(until=min(hope.until, last), last=last)
        task.hope = hope
        core.timers.add(hope.until, "waited", lane)
        return True

    def _slow(self, task: Task, hope: Hope, place: Place) -> bool:
        """Whether a worker is not what a task waits for either."""
        there_s = self._core.expected_s(task.ask, place.kind)
        return there_s * _GAIN > hope.takes_s

    def _hope(
        self, task: Task, lane: Lane, place: Place, here: Estimate, now: float
    ) -> Hope | None:
        """The faster worker that is worth waiting for; None if there is none."""
        core, ask = self._core, task.ask
        least_s, late = here.seconds * _GAIN, False
        deadline = math.inf if ask.deadline is None else ask.deadline
        if now + here.seconds + here.spread_s > deadline:
            late = True
        key = core.key(lane, task, now)
        found: Hope | None = None
        for group, _ in lane.offers:
            if group.kind == place.kind or group is place.group:
                continue
            there = core.estimate(ask, group.kind)
            if there.source not in _WELL_KNOWN or there.seconds >= least_s:
                continue
            free = now if group.free else self._free_at(group, task.shape, now)
            if free <= now:
                continue  # it is kept from this task, or too scarce for it
            last = deadline - there.seconds - there.spread_s
            saved = late and free <= last
            takes_s = free - now + there.seconds
            if not saved and (
                takes_s >= least_s or self._others_first(group, task, key)
            ):
                continue
            until = now + _PATIENCE * (free - now) + core.settings.detour_s
            saving = now + here.seconds - there.seconds
            saving = max(saving, last) if saved else saving
            until = min(until, saving)
            if takes_s < least_s or found is None:
                least_s = min(takes_s, least_s)
                slow = (place.kind, here.seconds)
                found = Hope(until, saving, free, there.seconds, *slow)
                if free - now <= _SOON * here.seconds:
                    break
        return found

    def _others_first(self, group: Group, task: Task, key: float) -> bool:
        """Whether more urgent work waits for the group's next free worker."""
        stall = group.stalls.get(task.shape)
        first = None if stall is None else stall.most_urgent
        return first is not None and first < key

    def _free_at(self, group: Group, shape: Shape, now: float) -> float:
        """When a worker of the group will have room; reckoned now and then."""
        known = self._soonest.get((group, shape))
        if known is not None:
            at, reckoned_at = known
            if at > now and now - reckoned_at <= _SOONEST_KEPT_S:
                return at
        if len(self._soonest) >= _SOONEST_MAX:
            self._soonest.clear()
        at = min(
            (
                self._room_at(place, shape, now)
                for place in islice(group.members.values(), _WORKERS_MAX)
                if not place.barred and place.reserved is None
            ),
            default=now,
        )
        self._soonest[group, shape] = (at, now)
        return at

    def _room_at(self, place: Place, shape: Shape, now: float) -> float:
        if not shape.plain:
            return free_at(self._core, place, shape, now)
        running = (task for task in place.held.values() if not task.queued)
        ends = (expected_end(self._core, task, place, now) for task in running)
        return min(ends, default=now)
