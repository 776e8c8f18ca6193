"""Asks workers what a test that runs there has written so far."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed import Scheduler

from dtf_dask.view.tails import CASES_MAX, ITEMS_MAX, OP, WORKERS_MAX, end_of

ANSWER_S = 4.0


def install(scheduler: Scheduler) -> None:
    """Have a scheduler answer it."""

    async def told(run: Any = "", case: Any = "", workers: Any = ()) -> Any:
        return await tails(scheduler, run, case, workers)

    scheduler.handlers[OP] = told


async def tails(
    scheduler: Scheduler, run: Any, case: Any, workers: Any
) -> dict[str, Any]:
    """What a case of a run has written: ``items``, by the worker.

    Parameters
    ----------
    case
        Its id; empty for which cases run.
    workers
        Addresses of those that may run it; who is gone is passed over.
    """
    there = [
        one
        for one in (workers if isinstance(workers, list | tuple) else ())
        if isinstance(one, str) and one in scheduler.workers
    ]
    message = {"op": OP, "run": str(run), "case": str(case)}
    found = await asyncio.gather(
        *(_told(scheduler, one, message) for one in there[:WORKERS_MAX])
    )
    most = ITEMS_MAX if case else CASES_MAX
    return {"items": [item for items in found for item in items][:most]}


async def _told(
    scheduler: Scheduler, address: str, message: dict[str, Any]
) -> list[dict[str, Any]]:
    """By one worker; nothing if it does not answer, or knows no such question."""
    try:
        state = scheduler.workers[address]
        async with asyncio.timeout(ANSWER_S):
            told = await scheduler.broadcast(
                msg=dict(message), workers=[address], on_error="return"
            )
        return [
            {
                "case_id": str(one.get("case", message["case"])),
                "worker": str(state.name),
                "host": str(state.host),
                "for_s": round(float(one["for_s"]), 1),
                "stdout": end_of(str(one["stdout"])),
                "stderr": end_of(str(one["stderr"])),
            }
            for one in told[address]
        ]
    except (TimeoutError, OSError, LookupError, TypeError, ValueError):
        return []
