"""Tasks that start together, and the workers that are kept free for them. Pure.

A gang is one; so is a single task too large to find room by itself. Workers are kept
for all of its tasks or for none, and a worker is kept for one unit only: so no two of
them ever hold what the other waits for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dtf_dask.scheduler_plugins.engine.terms import Key

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.lanes import Task
    from dtf_dask.scheduler_plugins.engine.places import Place


class Unit:
    """All or none of these tasks start.

    Parameters
    ----------
    started
        Members that were granted and have not come back. They need not start again.
    tasks
        Members that are ready.
    due, seq
        Its place in the order: that of its most urgent task.
    kept
        Where its tasks will start, one each, in the order of the tasks.
    start_at
        When all of these will be free, as far as anybody knows.
    """

    __slots__ = (
        *(
            "broken",
            "due",
            "kept",
            "large",
            "members",
            "name",
            "seq",
            "size",
            "start_at",
        ),
        *("started", "tasks"),
    )

    def __init__(self, name: str, size: int, *, large: bool = False) -> None:
        self.name = name
        self.size = size
        self.large = large
        self.broken = False  # a member will never be ready
        self.members: dict[Key, None] = {}
        self.started: dict[Key, None] = {}
        self.tasks: list[Task] = []
        self.due = math.inf
        self.seq = 0
        self.kept: list[Place] = []
        self.start_at = math.inf

    @property
    def complete(self) -> bool:
        """Whether all that have not started are ready."""
        return bool(self.tasks) and len(self.tasks) + len(self.started) >= self.size

    def add(self, task: Task) -> None:
        """A member is ready."""
        task.unit = self
        self.members[task.key] = None
        self.started.pop(task.key, None)
        self.tasks.append(task)
        self._order()

    def remove(self, task: Task) -> None:
        """A member is not ready any more: withdrawn, or granted."""
        task.unit = None
        self.tasks.remove(task)
        self._order()

    def _order(self) -> None:
        first = min(self.tasks, key=lambda t: (t.due, t.seq), default=None)
        self.due, self.seq = (first.due, first.seq) if first else (math.inf, 0)


class Keeping:
    """The units for which workers are kept, in the order in which they got them."""

    def __init__(self) -> None:
        self.units: dict[Unit, None] = {}

    def keep(self, unit: Unit, places: list[Place], start_at: float) -> None:
        """Nobody else gets these workers for longer than until then."""
        self.release(unit)
        unit.kept = places
        unit.start_at = start_at
        self.units[unit] = None
        for place in places:
            place.reserved = unit

    def release(self, unit: Unit) -> list[Place]:
        """Its workers are anybody's again; returns them."""
        places, unit.kept = unit.kept, []
        unit.start_at = math.inf
        self.units.pop(unit, None)
        for place in places:
            place.reserved = None
        return places
