"""The simulator of benchmarks/: same seed, same run, and nothing left behind."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TASKS, MACHINES = 300, 12


class Simulator:
    """The benchmark's modules, which are no package."""

    def __init__(self) -> None:
        self.workloads = self._module("sim_workloads")
        self.measures = self._module("sim_measures")
        self.scheduler = self._module("sim_scheduler")
        self.loop = self._module("sim_loop")
        self.ways = self._module("sim_ways").ways()

    @staticmethod
    def _module(name: str) -> ModuleType:
        return importlib.import_module(name)

    def workload(self, *, seed: int, profile: str = "HEAVY_TAILED"):  # type: ignore[no-untyped-def]
        """A small one."""
        return self.workloads.make_workload(
            getattr(self.workloads, profile), tasks=TASKS, machines=MACHINES, seed=seed
        )

    def run(self, workload, way: str):  # type: ignore[no-untyped-def]
        """Play it, with Dask's own validation after every transition."""
        simulation = self.scheduler.Simulation(workload, self.ways[way], validate=True)
        return self.loop.run_virtually(simulation.run())


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """The modules are found while this file's tests run, and forgotten after."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield Simulator()
    for name in set(sys.modules) - before:
        if name.startswith("sim_"):
            del sys.modules[name]


def trace(outcome) -> list[tuple[str, str, float, float]]:  # type: ignore[no-untyped-def]
    return [
        (one.task.key, one.machine.name, one.started, one.finished)
        for one in outcome.records
    ]


def test_a_seed_gives_one_workload(simulator: Simulator) -> None:
    """Machines, tasks, times and deadlines follow from the seed, and differ by it."""
    first, again = simulator.workload(seed=5), simulator.workload(seed=5)
    assert first == again
    assert first != simulator.workload(seed=6)
    assert len(first.tasks) == TASKS
    assert len(first.machines) == MACHINES


def test_the_runs_of_a_workload_are_its_tasks_in_order(simulator: Simulator) -> None:
    """Nothing is submitted twice, or left out, or before what came earlier."""
    workload = simulator.workload(seed=5)
    runs = list(workload.runs())
    assert [task for _, tasks in runs for task in tasks] == list(workload.tasks)
    assert [moment for moment, _ in runs] == sorted(
        {t.submitted for t in workload.tasks}
    )


def test_the_engine_decides_alike_every_time(simulator: Simulator) -> None:
    """The same workload is played to the same end, task by task."""
    workload = simulator.workload(seed=7)
    first = simulator.run(workload, "engine")
    assert trace(first) == trace(simulator.run(workload, "engine"))


@pytest.mark.parametrize("way", ["fifo", "edf", "engine"])
@pytest.mark.parametrize("profile", ["HEAVY_TAILED", "REAL_SUITES"])
def test_every_task_runs_once_where_it_may(
    simulator: Simulator, way: str, profile: str
) -> None:
    """Each way ends all tasks, on workers that fit them, never beyond their GPUs."""
    workload = simulator.workload(seed=3, profile=profile)
    outcome = simulator.run(workload, way)
    assert outcome.violations == []
    assert sorted(one.task.key for one in outcome.records) == sorted(
        task.key for task in workload.tasks
    )
    for one in outcome.records:
        assert one.task.submitted <= one.started <= one.finished
        assert one.task.demand.fits(one.machine.kind)


def test_measures_of_a_known_run(simulator: Simulator) -> None:
    """Misses are of tasks with a deadline; the hopeless ones are told apart."""
    workload = simulator.workload(seed=3)
    record = simulator.measures.Record
    fleet = {machine.kind.name: machine for machine in workload.machines}
    task = next(t for t in workload.tasks if t.deadline is not None)
    machine = next(m for m in fleet.values() if task.demand.fits(m.kind))
    assert task.deadline is not None
    on_time = record(task, machine, task.submitted, task.deadline)
    late = record(task, machine, task.submitted, task.deadline + 1)
    told = simulator.measures.measure(workload, [on_time, late])
    assert told.miss_percent == 50
    assert told.late_s_worst == 1
    assert told.misses_by_class[task.priority_class] == 1


def test_the_benchmark_prints_each_way_and_one_object() -> None:
    """Every way is a line of the table, and its means are in the last line's object."""
    sizes = ["--tasks", "120", "--machines", "12", "--seeds", "1"]
    command = [sys.executable, str(BENCHMARKS / "simulate.py"), "--json", *sizes]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    *table, last = run.stdout.splitlines()
    told = json.loads(last)
    for key in ("engine", "edf", "fifo"):
        assert 0 <= told[f"miss_percent_{key}"] <= 100
    assert told["makespan_ratio"] > 0
    assert told["violations"] == 0
    ways = ("fifo", "class", "edf", "engine")
    for workload in ("heavy-tailed", "real suites"):
        assert tuple(told["means"][workload]) == ways
        for way in ways:
            assert sum(line.startswith(workload) and way in line for line in table) == 1
            means = told["means"][workload][way]
            assert means["cpu_us_per_task"] > 0
            assert 0 < means["fairness"] <= 1
            assert set(means["wait_s_median_p95"]) == {
                *("interactive", "release", "normal", "nightly")
            }


def test_a_run_that_goes_nowhere_ends(simulator: Simulator) -> None:
    """A workload that no machine can run is no endless loop, but an error."""
    workload = simulator.workload(seed=3)
    fits = simulator.workloads.DEMANDS["gpu80"].fits
    without = tuple(m for m in workload.machines if not fits(m.kind))
    broken = replace(workload, machines=without)
    with pytest.raises(simulator.loop.StalledError, match="are left"):
        simulator.run(broken, "engine")
