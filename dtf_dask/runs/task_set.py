"""Coroutines that run beside others, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


class TaskSet:
    """Holds those that have not ended, so that they are not forgotten."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def begin(self, awaitable: Awaitable[Any]) -> None:
        """Have it go on beside."""
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Have all of them end."""
        for task in self._tasks:
            task.cancel()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until those that are there now have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def __len__(self) -> int:
        return len(self._tasks)
