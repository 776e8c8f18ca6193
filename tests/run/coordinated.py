"""What tests of runs ask of coordinators: who leads, and what each node has kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from distributed.core import rpc
from machine_pace import slowness

from dtf_dask.errors import ResultsUnavailableError, UsageError
from dtf_dask.runs.results.store import ResultsStore

_ANSWER_S = 5.0
_WAIT_S = 60.0


async def _standing(address):
    scheduler = rpc(address)
    try:
        return await asyncio.wait_for(scheduler.dtf_standing(), _ANSWER_S)
    finally:
        await scheduler.close_rpc()


def standing(address):
    """What who leads says of himself; `OSError`, `TimeoutError` if nobody does."""
    return asyncio.run(_standing(address))


def await_workers(address, count):
    """Somebody leads, and has so many workers."""
    deadline = time.monotonic() + _WAIT_S * slowness()
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            if standing(address)["workers"] >= count:
                return
        assert time.monotonic() < deadline, "the cluster did not come up"
        time.sleep(0.1)


def kept(path, run_ref="last"):
    """How a run stands in the store of a node, and what is kept of its attempts.

    None if it is not there.
    """
    with (
        contextlib.suppress(UsageError, ResultsUnavailableError),
        ResultsStore.open(str(path), create=False) as store,
    ):
        run = store.run(run_ref)
        return run, Counter(
            (one.case_id, one.number, one.outcome.value, one.detail)
            for one in store.attempts(run.id)
        )
    return None


def await_kept(path, folder):
    """A node comes to have of the last run what is kept where it was started."""
    deadline = time.monotonic() + _WAIT_S * slowness()
    own, attempts = kept(folder / ".dtf" / "results.sqlite")
    while True:
        there = kept(path, own.id)
        if there is not None and (there[0].status, there[1]) == (own.status, attempts):
            return own, attempts
        assert time.monotonic() < deadline, f"{path} has {there}, not {attempts}"
        time.sleep(0.2)
