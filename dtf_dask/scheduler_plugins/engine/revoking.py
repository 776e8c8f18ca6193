"""What a worker holds and has not begun, taken back where that gains something. Pure.

Short tasks are held behind others for milliseconds. If one is held for longer, what it
waits for took longer than expected: it goes where there is a free thread, or back into
the order if something more urgent waits for the same workers, or if nobody knows any
more when what it waits for will end.
"""

from __future__ import annotations

from itertools import islice

from dtf_dask.scheduler_plugins.engine.choose import Chooser
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.terms import Plan, Revoke

_STUCK = 10.0
"""What has run for so many times the prefetch is none of the short ones."""


class Revoking:
    """Finds held tasks that are better off elsewhere."""

    def __init__(self, core: Core, chooser: Chooser) -> None:
        self._core = core
        self._chooser = chooser
        self._stuck_s = _STUCK * core.settings.prefetch_s

    def run(self, plan: Plan, now: float) -> float | None:
        """Add revocations to a plan; returns when to look again."""
        core = self._core
        if not core.queued:
            return None
        look_at = next(iter(core.queued.values())).look_at
        if look_at > now:
            return look_at
        patience_s = core.patience_queued_s
        promised: dict[str, int] = {}
        for task in list(islice(core.queued.values(), core.settings.revokes_max)):
            if task.look_at > now:
                break
            if not task.revoked and self._gains(task, promised, now):
                assert task.place is not None
                task.revoked = True
                plan.revokes.append(Revoke(task.key, task.place.name))
            # Behind all others: in about the order in which they are looked at.
            task.look_at = now + max(patience_s, now - task.granted_at)
            core.queued[task.key] = core.queued.pop(task.key)
        return next(iter(core.queued.values())).look_at

    def _gains(self, task: Task, promised: dict[str, int], now: float) -> bool:
        """Whether another worker could begin it now, or others should begin before."""
        place = task.place
        assert place is not None
        if now - task.granted_at > self._stuck_s and not self._moves(place, now):
            return True
        group = place.group
        if group is not None and not place.paused:
            stall = group.stalls.get(task.shape)
            waiting = stall.most_urgent if stall is not None else None
            if waiting is not None and waiting < task.due:
                return True
        lane = self._core.lane_of(task)
        queued, score, estimate_s = task.queued, task.score, task.estimate_s
        found = self._chooser.choose(task, lane, len(lane.offers), now)
        free = found is not None and not task.queued
        task.queued, task.score, task.estimate_s = queued, score, estimate_s
        if found is None or not free:
            return False
        count = promised[found.name] = promised.get(found.name, 0) + 1
        return self._idle_threads(found) >= count

    def _moves(self, place: Place, now: float) -> bool:
        """Whether anything that it runs may still be one of the short ones."""
        for task in place.held.values():
            since = task.granted_at if task.begun_at is None else task.begun_at
            if task.brisk and not task.queued and now - since > self._stuck_s:
                place.slowed(task)
        return place.brisk > 0

    def _idle_threads(self, place: Place) -> float:
        return place.threads - place.cpu - place.foreign
