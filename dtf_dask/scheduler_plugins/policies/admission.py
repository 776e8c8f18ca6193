"""Whether a deadline can be met, said at once when the work is submitted. Pure.

The forecast is that of a list schedule: the work ahead, by urgency, is spread over the
slots there are; then the task runs as long as it is known to. What is not known is not
said: of a task that never ran, nor anything like it, no deadline is doubted.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

from dtf_dask.quantities import format_duration
from dtf_dask.scheduler_plugins.engine.terms import Late
from dtf_dask.scheduler_plugins.policies.estimate import Estimate

Answer = Literal["take", "warn", "refuse"]

_BUCKETS_MAX = 1024
_KNOWN = ("runs", "other groups", "asked")  # of the task itself, not of its like


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of one task.

    Parameters
    ----------
    start_s, finish_s
        Seconds from now; infinite where there is no slot for it.
    left_s
        Seconds until its deadline, negative if that is over; infinite without one.
    known
        Whether its own duration is known: from runs of it, or from who submits it.
    guessed
        Whether it is the caller's default, of which nothing follows.
    """

    start_s: float
    finish_s: float
    left_s: float
    known: bool
    guessed: bool

    @property
    def over(self) -> bool:
        """The deadline is in the past."""
        return self.left_s < 0

    @property
    def late(self) -> bool:
        """It will miss its deadline, as far as anybody can tell."""
        if self.over:
            return True
        if self.guessed or math.isinf(self.finish_s):
            return False
        return self.finish_s > self.left_s

    @property
    def words(self) -> str:
        """ "cannot meet: needs about 40 min, the deadline is in 10 min", or ""."""
        if not self.late:
            return ""
        if self.over:
            return f"cannot meet: the deadline was {_about(-self.left_s)} ago"
        needs = f"needs about {_about(self.finish_s)}"
        if self.start_s > 0.05 * self.finish_s:
            needs += (
                f" ({_about(self.start_s)} of waiting,"
                f" {_about(self.finish_s - self.start_s)} of running)"
            )
        return f"cannot meet: {needs}, the deadline is in {_about(self.left_s)}"


def finish_s(ahead_s: float, slots: float, estimate: Estimate) -> tuple[float, float]:
    """When a task will start and be done, in seconds from now.

    Parameters
    ----------
    ahead_s
        Seconds of work that goes first: more urgent waiting tasks, and what is left of
        the running ones; 0 if there is a free slot.
    slots
        How many run at once where this one may run.
    """
    if slots <= 0:
        return math.inf, math.inf
    start_s = max(0.0, ahead_s) / slots
    return start_s, start_s + estimate.seconds


def outlook(
    deadline: float | None, ahead_s: float, slots: float, estimate: Estimate, now: float
) -> Outlook:
    """Look ahead for one task; ``deadline`` and ``now`` are of the engine's clock."""
    start_s, done_s = finish_s(ahead_s, slots, estimate)
    return Outlook(
        start_s=start_s,
        finish_s=done_s,
        left_s=math.inf if deadline is None else deadline - now,
        known=estimate.source in _KNOWN,
        guessed=estimate.source == "default",
    )


def answer(on_late: Late, seen: Outlook) -> Answer:
    """What becomes of a submission: refused only on request, and on good grounds."""
    if not seen.late:
        return "take"
    if on_late != "run" and (seen.over or seen.known):
        return "refuse"
    return "warn"


def hopeless_at(deadline: float, estimate: Estimate) -> float:
    """From when on a task is late even if it starts at once.

    Where its own duration is not known, that is its deadline.
    """
    return deadline - estimate.seconds if estimate.source in _KNOWN else deadline


class Backlog:
    """Seconds of waiting work by urgency: how much of it goes before a given task.

    Work is counted in buckets of due times, so that a question costs O(log) where
    nothing was added in between, and at most O(1,024) where something was. With more
    buckets than that they become twice as wide.
    """

    def __init__(self, width_s: float = 1.0) -> None:
        self._width_s = width_s
        self._buckets: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._numbers: list[int] | None = []
        self._sums: list[float] = []
        self.total_s = 0.0

    def add(self, due: float, seconds: float) -> None:
        """A task waits, that is due then, and will take so long."""
        number = self._number(due)
        self._buckets[number] = self._buckets.get(number, 0.0) + seconds
        self._counts[number] = self._counts.get(number, 0) + 1
        self.total_s += seconds
        self._numbers = None
        if len(self._buckets) > _BUCKETS_MAX:
            self._widen()

    def remove(self, due: float, seconds: float) -> None:
        """A task waits no longer; the same numbers as when it was added."""
        number = self._number(due)
        count = self._counts.get(number, 0)
        if not count:
            return
        self._numbers = None
        self.total_s -= seconds
        if count == 1:
            del self._buckets[number], self._counts[number]
            if not self._buckets:
                self.total_s = 0.0  # no error of sums outlives the last task
        else:
            self._counts[number] = count - 1
            self._buckets[number] -= seconds

    def ahead_s(self, due: float) -> float:
        """Seconds of work that is due earlier; of the same bucket half."""
        numbers = self._ordered()
        number = self._number(due)
        place = bisect_left(numbers, number)
        before_s = self._sums[place - 1] if place else 0.0
        same_s = 0.0
        if bisect_right(numbers, number) > place:
            same_s = max(0.0, self._buckets[number])
        return before_s + same_s / 2

    def _ordered(self) -> list[int]:
        if self._numbers is None:
            self._numbers = sorted(self._buckets)
            self._sums, sum_s = [], 0.0
            for number in self._numbers:
                sum_s += max(0.0, self._buckets[number])
                self._sums.append(sum_s)
        return self._numbers

    def _number(self, due: float) -> int:
        return math.floor(min(max(due, -1e15), 1e15) / self._width_s)

    def _widen(self) -> None:
        while len(self._buckets) > _BUCKETS_MAX // 2:
            self._width_s *= 2
            buckets, counts = self._buckets, self._counts
            self._buckets, self._counts = {}, {}
            for number, seconds in buckets.items():
                wide = number // 2
                self._buckets[wide] = self._buckets.get(wide, 0.0) + seconds
                self._counts[wide] = self._counts.get(wide, 0) + counts[number]


def _about(seconds: float) -> str:
    """A duration to two digits: a forecast is no more exact than that."""
    unit = next((size for size in (86_400, 3600, 60) if seconds >= size), 1)
    amount = seconds / unit
    digits = 1 - math.floor(math.log10(amount)) if amount > 0 else 0
    return format_duration(round(amount, digits) * unit)
