"""Attempts that end: room is free again, and something is learned from each. Pure."""

from __future__ import annotations

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.deadlines import Deadlines
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.terms import Ending, Key

_KEPT_MAX = 100_000


class Endings:
    """What follows from the end of an attempt."""

    def __init__(self, core: Core, deadlines: Deadlines) -> None:
        self._core = core
        self._deadlines = deadlines
        # Since when those have waited that were taken back.
        self._waited: dict[Key, float] = {}

    def end(
        self, task: Task, ending: Ending, duration_s: float | None, now: float
    ) -> None:
        """An attempt has ended so."""
        core, ask = self._core, task.ask
        place = task.place
        assert place is not None
        core.release(task, now)
        core.tallies.ended(ask.priority_class, ending)
        core.breakers.ended(place.name, ask.name, place.kind, ending, now)
        if not core.breakers.quiet:
            self.look_at_breakers(now)
            core.rebar(place, now)
        if ending == "done":
            if duration_s is not None and ask.expected_s is None:
                core.estimates.learn(
                    ask.name, place.kind, duration_s, ask.priority_class
                )
            if ask.deadline is not None:
                self._deadlines.ended(task, now)
        elif ending == "killed":
            core.kill_counts[ask.key] = core.kill_counts.get(ask.key, 0) + 1
        if ending in ("released", "killed") and len(self._waited) < _KEPT_MAX:
            self._waited[ask.key] = task.ready_at

    def since(self, key: Key, now: float) -> float:
        """Since when a task has waited that is ready now."""
        return self._waited.pop(key, now) if self._waited else now

    def forget(self, key: Key) -> None:
        """A task is over for good."""
        if self._waited:
            self._waited.pop(key, None)
        if self._core.kill_counts:
            self._core.kill_counts.pop(key, None)

    def look_at_breakers(self, now: float) -> None:
        """Some may have opened, half-opened or closed: workers are shut, or not."""
        core = self._core
        if core.breakers.silent:
            return
        core.breakers.advance(now)
        notices = core.breakers.take_notices()
        if not notices:
            return
        core.notices += notices
        for place in core.places:
            core.rebar(place, now)
            core.freed(place)
