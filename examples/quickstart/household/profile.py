"""What a household uses and its roof yields, hour by hour, in tenths of a kWh."""

from __future__ import annotations

import math
import random

HOURS_PER_YEAR = 8760

_MORNING, _EVENING = 7.5, 19.0


def usage(hours: int, seed: int = 1) -> list[int]:
    """Return the consumption of each hour: two humps a day, more in winter."""
    source = random.Random(seed)
    return [
        max(1, round(_demand(hour) * source.uniform(0.7, 1.3))) for hour in range(hours)
    ]


def solar(hours: int, peak: int = 60, seed: int = 1) -> list[int]:
    """Return the yield of each hour: none at night, less under clouds."""
    source = random.Random(seed + 1)
    yields = []
    clear = 1.0
    for hour in range(hours):
        if hour % 24 == 0:
            clear = source.uniform(0.2, 1.0)
        yields.append(round(peak * clear * _sun(hour)))
    return yields


def net(hours: int, peak: int = 60, seed: int = 1) -> list[int]:
    """Return usage less yield: negative where the roof gives more than is needed."""
    return [
        used - made
        for used, made in zip(usage(hours, seed), solar(hours, peak, seed), strict=True)
    ]


def _demand(hour: int) -> float:
    of_day, of_year = hour % 24, hour / HOURS_PER_YEAR
    morning = math.exp(-((of_day - _MORNING) ** 2) / 4)
    evening = math.exp(-((of_day - _EVENING) ** 2) / 8)
    return (2 + 6 * morning + 12 * evening) * (
        1 + 0.3 * math.cos(2 * math.pi * of_year)
    )


def _sun(hour: int) -> float:
    season = 0.6 - 0.4 * math.cos(2 * math.pi * hour / HOURS_PER_YEAR)
    return season * max(0.0, math.sin(math.pi * (hour % 24 - 6) / 12))
