"""Deadlines, waits and makespan under the engine and under plain Dask, simulated.

    python benchmarks/simulate.py [--quick | --large] [--json] [--seed N] [--seeds N]
                                  [--workloads heavy,real] [--ways fifo,edf,engine]
                                  [--tasks N] [--machines N]

Each way of scheduling runs in a real `distributed.Scheduler`, in made-up time, over
the same seeded workloads: a heavy-tailed one, and one of the durations of real suites
(benchmarks/data/suite_durations.json says where these come from). Each prints a line
as it ends; what runs is told on the standard error.

Without options it takes about ten minutes on two quiet cores, with ``--quick`` less
than 50 s. ``--large`` is a form of its own, of an hour: 100,000 tasks on 1,000 workers,
of which most is the time that Dask takes for the ``resources=`` of its own ways. The
tests of real suites are so short that 1,000 workers would be done with 100,000 of them
in half a minute: there it is 150 workers.

CPU is that of the scheduler alone, for a task, stealing apart. Misses, waits and
makespan are in made-up time: they are the same on any machine, however busy.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim_loop import run_virtually
from sim_measures import Measures, measure
from sim_scheduler import Simulation, Way
from sim_ways import ways
from sim_workloads import (
    CLASSES,
    HEAVY_TAILED,
    REAL_SUITES,
    Profile,
    Workload,
    make_workload,
)

_QUICK_LAST_START_S = 40.0  # so that what is begun then ends before 50 s
_TOLD_S = 20.0  # how often the standard error says how far it is


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated: tasks and machines of each workload."""

    heavy: tuple[int, int]
    real: tuple[int, int]
    seeds: int


