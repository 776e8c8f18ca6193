"""Which workers are there: as the scheduler tells, and after another one leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from dtf_dask.errors import DtfError
from dtf_dask.runs.roster import Roster, Slot
from dtf_dask.runs.task_set import TaskSet

logger = logging.getLogger(__name__)

_JOINS, _JOIN_AGAIN_S = 5, 1.0  # for one that cannot be reached
_LOOKS, _LOOK_AGAIN_S = 10, 0.5  # while the scheduler does not wait for any


class Attendance:
    """Has workers opened that come, and tells of those that go.

    Parameters
    ----------
    roster
        Of the run.
    came, gone
        Told the slots that are ready, and the address of a worker that is no more.
    refused
        Told why a worker cannot be used.
    """

    def __init__(
        self,
        roster: Roster,
        came: Callable[[Sequence[Slot]], None],
        gone: Callable[[str], None],
        refused: Callable[[DtfError], None],
    ) -> None:
        self._roster = roster
        self._came, self._gone, self._refused = came, gone, refused
        self._tasks = TaskSet()

    async def open_all(self) -> None:
        """Make all ready that are there; `DtfError` when one cannot be.

        Of those that cannot be reached some may be there yet: they are asked again.
        """
        slots, unreached = await self._roster.open_all()
        self._came(slots)
        for address in unreached:
            self._tasks.begin(self._join(address))

    def hear(self, event: tuple[float, Any]) -> None:
        """What the scheduler tells everybody."""
        message = event[1]
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            self._gone(message["worker"])
        elif message.get("action") == "add-worker":
            self._tasks.begin(self._join(message["worker"]))

    def replaced(self, address: str) -> None:
        """A worker was started anew where another one was."""
        self._gone(address)
        self._tasks.begin(self._join(address))

    def look(self) -> None:
        """Another scheduler leads: who did not come to it is gone, after a while.

        Those that it never had it does not call removed.
        """
        self._tasks.begin(self._look())

    def close(self) -> None:
        """Open none any more."""
        self._tasks.cancel()

    async def _join(self, address: str) -> None:
        for _ in range(_JOINS):
            try:
                self._came(await self._roster.join(address))
                return
            except DtfError as error:
                self._refused(error)
                return
            except OSError as error:
                logger.debug("worker %s is not reached: %s", address, error)
                await asyncio.sleep(_JOIN_AGAIN_S)

    async def _look(self) -> None:
        try:
            await self._look_for_all()
        except OSError as error:  # the client closes, or gives up: others hear that
            logger.debug("nobody tells which workers are there: %s", error)

    async def _look_for_all(self) -> None:
        looks = 0
        while looks < _LOOKS:
            looks += not await self._roster.settles()
            there = await self._roster.there()
            missed = [a for a in self._roster.addresses() if a not in there]
            if not missed:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        for address in missed:
            self._gone(address)
        for address in there:
            await self._join(address)
