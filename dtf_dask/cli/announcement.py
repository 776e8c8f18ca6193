"""A preload of ``dtf scheduler``: says where it listens, to scripts and to people."""

from __future__ import annotations

import click
from distributed import Scheduler


def dask_setup(scheduler: Scheduler) -> None:
    """Print the address: one line on stdout, what to do with it on stderr."""
    address = scheduler.address
    click.echo(
        f"Add workers with `dtf worker {address}`, run tests with "
        f"`pytest --dtf={address}`. Ctrl-C ends.",
        err=True,
    )
    click.echo(f"DTF_SCHEDULER={address}")
