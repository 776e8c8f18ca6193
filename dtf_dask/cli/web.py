"""``dtf web``: pages and API of a scheduler without coordinators."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click

from dtf_dask.cli.results_store import PROJECT_FOLDER, locate
from dtf_dask.cli.scheduler_link import chosen
from dtf_dask.cli.web_option import web_option
from dtf_dask.cli.web_source import WebSource
from dtf_dask.comm.address import PREFIX
from dtf_dask.errors import ConfigurationError, ResultsUnavailableError, UsageError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import shown_address
from dtf_dask.web.paths import pages_url
from dtf_dask.web.process import NICENESS, bound
from dtf_dask.web.results import FILE
from dtf_dask.web.server import served

_PORT = "8800"


@click.command()
@click.argument("address", required=False)
@web_option("Where", default=_PORT)
def web(address: str | None, web: Address) -> None:
    """Serve pages and API of a scheduler that is alone, until Ctrl-C.

    ADDRESS is that of `dtf scheduler`, of `dask scheduler --preload dtf_dask.preload`
    or of a LocalCluster; by default it is Dask's scheduler-address. When a scheduler
    starts there anew, its pages go on. Coordinators serve their own: `dtf coordinator
    --web`. Runs are read from the results store that `dtf results` reads.

    The first line on stdout is where the pages are.
    """
    found = chosen(address, "dtf web tcp://HOST:8786")
    if found.startswith(PREFIX):
        raise UsageError(
            f"{found} is that of coordinators, which serve pages themselves: start"
            " them with --web, and `dtf top` says where"
        )
    os.nice(NICENESS)
    asyncio.run(_serve(found, web))


async def _serve(address: str, place: Address) -> None:
    try:
        sockets = bound(shown_address(place))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"nothing can be served at {shown_address(place)}: {error}"
        ) from error
    at = shown_address((place[0], sockets[0].getsockname()[1]))
    source = WebSource(address, at, _store())
    served(source.site).add_sockets(sockets)
    click.echo(pages_url(at))
    click.echo(f"Pages of {address}: {pages_url(at)}  Ctrl-C ends them.", err=True)
    asking = asyncio.create_task(source.run())
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, asking.cancel)
    try:
        await asking
    except asyncio.CancelledError:
        pass  # that is how it ends
    source.site.results.close()


def _store() -> str:
    """The store that is read, or that the first run in this folder will make."""
    try:
        return locate(None)
    except ResultsUnavailableError:
        return str(Path.cwd() / PROJECT_FOLDER / FILE)
