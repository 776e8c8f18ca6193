"""A cluster of real processes, and the loop of who looks at it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).parent
_BENCHMARKS = str(HERE.parents[1] / "benchmarks")
if _BENCHMARKS not in sys.path:
    sys.path.append(_BENCHMARKS)

from failover_cluster import Coordinator, FailoverCluster  # noqa: E402

__all__ = ["Coordinator", "FailoverCluster", "Stage"]

T = TypeVar("T")
WAIT_S = 90.0


class Stage:
    """A cluster, and the loop that its ledger's client belongs to."""

    def __init__(self, made: FailoverCluster) -> None:
        self.made = made
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on that loop, in time."""

        async def limited() -> T:
            async with asyncio.timeout(WAIT_S):
                return await work

        try:
            return asyncio.run_coroutine_threadsafe(limited(), self._loop).result()
        except TimeoutError:
            raise AssertionError(self.made.logged()) from None

    def end(self) -> None:
        """End the cluster, and the loop."""
        self.do(self.made.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
