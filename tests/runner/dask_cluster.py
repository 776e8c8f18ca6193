"""A scheduler, a worker and a client in this process, for tests of the plugin."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dask.config
import distributed
import psutil

from dtf_dask import __version__
from dtf_dask.frames import FrameBuffer
from dtf_dask.worker_plugins.runner.plugin import NAME, RunnerPlugin, run_batch
from dtf_dask.worker_plugins.runner.topics import topic

WAIT_S = 60.0
_PLUGINS = ["-p", "dtf_dask.runs.pytest_plugin", "-p", "no:cacheprovider"]
_numbers = itertools.count(1)


class Room:
    """One worker with the plugin, asked as the driver asks."""

    def __init__(self, client: Any, worker: distributed.Worker) -> None:
        self.client, self.worker = client, worker
        self.frames: dict[int, list[dict[str, Any]]] = {}
        self._slots: dict[int, set[str]] = {}

    @property
    def plugin(self) -> RunnerPlugin:
        plugin = self.worker.plugins[NAME]
        assert isinstance(plugin, RunnerPlugin)
        return plugin

    async def ask(self, op: str, **arguments: Any) -> Any:
        message = {"op": op, **arguments}
        answer = self.client.scheduler.proxy(msg=message, worker=self.worker.address)
        return await asyncio.wait_for(answer, WAIT_S)

    async def open(self, spec: dict[str, Any]) -> Any:
        self.client.subscribe_topic(topic(spec["run"]), self._hear)
        return await self.ask("dtf_open", spec={"version": __version__, **spec})

    def _hear(self, event: tuple[float, Any]) -> None:
        message = event[1]
        self._slots.setdefault(message["batch"], set()).add(message["slot"])
        frames = self.frames.setdefault(message["batch"], [])
        frames += FrameBuffer().feed(message["frames"])

    def slots(self, batch: int) -> set[str]:
        """Which slots have told of a batch."""
        return self._slots[batch]

    def submit(
        self,
        run: str,
        batch: int,
        entries: list[Any],
        slot: str = "gw0",
        only_there: bool = False,
    ) -> Any:
        key, what = f"batch-{next(_numbers)}", (batch, entries, only_there)
        return self.client.submit(run_batch, run, slot, *what, key=key)

    async def batch(
        self, run: str, batch: int, entries: list[Any], slot: str = "gw0"
    ) -> list[dict[str, Any]]:
        """Run a batch to its end; its frames."""
        future = self.submit(run, batch, entries, slot)
        await asyncio.wait_for(future, WAIT_S)
        return await self.until(batch, lambda frame: frame["op"] == "batch_over")

    async def until(
        self, batch: int, is_it: Callable[[dict[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        """The frames of a batch, as soon as one is what we wait for."""
        async with asyncio.timeout(WAIT_S):
            while not any(map(is_it, self.frames.get(batch, ()))):
                await asyncio.sleep(0.01)
        return self.frames[batch]

    def runners(self) -> list[psutil.Process]:
        """The runner processes that live."""
        return [
            process
            for process in psutil.Process().children()
            if process.status() != psutil.STATUS_ZOMBIE
            and "dtf_dask.worker_plugins.runner.bootstrap" in process.cmdline()
        ]


@asynccontextmanager
async def room(folder: Path, nthreads: int = 1) -> AsyncIterator[Room]:
    """A cluster of one worker whose files lie in ``folder``."""
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set({"distributed.worker.daemon": True}):
        async with (
            distributed.Scheduler(protocol="inproc://", **quiet) as scheduler,
            distributed.Worker(
                scheduler.address,
                nthreads=nthreads,
                memory_limit=0,
                local_directory=str(folder),
                plugins=(RunnerPlugin(),),
                **quiet,
            ) as worker,
            distributed.Client(
                scheduler.address, asynchronous=True, set_as_default=False
            ) as client,
        ):
            yield Room(client, worker)


def pytest_spec(root: Path, run: str = "r1", **more: Any) -> dict[str, Any]:
    """What a driver says of a suite in ``root``."""
    return {
        "kind": "pytest",
        "run": run,
        "root": str(root),
        "cwd": ".",
        # Only what is tested here: other plugins cost half a second a process.
        "args": [*_PLUGINS, "-c", os.devnull, "."],
        "sys_path": ["."],
        "env": {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        "slots": 1,
        "timeout_s": None,
        "inline_limit": 1000,
        "isolate": "batch",
        "stop_on_failure": False,
        **more,
    }


def entries(*names: str, first: int = 0) -> list[list[Any]]:
    return [[number, name, 0] for number, name in enumerate(names, first)]
