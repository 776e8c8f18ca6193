"""What the scheduler process of a node does with results of runs, leading or not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Scheduler

from dtf_dask.errors import ProtocolError
from dtf_dask.standby.leader_line import LeaderLine
from dtf_dask.standby.results_records import Durability, ResultsRecords
from dtf_dask.standby.results_view import ResultsView
from dtf_dask.view import records as view_records

if TYPE_CHECKING:
    from dtf_dask.runs.results.progress import Progress

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
    line
        To who leads.
    """

    def __init__(
        self, scheduler: Scheduler, hello: Mapping[str, Any], line: LeaderLine
    ) -> None:
        self._scheduler, self._hello, self._line = scheduler, hello, line
        folder = hello["options"].get("results")
        self._view = ResultsView(Path(folder)) if folder else None
        self._records: ResultsRecords | None = None

    def change(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """What changed in the ledger."""
        if self._view is not None:
            self._view.change(changes)

    def lead(
        self,
        durability: Durability,
        told: Callable[[str, dict[str, Any]], None] = lambda run, seen: None,
    ) -> None:
        """This scheduler leads: it takes results of clients from now on.

        Parameters
        ----------
        told
            Told how far a run is, as it is to be seen (`dtf_dask.view.records`).
        """
        if self._view is None:
            return
        loop = asyncio.get_running_loop()

        def moved(found: Progress) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody looks any more
                loop.call_soon_threadsafe(told, str(found.run.id), _seen(found))

        self._view.told = moved
        # Who led before may have died between a run's end and its being seen.
        self._view.look(_going_on(durability))
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
            except Exception as error:  # nobody may be there to write it down
                logger.debug("nobody hears what this node has: %s", error)

    async def _tell(self, keys: list[str]) -> None:
        node = self._hello["node"]
        if self._records is not None:
            await self._records.held(node, keys)
            return
        await self._line.ask("dtf_results_held", _ANSWER_S, node=node, keys=keys)


def _seen(found: Progress) -> dict[str, Any]:
    """A run as it is to be seen."""
    run = found.run
    return {
        "run": str(run.id),
        "suite": run.suite,
        "status": run.status,
        "tenant": str(run.policy.get("tenant", "")),
        "class": str(run.policy.get("priority_class", "")),
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "at": time.time(),
        "planned": run.cases_planned,
        "counts": found.counts,
        "flaky": found.flaky,
        "exit_code": run.exit_code,
    }


def _going_on(durability: Durability) -> Iterator[str]:
    """Runs that are not seen to have ended."""
    for key, value in durability.records(view_records.PREFIX + "run/"):
        try:
            record = view_records.decoded("run", value)
        except ProtocolError as error:  # of another version
            logger.debug("it is not known what %s is: %s", key, error)
            continue
        if record["status"] == "running":
            yield str(record["run"])
