"""What the scheduler process of a node does with results of runs, leading or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distributed import Scheduler
from distributed.core import rpc

from dtf_dask.standby.results_records import Durability, ResultsRecords
from dtf_dask.standby.results_view import ResultsView

logger = logging.getLogger(__name__)

TELL_S = 2.0
_ANSWER_S = 10.0


class ResultsHere:
    """Keeps them in the node's own store, and says so to who leads.

    Parameters
    ----------
    hello
        What the node said first. Its ``options`` name the folder (``results``) and the
        coordinators (``names``); without a folder nothing is kept.
    """

    def __init__(self, scheduler: Scheduler, hello: Mapping[str, Any]) -> None:
        self._scheduler, self._hello = scheduler, hello
        folder = hello["options"].get("results")
        self._view = ResultsView(Path(folder)) if folder else None
        self._records: ResultsRecords | None = None

    def change(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """What changed in the ledger."""
        if self._view is not None:
            self._view.change(changes)

    def lead(self, durability: Durability) -> None:
        """This scheduler leads: it takes results of clients from now on."""
        if self._view is None:
            return
        names = self._hello["options"].get("names") or {self._hello["node"]: ""}
        self._records = ResultsRecords(durability, map(int, names), self._view.change)
        self._scheduler.handlers.update(self._records.handlers)

    async def run(self) -> None:
        """Tell who leads what is kept here, as long as it is a record too."""
        if self._view is None:
            return
        while True:
            await asyncio.sleep(TELL_S)
            keys = self._view.held()
            if not keys:
                continue
            try:
                await asyncio.wait_for(self._tell(keys), _ANSWER_S)
            except Exception as error:  # there may be no leader
                logger.debug("nobody hears what this node has: %s", error)

    async def _tell(self, keys: list[str]) -> None:
        node = self._hello["node"]
        if self._records is not None:
            await self._records.held(node, keys)
            return
        scheduler = self._scheduler
        leader: Any = rpc(
            self._hello["contact"], connection_args=scheduler.connection_args
        )
        async with leader:
            await leader.dtf_results_held(node=node, keys=keys)
