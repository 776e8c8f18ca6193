"""What it costs a scheduler to be seen: its looks, and the records it writes.

    python benchmarks/bench_view.py [--workers N] [--waiting N] [--looks N] [--json]

A real `distributed.Scheduler` that is not started has workers that say how busy they
are as often as Dask has them do, and tasks that wait in the engine. Looks are paced as
in a cluster; their share is of the CPU time of one core. What a leader does with the
records besides (the ledger's line) is measured as the encoding of its commands. What
it costs to show them is in `bench_web.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import time
from collections.abc import Mapping
from typing import Any

from distributed import Scheduler
from distributed.scheduler import WorkerState, heartbeat_interval

from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT
from dtf_dask.preload import dask_setup
from dtf_dask.scheduler_plugins.adapter.observing import TICK_S, Observer
from dtf_dask.scheduler_plugins.adapter.plugin import NAME
from dtf_dask.scheduler_plugins.engine.terms import Ask, Need

_CLASSES = ("interactive", "normal", "nightly")
_THREADS = 4


class Ledger:
    """Keeps what it is to write for who looks."""

    term = 1

    def __init__(self) -> None:
        self.changes: dict[str, bytes | None] = {}

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        self.changes = dict(records)

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        return []

    @property
    def room(self) -> Ledger:
        return self

    def none_to_submit(self, size: int) -> str:
        return ""


def metrics(rng: random.Random) -> dict[str, Any]:
    """What a worker's heartbeat has."""
    return {
        "cpu": rng.uniform(0, 100 * _THREADS),
        "memory": rng.randrange(2**33),
        "spilled_bytes": {"memory": 0, "disk": 0},
        "host_disk_io": {"read_bps": rng.uniform(0, 1e8), "write_bps": 1.0},
        "host_net_io": {"read_bps": rng.uniform(0, 1e8), "write_bps": 1e6},
    }


async def cluster(workers: int, waiting: int, rng: random.Random) -> Scheduler:
    """A scheduler with idle-looking workers that all seem busy, and tasks that wait."""
    scheduler = Scheduler(dashboard=False, dashboard_address="127.0.0.1:0")
    scheduler._address = "tcp://10.1.0.1:8786"  # it listens nowhere
    await dask_setup(scheduler)
    plugin: Any = scheduler.plugins[NAME]
    for number in range(workers):
        address = f"tcp://10.0.{number // 250}.{number % 250}:40000"
        ws = WorkerState(
            address=address,
            status=_running(),
            pid=number,
            name=f"w{number}",
            nthreads=_THREADS,
            memory_limit=2**33,
            local_directory="/",
            nanny="",
            server_id=address,
        )
        ws.metrics = metrics(rng)
        scheduler.workers[address] = ws
        plugin.keeper.worker_joined(address)
    engine, now = plugin.engine, time.monotonic()
    engine.pump(now)
    for number in range(waiting):
        need = Need(amounts=(("board", float(number % 8 + 1)),))  # which nobody has
        one = Ask(f"t{number}", "t", need, priority_class=_CLASSES[number % 3])
        engine.ready(one, now)
    return scheduler


def _running() -> Any:
    from distributed.core import Status

    return Status.running


def measure(workers: int, waiting: int, looks: int) -> dict[str, Any]:
    """Look at a cluster of so many, so often."""
    rng = random.Random(1)
    scheduler = asyncio.run(cluster(workers, waiting, rng))
    wall = [1.8e9]
    observer, ledger = Observer(scheduler, wall=lambda: wall[0]), Ledger()
    observer._ledger = ledger
    observer.look()
    first_s, observer.cpu_s = observer.cpu_s, 0.0
    paced_s = encode_s = 0.0
    written = bytes_written = 0
    beats_s = heartbeat_interval(workers)
    every = list(scheduler.workers.values())
    for _ in range(looks):
        pause_s = max(TICK_S, observer._pause_s)
        paced_s += pause_s
        wall[0] += pause_s
        for ws in rng.sample(
            every, min(len(every), int(len(every) * pause_s / beats_s))
        ):
            ws.metrics = metrics(rng)
        observer.look()
        changes, ledger.changes = ledger.changes, {}
        began = time.thread_time()
        for key, value in changes.items():
            if value is None:
                encode_command(DELETE, "dask", key)
            else:
                encode_command(PUT, "dask", key, value)
        encode_s += time.thread_time() - began
        written += len(changes)
        bytes_written += sum(len(value or b"") for value in changes.values())
    return {
        "workers": workers,
        "waiting": waiting,
        "first_look_ms": 1e3 * first_s,
        "look_ms": 1e3 * observer.cpu_s / looks,
        "share_of_a_core": (observer.cpu_s + encode_s) / paced_s,
        "look_every_s": paced_s / looks,
        "records_per_s": written / paced_s,
        "bytes_per_s": bytes_written / paced_s,
        "records": len(observer._board.all()),
    }


def main() -> None:
    """Measure, and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--looks", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.workers, options.waiting, options.looks)
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(
            f"{name:24} {value:,.4g}"
            if isinstance(value, float)
            else f"{name:24} {value}"
        )


if __name__ == "__main__":
    main()
