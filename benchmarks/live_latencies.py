"""How soon things happen on a live cluster: real processes, TCP on loopback.

Part of benchmarks/bench_scheduling.py. Each figure is a list of milliseconds:

- ``preemption``: from the submission of a task with a deadline, of a more urgent class,
  to its start, on a worker whose one thread a killable test has; so with the confirmed
  kill of its process.
- ``gang_spread``: from the first start of a gang of three to the last.
- ``late_worker``: from the registration of a worker to the start of a task that waited
  for one.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import psutil

from dtf_dask import Case, Client, LocalCluster

ROUNDS = 9
_GANG = 3
_WAIT_S = 60.0
_OPTIONS: dict[str, Any] = {
    "threads_per_worker": 1,
    "processes": True,
    "dashboard_address": None,
    "silence_logs": logging.ERROR,
}


def latencies(rounds: int = ROUNDS) -> dict[str, Any]:
    """The medians, and all rounds."""
    # Workers cannot import this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found = {
        "preemption": preemption_ms(rounds),
        "gang_spread": gang_spread_ms(rounds),
        "late_worker": late_worker_ms(rounds),
    }
    medians = {
        f"{name}_ms": round(statistics.median(values), 1)
        for name, values in found.items()
    }
    return medians | {
        "rounds": {
            name: [round(value, 1) for value in values]
            for name, values in found.items()
        }
    }


def _long_test(folder: str) -> None:
    """A test that a worker may kill: it lasts until it is told to end."""
    import os
    import pathlib
    import time

    room = pathlib.Path(folder)
    (room / f"pid-{os.getpid()}").touch()
    while not (room / "end").exists():
        time.sleep(0.02)


def _begun_after(pid: int) -> tuple[float, bool]:
    """When it began, and whether the killed test still ran then."""
    began = time.time()
    try:
        return began, psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return began, False


def preemption_ms(rounds: int) -> list[float]:
    """Submit an urgent task while a nightly test has the only thread."""
    taken = []
    with (
        tempfile.TemporaryDirectory(prefix="dtf-bench-") as folder,
        LocalCluster(n_workers=1, **_OPTIONS) as cluster,
        Client(cluster) as client,
    ):
        client.submit(_begun_after, 0).result(timeout=_WAIT_S)
        for number in range(rounds):
            room = Path(folder, str(number))
            room.mkdir()
            night = Case(
                "long",
                fn=_long_test,
                args=(str(room),),
                annotations={"priority_class": "nightly"},
            )
            handle = client.run_cases([night], results=str(room / "results.sqlite"))
            pid = _pid_of_next(room, set())
            time.sleep(0.2)  # its worker has said that it runs
            # So late that it must begin at once, and early enough to be met.
            urgent = {"class": "interactive", "deadline": 30.0, "expected": 29.5}
            with dask.annotate(dtf=urgent):
                asked = time.time()
                future = client.submit(_begun_after, pid, pure=False)
            began, still_ran = future.result(timeout=_WAIT_S)
            assert not still_ran, "it began before the kill was confirmed"
            taken.append(1e3 * (began - asked))
            _pid_of_next(room, {pid})  # it runs again
            (room / "end").touch()
            assert handle.wait(_WAIT_S) == {"passed": 1}
    return taken


def _pid_of_next(room: Path, known: set[int]) -> int:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        pids = {int(path.name[4:]) for path in room.glob("pid-*")} - known
        if pids:
            return pids.pop()
        time.sleep(0.02)
    raise TimeoutError("the test did not start")


def _begun(number: int, pause_s: float) -> float:
    began = time.time()
    time.sleep(pause_s)
    return began


def gang_spread_ms(rounds: int) -> list[float]:
    """Gangs of three on three workers, one after the other."""
    spreads = []
    with (
        LocalCluster(n_workers=_GANG, **_OPTIONS) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(_GANG, timeout=_WAIT_S)
        client.gather(client.map(_begun, range(2 * _GANG), pause_s=0.05))
        for number in range(rounds):
            gang = {"gang": {"name": f"ring-{number}", "size": _GANG}}
            with dask.annotate(dtf=gang):
                futures = client.map(_begun, range(_GANG), pause_s=0.1, pure=False)
            began = client.gather(futures)
            spreads.append(1e3 * (max(began) - min(began)))
    return spreads


def late_worker_ms(rounds: int) -> list[float]:
    """A task waits in a cluster without workers; one comes."""
    taken = []
    with LocalCluster(n_workers=0, **_OPTIONS) as cluster, Client(cluster) as client:
        for number in range(rounds):
            future = client.submit(_begun, number, 0.0, pure=False)
            while client.explain(future).state != "waiting":
                time.sleep(0.02)
            cluster.scale(1)
            began = future.result(timeout=_WAIT_S)
            joined = [
                stamp
                for stamp, event in client.get_events("all")
                if isinstance(event, dict) and event.get("action") == "add-worker"
            ]
            taken.append(1e3 * (began - joined[-1]))
            cluster.scale(0)
            while client.scheduler_info(n_workers=-1)["workers"]:
                time.sleep(0.05)
    return taken
