"""What scheduling by the engine costs, beside plain Dask in the same run.

    python benchmarks/bench_scheduling.py [--quick | --live] [--json] [--rounds N]

1. No-op futures on two real local clusters, one with dtf's plugins and one without,
   by turns: ``ratio_vs_dask_noop`` is our throughput over theirs, the median of rounds.
2. CPU that a task costs the scheduler, simulated (benchmarks/sim_scheduler.py): with
   annotations on 10 workers against plain tasks, and with demands on 1,000 unlike
   workers against Dask's ``resources=``. It counts all of a task's life, from its
   submission until the client lets go of its result, and the simulation's event loop.
3. How long the scheduler is busy with a worker that joins while tasks are held.
4. How soon things happen on real processes (benchmarks/live_latencies.py): a task with
   a deadline starts where a test is killed for it, a gang starts together, a waiting
   task starts on a worker that comes. Not with --quick; with --live only this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import distributed
from live_latencies import ROUNDS as LIVE_ROUNDS
from live_latencies import latencies
from sim_engine import engine_way
from sim_loop import run_virtually
from sim_scheduler import Simulation, Way
from sim_ways import FIFO
from sim_workloads import (
    DEMANDS,
    HEAVY_TAILED,
    KINDS,
    Machine,
    SimTask,
    Workload,
    make_workload,
)

import dtf_dask

_WORKERS = 2
_QUICK_LAST_START_S = 38.0
_JOINS = 7
_BATCH = 500  # tasks that come at once
_TURN_S = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run."""

    futures: int
    rounds: int
    plain_tasks: int
    demanding_tasks: int
    restricted_tasks: int
    held: int


DEFAULT = Size(20_000, 3, 20_000, 20_000, 2_000, 100_000)
QUICK = Size(1_500, 3, 4_000, 4_000, 300, 30_000)


def _nothing(number: int) -> None:
    """What a future runs."""


def noop_rounds(futures: int, rounds: int) -> dict[str, Any]:
    """Run the no-op futures on both clusters by turns; seconds of each round."""
    options: dict[str, Any] = {
        "n_workers": _WORKERS,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "silence_logs": logging.ERROR,
    }
    taken: dict[str, list[float]] = {"plain": [], "dtf": []}
    with (
        distributed.LocalCluster(**options) as plain,
        dtf_dask.LocalCluster(**options) as ours,
        distributed.Client(plain, set_as_default=False) as plain_client,
        distributed.Client(ours, set_as_default=False) as our_client,
    ):
        clients = {"plain": plain_client, "dtf": our_client}
        for client in clients.values():
            _noop_round(client, 200)
        for number in range(rounds):
            # Who goes first changes, as the machine may slow down or recover.
            order = list(clients) if number % 2 else list(reversed(clients))
            for name in order:
                taken[name].append(_noop_round(clients[name], futures))
    ratios = [
        plain_s / our_s
        for plain_s, our_s in zip(taken["plain"], taken["dtf"], strict=True)
    ]
    return {
        "futures": futures,
        "plain_s": [round(seconds, 3) for seconds in taken["plain"]],
        "dtf_s": [round(seconds, 3) for seconds in taken["dtf"]],
        "ratio": round(statistics.median(ratios), 3),
    }


def _noop_round(client: distributed.Client, futures: int) -> float:
    began = time.perf_counter()
    made = client.map(_nothing, range(futures), pure=False)
    with client.as_current():
        distributed.wait(made)
    seconds = time.perf_counter() - began
    del made
    time.sleep(0.5)  # both let go of the results before the next turn
    return seconds


