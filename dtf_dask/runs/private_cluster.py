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
    }
)

import distributed  # noqa: E402

from dtf_dask.scheduler_plugins.topics import TopicPlugin  # noqa: E402
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin  # noqa: E402

# Dask opens an HTTP server for each, on all interfaces if it is not told.
_QUIET: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class PrivateCluster:
    """Starts with `start`; nothing of it is left after `close`."""

    def __init__(self) -> None:
        self._closers: list[Callable[[], Awaitable[Any]]] = []
        self._folder = tempfile.mkdtemp(prefix="dtf-worker-")

    async def start(self, count: int) -> distributed.Client:
        """Start ``count`` workers of one thread; an asynchronous client."""
        scheduler = distributed.Scheduler(
            protocol="inproc://", plugins=(TopicPlugin(),), **_QUIET
        )
        await scheduler
        self._closers.append(scheduler.close)
        workers = [
            distributed.Worker(
                scheduler.address,
                nthreads=1,
                name=f"gw{number}",
                memory_limit=0,
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

    async def close(self) -> None:
        """Close all, the last first."""
        for close in reversed(self._closers):
            await close()
        shutil.rmtree(self._folder, ignore_errors=True)
