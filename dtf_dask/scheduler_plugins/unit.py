"""Tasks that start together, and the workers that are kept free for them. Pure.

A gang is one; so is a single task too large to find room by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.lanes import Task
    from dtf_dask.scheduler_plugins.places import Place


class Unit:
    """All or none of these tasks start.

    Parameters
    ----------
    due, seq
        Its place in the order: that of its most urgent task.
    kept
        Where its tasks will start, one each, in order of the tasks.
    start_at
        When all of these will be free, as far as anybody knows.
    """

    __slots__ = ("due", "kept", "name", "seq", "size", "start_at", "tasks")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.tasks: list[Task] = []
        self.due = math.inf
        self.seq = 0
        self.kept: list[Place] = []
        self.start_at = math.inf

    @property
    def complete(self) -> bool:
        """Whether all its members are ready."""
        return len(self.tasks) == self.size
