"""Numbers over time as a coordinator tells them, kept for a chart. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dtf_dask.errors import ProtocolError

NAMES_MAX = 100


class Curves:
    """The last points of each number, all of one step.

    Parameters
    ----------
    points_max
        Of each.

    Examples
    --------
    >>> curves = Curves(3)
    >>> curves.add({"start_s": 10, "step_s": 1, "values": {"ended": [1.0, 2.0]}})
    >>> curves.add({"start_s": 11, "step_s": 1, "values": {"ended": [4.0, 5.0, None]}})
    >>> curves.start_s, curves.values["ended"]
    (11, [4.0, 5.0, None])
    """

    def __init__(self, points_max: int) -> None:
        self._max = points_max
        self.start_s = 0
        self.step_s = 1
        self.values: dict[str, list[float | None]] = {}

    @property
    def length(self) -> int:
        """How many points there are."""
        return max(map(len, self.values.values()), default=0)

    @property
    def since(self) -> int:
        """From when on more is to be asked for: the last points are still to change."""
        return max(0, self.start_s + (self.length - 3) * self.step_s)

    def add(self, told: Mapping[str, Any]) -> None:
        """What `/series` tells of the time from `since` on.

        Raises
        ------
        ProtocolError
            It tells something else.
        """
        try:
            start, step = int(told["start_s"]), int(told["step_s"])
            found = {
                str(name): [_finite(one) for one in values]
                for name, values in list(told["values"].items())[:NAMES_MAX]
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no numbers over time: {error!r}") from None
        length = max(map(len, found.values()), default=0)
        if not length or step < 1:
            return
        end = self.start_s + self.length * self.step_s
        if step != self.step_s or start > end or start < self.start_s:
            self.values, self.start_s, self.step_s = {}, start, step
        over = (start - self.start_s) // step
        total = over + length
        cut = max(0, total - self._max)
        for name in self.values.keys() | found.keys():
            before = self.values.get(name, [])[:over]
            before += [None] * (over - len(before))
            after = found.get(name, [])
            after += [None] * (length - len(after))
            self.values[name] = (before + after)[cut:]
        self.start_s += cut * step
        gone = [n for n, all in self.values.items() if all.count(None) == len(all)]
        for name in gone:
            del self.values[name]

    def latest(self, name: str) -> float | None:
        """The last that is known."""
        return next(
            (v for v in reversed(self.values.get(name, [])) if v is not None), None
        )


def _finite(value: object) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
