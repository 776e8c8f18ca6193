"""``dtf top``: what a cluster does now, in a terminal."""

from __future__ import annotations

import asyncio
import sys

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import chosen, json_option
from dtf_dask.cli.terminal_table import width
from dtf_dask.cli.top_screen import Screen, screen
from dtf_dask.cli.view_link import ASKED_S, Unanswered, ViewLink, seen_plain
from dtf_dask.errors import ClusterUnreachableError, SchedulingUnavailableError

_ALL_ROWS = 1_000
_DRAWN_S = 0.25


@click.command()
@click.argument("address", required=False)
@click.option("--once", is_flag=True, help="Show it once, and end.")
@json_option
def top(address: str | None, once: bool, as_json: bool) -> None:
    """Watch what a cluster does: what waits, who works on what, and what is wrong.

    ADDRESS is that of a scheduler, tcp://HOST:8786, or of all coordinators,
    dtf://HOST:8786,...: then it goes on with whoever leads next. By default it is
    Dask's scheduler-address. Ctrl-C ends it. In a pipe it shows everything once.
    """
    link = ViewLink(chosen(address, "dtf top tcp://HOST:8786"))
    if once or as_json or not sys.stdout.isatty():
        asyncio.run(_first(link, last=True))
        if as_json:
            print_json(seen_plain(link))
        else:
            show(screen(_seen(link), width(), _ALL_ROWS))
        return
    try:
        asyncio.run(_watch(link))
    except KeyboardInterrupt:
        pass  # that is how it ends


async def _first(link: ViewLink, *, last: bool = False) -> None:
    """The first answer; without it there is nothing to watch."""
    try:
        await link.ask()
    except Unanswered as error:
        if not error.known:
            raise SchedulingUnavailableError(
                f"{link.address}: {error.why}; start it with `dtf scheduler`, `dtf "
                "coordinator` or `dtf dev`, of this version"
            ) from error
        raise ClusterUnreachableError(
            f"no scheduler answers at {link.address}: {error.why}"
        ) from error
    finally:
        if last:
            await link.close()


async def _watch(link: ViewLink) -> None:
    await _first(link)
    console = Console()
    asking = asyncio.create_task(_ask(link))
    try:
        # Drawn by this loop: a thread of its own would draw half of what changes.
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not asking.done():
                columns, rows = console.size
                lines = list(screen(_seen(link), columns, rows))
                live.update(Text("\n").join(lines), refresh=True)
                await asyncio.sleep(_DRAWN_S)
            asking.result()
    finally:
        asking.cancel()
        await link.close()


async def _ask(link: ViewLink) -> None:
    while True:
        await asyncio.sleep(ASKED_S)
        try:
            await link.ask()
        except Unanswered:
            pass  # the screen says so, and how old it is


def _seen(link: ViewLink) -> Screen:
    return Screen(
        link.model,
        link.address,
        now=link.now,
        age_s=link.age_s,
        per_s=link.per_s,
        trouble=link.trouble,
        alerts=link.alerts(),
        standing=link.standing,
    )
