"""What makes a stock `distributed.Client` outlive its scheduler.

Dask loads it if its configuration says ``distributed.client.preload:
dtf_dask.durable.client_preload``. `configure` says so for this process.
"""

from __future__ import annotations

from typing import Any

import dask.config

from dtf_dask.durable.client_methods import DurableMethods, attach
from dtf_dask.errors import DtfError

MODULE = __name__
_KEY = "distributed.client.preload"


async def dask_setup(client: Any) -> None:
    """Attach the durable half to a client that has just connected; called by Dask."""
    if isinstance(client, DurableMethods):
        return
    half = attach(client)
    try:
        await half.greeted(client._timeout)
    except OSError:
        await half.reconnect()  # who led died as it let this client in
    except DtfError as error:
        # Whoever made the client goes on with it: it had better be closed.
        half.give_up(error)
        await client._close(fast=True)
        raise


def configure() -> None:
    """Have all clients that this process makes from now on get it."""
    configured = dask.config.get(_KEY, None) or []
    chosen = [configured] if isinstance(configured, str) else list(configured)
    if MODULE not in chosen:
        dask.config.set({_KEY: [*chosen, MODULE]})
