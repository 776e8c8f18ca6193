"""What is to be looked at later, by the time at which. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.lanes import Task


class Timers:
    """Subjects by due time; each is whatever its owner makes of it then."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Any, Task | None]] = []
        self._seq = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, what: str, subject: Any, of: Task | None = None) -> None:
        """Look at it then; if it is of a task, only while that waits."""
        self._seq += 1
        heappush(self._heap, (at, self._seq, what, subject, of))

    def due(self, now: float) -> Iterator[tuple[str, Any]]:
        """What is due, in order."""
        while (at := self.next_at()) is not None and at <= now:
            _, _, what, subject, _ = heappop(self._heap)
            yield what, subject

    def next_at(self) -> float | None:
        """When to ask again; None if there is nothing."""
        heap = self._heap
        while heap:
            at, _, _, _, task = heap[0]
            if task is None or task.waits:
                return at
            heappop(heap)
        return None
