"""Takes work that has not begun from busy slots, for those that have none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dtf_dask.runs.batch_lanes import Revocation
from dtf_dask.runs.out_batches import OutBatches
from dtf_dask.runs.roster import Slot

if TYPE_CHECKING:
    from dtf_dask.runs.planning import RunPlanner


class TakingBack:
    """One question at a time for each idle slot.

    Parameters
    ----------
    ask
        ``await ask(address, op, **arguments)``: a plain message to a worker.
    run_id
        Whose work it is.
    planner, out, slots
        Of the run: who decides, what is out, and where.
    news
        Set when a question has been answered.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[Any]],
        run_id: str,
        planner: RunPlanner,
        out: OutBatches,
        slots: Mapping[str, Slot],
        news: asyncio.Event,
    ) -> None:
        self._ask, self._run_id = ask, run_id
        self._planner, self._out, self._slots = planner, out, slots
        self._news = news
        self._asking: set[str] = set()  # slots for which work is being taken back

    def due(self, now: float) -> Iterator[Awaitable[None]]:
        """The questions that are to be asked now, each of them to be awaited."""
        for slot in self._slots.values():
            if not slot.outstanding and slot.name not in self._asking:
                revocation = self._planner.revocation(slot.name, now=now)
                if revocation is not None:
                    self._asking.add(slot.name)
                    yield self._take_back(slot.name, revocation)

    async def _take_back(self, idle: str, revocation: Revocation) -> None:
        batch = revocation.batch_id
        slot = self._slots.get(self._out.slot(batch))
        given: list[int] = []
        try:
            if slot is not None:
                numbers = await self._ask(
                    slot.address,
                    "dtf_revoke",
                    run=self._run_id,
                    slot=slot.name,
                    batch=batch,
                    numbers=list(revocation.indices),
                )
                given = self._out.take_back(batch, numbers or ())
        except Exception as error:  # its worker may be gone, or Dask's line to it
            logging.getLogger(__name__).debug("nothing from %s: %s", slot, error)
        finally:
            self._planner.revoked(batch, given)
            self._asking.discard(idle)
            self._news.set()
