"""Gives the results of a run to the cluster of coordinators that it runs on.

They go into its ledger, and from there into the results of every node. Whoever had the
run made has them besides: what becomes of the feed never reaches the run.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import distributed

from dtf_dask.model import Attempt, CaseId, Run
from dtf_dask.quantities import format_duration
from dtf_dask.runs.results.portions import (
    attempt_record,
    case_records,
    end_record,
    portions,
)

logger = logging.getLogger(__name__)

GATHER_S = 0.5
CLOSE_S = 60.0  # nobody waits longer for the ledger
HURRIED_S = 3.0  # nor so long who has pressed Ctrl-C
_LONG_S = 3.0  # by then somebody may want to know what is waited for
WAITING_MAX = 100_000  # attempts, while nobody leads
_AGAIN_S = 0.2


class ResultsFeed:
    """Sends what is put into it, in order, to whoever leads, until it has it.

    Parameters
    ----------
    client
        Of a cluster of coordinators; made and used on its loop.
    notice
        Told in words if the cluster does not get all.
    waits
        Told in words that it is still given what is left.
    """

    def __init__(
        self,
        client: distributed.Client,
        run: Run,
        case_ids: Sequence[CaseId],
        notice: Callable[[str], None],
        waits: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._run = client, run
        self._notice, self._waits = notice, waits
        self._records: list[dict[str, Any]] = list(case_records(case_ids))
        self._name = secrets.token_hex(8)
        self._number = self._left_out = 0
        self._news = asyncio.Event()
        self._ends = asyncio.Event()
        self._task = asyncio.ensure_future(self._feed())

    def put(self, attempt: Attempt) -> None:
        """Give an attempt soon."""
        if len(self._records) < WAITING_MAX and not self._task.done():
            self._records.append(attempt_record(attempt))
            self._news.set()
        else:
            self._left_out += 1

    async def close(
        self,
        status: str,
        exit_code: int | None,
        finished_at: float,
        environment: Mapping[str, Any],
        patience_s: float = CLOSE_S,
    ) -> None:
        """Give what is left, and how the run ended."""
        end = end_record(status, exit_code, finished_at, environment)
        self._records.append(end)
        self._ends.set()
        self._news.set()
        saying = asyncio.get_running_loop().call_later(
            _LONG_S,
            self._waits,
            "the cluster has not taken all results of this run yet; it has"
            f" {format_duration(patience_s)}",
        )
        try:
            await asyncio.wait_for(self._task, patience_s)
        except TimeoutError:
            self._notice(
                "the cluster did not take all results of this run; they are in the"
                " results store of this client"
            )
        finally:
            saying.cancel()
        if self._left_out:
            self._notice(f"{self._left_out:,} results were not given to the cluster")

    async def _feed(self) -> None:
        try:
            while self._records or not self._ends.is_set():
                if not self._records:
                    await self._news.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ends.wait(), GATHER_S)
                self._news.clear()
                records, self._records = self._records, []
                for portion in await asyncio.to_thread(self._packed, records):
                    await self._give(portion)
        except Exception as error:  # it is of no use to anybody, and harms nobody
            self._notice(f"the cluster takes no results of this run: {error}")

    def _packed(self, records: Sequence[dict[str, Any]]) -> list[bytes]:
        return list(portions(self._run, records))

    async def _give(self, portion: bytes) -> None:
        self._number += 1
        scheduler: Any = self._client.scheduler
        while True:
            try:
                await scheduler.dtf_results(
                    run=self._run.id,
                    feed=self._name,
                    number=self._number,
                    portion=portion,
                )
                return
            except OSError as error:
                if self._client.status in ("closing", "closed"):
                    raise
                logger.debug("nobody takes results: %s", error)
                await asyncio.sleep(_AGAIN_S)
