"""A ledger of this process, a scheduler that leads by it, and shadows that are fed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack
from distributed import Scheduler

from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.standby.applying import Applier
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.journal import first_number
from dtf_dask.standby.shadow import Shadow


@contextmanager
def bare() -> Iterator[Scheduler]:
    """A scheduler that was not started: nobody can reach it."""
    scheduler = Scheduler(dashboard=False, dashboard_address=":0", validate=True)
    try:
        yield scheduler
    finally:
        scheduler.http_server.stop()


class MemoryLedger:
    """Commits what is proposed, unless told to wait."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.shadows: list[Shadow] = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.proposals = 0
        self.bytes = 0

    def propose(self, commands: Sequence[bytes]) -> asyncio.Future[str]:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        before = getattr(self, "_last", None)
        self._last = asyncio.create_task(self._commit(commands, outcome, before))
        return outcome

    async def _commit(
        self, commands: Sequence[bytes], outcome: Any, before: Any
    ) -> None:
        if before is not None:
            await before
        await self.may_commit.wait()
        changes: list[tuple[str, bytes | None]] = []
        for command in commands:
            kind, _, _, _, _, key, *value = msgpack.unpackb(command)
            changes.append((key, value[0] if kind == PUT else None))
            self.bytes += len(command)
        self.proposals += 1
        for key, one in changes:
            if one is None:
                self.records.pop(key, None)
            else:
                self.records[key] = one
        for shadow in self.shadows:
            shadow.change(changes)
        outcome.set_result("")

    def shadow(self, scheduler: Scheduler, **options: Any) -> Shadow:
        """A shadow that hears of all there is, and of what changes."""
        shadow = Shadow(Applier(scheduler, lambda operation: None), **options)
        shadow.change(self.records.items())
        self.shadows.append(shadow)
        return shadow


class Leader:
    """One that leads by the ledger, from what a shadow has."""

    def __init__(self, ledger: MemoryLedger, shadow: Shadow, term: int) -> None:
        self.applier = shadow.applier
        self.scheduler = shadow.applier.scheduler
        self.failed: list[str] = []
        self.durability = Durability(
            shadow.applier, ledger.propose, shadow.records, self.failed.append
        )
        shadow.applier.tell_more = self.durability.append
        shadow.applier.lead()
        shadow.applier.schedule()
        self.durability.lead(term, first_number(term))
        self.durability.keep_lazily(dict.fromkeys(shadow.unfinished))
        self._running = asyncio.create_task(self.durability.run())

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


async def lead(ledger: MemoryLedger, shadow: Shadow, term: int) -> Leader:
    """Make a shadow the leader."""
    await shadow.catch_up()
    ledger.shadows.remove(shadow)
    return Leader(ledger, shadow, term)