def _even_workload(tasks: int, machines: int, seconds: float) -> Workload:
    """Equal tasks that ask nothing, on equal machines, in batches that just fit."""
    kind = replace(KINDS[1], share=1.0)
    fleet = tuple(Machine(f"w{n:03d}", kind) for n in range(machines))
    pace_s = _BATCH * seconds / kind.speed / (machines * kind.threads)
    return Workload(
        "even",
        0,
        fleet,
        tuple(
            SimTask(
                key=f"run_test-{n}",
                name=f"t{n % 100}",
                demand=DEMANDS["any"],
                priority_class=("interactive", "normal")[n % 2],
                tenant=("team0", "team1")[n // _BATCH % 2],
                submitted=pace_s * (n // _BATCH),
                seconds=seconds,
                deadline=None,
            )
            for n in range(tasks)
        ),
        horizon_s=pace_s * (tasks / _BATCH + 1),
        history_s={f"t{n}": seconds for n in range(100)},
        weights={"team0": 1.0, "team1": 1.0},
    )


def cpu_us_per_task(workload: Workload, way: Way) -> float:
    """CPU of the scheduler for one task."""
    outcome = run_virtually(Simulation(workload, way).run())
    return 1e6 * outcome.scheduler_cpu_s / len(workload.tasks)


class _Joining(Simulation):
    """Holds all tasks, then lets workers join, one after the other."""

    def _submit(self, tasks: list[SimTask]) -> None:
        super()._submit(tasks)
        self.joined_s: list[float] = []
        self.loop.call_later(1.0, lambda: self.loop.create_task(self._join_all()))

    async def _join_all(self) -> None:
        kind = KINDS[0]
        with mock.patch.object(self.scheduler, "handle_worker", self._stream_opened):
            for number in range(_JOINS):
                began = time.perf_counter()
                await self._join(
                    Machine(f"late-{number}", kind), f"tcp://11.0.0.{number}:9"
                )
                for _ in range(3):  # the engine decides in a turn of its own
                    await asyncio.sleep(0)
                self.joined_s.append(time.perf_counter() - began)
                await asyncio.sleep(1)
        self.over.set_result(None)


def join_ms(held: int) -> float:
    """Milliseconds of a worker's join while so many tasks are held."""
    base = make_workload(HEAVY_TAILED, tasks=held, machines=100, seed=1)
    tasks = tuple(
        replace(task, submitted=0.0, seconds=1e5, deadline=None) for task in base.tasks
    )
    simulation = _Joining(replace(base, tasks=tasks, horizon_s=1e6), engine_way())
    run_virtually(simulation.run())
    return 1e3 * statistics.median(simulation.joined_s)


def measure(size: Size, *, quick: bool) -> dict[str, Any]:
    """Run all parts; a part that --quick has no time for is None."""
    began = time.monotonic()
    found: dict[str, Any] = {}

    def part(name: str, run: Any) -> None:
        if quick and time.monotonic() - began > _QUICK_LAST_START_S:
            print(f"{name}: left out, the machine is busy")
            found[name] = None
        else:
            found[name] = run()
            print(f"{name}: {found[name]}", flush=True)

    part("noop", lambda: noop_rounds(size.futures, size.rounds))
    even = _even_workload(size.plain_tasks, 10, _TURN_S)
    plain = replace(FIFO, name="plain")
    part("cpu_us_plain_10", lambda: cpu_us_per_task(even, plain))
    part("cpu_us_engine_10", lambda: cpu_us_per_task(even, engine_way()))
    many = make_workload(
        HEAVY_TAILED, tasks=size.demanding_tasks, machines=1_000, seed=1
    )
    part("cpu_us_engine_1000", lambda: cpu_us_per_task(many, engine_way()))
    few = make_workload(
        HEAVY_TAILED, tasks=size.restricted_tasks, machines=1_000, seed=1
    )
    part("cpu_us_resources_1000", lambda: cpu_us_per_task(few, FIFO))
    part("join_ms", lambda: join_ms(size.held))
    if not quick:
        part("live", latencies)
    return found


def summary(found: dict[str, Any], size: Size, machine: str) -> dict[str, Any]:
    """The object that ``--json`` prints."""

    def rounded(name: str) -> float | None:
        return None if found[name] is None else round(found[name], 2)

    plain, ours = found["cpu_us_plain_10"], found["cpu_us_engine_10"]
    noop = found["noop"]
    return {
        "benchmark": "bench_scheduling",
        "machine": machine,
        "ratio_vs_dask_noop": None if noop is None else noop["ratio"],
        "noop": noop,
        "cpu_us_per_task_10_workers_plain": rounded("cpu_us_plain_10"),
        "cpu_us_per_task_10_workers": rounded("cpu_us_engine_10"),
        "cpu_ratio_10_workers": round(ours / plain, 3) if plain and ours else None,
        "cpu_us_per_task_1000_workers": rounded("cpu_us_engine_1000"),
        "cpu_us_per_task_1000_workers_resources": rounded("cpu_us_resources_1000"),
        "join_ms": rounded("join_ms"),
        "join_held": size.held,
        "live": found.get("live"),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    which.add_argument("--live", action="store_true", help="what real processes take")
    parser.add_argument("--json", action="store_true", help="one object, last line")
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    size = QUICK if options.quick else DEFAULT
    if options.rounds:
        size = replace(size, rounds=options.rounds)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, distributed {distributed.__version__}, load "
        f"{os.getloadavg()[0]:.1f} at the start"
    )
    print(machine)
    total: dict[str, Any]
    if options.live:
        live = latencies(options.rounds or LIVE_ROUNDS)
        total = {"benchmark": "bench_scheduling", "machine": machine, "live": live}
    else:
        total = summary(measure(size, quick=options.quick), size, machine)
    print({key: value for key, value in total.items() if key != "noop"})
    if options.json:
        print(json.dumps(total))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
