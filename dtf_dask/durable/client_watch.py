"""A connection that hangs in the air: its end is gone, and nobody says so.

A scheduler that is cut off from this client, and is killed for it, cannot close its
connections: for half a minute, until the kernel gives up, they look as any that are
quiet. So the client asks now and then who leads, by a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from dtf_dask.durable import dask_client

logger = logging.getLogger(__name__)

LOOKS_S = (8.0, 12.0)
"""Between two looks; at random, so that clients do not march."""
_PATIENCE_S = 5.0


async def watch(client: Any, term: Callable[[], int | None]) -> None:
    """Break the client's stream when somebody leads a later term; never returns.

    Parameters
    ----------
    term
        The term of the scheduler that the client speaks to; None while there is none.
    """
    while True:
        await asyncio.sleep(random.uniform(*LOOKS_S))
        ours = term()
        if ours is None:
            continue
        theirs = await dask_client.term_of_leader(client, _PATIENCE_S)
        if theirs is not None and theirs > ours and term() == ours:
            logger.warning(
                "The scheduler of term %d is gone without a word: one of term %d leads",
                *(ours, theirs),
            )
            dask_client.break_stream(client)
