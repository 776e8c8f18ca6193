"""Nodes that run until Ctrl-C, and what runs beside them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

import click

from dtf_dask.ha.redundancy import RedundancyManager


async def _nothing() -> None:
    """Nothing runs beside them."""


def until_stopped(
    managers: Sequence[RedundancyManager],
    ready: Callable[[], None],
    beside: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Start nodes, wait for Ctrl-C or SIGTERM, end them.

    Parameters
    ----------
    ready
        Called when all take part.
    beside
        Awaited when they are to end, before they do.
    """

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stopped.set)
        try:
            await asyncio.gather(*(manager.start() for manager in managers))
            ready()
            await stopped.wait()
            click.echo("Ending: what was acknowledged is on the disk.", err=True)
        finally:
            await beside()
            await asyncio.gather(*(manager.stop() for manager in managers))

    asyncio.run(run())
