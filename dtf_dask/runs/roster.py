"""The workers of a run, and the slots that they give."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtf_dask.runs.scheduler_line import SchedulerLine
from dtf_dask.runs.workers import WorkerDoor

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.terms import Offer


@dataclass(slots=True)
class Slot:
    """Room for one test at a time: a thread of a Dask worker, and its name.

    ``outstanding`` are the ids of its batches, the one that runs first; ``offer`` is
    what its worker has, None if that worker does not say; ``worker`` is what that is
    called there.
    """

    name: str
    address: str
    host: str
    offer: Offer | None = None
    outstanding: list[int] = field(default_factory=list)
    worker: str = ""

    @property
    def where(self) -> tuple[str, str]:
        """Its host, and its worker."""
        return self.host, self.worker


class Roster:
    """Opens workers for a run and keeps their slots, named gw0, gw1 and so on.

    With ``ask_hardware`` each worker is asked what it has now; otherwise what it said
    as it joined is good enough, for instance for what it accepts. ``opened`` is told
    the address of each that is ready, and the stream of its events.
    """

    def __init__(
        self,
        line: SchedulerLine,
        door: WorkerDoor,
        opened: Callable[[str, str], None] = lambda *_: None,
        *,
        ask_hardware: bool = False,
    ) -> None:
        self._line, self._door, self._ask_hardware = line, door, ask_hardware
        self._tell_opened = opened
        self._numbers = itertools.count()
        self._known: set[str] = set()  # addresses, of workers that are being opened too
        self.slots: dict[str, Slot] = {}

    def addresses(self) -> list[str]:
        return list(dict.fromkeys(slot.address for slot in self.slots.values()))

    async def settles(self) -> bool:
        """Whether some may be missing that are to be there again in a moment."""
        return await self._line.settles()

    async def there(self) -> list[str]:
        """The addresses of all workers that the scheduler has."""
        return list(await self._line.workers())

    async def open_all(self) -> tuple[list[Slot], list[str]]:
        """Make every worker ready that is there; `DtfError` when one cannot be.

        Returns the slots, and the addresses of those that could not be reached.
        """
        workers = await self._line.workers()
        opened = await asyncio.gather(
            *(self._open(address, workers[address]) for address in workers),
            return_exceptions=True,
        )
        slots: list[Slot] = []
        unreached = []
        for address, came in zip(workers, opened, strict=True):
            if isinstance(came, OSError):
                unreached.append(address)
            elif isinstance(came, BaseException):
                raise came
            else:
                slots += came
        return slots, unreached

    async def join(self, address: str) -> list[Slot]:
        """Make a worker ready that has come late; nothing if it is here, or gone."""
        workers = await self._line.workers()
        if address not in workers:
            return []
        return await self._open(address, workers[address])

    async def _open(self, address: str, facts: Mapping[str, Any]) -> list[Slot]:
        if address in self._known:
            return []
        self._known.add(address)
        self._line.came(address)
        try:
            return await self._opened(address, facts)
        except BaseException:
            self._known.discard(address)
            raise

    async def _opened(self, address: str, facts: Mapping[str, Any]) -> list[Slot]:
        worker = str(facts.get("name", address))
        stream = await self._door.open(address, worker)
        self._tell_opened(address, stream)
        threads, host = int(facts.get("nthreads", 1)), str(facts.get("host", ""))
        advert = facts.get("dtf_hardware")
        if self._ask_hardware:
            asked = await self._line.ask(address, "dtf_probe")
            advert = asked if isinstance(asked, dict) and "facts" in asked else advert
        memory, resources = facts.get("memory_limit") or 0, facts.get("resources")
        had = None if advert is None else _offer(advert, threads, memory, resources)
        opened = [
            Slot(f"gw{next(self._numbers)}", address, host, had, worker=worker)
            for _ in range(max(1, threads))
        ]
        self.slots.update({slot.name: slot for slot in opened})
        return opened

    def told(self, advert: Any) -> list[tuple[Slot, Offer]]:
        """A worker says something new of itself; its slots, and what it has now."""
        told = advert if isinstance(advert, dict) else {}
        changed = []
        for slot in self.slots.values():
            had = slot.offer
            if slot.address == told.get("worker") and had is not None:
                slot.offer = _offer(advert, had.threads, had.memory, had.resources)
                changed.append((slot, slot.offer))
        return changed

    def lose(self, address: str) -> list[Slot]:
        """A worker is gone; the slots that went with it."""
        self._known.discard(address)
        self._line.gone(address)
        lost = [slot for slot in self.slots.values() if slot.address == address]
        for slot in lost:
            del self.slots[slot.name]
        return lost


def _offer(advert: Any, threads: int, memory: int, resources: Any) -> Offer:
    """What a worker has, by what it and the scheduler say."""
    # Imported here: most runs ask for nothing, and need not wait for it.
    from dtf_dask.scheduler_plugins.adapter.offers import offer

    return offer(advert, threads=threads, memory=memory, resources=resources)[0]