DEFAULT = Size(heavy=(20_000, 200), real=(20_000, 30), seeds=3)
QUICK = Size(heavy=(5_000, 60), real=(4_000, 20), seeds=1)
LARGE = Size(heavy=(100_000, 1_000), real=(100_000, 150), seeds=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One workload under one way."""

    workload: str
    seed: int
    way: str
    measures: Measures
    cpu_us_per_task: float
    stealing_us_per_task: float
    violations: int
    wall_s: float


def simulate(workload: Workload, way: Way, *, validate: bool = False) -> Row:
    """Run one."""
    began = time.perf_counter()
    told = _Progress(f"{workload.name}, {way.name}", len(workload.tasks))
    simulation = Simulation(workload, way, validate=validate, progress=told)
    outcome = run_virtually(simulation.run())
    count = len(workload.tasks)
    for words in outcome.violations[:5]:
        print(f"! {way.name}: {words}")
    return Row(
        workload.name,
        workload.seed,
        way.name,
        measure(workload, outcome.records),
        1e6 * outcome.scheduler_cpu_s / count,
        1e6 * outcome.stealing_cpu_s / count,
        len(outcome.violations),
        time.perf_counter() - began,
    )


class _Progress:
    """Says now and then how far a simulation is."""

    def __init__(self, what: str, tasks: int) -> None:
        self._what, self._tasks = what, tasks
        self._began = self._told = time.perf_counter()

    def __call__(self, left: int) -> None:
        """So many tasks are left."""
        now = time.perf_counter()
        if now - self._told >= _TOLD_S:
            self._told = now
            done = f"{self._tasks - left:,} of {self._tasks:,} tasks"
            words = f"{self._what}: {done} after {now - self._began:.0f} s"
            print(words, file=sys.stderr, flush=True)


def _head() -> str:
    waits = " ".join(f"{name[:11] + ' wait':>17}" for name in CLASSES)
    return (
        f"{'workload':13} {'seed':>4} {'way':8} {'missed':>8} {'hopeless':>8} "
        f"{waits} {'makespan':>8} "
        f"{'busy':>5} {'fair':>5} {'CPU us':>7} {'wall':>6}"
    )


def _line(row: Row) -> str:
    told = row.measures
    waits = " ".join(f"{p50:8.1f}/{p95:8.1f}" for p50, p95 in told.wait_s.values())
    return (
        f"{row.workload:13} {row.seed:4} {row.way:8} {told.miss_percent:7.3f}% "
        f"{told.hopeless_percent:7.3f}% {waits} "
        f"{told.makespan_s:8.1f} {told.busy_percent:4.0f}% {told.fairness:5.2f} "
        f"{row.cpu_us_per_task:7.0f} {row.wall_s:6.1f}"
    )


def summary(rows: Sequence[Row], machine: str) -> dict[str, Any]:
    """The object that ``--json`` prints: the heavy-tailed workload is the headline."""

    def of(way: str, workload: str) -> list[Measures]:
        return [r.measures for r in rows if (r.way, r.workload) == (way, workload)]

    def misses(way: str, workload: str) -> float | None:
        found = [told.miss_percent for told in of(way, workload)]
        return round(statistics.mean(found), 4) if found else None

    def makespan_ratio(workload: str) -> float | None:
        pairs = list(zip(of("engine", workload), of("fifo", workload), strict=False))
        ratios = [ours.makespan_s / fifo.makespan_s for ours, fifo in pairs]
        return round(statistics.median(ratios), 4) if ratios else None

    def mean(workload: str, way: str) -> dict[str, Any]:
        found = [r for r in rows if (r.way, r.workload) == (way, workload)]
        told = [row.measures for row in found]
        waits = {
            name: [
                round(statistics.mean(one.wait_s[name][part] for one in told), 3)
                for part in (0, 1)
            ]
            for name in CLASSES
        }
        numbers = {
            "miss_percent": [one.miss_percent for one in told],
            "hopeless_percent": [one.hopeless_percent for one in told],
            "makespan_s": [one.makespan_s for one in told],
            "busy_percent": [one.busy_percent for one in told],
            "fairness": [one.fairness for one in told],
            "cpu_us_per_task": [row.cpu_us_per_task for row in found],
            "stealing_us_per_task": [row.stealing_us_per_task for row in found],
        }
        means = {
            key: round(statistics.mean(found), 4) for key, found in numbers.items()
        }
        return {**means, "wait_s_median_p95": waits}

    heavy, real = HEAVY_TAILED.name, REAL_SUITES.name
    run = dict.fromkeys((row.workload, row.way) for row in rows)
    return {
        "benchmark": "simulate",
        "machine": machine,
        "miss_percent_engine": misses("engine", heavy),
        "miss_percent_edf": misses("edf", heavy),
        "miss_percent_class": misses("class", heavy),
        "miss_percent_fifo": misses("fifo", heavy),
        "makespan_ratio": makespan_ratio(heavy),
        "real_suites": {
            "miss_percent": {
                way: misses(way, real) for way in dict.fromkeys(r.way for r in rows)
            },
            "makespan_ratio": makespan_ratio(real),
        },
        "means": {
            workload: {
                way: mean(workload, way) for name, way in run if name == workload
            }
            for workload in dict.fromkeys(row.workload for row in rows)
        },
        "violations": sum(row.violations for row in rows),
        "rows": [asdict(row) for row in rows],
    }


def main() -> None:
    """Print a table, and with --json one object on the last line."""
    known = ways()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    form.add_argument("--large", action="store_true", help="about an hour")
    parser.add_argument("--json", action="store_true", help="one object, last line")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--seeds", type=int, default=0, help="how many")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--machines", type=int, default=0)
    parser.add_argument("--ways", default=",".join(known))
    parser.add_argument("--workloads", default="heavy,real")
    options = parser.parse_args()
    if unknown := set(options.ways.split(",")) - set(known):
        parser.error(
            f"no such way: {', '.join(unknown)} (there are {', '.join(known)})"
        )
    logging.disable(logging.INFO)
    size = QUICK if options.quick else LARGE if options.large else DEFAULT
    chosen: list[tuple[Profile, tuple[int, int]]] = []
    if "heavy" in options.workloads:
        chosen.append((HEAVY_TAILED, size.heavy))
    if "real" in options.workloads:
        chosen.append((REAL_SUITES, size.real))
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )
    print(machine)
    print(_head())
    rows: list[Row] = []
    began = time.monotonic()
    for seed in range(options.seed, options.seed + (options.seeds or size.seeds)):
        for profile, (tasks, machines) in chosen:
            workload = make_workload(
                profile,
                tasks=options.tasks or tasks,
                machines=options.machines or machines,
                seed=seed,
            )
            for name in options.ways.split(","):
                if options.quick and time.monotonic() - began > _QUICK_LAST_START_S:
                    print(f"! {workload.name}, {name}: left out, the machine is busy")
                    continue
                rows.append(simulate(workload, known[name]))
                print(_line(rows[-1]), flush=True)
    total = summary(rows, machine)
    print({k: v for k, v in total.items() if k not in ("rows", "means")})
    if options.json:
        print(json.dumps(total))


if __name__ == "__main__":
    main()
