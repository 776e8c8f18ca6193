"""How slow this machine is now, for the few bounds that are about speed."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from heapq import heappop, heappush

_ROUNDS = 20_000
_REFERENCE_S = 0.015
"""What they take on the machine on which the bounds were set, while it is idle."""


def _work() -> None:
    found: dict[int, tuple[int, str]] = {}
    heap: list[tuple[int, int]] = []
    for number in range(_ROUNDS):
        found[number % 97] = (number, "x")
        heappush(heap, (number * 7919 % 1013, number))
        if len(heap) > 50:
            heappop(heap)


def slowness() -> float:
    """How much longer than there something takes here and now; at least 1."""
    return _measured(time.perf_counter, 10)


def cpu_slowness() -> float:
    """The same of CPU time: what else runs here hardly counts."""
    return _measured(time.process_time, 3)


def cpu_s(call: Callable[[], object], number: int) -> float:
    """CPU seconds that one call costs where the bounds were set, the best of three."""
    took = min(timeit.repeat(call, number=number, repeat=3, timer=time.process_time))
    return took / number / cpu_slowness()


def _measured(clock: Callable[[], float], times: int) -> float:
    took = timeit.repeat(_work, number=1, repeat=times, timer=clock)
    seconds = sum(took) / times if clock is time.perf_counter else min(took)
    return max(1.0, seconds / _REFERENCE_S)
