"""What holds keys: it stands for a client that wants them, as Dask has it.

Wishes go through the journal, so that they have their place among what clients say: a
key is wanted before anybody is told that it is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from distributed import Scheduler
from distributed.utils import Deadline

from dtf_dask.standby.dask_primitives import wants
from dtf_dask.standby.primitives_keeper import Keeper

_LOOK_S = 0.01


class Holders:
    """What all that hold keys share: wishing for them, and giving them up."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler = scheduler
        self._keeper = keeper
        self._turns: dict[Any, asyncio.Lock] = {}

    async def wish(self, holder: str, key: Any, deadline: Deadline) -> None:
        """Have a holder want a key, once the scheduler knows it.

        Raises
        ------
        TimeoutError
            The scheduler does not know the key.
        KeyError
            All let go of it at this very moment.
        """
        while key not in self._scheduler.tasks:
            await asyncio.sleep(_LOOK_S)
            if deadline.expired:
                raise TimeoutError(f"Task {key} unknown to scheduler.")
        self._keeper.desire(holder, [key])
        await self._keeper.committed()
        if key not in wants(self._scheduler, holder):
            raise KeyError(f"{key} was released before {holder} could hold it")

    async def hand_over(self, client: str | None, keys: Sequence[Any]) -> bool:
        """Have a client want keys that it is given; whether it is known here."""
        if client is None or client not in self._scheduler.clients:
            return False
        if keys:
            self._keeper.desire(client, keys)
            await self._keeper.committed()
        return True

    def desired(self, keys: Iterable[Any], client: str) -> None:
        """A client says that it has futures of keys now."""
        if client in self._scheduler.clients:
            self._keeper.desire(client, keys)

    def gone(self, holder: str) -> None:
        """A holder is deleted, with all its wishes."""
        if holder in self._scheduler.clients:
            self._keeper.gone(holder)

    def all_of(self, prefix: str) -> list[str]:
        """The holders of one sort that there are."""
        return [one for one in self._scheduler.clients if one.startswith(prefix)]

    def give_up_all_but(self, holder: str, held: Iterable[Any]) -> None:
        """After a takeover: end wishes for what was never held, or was taken."""
        if over := wants(self._scheduler, holder).difference(held):
            self._keeper.release(holder, sorted(over, key=str))

    def turn(self, name: Any) -> asyncio.Lock:
        """Changes of one name take turns."""
        if len(self._turns) > 1_000:
            self._turns = {
                one: lock for one, lock in self._turns.items() if lock.locked()
            }
        return self._turns.setdefault(name, asyncio.Lock())


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Have something done that nobody waits for."""
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


_background: set[asyncio.Task[None]] = set()
