"""A ledger in memory, which outlives the schedulers of a test that die."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

from distributed import Scheduler

from dtf_dask.comm.address import Contact, parse_contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.durable.operations import (
    CLIENT_GONE,
    DESIRE,
    RELEASE,
    decode_operation,
)
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.standby.primitives import Primitives

LOOPBACK = "127.0.0.1"
_QUIET: dict[str, Any] = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}


def free_contact(count: int = 2) -> Contact:
    """An address of ports at which nobody listens."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind((LOOPBACK, 0))
        ports = [one.getsockname()[1] for one in made]
    return parse_contact(",".join(f"{LOOPBACK}:{port}" for port in ports))


class MemoryLedger:
    """What was committed: records, and a journal of operations."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.journal: list[bytes] = []
        self.term = 0

    def kinds(self) -> list[str]:
        """Of the records that there are, sorted."""
        return sorted(key.split("/")[1] for key in self.found)


class MemoryDurability:
    """A `MemoryLedger` as the scheduler of one term has it.

    ``open`` lets proposals through. ``mute`` commits them, and never says so again, as
    of a scheduler that dies before it answers; it begins with the next record of kind
    ``mute_at``.
    """

    def __init__(self, ledger: MemoryLedger, scheduler: Scheduler) -> None:
        ledger.term += 1
        self.term = ledger.term
        self.open = asyncio.Event()
        self.open.set()
        self.mute = False
        self.mute_at = ""
        self._ledger, self._scheduler = ledger, scheduler
        self._last: asyncio.Future[None] | None = None
        for operation in ledger.journal:
            self._apply(operation)

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        await self._after(lambda: self._write(records))

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        self._after(lambda: self._write(records))

    def append(self, operation: bytes) -> None:
        def committed() -> None:
            self._ledger.journal.append(operation)
            self._apply(operation)

        self._after(committed)

    async def settled(self) -> None:
        await self._after(lambda: None)

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        found = self._ledger.found
        return [(key, found[key]) for key in sorted(found) if key.startswith(prefix)]

    def die(self) -> None:
        """The term is over: nothing is committed any more."""
        self.mute = True
        self._ledger = MemoryLedger()

    def _after(self, act: Any) -> asyncio.Future[None]:
        before = self._last

        async def turn() -> None:
            if before is not None:
                await before
            await self.open.wait()
            await asyncio.sleep(0)
            act()

        committed = asyncio.ensure_future(turn())
        self._last = committed

        async def told() -> None:
            await asyncio.shield(committed)
            if self.mute:
                await asyncio.Event().wait()

        return asyncio.ensure_future(told())

    def _write(self, records: Mapping[str, bytes | None]) -> None:
        for key, value in records.items():
            self.mute |= key.split("/")[1] == self.mute_at
            if value is None:
                self._ledger.found.pop(key, None)
            else:
                self._ledger.found[key] = value

    def _apply(self, packed: bytes) -> None:
        kind, client, body = decode_operation(packed)
        if kind == DESIRE:
            known = [key for key in body[0] if key in self._scheduler.tasks]
            self._scheduler.client_desires_keys(known, client)
        elif client in self._scheduler.clients and kind == RELEASE:
            self._scheduler.client_releases_keys(list(body[0]), client)
        elif client in self._scheduler.clients and kind == CLIENT_GONE:
            self._scheduler.remove_client(client)


class Leader:
    """A scheduler that leads, which can be killed as it were."""

    def __init__(self, scheduler: Scheduler, durability: MemoryDurability) -> None:
        self.scheduler, self.durability = scheduler, durability

    async def kill(self) -> None:
        """It answers nobody any more, and all connections break."""
        self.durability.die()
        for comm in list(self.scheduler._comms):
            comm.abort()
        self.scheduler.stop()
        await self.scheduler.close(reason="killed")


@contextlib.asynccontextmanager
async def lead(
    ledger: MemoryLedger, contact: Contact, node: int, tasks: tuple[str, ...] = ()
) -> AsyncIterator[Leader]:
    """A scheduler takes over what the ledger has; it knows these tasks."""
    own = contact.coordinators[node - 1]
    scheduler = Scheduler(host=own.host, port=own.port, protocol="dtf", **_QUIET)
    for key in tasks:
        scheduler.new_task(key, None, "released")
    durability = MemoryDurability(ledger, scheduler)
    await Primitives.install(scheduler, durability)
    greeting = Greeting(NodeName("lab", NodeId(node)), durability.term)
    announce(str(own), contact, greeting)
    # Dask begins with nothing when it starts.
    vars(scheduler)["_clear_task_state"] = lambda: None
    await scheduler
    leader = Leader(scheduler, durability)
    try:
        yield leader
    finally:
        await leader.kill()
