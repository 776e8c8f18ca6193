"""How busy each worker was over the last minutes, as far as it was told. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

STEP_S = 5
POINTS = 120
WORKERS_MAX = 5_000


class LoadHistory:
    """A point each some seconds, of each of its figures; a worker takes little room.

    Parameters
    ----------
    figures
        How many there are of a worker.

    Examples
    --------
    >>> history = LoadHistory(2)
    >>> history.add("w", 100.0, (0.5, None))
    >>> history.add("w", 110.0, (0.75, 0.25))
    >>> history.curves("w", 95.0, 114.0)
    (95, [[None, 0.5, 0.5, 0.75], [None, None, None, 0.25]])
    """

    def __init__(self, figures: int) -> None:
        self._figures = figures
        self._points: dict[str, array[float]] = {}
        self._last: dict[str, int] = {}

    def add(self, worker: str, at: float, values: Sequence[float | None]) -> None:
        """So it is from then on, until more is told."""
        slot = int(at // STEP_S)
        points = self._points.get(worker)
        if points is None:
            if len(self._points) >= WORKERS_MAX:
                return
            points = array("f", [math.nan]) * (self._figures * POINTS)
            self._points[worker] = points
            self._last[worker] = slot
        last = self._last[worker]
        if slot <= last - POINTS:
            return
        oldest, before = slot - POINTS + 1, self._get(points, last)
        for between in range(max(last + 1, oldest), slot + 1):
            self._put(points, between, ())
        if last < oldest:
            self._put(points, oldest, before)
        self._put(points, slot, values)
        self._last[worker] = max(slot, last)

    def curves(
        self, worker: str, start: float, end: float
    ) -> tuple[int, list[list[float | None]]]:
        """The time of the first point, and each figure from then up to the end."""
        first, over = int(start // STEP_S), int(end // STEP_S) + 1
        found: list[list[float | None]] = [[] for _ in range(self._figures)]
        points, last = self._points.get(worker), self._last.get(worker, first)
        known: tuple[float | None, ...] = (None,) * self._figures
        for slot in (
            *range(last - POINTS + 1, min(first, last + 1)),
            *range(first, over),
        ):
            if points is not None and last - POINTS < slot <= last:
                told = self._get(points, slot)
                # What was told before is true until it is told otherwise.
                known = told if any(one is not None for one in told) else known
            if slot >= first:
                for values, one in zip(found, known, strict=True):
                    values.append(one)
        return first * STEP_S, found

    def _get(self, points: array[float], slot: int) -> tuple[float | None, ...]:
        at = slot % POINTS * self._figures
        told = points[at : at + self._figures]
        return tuple(None if math.isnan(one) else one for one in told)

    def _put(
        self, points: array[float], slot: int, values: Sequence[float | None]
    ) -> None:
        at = slot % POINTS * self._figures
        for n in range(self._figures):
            one = values[n] if values else None
            points[at + n] = math.nan if one is None else one
