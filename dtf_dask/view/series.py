"""How a cluster's numbers went, in rings that never grow. Pure.

Each second of the last 10 minutes, each 10 s of the last 2 hours, each 5 minutes of the
last 7 days. What is counted is spread over the time in which it was counted; what is
measured holds until it is measured anew; where nobody looked is a gap.

Memory is bounded by `MEMORY_BYTES_MAX`: `LEVELS` x `CLASSES_MAX`, 8 bytes a number.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask.view.records import Record

CLASSES_MAX = 16
GAP_S = 15.0
"""After so long without a look nobody knows what was between."""

_BACK_S = 120.0  # a leader's clock may be behind that of the one before

WHOLE = (
    *("ended", "failed", "missed", "waiting", "held", "running"),
    *("workers", "busy", "memory", "cpu", "gpu", "slack", "tests", "tests_failed"),
)
OF_CLASS = ("waiting", "ended", "slack")
_COUNTED = frozenset({"ended", "failed", "missed", "tests", "tests_failed"})
_FAILED = ("failed", "error", "timeout", "lost")
_LEAST = frozenset({"slack"})


@dataclass(frozen=True, slots=True)
class Level:
    """So many points, each of so many seconds."""

    step_s: int
    count: int


LEVELS = (Level(1, 600), Level(10, 720), Level(300, 2016))
MEMORY_BYTES_MAX = (
    8
    * 2  # a sum, and of how many
    * (len(WHOLE) + CLASSES_MAX * len(OF_CLASS))
    * sum(level.count for level in LEVELS)
)


class _Ring:
    """The last points of one number at one level."""

    __slots__ = ("_level", "_sums", "_weights", "how")

    def __init__(self, level: Level, how: str) -> None:
        self._level, self.how = level, how
        self._sums = array("d", bytes(8 * level.count))
        self._weights = array("d", bytes(8 * level.count))

    def clear(self, slots: Iterable[int]) -> None:
        count = self._level.count
        for slot in slots:
            self._sums[slot % count] = self._weights[slot % count] = 0.0

    def add(self, slot: int, value: float, weight: float) -> None:
        at = slot % self._level.count
        if self.how == "least":
            if not self._weights[at] or value < self._sums[at]:
                self._sums[at] = value
            self._weights[at] = 1.0
        elif self.how == "counted":
            self._sums[at] += value
            self._weights[at] = 1.0
        else:
            self._sums[at] += value * weight
            self._weights[at] += weight

    def point(self, slot: int) -> float | None:
        at = slot % self._level.count
        weight = self._weights[at]
        if not weight:
            return None
        if self.how == "counted":
            return self._sums[at] / self._level.step_s
        return self._sums[at] / weight

    @property
    def size_bytes(self) -> int:
        return 8 * (len(self._sums) + len(self._weights))


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers over time.

    Parameters
    ----------
    start_s
        When the first point begins, in seconds since 1970.
    values
        By name: ``ended`` and other counts are per second; None is a gap.
    """

    start_s: int
    step_s: int
    values: Mapping[str, list[float | None]]


