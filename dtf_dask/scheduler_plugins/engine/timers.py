"""What is to be looked at later, by the time at which. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any


class Timers:
    """Subjects by due time; each is whatever its owner makes of it then."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Any]] = []
        self._seq = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, what: str, subject: Any) -> None:
        """Look at it then."""
        self._seq += 1
        heappush(self._heap, (at, self._seq, what, subject))

    def due(self, now: float) -> Iterator[tuple[str, Any]]:
        """What is due, in order."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, what, subject = heappop(heap)
            yield what, subject

    @property
    def next_at(self) -> float | None:
        """When to ask again; None if there is nothing."""
        return self._heap[0][0] if self._heap else None
