"""Coroutines that run beside others, on one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

logger = logging.getLogger(__name__)


class TaskSet:
    """Holds those that have not ended, so that they are not forgotten."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def begin(self, awaitable: Awaitable[Any]) -> None:
        """Have it go on beside."""
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Have all of them end."""
        for task in self._tasks:
            task.cancel()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until those that are there now have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a defect of dtf: %r", error, exc_info=error)

    def __len__(self) -> int:
        return len(self._tasks)
