"""How the machine fares meanwhile: what stands still with it is no cluster's fault."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import NamedTuple

_EVERY_S = 0.05


class Slowness(NamedTuple):
    """The worst of some time, in seconds.

    Parameters
    ----------
    late
        How late this process's loop was, and with it all clients and proxies.
    sync
        How long the slowest sync of a small file took.
    """

    late: float = 0.0
    sync: float = 0.0

    def worse(self, late: float, sync: float) -> Slowness:
        """The worst of this and that."""
        return Slowness(max(self.late, late), max(self.sync, sync))


class Machine:
    """Tries all the time how late the loop is and how long a sync takes.

    Parameters
    ----------
    folder
        On the disk that is tried.
    """

    def __init__(self, folder: Path) -> None:
        self.worst = Slowness()
        """Of all the time."""
        self._lately = Slowness()
        self._path = folder / "probe"
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._look_at_loop()),
            loop.create_task(self._look_at_disk()),
        ]

    async def close(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def taken(self) -> Slowness:
        """The worst since the last time."""
        found, self._lately = self._lately, Slowness()
        return found

    def _saw(self, late: float = 0.0, sync: float = 0.0) -> None:
        self._lately = self._lately.worse(late, sync)
        self.worst = self.worst.worse(late, sync)

    async def _look_at_loop(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_EVERY_S)
            self._saw(late=time.monotonic() - before - _EVERY_S)

    async def _look_at_disk(self) -> None:
        while True:
            self._saw(sync=await asyncio.to_thread(self._sync))
            await asyncio.sleep(4 * _EVERY_S)

    def _sync(self) -> float:
        with self._path.open("wb", buffering=0) as file:
            file.write(bytes(4_096))
            before = time.monotonic()
            os.fdatasync(file.fileno())
            return time.monotonic() - before
