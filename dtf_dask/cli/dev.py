"""``dtf dev``: coordinators and workers on this machine, to try things out."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
from pathlib import Path

import click
from click.core import ParameterSource

from dtf_dask.cli.dev_alone import alone
from dtf_dask.cli.dev_parts import end, started_workers
from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.ha_prepare import make_coordinators
from dtf_dask.cli.ha_running import until_stopped
from dtf_dask.cli.scheduler_ports import require_free
from dtf_dask.cli.web_option import web_option
from dtf_dask.errors import ConfigurationError, UsageError
from dtf_dask.ha.coordinators import COORDINATORS_MAX, numbered
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import (
    FILE,
    NodeConfig,
    read_config,
    shown_address,
    this_time,
)
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.web.paths import pages_url

_LOOPBACK = "127.0.0.1"


@click.command()
@click.option(
    "--coordinators",
    type=click.IntRange(0, COORDINATORS_MAX),
    default=3,
    show_default=True,
    help="How many; one of 3, or two of 5, may be killed. 0: a scheduler alone.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Worker processes, of one thread each.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it is kept, and found again; by default nothing is left of it.",
)
@click.option(
    "--dashboard",
    default=f"{_LOOPBACK}:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the dashboard of the scheduler listens.",
)
@web_option("Where pages and API of the first are served, those of the others above")
@click.pass_context
def dev(
    context: click.Context,
    coordinators: int,
    workers: int,
    folder: Path | None,
    dashboard: str,
    web: Address | None,
) -> None:
    """Run a cluster whose scheduler may die, on this machine, until Ctrl-C.

    The first line on stdout is its address.
    """
    if coordinators == 0:
        if folder is not None:
            raise UsageError("a scheduler alone keeps nothing: leave --folder out")
        alone(workers, dashboard, web)
        return
    with contextlib.ExitStack() as stack:
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="dtf-dev-")
            folder = Path(stack.enter_context(temporary))
        made = _known(folder)
        asked = context.get_parameter_source("coordinators")
        if made and asked != ParameterSource.DEFAULT and coordinators != len(made):
            raise ConfigurationError(
                f"{folder} is that of {len(made)} coordinators, and --coordinators says"
                f" {coordinators}: leave it out, or name another --folder"
            )
        options = {}
        if context.get_parameter_source("dashboard") != ParameterSource.DEFAULT:
            options["dashboard"] = dashboard
        made = made or _made(folder, coordinators)
        require_free(made)
        said = [this_time(one, options) for one in _webs(web, len(made))]
        made = [one.started(its) for one, its in zip(made, said, strict=True)]
        contact = made[0].contact
        click.echo(contact)
        sys.stdout.flush()
        click.echo(f"Starting {len(made)} coordinators in {folder}.", err=True)
        parts = started_workers(contact, workers)
        for part in parts:
            stack.callback(end, part)

        async def end_workers() -> None:
            for part in parts:
                end(part)

        def say() -> None:
            for config in made:
                at = "" if config.web is None else pages_url(shown_address(config.web))
                name = config.names[config.node]
                click.echo(f"{name}: {config.folder} {at}".rstrip(), err=True)
            click.echo(
                f"Who leads: dtf status {made[0].folder}"
                f"  Tests: pytest --dtf={contact}  Ctrl-C ends all.",
                err=True,
            )

        managers = [
            RedundancyManager(one.folder, its)
            for one, its in zip(made, said, strict=True)
        ]
        until_stopped(managers, ready=say, beside=end_workers)


def _known(folder: Path) -> list[NodeConfig]:
    """The coordinators that were made there before: all of them, or none."""
    found = [read_config(one.parent) for one in sorted(folder.glob(f"*/{FILE}"))]
    named = sorted(one.names.get(n, str(n)) for one in found[:1] for n in one.peers)
    there = sorted(one.names.get(one.node, str(one.node)) for one in found)
    if there != named or (not found and (folder / "authority").exists()):
        raise ConfigurationError(
            f"{folder} is not whole, as if it was begun and not finished: of the"
            f" coordinators {', '.join(named) or 'of a cluster'} it has"
            f" {', '.join(there) or 'none'}; remove it, or name another --folder"
        )
    return found


def _made(folder: Path, count: int) -> list[NodeConfig]:
    names = "abcdefghi"[:count]
    places = {
        name: (_LOOPBACK, port)
        for name, port in zip(names, free_ports(count), strict=True)
    }
    scheduler = {"dashboard": f"{_LOOPBACK}:0", "tls": False}
    return make_coordinators(folder, "dev", numbered(places), scheduler)


def _webs(first: Address | None, count: int) -> list[Address | None]:
    """Where the API of each is served, if it is."""
    if first is None:
        return [None] * count
    host, port = first
    if port:
        return [(host, port + n) for n in range(count)]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server((_LOOPBACK, 0)))
            for _ in range(count)
        ]
        return [(host, one.getsockname()[1]) for one in servers]
