"""A cluster in one process, for one run: a scheduler and one worker a core.

It is safe to have them in one process because no test ever runs in it, and it is
there 50 ms after its imports.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import dask.config

# Before `distributed` reads them: this cluster lives for one run, unwatched.
dask.config.set(
    {
        "distributed.admin.tick.interval": "500ms",
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.scheduler.worker-ttl": None,
        "distributed.diagnostics.nvml": False,  # a driver that fails would end the run
        # A worker's memory limit is its share of this machine, for tests that say how
        # much they need. The worker itself holds next to nothing: it watches nothing.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }
)

import distributed  # noqa: E402
from distributed.system import MEMORY_LIMIT  # noqa: E402

from dtf_dask.scheduler_plugins.topics import TopicPlugin  # noqa: E402
from dtf_dask.settings import SchedulingSettings  # noqa: E402
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin  # noqa: E402

# Dask opens an HTTP server for each, on all interfaces if it is not told.
_QUIET: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class PrivateCluster:
    """Starts with `start`; nothing of it is left after `close`."""

    def __init__(self) -> None:
        self._closers: list[Callable[[], Awaitable[Any]]] = []
        self._workers: list[distributed.Worker] = []
        self._folder = tempfile.mkdtemp(prefix="dtf-worker-")

    async def start(self, count: int) -> distributed.Client:
        """Start ``count`` workers of one thread; an asynchronous client."""
        scheduler = distributed.Scheduler(
            protocol="inproc://", plugins=(TopicPlugin(),), **_QUIET
        )
        await scheduler
        self._closers.append(scheduler.close)
        self._scheduler = scheduler
        self._workers = workers = [
            distributed.Worker(
                scheduler.address,
                nthreads=1,
                name=f"gw{number}",
                memory_limit=MEMORY_LIMIT // count,
                local_directory=self._folder,
                plugins=(RunnerPlugin(),),
                **_QUIET,
            )
            for number in range(count)
        ]
        await asyncio.gather(*workers)
        self._closers += [worker.close for worker in workers]
        client = await distributed.Client(
            scheduler.address, asynchronous=True, set_as_default=False
        )
        self._closers.append(client.close)
        return client

    async def heed_hardware(self, scheduling: SchedulingSettings) -> None:
        """From now on workers say what they have, and tasks get what they ask for.

        Most runs ask for nothing, and need not wait for it.
        """
        from dtf_dask.scheduler_plugins.adapter.composed import scheduling_plugin
        from dtf_dask.worker_plugins.hardware.plugin import HardwarePlugin

        plugin = scheduling_plugin(scheduling)
        if plugin is not None:
            await plugin.start(self._scheduler)
            self._scheduler.add_plugin(plugin, name=plugin.name)
        for worker in self._workers:
            await worker.plugin_add(HardwarePlugin(), name=HardwarePlugin.name)

    async def close(self) -> None:
        """Close all, the last first."""
        for close in reversed(self._closers):
            await close()
        shutil.rmtree(self._folder, ignore_errors=True)
