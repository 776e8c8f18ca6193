"""What the engine learns goes out here, and what was kept comes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.terms import Key
from dtf_dask.scheduler_plugins.policies.breaker_terms import Kept
from dtf_dask.scheduler_plugins.policies.learned import Additions, Row


class Memory:
    """The way in and out of learned durations and of what tenants had.

    Nothing is noted before the first call of `take`.
    """

    def __init__(self, core: Core, gangs: Gangs) -> None:
        self._core, self._gangs = core, gangs
        self._additions = Additions()

    def take(self, now: float) -> Additions:
        """What was learned since the last call; it is the caller's now."""
        taken, self._additions = self._additions, Additions()
        self._core.estimates.note = self._additions.note
        for tenant, level in self._core.tenants.moved(now):
            taken.note("tenant", tenant, "", level, 1)
        return taken

    def recall(self, rows: Iterable[Row], now: float, wall_now: float) -> None:
        """Take over what was learned before, as if all since came after it.

        Parameters
        ----------
        now, wall_now
            The engine's clock, and that of the world.
        """
        core = self._core
        for kind, name, group, numbers, used_at in rows:
            if kind == "tenant":
                core.tenants.recall(name, numbers[-1], wall_now - used_at, now)
            else:
                core.estimates.recall(kind, name, group, numbers)
        core.estimates.speeds.solve()

    def gangs(self) -> dict[Key, bool]:
        """Tasks of gangs that started, or (True) of those that will never be whole."""
        return self._gangs.marks()

    def kills(self) -> Mapping[Key, int]:
        """How often tasks were ended for others."""
        return self._core.kill_counts

    def recall_kills(self, key: Key, count: int) -> None:
        """It was ended so often by another engine."""
        self._core.kill_counts[key] = count

    def breakers(self, now: float) -> list[Kept]:
        """Breakers that rest, or did a while ago."""
        return self._core.breakers.kept(now)

    def recall_breakers(self, rows: Iterable[Kept], now: float) -> None:
        """They rest as long as they would have."""
        core = self._core
        core.breakers.recall(rows, now)
        for place in core.places:
            core.rebar(place, now)
