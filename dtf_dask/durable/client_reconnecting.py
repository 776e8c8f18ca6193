"""How a client that lost its scheduler finds the next one, or gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from dtf_dask.durable import dask_client
from dtf_dask.errors import ClusterUnreachableError, DtfError
from dtf_dask.quantities import format_duration

logger = logging.getLogger(__name__)

_AGAIN_S = 0.05  # between two attempts to connect, each of which waits for a leader


async def reconnect(
    client: Any, patience_s: float, give_up: Callable[[Exception], None]
) -> None:
    """Look for a scheduler until one has let the client in; else close the client.

    Parameters
    ----------
    client
        One whose stream has broken.
    give_up
        Is called with the reason before the client is closed.
    """
    clock = asyncio.get_running_loop().time
    client.status = "connecting"
    dask_client.drop_stream(client)
    begun = clock()
    logger.info("A client lost its scheduler, and looks for the next one")
    why = f"no scheduler leads since {format_duration(patience_s)}"
    said = ""
    while client.status == "connecting":
        left_s = patience_s - (clock() - begun)
        if left_s <= 0:
            give_up(ClusterUnreachableError(f"{why} (ha.client-patience){said}"))
            break
        try:
            await client._ensure_connected(timeout=min(left_s, client._timeout))
        except OSError as error:
            said = f": {error}" if str(error) else said
            await asyncio.sleep(_AGAIN_S)
        except (ImportError, DtfError) as error:
            give_up(error)
            break
        except Exception as error:
            # As one that closes has none of what it connects with. Else nobody would
            # listen any more, and futures wait for ever: so it is tried on.
            if client.status != "connecting":
                break
            if said != f": {error!r}":
                said = f": {error!r}"
                logger.exception("A client cannot connect, and tries again")
            await asyncio.sleep(_AGAIN_S)
        else:
            if client.status == "running":
                logger.info("A scheduler leads again, after %.2f s", clock() - begun)
    if client.status == "connecting":
        await client._close(fast=True)
