"""Events, semaphores, locks and multi-locks: what must never be had twice.

A lease is told of when it is in the ledger, and given again when its end is. After a
takeover its holder has all its time anew: nobody could refresh it meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Scheduler

from dtf_dask.standby.dask_primitives import (
    Handler,
    on_lease,
    restore_event,
    restore_lease,
)
from dtf_dask.standby.primitives_keeper import Keeper
from dtf_dask.standby.primitives_records import key_of_text

logger = logging.getLogger(__name__)


class Events:
    """Dask's events: those that are set have a record."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._keeper = keeper
        self._own = scheduler.extensions["events"]
        self.changes: Mapping[str, Handler] = {
            "event_set": self.set,
            "event_clear": self.clear,
        }
        self.looks: Mapping[str, Handler] = {
            "event_wait": self._own.event_wait,
            "event_is_set": self._own.event_is_set,
        }

    def restore(self, name: Any) -> None:
        """An event that was set."""
        restore_event(self._own, name)

    def set(self, name: Any) -> None:
        """As Dask's."""
        self._keeper.put("event", key_of_text(name))
        self._own.event_set(name=name)

    def clear(self, name: Any) -> None:
        """As Dask's."""
        self._keeper.drop("event", key_of_text(name))
        self._own.event_clear(name=name)


class Semaphores:
    """Dask's semaphores, and its locks, which are semaphores of one lease."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._keeper = keeper
        self._own = scheduler.extensions["semaphores"]
        on_lease(self._own, self._given, self._ended)
        self.changes: Mapping[str, Handler] = {
            "semaphore_register": self.create,
            "semaphore_acquire": self._own.acquire,
            "semaphore_release": self._own.release,
            "semaphore_close": self.close,
        }
        self.looks: Mapping[str, Handler] = {
            "semaphore_value": self._own.get_value,
            "semaphore_refresh_leases": self.refresh,
        }

    def restore(self, name: Any, leases_max: int, timeout_s: float | None) -> None:
        """A semaphore of before."""
        self._own.max_leases[name] = leases_max
        self._own.lease_timeouts[name] = timeout_s

    def restore_lease(self, name: Any, lease_id: str) -> None:
        """A lease that somebody has."""
        if name in self._own.max_leases:
            restore_lease(self._own, name, lease_id)
        else:
            self._keeper.drop("lease", name, lease_id)

    def create(self, name: Any, max_leases: int, lease_timeout: float | None) -> None:
        """As Dask's."""
        self._own.create(name=name, max_leases=max_leases, lease_timeout=lease_timeout)
        timeout_s = self._own.lease_timeouts[name] or None
        self._keeper.put("semaphore", key_of_text(name), max_leases, timeout_s)

    def close(self, name: Any) -> None:
        """As Dask's."""
        for lease_id in list(self._own.leases.get(name, ())):
            self._keeper.drop("lease", key_of_text(name), lease_id)
        self._keeper.drop("semaphore", key_of_text(name))
        self._own.close(name=name)

    def refresh(self, name: Any, lease_ids: Sequence[str]) -> None:
        """As Dask's, but a lease that ended is not had beside those given since.

        Raises
        ------
        RuntimeError
            One ended, and all that there are were given to others.
        """
        leases = self._own.leases[name]
        room = self._own.max_leases.get(name, 0) - len(leases)
        ended = [one for one in lease_ids if one not in leases]
        for lease_id in ended[: max(room, 0)]:
            self._given(name, lease_id)
            restore_lease(self._own, name, lease_id)
        known = [one for one in lease_ids if one in leases]
        if known:
            self._own.refresh_leases(name=name, lease_ids=known)
        if lost := ended[max(room, 0) :]:
            raise RuntimeError(
                f"{len(lost)} of the leases of {name!r} timed out and were given to"
                " others: what they guarded is no longer yours"
            )

    def _given(self, name: Any, lease_id: str) -> None:
        self._keeper.put("lease", key_of_text(name), lease_id)

    def _ended(self, name: Any, lease_id: str) -> None:
        self._keeper.drop("lease", key_of_text(name), lease_id)
        self._keeper.soon()


class MultiLocks:
    """Dask's multi-locks: who has which. Who waits asks again after a takeover."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._keeper = keeper
        self._own = scheduler.extensions["multi_locks"]
        self.changes: Mapping[str, Handler] = {
            "multi_lock_acquire": self.acquire,
            "multi_lock_release": self.release,
        }
        self.looks: Mapping[str, Handler] = {}

    def restore(self, user: str, held: tuple[str, ...]) -> None:
        """Somebody has locks."""
        taken = [lock for lock in held if self._own.locks.get(lock)]
        if taken:
            logger.error("Locks that somebody had are another's: %s", taken)
        self._own.requests[user] = set(held).difference(taken)
        self._own.requests_left[user] = 0
        for lock in self._own.requests[user]:
            self._own.locks[lock].append(user)

    async def acquire(
        self,
        locks: Sequence[str],
        id: str,
        timeout: float | None = None,
        num_locks: int | None = None,
    ) -> bool:
        """As Dask's."""
        got: bool = await self._own.acquire(
            locks=list(locks), id=id, timeout=timeout, num_locks=num_locks
        )
        if got:
            mine = sorted(self._own.requests[id])
            held = tuple(lock for lock in mine if self._own.locks[lock][:1] == [id])
            self._keeper.put("multi-lock", id, held)
        return got

    def release(self, id: str) -> None:
        """As Dask's."""
        self._own.release(id=id)
        self._keeper.drop("multi-lock", id)
