"""Dask's coordination on a scheduler that may die: taken over, and kept from then on.

Each handler that changes something is wrapped: it acts, and its answer waits until
what it did is in the ledger. One that only looks waits, too, so that nobody is told of
what may vanish. A request that comes again after a failover is done once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distributed import Scheduler

from dtf_dask.durable.requests import REQUEST, SAID, SAYINGS, Request, read_request
from dtf_dask.errors import ProtocolError, TaskRefusedError, UsageError
from dtf_dask.standby.dask_primitives import Handler, broken, packed, unpacked
from dtf_dask.standby.primitives_datasets import Datasets
from dtf_dask.standby.primitives_keeper import Durability, Keeper
from dtf_dask.standby.primitives_locks import Events, MultiLocks, Semaphores
from dtf_dask.standby.primitives_records import Record
from dtf_dask.standby.primitives_registry import Metadata, Plugins
from dtf_dask.standby.primitives_requests import Requests
from dtf_dask.standby.primitives_scattered import Scattered
from dtf_dask.standby.primitives_values import Queues, Variables

logger = logging.getLogger(__name__)

_ADDS = frozenset(
    {
        *("variable_set", "queue_create", "queue_put", "event_set", "publish_put"),
        *("semaphore_register", "semaphore_acquire", "multi_lock_acquire"),
        *("register_scheduler_plugin", "register_worker_plugin"),
        *("register_nanny_plugin", "set_metadata", "set_restrictions"),
        *("scatter", "update_data"),
    }
)
"""Calls that a full ledger refuses. All others may make room, or need none."""
_TAKES_FLUSH = frozenset({"publish_put", "publish_delete"})

_OF_WORKERS = frozenset({"scatter", "restart", "proxy"})
"""Calls whose answer depends on which workers there are. Others like them wait in
`dask_links`; these are ours."""

# Of what is numbered, the field that has the number: those are restored in that order.
_ORDERED = {
    "queue-item": 1,
    "metadata": 1,
    "worker-plugin": 1,
    "nanny-plugin": 1,
    "scheduler-plugin": 1,
}


class Primitives:
    """The primitives of one scheduler that leads: `install` makes it."""

    def __init__(self, scheduler: Scheduler, durability: Durability) -> None:
        self._scheduler = scheduler
        self._keeper = keeper = Keeper(durability)
        self._requests = Requests()
        self._settled = asyncio.Event()
        self._running: dict[tuple[str, int], asyncio.Task[Any]] = {}
        self._busy: set[asyncio.Future[Any]] = set()
        self._variables = Variables(scheduler, keeper)
        self._queues = Queues(scheduler, keeper)
        self._datasets = Datasets(scheduler, keeper)
        self._events = Events(scheduler, keeper)
        self._semaphores = Semaphores(scheduler, keeper)
        self._multi_locks = MultiLocks(scheduler, keeper)
        self._plugins = Plugins(scheduler, keeper)
        self._metadata = Metadata(scheduler, keeper)
        self._scattered = Scattered(scheduler, keeper)

    @classmethod
    async def install(cls, scheduler: Scheduler, durability: Durability) -> Primitives:
        """Restore what leaders before this one left, and take the handlers over.

        To be called once, when the journal is applied and before anybody is let in.

        Raises
        ------
        RuntimeError
            This version of Dask is not as known: nothing was touched.
        """
        if missing := broken(scheduler):
            raise RuntimeError(
                f"this version of Dask has no {', '.join(missing)}: what is coordinated"
                " through the scheduler could not be kept"
            )
        made = cls(scheduler, durability)
        await made._restore()
        made._take_over()
        return made

    def settle(self) -> None:
        """From now on it is known what workers have: answer calls that ask for it."""
        self._settled.set()

    async def _restore(self) -> None:
        # In this order: what holds others comes before them.
        restorers: dict[str, Callable[..., None]] = {
            "variable": self._variables.restore,
            "queue": self._queues.restore,
            "queue-item": self._queues.restore_item,
            "dataset": self._datasets.restore,
            "event": self._events.restore,
            "semaphore": self._semaphores.restore,
            "lease": self._semaphores.restore_lease,
            "multi-lock": self._multi_locks.restore,
            "worker-plugin": self._plugins.restore_on_workers,
            "nanny-plugin": self._plugins.restore_on_nannies,
            "scheduler-plugin": self._plugins.restore,
            "metadata": self._metadata.restore,
            "restrictions": self._metadata.restore_restrictions,
            "request": self._restore_request,
        }
        found: dict[str, list[Record]] = {kind: [] for kind in restorers}
        for record in self._keeper.restored():
            found[record.kind].append(record)
        for kind, restore in restorers.items():
            records = found[kind]
            if (at := _ORDERED.get(kind)) is not None:
                records.sort(key=lambda record: record.fields[at])
            for record in records:
                try:
                    restore(*record.fields)
                except Exception:
                    logger.exception("A %s is lost: %r", kind, record.fields[0])
        self._variables.restored()
        self._queues.restored()
        self._datasets.restored()
        await self._plugins.restored()
        self._keeper.soon()

    def _restore_request(self, requester: str, number: int, answer: bytes) -> None:
        self._requests.restored(requester, number, answer, time.monotonic())

    def _take_over(self) -> None:
        handlers, streams = self._scheduler.handlers, self._scheduler.stream_handlers
        sayings: dict[str, Handler] = {}
        for one in (self._variables, self._queues, self._datasets):
            sayings.update(one.sayings)
            streams.update(
                {name: self._heard(call) for name, call in one.streams.items()}
            )
        streams.update(
            {name: self._heard(call) for name, call in self._scattered.streams.items()}
        )
        streams.update({name: self._heard(call) for name, call in sayings.items()})
        for owner in (
            *(self._variables, self._queues, self._datasets, self._events),
            *(self._semaphores, self._multi_locks, self._plugins, self._metadata),
            self._scattered,
        ):
            for name, call in {**owner.changes, **owner.looks}.items():
                handlers[name] = self._answered(name, call)
        handlers["log_event"] = self._answered("log_event", self._scheduler.log_event)
        handlers[SAID] = self._answered(SAID, _by_name(sayings))

    def _answered(self, name: str, call: Handler) -> Handler:
        """A handler whose answer waits until it is sure."""

        async def handler(**arguments: Any) -> Any:
            request = read_request(arguments.pop(REQUEST, None))
            if name in _ADDS and (full := self._keeper.full()):
                raise TaskRefusedError(full)
            if name in _OF_WORKERS:
                await self._settled.wait()
            if request is None:
                return await self._done(call, arguments)
            if name in _TAKES_FLUSH:
                # Who numbers requests has had its stream acknowledged before.
                arguments["uid"] = None
            return await self._once(request, call, arguments)

        handler.__name__ = name
        return handler

    def _heard(self, call: Handler) -> Handler:
        """A handler of a stream: nobody waits for an answer."""

        def handler(**arguments: Any) -> None:
            try:
                under_way = call(**arguments)
            except Exception:  # it would end the client's stream
                logger.exception("What a client said had no effect")
                return
            if isinstance(under_way, Awaitable):
                task = asyncio.ensure_future(under_way)
                self._busy.add(task)
                task.add_done_callback(self._said)
            self._keeper.soon()

        return handler

    def _said(self, task: asyncio.Future[Any]) -> None:
        self._busy.discard(task)
        self._keeper.soon()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("What a client said had no effect: %r", error)

    async def _done(self, call: Handler, arguments: Mapping[str, Any]) -> Any:
        try:
            answer = await _called(call, arguments)
        except BaseException:
            self._keeper.soon()  # what it changed before it failed
            raise
        await self._keeper.committed()
        return answer

    async def _once(
        self, request: Request, call: Handler, arguments: Mapping[str, Any]
    ) -> Any:
        name = request.requester, request.number
        running = self._running.get(name)
        if running is None:
            past, forgotten = self._requests.heard(request, time.monotonic())
            for one in forgotten:
                self._keeper.drop("request", *one)
            if past.over:
                raise ProtocolError("a request that was answered long ago came again")
            if past.answer is not None:
                await self._keeper.committed()
                return unpacked(past.answer)
            running = asyncio.ensure_future(self._numbered(request, call, arguments))
            self._running[name] = running
            running.add_done_callback(lambda _: self._running.pop(name, None))
        # Who asked may be gone by now, and ask again: it goes on for that one.
        return await asyncio.shield(running)

    async def _numbered(
        self, request: Request, call: Handler, arguments: Mapping[str, Any]
    ) -> Any:
        try:
            answer = await _called(call, arguments)
        except BaseException:
            self._keeper.soon()
            raise
        kept = packed(answer)
        if self._requests.answered(request.requester, request.number, kept):
            self._keeper.put("request", request.requester, request.number, kept)
        await self._keeper.committed()
        return answer


async def _called(call: Handler, arguments: Mapping[str, Any]) -> Any:
    answer = call(**arguments)
    return await answer if isinstance(answer, Awaitable) else answer


def _by_name(sayings: Mapping[str, Handler]) -> Handler:
    async def said(what: str, **arguments: Any) -> Any:
        if what not in SAYINGS:
            raise UsageError(f"nothing is known here of {what!r}")
        return await _called(sayings[what], arguments)

    return said
