"""What the parts of the adapter share: the governed tasks, the clock, the loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState, WorkerState

from dtf_dask.errors import (
    DeadlineError,
    DtfError,
    OverloadedError,
    TaskRefusedError,
    UpstreamFailedError,
)
from dtf_dask.scheduler_plugins.adapter import dask_failures
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
from dtf_dask.scheduler_plugins.adapter.posts import Posts
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.terms import Reject

_ERRORS: dict[str, type[DtfError]] = {
    "deadline": DeadlineError,
    "shed": OverloadedError,
    "upstream": UpstreamFailedError,
}


class Holding:
    """One scheduler's governed tasks.

    Parameters
    ----------
    loop
        Has ``call_soon`` and ``call_later``, as asyncio's has.
    guarded
        Wraps what the loop calls, so that a failure there is seen.
    clock, wall
        The engine's clock, and the world's.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        engine: Engine,
        *,
        loop: Any,
        guarded: Callable[[Callable[[], None]], Callable[[], None]],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.scheduler, self.engine = scheduler, engine
        self.clock, self.wall = clock, wall
        self.tasks: dict[Key, Governed] = {}
        self.places: dict[Key, WorkerState | None] = {}
        """Shared with `dask_grants.Hold`: where each governed task may run."""
        self.unplaced: dict[Key, None] = {}
        """Those that are not governed, and that Dask found no worker for."""
        self.arrived: list[Governed] = []
        """Those whose inputs are there, of which the engine does not know yet."""
        self.unready: dict[Key, None] = {}
        """Those that were submitted and whose inputs have not been there yet."""
        self.refused: list[Governed] = []
        self.tried: dict[Key, Governed] = {}
        """Those of which an attempt failed, or was given up."""
        self.recalling = False
        """Whether tasks are told that were submitted to a scheduler that died."""
        self.doomed: deque[tuple[Governed, BaseException]] = deque()
        self.posts = Posts(engine, scheduler)
        self.pump: Callable[[], None] = lambda: None
        self.awake = False
        self._loop, self._guarded = loop, guarded
        self._pumped = guarded(lambda: self.pump())  # it is set later

    def wake(self) -> None:
        """Have the engine decide as soon as Dask has handled what it handles now."""
        if not self.awake:
            self.awake = True
            self._loop.call_soon(self._pumped)

    def soon(self, act: Callable[[], None]) -> None:
        """Call this when Dask is in the middle of nothing."""
        self._loop.call_soon(self._guarded(act))

    def later(self, delay_s: float, act: Callable[[], None]) -> Any:
        """Call this after a while; what is returned can be cancelled."""
        return self._loop.call_later(delay_s, self._guarded(act))

    def arrive(self, task: Governed) -> None:
        """A task may be given to the engine."""
        self.arrived.append(task)
        self.wake()

    def running(self, key: Key) -> tuple[Governed, TaskState, WorkerState] | None:
        """A task that is on a worker, by what the engine and Dask know."""
        task, ts = self.tasks.get(key), self.scheduler.tasks.get(key)
        if task is None or ts is None or task.stage != "granted":
            return None
        place = task.place
        return (task, ts, place) if place and ts.processing_on is place else None

    def refuse(self, task: Governed, error: BaseException) -> None:
        """Let it fail when Dask is in the middle of nothing, now and ever again."""
        task.refused = error
        self.refused.append(task)
        self.wake()

    def doom(self, task: Governed, error: BaseException) -> None:
        """Let it fail when Dask is in the middle of nothing; it may be tried again."""
        self.doomed.append((task, error))
        self.wake()

    def fail(self, task: Governed, error: BaseException) -> None:
        """Let a task end with an error of ours."""
        dask_failures.fail(self.scheduler, task.key, error)


def error_of(reject: Reject) -> DtfError:
    """The error that the futures of a rejected task get."""
    return _ERRORS.get(reject.kind, TaskRefusedError)(reject.message)


def computed(startstops: object) -> float | None:
    """The seconds that a task computed, by its worker's word; not what it waited."""
    if not isinstance(startstops, list | tuple):
        return None
    times = [
        one["stop"] - one["start"]
        for one in startstops
        if isinstance(one, dict) and one.get("action") == "compute"
    ]
    return max(0.0, sum(times)) if times else None
