"""``dtf dev --coordinators 0``: one scheduler, without anybody to take over."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading

import click

from dtf_dask.cli.dev_parts import end, started, started_workers
from dtf_dask.errors import ClusterUnreachableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import shown_address

_LOOK_S = 0.2


def alone(workers: int, dashboard: str, web: Address | None) -> None:
    """Run them until Ctrl-C.

    Raises
    ------
    ClusterUnreachableError
        The scheduler ended by itself.
    """
    stopped = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stopped.set())
    with contextlib.ExitStack() as stack:
        words = ("--port", "0", "--dashboard-address", dashboard)
        scheduler = started("scheduler", *words, stdout=subprocess.PIPE)
        stack.callback(end, scheduler)
        assert scheduler.stdout is not None
        stack.enter_context(scheduler.stdout)
        address = scheduler.stdout.readline().decode().partition("=")[2].strip()
        if address:
            click.echo(address)
            sys.stdout.flush()
            if web is not None:
                served = started("web", address, "--web", shown_address(web))
                stack.callback(end, served)
            for part in started_workers(address, workers):
                stack.callback(end, part)
        while scheduler.poll() is None and not stopped.wait(_LOOK_S):
            pass
        if not stopped.is_set():
            raise ClusterUnreachableError(
                f"the scheduler ended, with code {scheduler.returncode}"
            )
