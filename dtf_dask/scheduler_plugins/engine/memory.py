"""What the engine learns goes out here, and what was kept comes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.policies.learned import Additions, Row


class Memory:
    """The way in and out of learned durations and of what tenants had.

    Nothing is noted before the first call of `take`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
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
