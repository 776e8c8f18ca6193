"""``dtf watch``: a run of tests as it goes, whoever leads, to its end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import address_option, chosen
from dtf_dask.cli.terminal_table import width
from dtf_dask.cli.view_link import ASKED_S, Unanswered, ViewLink
from dtf_dask.cli.watch_screen import watched
from dtf_dask.config import load
from dtf_dask.errors import (
    ClusterUnreachableError,
    SchedulingUnavailableError,
    UsageError,
)
from dtf_dask.view.records import Record

_BEGINS_S = 10.0
"""A run that was just started is to be seen by then."""
_NO_CODE = 1

Shown = Callable[[Record, ViewLink], None]


@click.command()
@click.argument("run", default="last")
@address_option
@click.option(
    "--json", "as_json", is_flag=True, help="A JSON object a line, for each change."
)
def watch(run: str, address: str | None, as_json: bool) -> None:
    """Watch a run of tests until it ends, and end with its exit code.

    RUN is its id, a beginning of it that is no other's, or 'last'. It goes on when
    another coordinator leads. Ctrl-C ends the watching, and not the run.
    """
    link = ViewLink(chosen(address, "dtf watch --address dtf://HOST:8786"))
    live = not as_json and sys.stdout.isatty()
    try:
        found = asyncio.run(_watch(link, run, live=live, as_json=as_json))
    except KeyboardInterrupt:
        raise SystemExit(2) from None
    if not as_json:
        show(watched(found, link.now, link.age_s, "", width()))
    code = found["exit_code"]
    raise SystemExit(_NO_CODE if code is None else code)


async def _watch(link: ViewLink, run: str, *, live: bool, as_json: bool) -> Record:
    try:
        await _ask(link)
        found = await _begun(link, run)
        key = str(found["run"])
        if not live:
            return await _follow(link, key, _line if as_json else lambda *_: None)
        console = Console()
        with Live(console=console, auto_refresh=False, transient=True) as screen:

            def draw(found: Record, link: ViewLink) -> None:
                lines = watched(
                    *(found, link.now, link.age_s, link.trouble, console.width)
                )
                screen.update(Text("\n").join(lines), refresh=True)

            return await _follow(link, key, draw, changes_only=False)
    finally:
        await link.close()


async def _follow(
    link: ViewLink, run: str, shown: Shown, *, changes_only: bool = True
) -> Record:
    """Show a run, until it ends: how it ended."""
    before: Record | None = None
    while True:
        found = _run(link, run)
        if found is None:
            raise UsageError(f"run {run} is no longer known there")
        if not (changes_only and found == before):
            shown(found, link)
            before = found
        if found["status"] != "running":
            return found
        await asyncio.sleep(ASKED_S / 2)
        await _ask(link)


async def _begun(link: ViewLink, run: str) -> Record:
    """The run that is meant, which may have yet to begin."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _BEGINS_S
    while (found := _run(link, run)) is None:
        if loop.time() > ends_at:
            known = sorted(str(one["run"]) for _, one in link.model.of_kind("run"))
            if known:
                there = f"there are {', '.join(known[-5:])}"
            elif (link.model.get("cluster") or {}).get("term"):
                there = "none has begun yet"
            else:
                there = "only coordinators know of runs"
            raise UsageError(f"no run {run!r:.100} is known there: {there}")
        await asyncio.sleep(ASKED_S / 2)
        await _ask(link)
    return found


def _run(link: ViewLink, run: str) -> Record | None:
    rows = [one for _, one in link.model.of_kind("run")]
    if run == "last":
        return max(rows, key=lambda one: float(one["started_at"]), default=None)
    found = [one for one in rows if one["run"] == run]
    found = found or [one for one in rows if str(one["run"]).startswith(run)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} runs begin with {run!r}: say more of it")
    return found[0] if found else None


async def _ask(link: ViewLink) -> None:
    """Ask who leads, as long as somebody may yet lead."""
    try:
        await link.ask()
    except Unanswered as error:
        if not error.known:
            raise SchedulingUnavailableError(f"{link.address}: {error.why}") from error
        patience_s = load().ha.client_patience_s if link.model.at else 0.0
        if link.age_s >= patience_s:
            raise ClusterUnreachableError(
                f"no scheduler answers at {link.address}: {error.why}"
            ) from error


def _line(found: Record, link: ViewLink) -> None:
    told: dict[str, Any] = {**found, "age_s": round(link.age_s, 3)}
    click.echo(json.dumps(told))
