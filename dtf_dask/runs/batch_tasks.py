"""The Dask tasks of a run's batches: sent, and what is heard of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import dask
import distributed

from dtf_dask.errors import OverloadedError
from dtf_dask.worker_plugins.runner.plugin import batch_key, run_batch


def submit_batch(
    client: distributed.Client,
    address: str,
    asked: Mapping[str, object],
    run_id: str,
    slot: str,
    batch: int,
    *arguments: Any,
) -> distributed.Future:
    """Send a batch to the worker that has its slot.

    Parameters
    ----------
    asked
        What the scheduler is told of it.
    arguments
        The rest of those of `run_batch`.
    """
    with dask.annotate(dtf=dict(asked)) if asked else nullcontext():
        return client.submit(
            run_batch,
            run_id,
            slot,
            batch,
            *arguments,
            key=batch_key(run_id, batch),
            workers=[address],
            pure=False,
        )


async def cause_of_end(future: distributed.Future) -> str:
    """Wait for a batch's Dask task; why it is over, in words.

    Empty if it has not run at all: the scheduler had no room for it.
    """
    try:
        await future
    except asyncio.CancelledError:
        if future.status != "cancelled":
            raise
        return "its Dask task was cancelled"
    except OverloadedError:
        return ""
    except Exception as error:  # whatever a worker may raise
        return f"its Dask task failed: {error!r}"
    return "its Dask task ended without a word"