class Series:
    """What the records of a cluster were over time.

    Names are those of `WHOLE`, and ``class/NAME/`` with those of `OF_CLASS`. ``busy``
    and ``memory`` are the shares of threads and memory that are taken, ``cpu`` and
    ``gpu`` those that are busy, ``slack`` is how many seconds were left to begin for
    the nearest deadline. ``tests`` and ``tests_failed`` are cases of runs, of which a
    task may be many. Of classes beyond `CLASSES_MAX` nothing is kept.

    Examples
    --------
    >>> series = Series()
    >>> series.take({"at": 100.0, "waiting": 4, "ended": 0}, [])
    >>> series.take({"at": 102.0, "waiting": 8, "ended": 6}, [])
    >>> found = series.points(1)
    >>> found.start_s, found.values["waiting"], found.values["ended"]
    (100, [4.0, 4.0, 8.0], [3.0, 3.0, None])
    """

    def __init__(self) -> None:
        self._rings: dict[str, tuple[_Ring, ...]] = {}
        self._last_at: float | None = None
        self._first_at = 0.0
        self._last: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._classes: dict[str, None] = {}

    def take(
        self,
        cluster: Record,
        classes: Iterable[Record],
        loads: Iterable[Record] = (),
        runs: Iterable[Record] = (),
    ) -> None:
        """The records of a cluster, its classes, its workers' loads, its runs now.

        Their time is ``cluster["at"]``. A clock that goes back a little is passed over;
        one that goes back or forth by much begins anew.
        """
        at = float(cluster["at"])
        measured, counted = _numbers(cluster, self._known(classes), at)
        measured |= _busy(cluster, loads)
        counted |= _tests(runs)
        last_at = self._last_at
        if last_at is None or abs(at - last_at) > _span_s(LEVELS[-1]):
            self._begin(at)
            last_at = None
        elif at < last_at:
            if last_at - at > _BACK_S:
                self._begin(at)
                last_at = None
            else:
                return
        known = last_at is not None and at - last_at <= GAP_S
        for which, level in enumerate(LEVELS):
            self._advance(which, level, last_at, at)
            self._measure(which, level, last_at if known else None, at, measured)
            if last_at is not None:
                self._count(which, level, last_at if known else at, at, counted)
        self._last, self._counts = measured, self._counts | counted
        self._last_at = at

    def points(self, step_s: int, names: Iterable[str] | None = None) -> Points:
        """All points of a level, the oldest first.

        Raises
        ------
        KeyError
            If there is no such level, or no such name.
        """
        which = {level.step_s: at for at, level in enumerate(LEVELS)}[step_s]
        level = LEVELS[which]
        chosen = self._rings if names is None else {n: self._rings[n] for n in names}
        if self._last_at is None:
            return Points(0, step_s, {name: [] for name in chosen})
        last = int(self._last_at // step_s)
        first = max(last - level.count + 1, int(self._first_at // step_s))
        return Points(
            first * step_s,
            step_s,
            {
                name: [rings[which].point(slot) for slot in range(first, last + 1)]
                for name, rings in chosen.items()
            },
        )

    @property
    def size_bytes(self) -> int:
        """What all points take."""
        return sum(ring.size_bytes for rings in self._rings.values() for ring in rings)

    def _known(self, classes: Iterable[Record]) -> Iterator[Record]:
        for row in classes:
            name = str(row["name"])
            if name in self._classes or len(self._classes) < CLASSES_MAX:
                self._classes[name] = None
                yield row

    def _begin(self, at: float) -> None:
        self._rings.clear()
        self._last, self._counts = {}, {}
        self._first_at = at

    def _ring(self, which: int, name: str) -> _Ring:
        rings = self._rings.get(name)
        if rings is None:
            what = name.rpartition("/")[2]
            how = "mean"
            if what in _COUNTED:
                how = "counted"
            elif what in _LEAST:
                how = "least"
            rings = tuple(_Ring(level, how) for level in LEVELS)
            self._rings[name] = rings
        return rings[which]

    def _advance(
        self, which: int, level: Level, last_at: float | None, at: float
    ) -> None:
        """What was in a slot a whole turn ago is over."""
        if last_at is None:
            return
        last, slot = int(last_at // level.step_s), int(at // level.step_s)
        fresh = range(max(last + 1, slot - level.count + 1), slot + 1)
        if fresh:
            for rings in self._rings.values():
                rings[which].clear(fresh)

    def _measure(
        self,
        which: int,
        level: Level,
        last_at: float | None,
        at: float,
        measured: Mapping[str, float],
    ) -> None:
        if last_at is not None:
            # Until now it was as it was then.
            for slot, part_s in _slots(level, last_at, at):
                for name, value in self._last.items():
                    self._ring(which, name).add(slot, value, part_s)
        slot = int(at // level.step_s)
        for name, value in measured.items():
            ring = self._ring(which, name)
            if ring.how == "least" or ring.point(slot) is None:
                ring.add(slot, value, 1e-3)

    def _count(
        self,
        which: int,
        level: Level,
        last_at: float,
        at: float,
        counted: Mapping[str, float],
    ) -> None:
        took_s = at - last_at
        for name, value in counted.items():
            more = max(0.0, value - self._counts.get(name, value))
            ring = self._ring(which, name)
            if took_s <= 0:
                ring.add(int(at // level.step_s), more, 1.0)
                continue
            for slot, part_s in _slots(level, last_at, at):
                ring.add(slot, more * part_s / took_s, 1.0)


def _slots(level: Level, start: float, end: float) -> Iterable[tuple[int, float]]:
    """The slots between two times, with the seconds of each; never more than fit."""
    step = level.step_s
    first, last = int(start // step), int(end // step)
    for slot in range(max(first, last - level.count + 1), last + 1):
        part_s = min(end, (slot + 1) * step) - max(start, slot * step)
        if part_s > 0:
            yield slot, part_s


def _span_s(level: Level) -> float:
    return float(level.step_s * level.count)


def _numbers(
    cluster: Record, classes: Iterable[Record], at: float
) -> tuple[dict[str, float], dict[str, float]]:
    """What is measured, and what is counted."""
    measured: dict[str, float] = {}
    counted: dict[str, float] = {}
    for name in ("waiting", "held", "running", "workers"):
        measured[name] = _number(cluster.get(name))
    for name, part, whole in (
        ("busy", "threads_used", "threads"),
        ("memory", "memory_used", "memory"),
    ):
        all_of_it = _number(cluster.get(whole))
        measured[name] = _number(cluster.get(part)) / all_of_it if all_of_it else 0.0
    counted["ended"] = _number(cluster.get("ended"))
    counted["failed"] = _number(cluster.get("failed"))
    counted["missed"] = _number(cluster.get("deadlines_missed"))
    slack = math.inf
    for row in classes:
        start = f"class/{row['name']}/"
        measured[f"{start}waiting"] = _number(row["waiting"])
        counted[f"{start}ended"] = _number(row["ended"])
        if row["latest"] is not None:
            measured[f"{start}slack"] = row["latest"] - at
            slack = min(slack, row["latest"] - at)
    if slack < math.inf:
        measured["slack"] = slack
    return measured, counted


def _busy(cluster: Record, loads: Iterable[Record]) -> dict[str, float]:
    """The shares of CPUs and GPUs that are busy, where somebody says so."""
    cpu, said = 0.0, False
    gpus: list[float] = []
    for load in loads:
        if load["cpu"] is not None:
            cpu, said = cpu + load["cpu"], True
        gpus += [one["util"] for one in load["gpus"] if one["util"] is not None]
    found = {}
    threads = _number(cluster.get("threads"))
    if said and threads:
        found["cpu"] = min(1.0, cpu / threads)
    if gpus:
        found["gpu"] = sum(gpus) / len(gpus)
    return found


def _tests(runs: Iterable[Record]) -> dict[str, float]:
    """How many cases of all runs have ended, and how many of them not well."""
    counts = [run["counts"] for run in runs]
    if not counts:
        return {}
    failed = sum(one.get(outcome, 0) for one in counts for outcome in _FAILED)
    return {"tests": sum(sum(one.values()) for one in counts), "tests_failed": failed}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
