"""What workers run in these tests: imported by their processes, too."""

from __future__ import annotations

import asyncio
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from distributed import (
    Event,
    Lock,
    NannyPlugin,
    SchedulerPlugin,
    WorkerPlugin,
    get_client,
    get_worker,
    worker_client,
)

_LOOK_S = 0.02


def add(left: Any, right: Any) -> Any:
    return left + right


def double(value: Any) -> Any:
    return 2 * value


def began(folder: str, name: str, *_: Any) -> None:
    with Path(folder, f"{name}.runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")


def gated(folder: str, name: str, value: Any) -> Any:
    """Say that it began, and go on when the gate is open."""
    began(folder, name)
    while not Path(folder, f"{name}.open").exists():
        time.sleep(_LOOK_S)
    return value


async def gated_run(folder: str, name: str) -> None:
    """As `gated`, on a worker's loop."""
    began(folder, name)
    while not Path(folder, f"{name}.open").exists():
        await asyncio.sleep(_LOOK_S)


def failing(folder: str, name: str) -> None:
    began(folder, name)
    raise ValueError(f"{name} fails")


def fails_until_open(folder: str, name: str) -> str:
    began(folder, name)
    if not Path(folder, f"{name}.open").exists():
        raise ValueError(f"{name} fails")
    return "repaired"


def nested(folder: str, name: str) -> Any:
    """Submit from within a task, and wait over whatever happens."""
    client = get_client()
    inner = client.submit(gated, folder, name, 20)
    return client.gather(inner) + 1


def with_worker_client(folder: str, name: str) -> Any:
    with worker_client() as client:
        inner = client.map(double, range(3))
        before = sum(client.gather(inner))
        gated(folder, name, None)
        return before + sum(client.gather(client.map(double, range(10, 13))))


def locked(folder: str, name: str) -> str:
    """Hold a lock in a task."""
    with Lock(name):
        gated(folder, name, None)
    return "released"


def waits_for(name: str, folder: str) -> bool:
    began(folder, name)
    found: bool = Event(name).wait(timeout=60)
    return found


class Counter:
    """An actor."""

    n = 0

    def increment(self) -> int:
        self.n += 1
        return self.n

    def slow(self, folder: str, name: str) -> int:
        gated(folder, name, None)
        return self.increment()


class Marking(WorkerPlugin):
    """Leaves a mark on each worker."""

    name = "marking"

    def setup(self, worker: Any) -> None:
        worker.marks = getattr(worker, "marks", 0) + 1


class MarkingNanny(NannyPlugin):
    """Leaves a mark on each nanny."""

    name = "marking-nanny"

    def setup(self, nanny: Any) -> None:
        nanny.env["DTF_MARK"] = "1"


class MarkingScheduler(SchedulerPlugin):
    """Leaves a mark on the scheduler."""

    name = "marking-scheduler"

    async def start(self, scheduler: Any) -> None:
        scheduler.marked = True


def marks(dask_worker: Any) -> int:
    return getattr(dask_worker, "marks", 0)


def scheduler_mark(dask_scheduler: Any) -> tuple[bool, list[str]]:
    return getattr(dask_scheduler, "marked", False), list(dask_scheduler.nanny_plugins)


def address_after(_: Any, number: int) -> str:
    """On which worker it runs; each number is another task."""
    address: str = get_worker().address
    return address


def spill(key: Any, dask_worker: Any) -> bool:
    """Have a worker put all that it holds on its disk; whether it has done so."""
    data = dask_worker.data
    while data.fast:
        data.evict()
    return key in data.slow


def uploaded() -> int:
    """What a module holds that was uploaded."""
    answer: int = import_module("survival_upload").answer
    return answer


def pid() -> int:
    return os.getpid()


def scheduler_pid(dask_scheduler: Any) -> int:
    return os.getpid()
