"""What a simulated run came to: deadlines missed, waits, makespan, fairness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim_workloads import CLASSES, Machine, SimTask, Workload

_WINDOWS = 60  # in which fairness is looked at


@dataclass(frozen=True, slots=True)
class Record:
    """One task that ended."""

    task: SimTask
    machine: Machine
    started: float
    finished: float


@dataclass(frozen=True, slots=True)
class Measures:
    """Times in seconds, shares in percent.

    Percents of misses are of the tasks that have a deadline; ``hopeless_percent`` are
    those that would have missed it alone in the cluster, on the fastest machine: most
    of them took three times as long as ever before. ``fairness`` is Jain's index
    over the tenants' use of threads divided by their weights, in the windows in which
    at least two of them had work waiting: 1 is even, 1/n is all for one of n.
    """

    tasks: int
    miss_percent: float
    hopeless_percent: float
    misses_by_class: dict[str, int]
    late_s_worst: float
    wait_s: dict[str, tuple[float, float]]  # by class: median, 95th percentile
    makespan_s: float
    busy_percent: float
    fairness: float


def measure(workload: Workload, records: Sequence[Record]) -> Measures:
    """Sum up a run that ended."""
    due = [r for r in records if r.task.deadline is not None]
    late = [r for r in due if r.finished > (r.task.deadline or 0.0)]
    waits: dict[str, list[float]] = {name: [] for name in CLASSES}
    for record in records:
        waits[record.task.priority_class].append(record.started - record.task.submitted)
    makespan = max(r.finished for r in records)
    threads = sum(m.kind.threads for m in workload.machines)
    busy = sum(r.finished - r.started for r in records)
    return Measures(
        tasks=len(records),
        miss_percent=100 * len(late) / max(1, len(due)),
        hopeless_percent=100 * _hopeless(workload, due) / max(1, len(due)),
        misses_by_class={
            name: sum(r.task.priority_class == name for r in late) for name in CLASSES
        },
        late_s_worst=max(
            (r.finished - (r.task.deadline or 0) for r in late), default=0
        ),
        wait_s={
            name: (percentile(found, 0.5), percentile(found, 0.95))
            for name, found in waits.items()
        },
        makespan_s=makespan,
        busy_percent=100 * busy / (threads * makespan),
        fairness=_fairness(workload, records, makespan),
    )


def _hopeless(workload: Workload, due: Sequence[Record]) -> int:
    kinds = {machine.kind.name: machine.kind for machine in workload.machines}
    fastest: dict[str, float] = {}
    for record in due:
        demand = record.task.demand
        if demand.name not in fastest:
            fits = [kind.speed for kind in kinds.values() if demand.fits(kind)]
            fastest[demand.name] = max(fits)
    return sum(
        task.submitted + task.seconds / fastest[task.demand.name] > task.deadline
        for task in (record.task for record in due)
        if task.deadline is not None
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which a part of them is; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def _fairness(
    workload: Workload, records: Sequence[Record], makespan_s: float
) -> float:
    width = makespan_s / _WINDOWS
    used = [dict.fromkeys(workload.weights, 0.0) for _ in range(_WINDOWS)]
    waiting = [dict.fromkeys(workload.weights, 0.0) for _ in range(_WINDOWS)]
    for record in records:
        tenant, task = record.task.tenant, record.task
        for part, begin, end in (
            (used, record.started, record.finished),
            (waiting, task.submitted, record.started),
        ):
            first = min(_WINDOWS - 1, int(begin / width))
            last = min(_WINDOWS - 1, int(end / width))
            for window in range(first, last + 1):
                inside = min(end, (window + 1) * width) - max(begin, window * width)
                part[window][tenant] += max(0.0, inside)
    indices = []
    for window in range(_WINDOWS):
        # Work of one task at least waited for all of the window.
        wanting = [t for t, s in waiting[window].items() if s >= width]
        shares = [used[window][t] / workload.weights[t] for t in wanting]
        if len(shares) >= 2 and any(shares):
            squares = sum(share * share for share in shares)
            indices.append(sum(shares) ** 2 / (len(shares) * squares))
    return sum(indices) / len(indices) if indices else 1.0
