"""Dask's shuffles between workers (P2P), whose tasks the scheduler never opens.

Dask's scheduler takes from a shuffle's barrier how many partitions it has and which
worker each had better go to. Here that task is closed. So the worker that begins the
shuffle, and opens the task anyway, is asked for a plan: for each partition a number.
What workers are told of the shuffle is closed in the scheduler, too.

The only module that knows how Dask's scheduler begins a shuffle; `broken` says what has
changed of it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler
from distributed.core import error_message
from distributed.shuffle._core import ShuffleSpec, barrier_key
from distributed.shuffle._scheduler_plugin import ShuffleSchedulerPlugin

from dtf_dask.errors import ProtocolError
from dtf_dask.standby.graphs import OpaqueTask
from dtf_dask.submission.shuffle_plans import PLAN, open_spec, read_plan

logger = logging.getLogger(__name__)

GET_OR_CREATE = "shuffle_get_or_create"

_CALL_SITES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (ShuffleSchedulerPlugin.get_or_create, ("_get", "_create")),
    (ShuffleSchedulerPlugin._create, ("_retrieve_spec", "_calculate_worker_for")),
    (ShuffleSchedulerPlugin._create, ("create_new_run", "active_shuffles")),
    (
        ShuffleSchedulerPlugin._calculate_worker_for,
        ("output_partitions", "pick_worker", "worker_restrictions"),
    ),
)


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what is used; empty if all is there."""
    missing = [
        f"{called} in {caller.__qualname__}"
        for caller, names in _CALL_SITES
        for called in names
        if called not in caller.__code__.co_names
    ]
    if not isinstance(scheduler.extensions.get("shuffle"), ShuffleSchedulerPlugin):
        missing.append("the extension shuffle")
    if GET_OR_CREATE not in scheduler.handlers:
        missing.append(f"the handler {GET_OR_CREATE}")
    arguments = list(inspect.signature(ShuffleSchedulerPlugin.get_or_create).parameters)
    if arguments != ["self", "shuffle_id", "key", "worker"]:
        missing.append(f"get_or_create(shuffle_id, key, worker): {arguments}")
    if set(ShuffleSpec.__dataclass_fields__) != {"id", "disk"}:
        missing.append("ShuffleSpec(id, disk)")
    return tuple(missing)


@dataclass(frozen=True)
class ClosedSpec(ShuffleSpec[Any]):
    """What a scheduler knows of a shuffle; where it is unpickled it is Dask's own.

    Parameters
    ----------
    task
        The barrier.
    plan
        For each partition a number: of its worker, if there are as many as were said.
    """

    task: OpaqueTask
    plan: Mapping[Any, int]

    @property
    def output_partitions(self) -> Iterator[Any]:  # type: ignore[override]
        """All partitions, as Dask's."""
        yield from self.plan

    def pick_worker(self, partition: Any, workers: Sequence[str]) -> str:
        """As Dask's."""
        return workers[self.plan[partition] % len(workers)]

    def create_run_on_worker(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody calls this: workers have Dask's own."""
        raise TypeError("a shuffle runs on workers")

    def __reduce__(self) -> tuple[Any, ...]:
        task = self.task
        return open_spec, (task.key, task.payload, dict(task.functions))


class Shuffles:
    """Begins shuffles whose barrier is closed."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._own: Any = scheduler.extensions["shuffle"]
        self._retrieve = self._own._retrieve_spec
        self._specs: dict[str, ClosedSpec] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    @classmethod
    def install(cls, scheduler: Scheduler) -> None:
        """Have the scheduler begin shuffles this way.

        Raises
        ------
        RuntimeError
            This version of Dask is not as known: nothing was touched.
        """
        if missing := broken(scheduler):
            raise RuntimeError(f"this version of Dask has no {', '.join(missing)}")
        made = cls(scheduler)
        vars(made._own)["_retrieve_spec"] = made.spec
        scheduler.handlers[GET_OR_CREATE] = made.get_or_create

    def spec(self, shuffle_id: str) -> Any:
        """What Dask's own code is told of a shuffle."""
        found = self._specs.get(shuffle_id)
        return self._retrieve(shuffle_id) if found is None else found

    async def get_or_create(self, shuffle_id: str, key: Any, worker: str) -> Any:
        """As Dask's: a worker's task wants to take part in a shuffle."""
        asked = {"shuffle_id": shuffle_id, "key": key, "worker": worker}
        if self._is_begun(shuffle_id):
            return self._own.get_or_create(**asked)
        turn = self._turns.setdefault(shuffle_id, asyncio.Lock())
        try:
            async with turn:
                barrier = self._barrier(shuffle_id)
                if self._is_begun(shuffle_id) or barrier is None:
                    return self._own.get_or_create(**asked)
                self._specs[shuffle_id] = await self._plan(shuffle_id, barrier, worker)
                try:
                    return self._own.get_or_create(**asked)
                finally:
                    del self._specs[shuffle_id]
        except (ProtocolError, OSError) as error:
            return error_message(error)
        finally:
            if not turn.locked():
                self._turns.pop(shuffle_id, None)

    def _is_begun(self, shuffle_id: str) -> bool:
        return shuffle_id in self._own.active_shuffles

    def _barrier(self, shuffle_id: Any) -> Any:
        """The barrier's task, if it is known and closed."""
        found = self._scheduler.tasks.get(barrier_key(shuffle_id))
        closed = found is not None and isinstance(found.run_spec, OpaqueTask)
        return found if closed else None

    async def _plan(self, shuffle_id: Any, barrier: Any, worker: str) -> ClosedSpec:
        task = barrier.run_spec
        answer = await getattr(self._scheduler.rpc(worker), PLAN)(
            key=task.key,
            payload=task.payload,
            functions=dict(task.functions),
            workers=len(barrier.worker_restrictions or self._scheduler.workers),
        )
        plan = read_plan(answer)
        return ClosedSpec(shuffle_id, bool(answer.get("disk")), task, plan)
