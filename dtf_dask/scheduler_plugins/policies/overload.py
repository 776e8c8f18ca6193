"""More work than can be kept: slow down, then shed, say so, and end by itself. Pure.

From a part of the bound on, clients are asked to slow down. Over the bound waiting
tasks are shed: of the lowest class first, and of a class the newest first, so that what
has waited longest, and matters most, is kept. Work that runs is never shed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dtf_dask.pressure import Pressure, PressureState
from dtf_dask.scheduler_plugins.engine.terms import Key, Notice, Reject

_RATE_OVER_S = 30.0  # how far back the pace at which tasks start is looked at


@dataclass(frozen=True, slots=True)
class OverloadSettings:
    """How many tasks may wait.

    Parameters
    ----------
    queue_length_max
        More than so many waiting tasks are an overload, and the rest is shed.
    slow_share
        From this part of the bound on, clients are slowed down.
    calm_share
        An overload is over when no more than this part of the bound waits.

    Raises
    ------
    ValueError
        If a number makes no sense.
    """

    queue_length_max: int = 1_000_000
    slow_share: float = 0.8
    calm_share: float = 0.7

    def __post_init__(self) -> None:
        if self.queue_length_max < 1:
            raise ValueError(
                f"queue_length_max must be at least 1, not {self.queue_length_max}"
            )
        if not 0 <= self.calm_share <= self.slow_share < 1:
            raise ValueError(
                "calm_share must not be more than slow_share, and both are between 0"
                f" and 1: not {self.calm_share} and {self.slow_share}"
            )


class Waiting(NamedTuple):
    """A waiting task, as far as shedding looks at it.

    ``rank`` is its class's: 0 for the most important. ``seq`` is its arrival number.
    """

    key: Key
    rank: int
    seq: int
    class_name: str = ""


class Overload:
    """Watches how many tasks wait."""

    def __init__(self, settings: OverloadSettings | None = None) -> None:
        self._settings = settings or OverloadSettings()
        self._since: float | None = None
        self._shed = 0
        self._length_max = 0
        self._kept = 0
        self._state: PressureState = "calm"
        self._started = 0.0  # tasks that started, those of long ago counting less
        self._started_at = 0.0

    @property
    def settings(self) -> OverloadSettings:
        """How many tasks may wait."""
        return self._settings

    @property
    def degraded(self) -> bool:
        """There was more than the bound, and it is not over yet."""
        return self._since is not None

    def excess(self, length: int) -> int:
        """How many of so many waiting tasks are too many."""
        return max(0, length - max(self._settings.queue_length_max, self._kept))

    def recalled(self, length: int) -> None:
        """So many waited, or had begun to be sent, when another engine was in charge.

        None of them is shed for the bound: they were taken. It falls as they start.
        """
        self._kept = length

    def pressure(self, length: int) -> float:
        """How much clients are to slow down: 0 not at all, 1 altogether.

        During an overload they wait until it is over.
        """
        if self.degraded:
            return 1.0
        settings = self._settings
        slow = settings.slow_share * settings.queue_length_max
        over = (length - slow) / (settings.queue_length_max - slow)
        return min(max(over, 0.0), 1.0)

    def started(self, count: int, now: float) -> None:
        """So many tasks wait no longer: the pace at which the queue empties."""
        self._kept = max(0, self._kept - count)
        self._started = self._recent(now) + count
        self._started_at = max(now, self._started_at)

    def changed(self, length: int, now: float) -> Pressure | None:
        """The state, if it is another than when this was last asked."""
        settings = self._settings
        state: PressureState = "calm"
        if self.degraded:
            state = "shedding"
        elif length >= settings.slow_share * settings.queue_length_max or (
            self._state != "calm"
            and length > settings.calm_share * settings.queue_length_max
        ):
            state = "pressed"
        if state == self._state:
            return None
        self._state = state
        return self.told(length, now)

    def told(self, length: int, now: float) -> Pressure:
        """The state as clients are told it."""
        settings = self._settings
        bound = settings.queue_length_max
        clear_s = None
        if self._state != "calm":
            over = max(0.0, length - settings.calm_share * bound)
            per_s = self._recent(now) / _RATE_OVER_S
            clear_s = over / per_s if per_s > 0 else None
        pressed_at = math.ceil(settings.slow_share * bound)
        return Pressure(
            self._state, length, bound, pressed_at, self.pressure(length), clear_s
        )

    def _recent(self, now: float) -> float:
        age_s = max(0.0, now - self._started_at)
        return self._started * math.exp(-age_s / _RATE_OVER_S)

    def update(self, length: int, now: float) -> list[Notice]:
        """So many tasks wait now. An overload is announced once, and so is its end."""
        settings = self._settings
        self._kept = min(self._kept, length)
        self._length_max = max(self._length_max, length)
        if self._since is None:
            self._length_max = length
            if length <= settings.queue_length_max:
                return []
            self._since, self._shed = now, 0
            message = (
                f"overloaded: {length} tasks wait, the bound is"
                f" {settings.queue_length_max}; the newest of the lowest classes are"
                " shed, clients are slowed down"
            )
            return [Notice("overload", "queue", message)]
        if length > settings.calm_share * settings.queue_length_max:
            return []
        lasted_s = max(0.0, now - self._since)
        self._since = None
        message = (
            f"the overload is over: it lasted {lasted_s:.0f} s, up to"
            f" {self._length_max} tasks waited, {self._shed} were shed"
        )
        return [Notice("overload", "queue", message)]

    def shed(self, waiting: Iterable[Waiting], length: int) -> list[Reject]:
        """What is shed of those that wait, so that no more than the bound is left.

        Parameters
        ----------
        waiting
            All that wait, or at least the newest of the lowest classes.
        length
            How many wait.
        """
        count = self.excess(length)
        if not count:
            return []
        chosen = heapq.nlargest(count, waiting, key=lambda one: (one.rank, one.seq))
        self._shed += len(chosen)
        bound = self._settings.queue_length_max
        return [
            Reject(
                one.key,
                "shed",
                f"the scheduler is overloaded: {length} tasks waited, it keeps {bound};"
                f" this one was among the newest of class {one.class_name!r}."
                " Submit it again later, in smaller portions, or in a higher class.",
            )
            for one in chosen
        ]

    def refuse(self, rank: int, rank_waiting_max: int) -> bool:
        """Whether a new task would only be shed again.

        ``rank_waiting_max`` is the lowest class's (highest rank) that waits.
        """
        return self.degraded and rank >= rank_waiting_max
