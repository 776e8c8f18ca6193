"""Where the ticks of an axis stand. Pure."""

from __future__ import annotations

import math

_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800),
    *(21_600, 43_200, 86_400, 172_800),
)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two, about so many.

    Examples
    --------
    >>> ticks(0, 23)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def time_ticks(start: float, end: float, count: int = 6) -> list[int]:
    """Round times between two, about so many, in seconds since 1970.

    Examples
    --------
    >>> time_ticks(1000, 1600)
    [1080, 1200, 1320, 1440, 1560]
    """
    if not end > start:
        return []
    raw = (end - start) / max(1, count)
    step = next((one for one in _TIME_STEPS if one >= raw), _TIME_STEPS[-1])
    while (end - start) / step > 4 * count:
        step *= 2
    return list(range(math.ceil(start / step) * step, math.floor(end) + 1, step))
