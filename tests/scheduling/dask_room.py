"""A real scheduler with the plugin, real workers and a client, in this process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import dask.config
import distributed

from dtf_dask.scheduler_plugins.adapter.plugin import NAME, SchedulingPlugin
from dtf_dask.scheduler_plugins.adapter.posts import EXTRA
from dtf_dask.scheduler_plugins.engine.engine import Engine

WAIT_S = 60.0
_QUIET: dict[str, Any] = {
    "host": "127.0.0.1",
    "dashboard": False,
    "dashboard_address": "127.0.0.1:0",
}
_CONFIG = {
    # Who fetches of a worker that has just closed tries for so long, for nothing.
    "distributed.comm.timeouts.connect": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.validate": True,
    "distributed.worker.validate": True,
}


def advert(
    facts: Mapping[str, Any] | None = None, gpus: int = 0, **more: Any
) -> dict[str, Any]:
    """What a hardware plugin would say."""
    told = dict(facts or {})
    if gpus:
        told["gpu.count"] = gpus
    devices = [
        {
            "id": f"GPU-{number}",
            "index": number,
            "model": "X",
            "memory": 2**34,
            "state": "ok",
        }
        for number in range(gpus)
    ]
    return {
        "version": 1,
        "facts": told,
        "gpus": devices,
        "accept": "",
        "tokens": {},
        "problems": [],
        **more,
    }


class Room:
    """A cluster whose workers come and go."""

    def __init__(self, scheduler: distributed.Scheduler, plugin: SchedulingPlugin):
        self.scheduler, self.plugin = scheduler, plugin
        self.workers: list[distributed.Worker] = []
        self.client: distributed.Client
        self._folder = tempfile.TemporaryDirectory(prefix="dtf-room-")

    async def worker(
        self, name: str, said: Mapping[str, Any] | None = None, **options: Any
    ) -> distributed.Worker:
        """One worker more; ``said`` is its advert."""
        options = {"nthreads": 1, "memory_limit": 0, "nanny": None, **_QUIET, **options}
        worker = distributed.Worker(
            self.scheduler.address,
            name=name,
            local_directory=self._folder.name,
            **options,
        )
        if said is not None:

            async def tell(worker: Any) -> Any:
                return dict(said)

            worker.startup_information[EXTRA] = tell
        await worker
        self.workers.append(worker)
        return worker

    async def until(self, is_it: Callable[[], bool], wait_s: float = WAIT_S) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(wait_s):
            while not is_it():
                await asyncio.sleep(0.005)

    def held(self) -> int:
        """How many tasks wait for a grant."""
        return len(self.scheduler.unrunnable)

    async def close(self) -> None:
        await self.client.close()
        for worker in self.workers:
            await worker.close()
        await self.scheduler.close()
        self._folder.cleanup()


@asynccontextmanager
async def room(
    *workers: Mapping[str, Any] | None,
    threads: int = 1,
    engine: Any = None,
    **options: Any,
) -> AsyncIterator[Room]:
    """A scheduler, and a worker for each advert, called w0, w1 ..."""
    with dask.config.set(_CONFIG):
        plugin = SchedulingPlugin(engine or Engine(), **options)
        scheduler = distributed.Scheduler(validate=True, plugins=(plugin,), **_QUIET)
        await scheduler
        assert scheduler.plugins[NAME] is plugin
        made = Room(scheduler, plugin)
        made.client = await distributed.Client(
            scheduler.address, asynchronous=True, set_as_default=False
        )
        try:
            for number, said in enumerate(workers):
                await made.worker(f"w{number}", said, nthreads=threads)
            yield made
        finally:
            await made.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test, bounded."""

    async def bounded() -> None:
        async with asyncio.timeout(200):
            await test()

    asyncio.run(bounded())


def asked(key: str, **wishes: Any) -> dict[str, Any]:
    """The annotation of one task."""
    return {"dtf": {key: wishes}} if key else {"dtf": wishes}


async def gathered(client: distributed.Client, futures: Sequence[Any]) -> list[Any]:
    """The results, soon."""
    return await asyncio.wait_for(client.gather(list(futures)), WAIT_S)
