"""The workers of a run: how they are spoken to, and the slots that they give."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import distributed

from dtf_dask.runs.workers import WorkerDoor


@dataclass(slots=True)
class Slot:
    """Room for one test at a time: a thread of a Dask worker, and its name.

    ``outstanding`` are the ids of its batches, the one that runs first.
    """

    name: str
    address: str
    host: str
    outstanding: list[int] = field(default_factory=list)


class SchedulerLine:
    """Plain messages by way of a client's scheduler."""

    def __init__(self, client: distributed.Client) -> None:
        self._client = client

    async def ask(self, address: str, op: str, **arguments: Any) -> Any:
        """Send a message to a worker; its answer."""
        scheduler: Any = self._client.scheduler
        return await scheduler.proxy(msg={"op": op, **arguments}, worker=address)

    async def tell(
        self, addresses: Iterable[str], op: str, timeout_s: float, **arguments: Any
    ) -> None:
        """Send a message to several workers; who does not answer is left behind."""
        asked = [self.ask(address, op, **arguments) for address in addresses]
        try:
            gathered = asyncio.gather(*asked, return_exceptions=True)
            await asyncio.wait_for(gathered, timeout_s)
        except TimeoutError:
            pass

    async def workers(self) -> dict[str, dict[str, Any]]:
        """What the scheduler knows of its workers, by address."""
        scheduler: Any = self._client.scheduler
        return dict((await scheduler.identity())["workers"])


class Roster:
    """Opens workers for a run and keeps their slots, named gw0, gw1 and so on."""

    def __init__(self, line: SchedulerLine, door: WorkerDoor) -> None:
        self._line, self._door = line, door
        self._numbers = itertools.count()
        self.slots: dict[str, Slot] = {}

    def addresses(self) -> list[str]:
        return list(dict.fromkeys(slot.address for slot in self.slots.values()))

    async def open_all(self) -> list[Slot]:
        """Make every worker ready that is there; `DtfError` when one cannot be."""
        workers = await self._line.workers()
        opened = [self._open(address, workers[address]) for address in workers]
        return [slot for slots in await asyncio.gather(*opened) for slot in slots]

    async def join(self, address: str) -> list[Slot]:
        """Make a worker ready that has come late; nothing if it is here, or gone."""
        workers = await self._line.workers()
        if address in self.addresses() or address not in workers:
            return []
        return await self._open(address, workers[address])

    async def _open(self, address: str, facts: Mapping[str, Any]) -> list[Slot]:
        await self._door.open(address, str(facts.get("name", address)))
        threads, host = int(facts.get("nthreads", 1)), str(facts.get("host", ""))
        opened = [
            Slot(f"gw{next(self._numbers)}", address, host)
            for _ in range(max(1, threads))
        ]
        self.slots.update({slot.name: slot for slot in opened})
        return opened

    def lose(self, address: str) -> list[Slot]:
        """A worker is gone; the slots that went with it."""
        lost = [slot for slot in self.slots.values() if slot.address == address]
        for slot in lost:
            del self.slots[slot.name]
        return lost
