"""Schedulers that lead one after the other, by a ledger of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgpack
from distributed import Scheduler

from dtf_dask.comm.address import Contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.durable.operations import RELEASE, TABLE, encode_operation
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.standby import dask_start
from dtf_dask.standby.applying import Applier
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.journal import first_number
from dtf_dask.standby.primitives import Primitives
from dtf_dask.standby.shadow import Shadow
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table

OWNER = "owner"
"""The client that submits the tasks of these tests."""


class MemoryLedger:
    """What was committed."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.term = 0

    def kinds(self) -> list[str]:
        """Of the records of coordination that there are, sorted."""
        return sorted(key.split("/")[1] for key in self.found if key[:2] == "x/")


class Proposals:
    """What a leader proposes: committed one after the other, and told of.

    ``open`` lets them through. From the next record of kind ``mute_at`` on they are
    committed and nobody hears of it: the scheduler dies before it answers.
    """

    def __init__(self, ledger: MemoryLedger) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.mute_at = ""
        self._ledger: MemoryLedger | None = ledger
        self._mute = False
        self._last: asyncio.Task[None] | None = None

    def propose(self, commands: Sequence[bytes]) -> asyncio.Future[str]:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._last = asyncio.create_task(self._commit(commands, outcome, self._last))
        return outcome

    def die(self) -> None:
        """The term is over: nothing is committed any more."""
        self._ledger = None

    async def _commit(
        self,
        commands: Sequence[bytes],
        outcome: asyncio.Future[str],
        before: asyncio.Task[None] | None,
    ) -> None:
        if before is not None:
            await before
        await self.open.wait()
        await asyncio.sleep(0)
        if self._ledger is None:
            return
        for command in commands:
            kind, _, _, _, _, key, *value = msgpack.unpackb(command)
            self._mute |= key.split("/")[1] == self.mute_at
            if kind == PUT:
                self._ledger.found[key] = value[0]
            else:
                self._ledger.found.pop(key, None)
        if not self._mute:
            outcome.set_result("")


class Leader:
    """A scheduler that leads, which can be killed as it were."""

    def __init__(
        self, scheduler: Scheduler, durability: Durability, proposals: Proposals
    ) -> None:
        self.scheduler, self.durability = scheduler, durability
        self.proposals = proposals
        self._following = asyncio.create_task(durability.run())

    async def submit(self, key: str) -> None:
        """Have the scheduler know a task, which `OWNER` wants."""
        table = Table(OWNER, 1, (key,), (), (Row(key, (), b"", (), False, {}),))
        await self._say(TABLE, encode_table(table), {})

    async def let_go(self, *keys: str) -> None:
        """Its owner wants tasks no longer."""
        await self._say(RELEASE, keys)

    async def _say(self, kind: int, *body: Any) -> None:
        self.durability.append(encode_operation(kind, OWNER, *body))
        await self.durability.settled()

    async def kill(self) -> None:
        """It answers nobody any more, and all connections break."""
        self.proposals.die()
        self._following.cancel()
        for comm in list(self.scheduler._comms):
            comm.abort()
        self.scheduler.stop()
        await self.scheduler.close(reason="killed")


@contextlib.asynccontextmanager
async def lead(
    ledger: MemoryLedger, contact: Contact, node: int
) -> AsyncIterator[Leader]:
    """A scheduler takes over what the ledger has."""
    ledger.term += 1
    own = contact.coordinators[node - 1]
    scheduler = dask_start.make_scheduler(str(own), None, {})
    proposals = Proposals(ledger)
    applier = Applier(scheduler, lambda operation: durability.append(operation))
    shadow = Shadow(applier)
    failed: list[str] = []
    durability = Durability(
        applier, proposals.propose, shadow.records, failed=failed.append
    )
    shadow.change(ledger.found.items())
    await shadow.catch_up()
    applier.lead()
    applier.schedule()
    durability.lead(ledger.term, max(first_number(ledger.term), shadow.next_number))
    leader = Leader(scheduler, durability, proposals)
    primitives = await Primitives.install(scheduler, durability)
    greeting = Greeting(NodeName("lab", NodeId(node)), ledger.term)
    announce(str(own), contact, greeting)
    await dask_start.listen(scheduler)
    primitives.settle()
    try:
        yield leader
    finally:
        await leader.kill()
    assert failed == []
