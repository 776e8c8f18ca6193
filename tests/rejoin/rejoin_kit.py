"""Schedulers that lead one after the other, in this process, and end without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, Worker
from free_contact import LOOPBACK

from dtf_dask.comm.address import Contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.durable.inventory import KEY, Inventory, read_inventory
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.worker_plugins.rejoin import RejoinPlugin

LIMIT_S = 60.0


class Leader(Scheduler):
    """A plain scheduler that writes down what workers say, in order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(dashboard=False, dashboard_address=f"{LOOPBACK}:0", **options)
        self.said: list[dict[str, Any]] = []
        for op in ("task-finished", "task-erred", "log-event", "long-running"):
            self.stream_handlers[op] = self._written_down(op, self.stream_handlers[op])

    def _written_down(self, op: str, handler: Any) -> Callable[..., Any]:
        def handle(**words: Any) -> Any:
            self.said.append({"op": op, **words})
            return handler(**words)

        return handle

    def ended(self) -> list[Any]:
        """Keys of tasks that ended, in order."""
        return [one["key"] for one in self.said if one["op"] == "task-finished"]

    def inventory(self, worker: Worker) -> Inventory:
        """What the worker brought."""
        return read_inventory(self.workers[worker.address].extra[KEY])


@contextlib.asynccontextmanager
async def leading(
    contact: Contact, term: int, made: type[Leader] = Leader, **options: Any
) -> AsyncIterator[Leader]:
    """The coordinator of this number (from 1, and again from 1) leads its term."""
    node = (term - 1) % len(contact.coordinators) + 1
    own = contact.coordinators[node - 1]
    announce(str(own), contact, Greeting(NodeName("lab", NodeId(node)), term))
    where = {"host": own.host, "port": own.port, "protocol": "dtf"}
    async with made(**where, **options) as scheduler:
        yield scheduler
        cut(scheduler)


def cut(scheduler: Scheduler) -> None:
    """What others see of a scheduler that was killed."""
    scheduler._stop_listeners()
    for comm in list(scheduler._comms):
        comm.abort()


def working(
    contact: Contact | str, folder: Path, patience_s: float = LIMIT_S, **options: Any
) -> Worker:
    """A worker that outlives its leaders, and checks its own state.

    It tells nothing of spans: the leaders of these tests, which are Dask's own, know
    none of before, and fail at what they do not know. (Those of dtf pass it over.)
    """
    options.setdefault("plugins", (RejoinPlugin(patience_s),))
    options.setdefault("extensions", {})
    return Worker(
        str(contact),
        host=LOOPBACK,
        nthreads=options.pop("nthreads", 1),
        dashboard=False,
        validate=True,
        local_directory=str(folder),
        heartbeat_interval="100 ms",
        **options,
    )


@contextlib.asynccontextmanager
async def asking(contact: Contact, **options: Any) -> AsyncIterator[Client]:
    """A client as Dask has it: it waits for no words that these leaders do not say."""
    with dask.config.set({"distributed.client.preload": []}):
        client = Client(str(contact), asynchronous=True, **options)
    async with client:
        yield client


async def until(holds: Callable[[], Any]) -> None:
    """Wait; the test's own limit ends it."""
    while not holds():
        await asyncio.sleep(0.01)


def run(check: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop of its own."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await check()

    asyncio.run(limited())
