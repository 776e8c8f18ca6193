"""Room in the scheduler's queue for the batches of a run: `BatchRoom`.

A run sends no batch that the scheduler would have to shed. It waits for as long as it
takes: it says so, and can be cancelled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import distributed

from dtf_dask.room_gate import RoomGate

_CALM, _PRESSED = 2, 1  # batches of a slot: one runs, and one waits behind it


class BatchRoom:
    """Asks for room on the client's loop, one batch at a time.

    Parameters
    ----------
    client
        Of the run. One of dtf's has a gate already; its room is the run's too.
    notice
        Hears, in words, that the run waits.
    priority_class
        Of the run as a whole, or None.
    """

    def __init__(
        self,
        client: distributed.Client,
        notice: Callable[[str], None],
        priority_class: str | None = None,
    ) -> None:
        own = getattr(client, "room_gate", None)
        self._gate = own or RoomGate(client)
        self._notice, self._priority_class = notice, priority_class
        self._asking = asyncio.Lock()

    async def look(self) -> None:
        """Find out how full the queue is, before the first batch."""
        if not self._gate.looked:
            await self._gate.look()

    @property
    def depth(self) -> int:
        """How many batches a slot may have with the scheduler and its worker."""
        told = self._gate.pressure
        return _CALM if told is None or told.state == "calm" else _PRESSED

    def take(self) -> bool:
        """Use room for one batch, if there is some."""
        if self._gate.take(1):
            self._gate.pay(1)  # a client of dtf does not ask again
            return True
        return False

    def give_back(self) -> None:
        """There is no batch to be sent after all."""
        if self._gate.take_paid(1):
            self._gate.give_back(1)

    async def wait(self, news: asyncio.Event) -> None:
        """Until there is room for one more, or nobody has to ask any more: say it."""
        if self._asking.locked():
            return
        async with self._asking:
            try:
                await self._gate.obtain(
                    1, math.inf, priority_class=self._priority_class, say=self._notice
                )
            except OSError:
                return  # the client closes; whoever drives sees that elsewhere
            self._gate.give_back(1)
        news.set()
