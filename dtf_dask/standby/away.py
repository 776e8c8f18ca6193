"""The workers of a scheduler whose connections may break and come back.

A connection that broke is no worker that is gone. It is left alone for a grace, with
what it runs and has; nothing new is given to it. If the process is there no more, or
says goodbye, or does not come back, it is removed, as Dask would have done at once, but
for what it has a lease of. Who comes back says what it has, and that is compared with
what is known. Who comes back too late is told so, and brings nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Scheduler

from dtf_dask.durable.inventory import KEY, Inventory, read_inventory
from dtf_dask.errors import ProtocolError
from dtf_dask.standby import dask_links
from dtf_dask.standby.absence import (
    Absence,
    AwayTerms,
    is_here,
    own_leases,
    process_is_gone,
)
from dtf_dask.standby.lease import Leases, leases
from dtf_dask.standby.takeover_steps import reconcile

logger = logging.getLogger(__name__)

LATE_TOPIC = "dtf-late"
_LATE_MAX = 10_000


class Presence:
    """Which workers are here, away, or came too late.

    Parameters
    ----------
    scheduler
        Whose workers; see `begin`.
    """

    def __init__(self, scheduler: Scheduler, terms: AwayTerms) -> None:
        self.scheduler, self.terms = scheduler, terms
        self.links = dask_links.Links(scheduler, self)
        self.brought: dict[str, Inventory] = {}
        """What workers brought that are not heard yet; a takeover takes it away."""
        self.absent: dict[str, Absence] = {}
        self.expected: dict[str, str] = {}
        """Workers of old, by address, with their incarnations."""
        self.turned_away: list[str] = []
        """Workers of old that came, and were not taken."""
        self.came = asyncio.Event()
        self._open = asyncio.Event()
        self._scheduling = False
        self._late: dict[str, str] = {}
        self._leaving: set[str] = set()
        self._resumes: dict[str, str] = {}
        self._attentive: list[Any] = []

    def begin(self) -> None:
        """Take the connections of workers in hand, before there are any.

        Raises
        ------
        RuntimeError
            Dask is not as this was made for.
        """
        missing = dask_links.broken(self.scheduler)
        if missing:
            raise RuntimeError(f"Dask's scheduler has no {', '.join(missing)}")
        self.links.begin()

    def attend(self, beats: Any) -> None:
        """Call this with each address whose worker says what it is at."""
        self._attentive.append(beats)

    def open(self) -> None:
        """Hear workers from now on: it is settled what those of old have."""
        self._scheduling = True
        self._open.set()

    # -- registering -------------------------------------------------------------------

    async def registering(self, comm: Any, address: str, info: dict[str, Any]) -> None:
        """A worker wants to be one of the scheduler's."""
        said = info["extra"].pop(KEY, None)
        server_id = info["server_id"]
        info["address"] = address
        try:
            inventory = (
                read_inventory(said)
                if said is not None
                else Inventory(server_id, 0, (), (), ())
            )
            if inventory.server_id != server_id:
                raise ProtocolError("an inventory of another worker")
        except ProtocolError as error:
            logger.warning("Worker %s is not taken: %s", address, error)
            self._turn_away(address)
            await dask_links.refuse(comm, str(error))
            return
        if self._late.get(address) == server_id and _has_anything(inventory):
            await self._refuse_late(comm, address, inventory)
            return
        self._late.pop(address, None)
        if not await self._make_room(address, info):
            if not self._scheduling:
                self.brought[address] = inventory
            elif _has_anything(inventory):
                # Nothing new before what it has is known.
                self.brought[address] = inventory
                self._resumes[address], info["status"] = info["status"], "paused"
            await self.links.add(comm, info)
            if address not in self.scheduler.workers:
                self._forget_brought(address, inventory)  # Dask did not take it
                self._turn_away(address)
            return
        ws = self.scheduler.workers[address]
        self.brought[address] = inventory
        self._resumes[address] = info["status"]
        self.links.set_status(address, "paused")
        await self.links.take_back(comm, ws, info)

    def _turn_away(self, address: str) -> None:
        """A worker is not taken: it may come as often as it likes, nobody waits."""
        if self.expected.pop(address, None) is not None:
            self.turned_away.append(address)
            self.came.set()

    def _forget_brought(self, address: str, inventory: Inventory) -> None:
        if self.brought.get(address) is inventory:
            del self.brought[address]
            self._resumes.pop(address, None)

    async def _make_room(self, address: str, info: Mapping[str, Any]) -> bool:
        """Remove whom a worker takes the place of; whether it is that one itself."""
        namesake = self.scheduler.aliases.get(info["name"])
        if namesake not in (None, address) and self.is_away(str(namesake)):
            # As a nanny starts one again: the old process is gone.
            await self.links.remove(str(namesake), "replaced")
        ws = self.scheduler.workers.get(address)
        if ws is None:
            return False
        if ws.server_id == info["server_id"]:
            return True
        await self.links.remove(address, "replaced")
        return False

    async def _refuse_late(self, comm: Any, address: str, brought: Inventory) -> None:
        keys = [one.key for one in brought.running]
        keys += [one.key for one in brought.memory]
        keys += [one.key for one in brought.erred]
        logger.info("Worker %s came back too late with %d tasks", address, len(keys))
        self.scheduler.log_event(
            LATE_TOPIC,
            {"worker": address, "server_id": brought.server_id, "keys": keys[:1000]},
        )
        await dask_links.refuse(
            comm,
            f"it was away for longer than {self.terms.grace_s:g} s: what it ran is done"
            " elsewhere",
            dtf="fenced",
        )

    # -- what its links say ------------------------------------------------------------

    def here(self, address: str) -> None:
        """A worker was answered, and may be sent messages."""
        self.expected.pop(address, None)
        self.came.set()

    async def may_speak(self) -> None:
        """Returns when messages of workers may be acted on."""
        await self._open.wait()

    def begins(self, address: str) -> bool:
        """A worker's messages are read from now on; False if it is not to be heard."""
        absence = self.absent.pop(address, None)
        if absence is not None:
            absence.over()
        inventory = self.brought.pop(address, None)
        try:
            if inventory is not None:
                self._compare(address, inventory, absence)
            status = self._resumes.pop(address, None)
            if status is not None:
                self.links.set_status(address, status)
        except Exception:
            # It is removed, and returns as a new one: Dask knows how to live with that.
            logger.exception("What worker %s has could not be taken over", address)
            self._note_late(address)
            self._leaving.add(address)
            return False
        return True

    def _compare(
        self, address: str, inventory: Inventory, absence: Absence | None
    ) -> None:
        counts = reconcile(self.scheduler, address, inventory)
        if absence is not None or _has_anything(inventory):
            away_s = time.monotonic() - absence.since if absence is not None else 0.0
            logger.info("Worker %s is back: %s", address, counts)
            said = {"action": "dtf-worker-back", "away_s": away_s, **counts}
            self.scheduler.log_event(address, said)

    def lost(self, address: str) -> bool:
        """A connection broke; whether it is taken care of."""
        ws = self.scheduler.workers[address]
        if (
            address in self._leaving
            or self.terms.grace_s <= 0
            or dask_links.says_goodbye(ws)
        ):
            self._leaving.discard(address)
            return False
        self._go_away(address, self.terms.grace_s)
        return True

    def beats(self, address: str) -> None:
        """A worker lives, and says what it is at."""
        for beats in self._attentive:
            beats(address)

    def may_return(self, address: str) -> bool:
        """Whether one that is not known may yet register."""
        return (
            not self._open.is_set() or address in self._late or address in self.expected
        )

    def leaving(self, addresses: Iterable[str], leave: bool) -> None:
        """Workers are made to end, or that is over."""
        if leave:
            self._leaving.update(addresses)
        else:
            self._leaving.difference_update(addresses)

    def is_away(self, address: str) -> bool:
        """Whether its connection is broken, and it may come back."""
        return address in self.absent

    # -- who is away -------------------------------------------------------------------

    def _go_away(self, address: str, grace_s: float) -> None:
        scheduler, now = self.scheduler, time.monotonic()
        ws = scheduler.workers[address]
        before = self.absent.pop(address, None)
        if before is not None:
            before.over()
        ran_s = dask_links.running_for(ws, time.time())
        self.absent[address] = absence = Absence(now, ran_s)
        self.links.put_away(address)
        scheduler.log_event(address, {"action": "dtf-worker-away"})
        logger.info("The connection to worker %s broke", address)
        absence.tasks = [
            asyncio.create_task(self._wait_for(address, absence, grace_s)),
            asyncio.create_task(self._probe(address, absence)),
        ]

    async def put_absent(self, info: dict[str, Any]) -> None:
        """Know a worker of old that has not come; see `hold_leases`."""
        await self.links.add_absent(info)
        self.absent[info["address"]] = Absence(time.monotonic(), {})

    def hold_leases(self, addresses: Iterable[str]) -> None:
        """Leave what they run to workers that have not come, for as long as may be."""
        terms = self.terms.leases
        for address in addresses:
            absence, ws = self.absent[address], self.scheduler.workers[address]
            own, since = own_leases(ws), absence.since
            absence.leases = Leases(
                {ts.key: since + own.get(ts.key, terms.lease_s) for ts in ws.processing}
            )
            self._hold(address, absence)

    def take_brought(self) -> dict[str, Inventory]:
        """What the workers brought that are here, to be taken over by the caller."""
        self._scheduling = True
        here = [one for one in self.brought if one in self.scheduler.workers]
        return {address: self.brought.pop(address) for address in here}

    def _hold(self, address: str, absence: Absence) -> None:
        absence.tasks.append(asyncio.create_task(self._wait_leases(address, absence)))

    async def _wait_for(self, address: str, absence: Absence, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        await self._give_up(address, absence, "grace-over")

    async def _give_up(self, address: str, absence: Absence, why: str) -> None:
        """Have others do what it was to do, but for what it has a lease of."""
        if self.absent.get(address) is not absence or absence.leases is not None:
            return
        terms, now = self.terms.leases, time.monotonic()
        ws = self.scheduler.workers[address]
        held = leases(absence.ran_s, own_leases(ws), terms, absence.since, now)
        if not held.until or (why == "gone" and is_here(address)):
            await self._remove(address, why)
            return
        absence.leases = held
        dask_links.keep_only(self.scheduler, address, held.until)
        self.scheduler.log_event(
            address, {"action": "dtf-worker-leased", "keys": list(held.until)}
        )
        self._hold(address, absence)

    async def _wait_leases(self, address: str, absence: Absence) -> None:
        while self.absent.get(address) is absence and absence.leases is not None:
            at = absence.leases.next_at()
            if at is None:
                await self._remove(address, "lease-over")
                return
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            over = absence.leases.over(time.monotonic())
            absence.leases = absence.leases.without(over)
            if absence.leases.until:
                for key in over:
                    dask_links.release(self.scheduler, address, key)

    async def _probe(self, address: str, absence: Absence) -> None:
        if await process_is_gone(address, self.terms.grace_s):
            await self._give_up(address, absence, "gone")

    async def _remove(self, address: str, why: str) -> None:
        self.absent.pop(address).over()
        self._note_late(address)
        logger.info("Worker %s is removed: %s", address, why)
        await self.links.remove(address, why)

    def _note_late(self, address: str) -> None:
        self._late[address] = self.scheduler.workers[address].server_id
        if len(self._late) > _LATE_MAX:
            del self._late[next(iter(self._late))]

    def forget(self, address: str) -> None:
        """A worker is removed, for whatever reason."""
        absence = self.absent.pop(address, None)
        if absence is not None:
            absence.over()
        self.brought.pop(address, None)
        self._resumes.pop(address, None)

    async def close(self) -> None:
        """Nobody waits any more."""
        for absence in self.absent.values():
            absence.over()
        self.absent.clear()


def _has_anything(inventory: Inventory) -> bool:
    return bool(inventory.memory or inventory.running or inventory.erred)
