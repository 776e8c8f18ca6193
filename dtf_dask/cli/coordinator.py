"""``dtf coordinator``: one of the schedulers of a cluster, of which one leads."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dtf_dask.cli.ha_prepare import peers_option
from dtf_dask.cli.ha_running import until_stopped
from dtf_dask.cli.scheduler_ports import require_free
from dtf_dask.cli.web_option import web_option
from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.coordinators import Coordinators
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


@click.command()
@click.option("--node", "name", metavar="NAME", help="Which of the coordinators it is.")
@peers_option
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where it keeps what it must not lose. Made if it is not there.",
)
@click.option(
    "--prepared",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where 'dtf ha prepare' has put it, or all of them; copied into a new --data.",
)
@web_option("Where its API is served, this time")
@click.option(
    "--dashboard",
    metavar="HOST:PORT",
    help="Where its dashboard listens, this time. [default: as it was prepared]",
)
@click.option(
    "--preload",
    multiple=True,
    metavar="MODULE",
    help="For its scheduler, this time. Repeatable.",
)
def coordinator(
    name: str | None,
    peers: Coordinators | None,
    folder: Path,
    prepared: Path | None,
    dashboard: str | None,
    web: Address | None,
    preload: tuple[str, ...],
) -> None:
    """Run a coordinator until Ctrl-C or SIGTERM: it hands over first, if it leads.

    'dtf ha prepare' makes the folders of all coordinators, with their certificates.
    --node and --peers may be left out: given, they must be as it was told.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    config = _found(folder, prepared, name)
    _check(config, name, peers)
    require_free([config])
    options: dict[str, Any] = {}
    if dashboard is not None:
        options["dashboard"] = dashboard
    if preload:
        options["preload"] = list(preload)
    said = this_time(web, options)
    config = config.started(said)
    own = config.names.get(config.node, str(config.node))
    click.echo(f"Starting coordinator {own} of cluster {config.cluster}.", err=True)

    def say() -> None:
        where = shown_address(config.schedulers[config.node])
        click.echo(
            f"Coordinator {own} takes part, and leads at {where} when it is elected."
            f" Workers and clients: {config.contact} Ctrl-C ends it."
        )
        if config.web is not None:
            click.echo(f"Its pages: {pages_url(shown_address(config.web))}", err=True)

    until_stopped([RedundancyManager(folder, said)], ready=say)


def _found(folder: Path, prepared: Path | None, name: str | None) -> NodeConfig:
    """What the folder says, once it is there."""
    if not (folder / FILE).exists():
        source = prepared
        if source is not None and name is not None and (source / name / FILE).exists():
            source = source / name
        if source is None or not (source / FILE).exists():
            raise ConfigurationError(
                f"{folder} has no {FILE} and no certificate: 'dtf ha prepare' makes the"
                " folders of all coordinators, once and in one place; move this one's"
                " here, or name it with --prepared"
            )
        _copy(source, folder)
    config = read_config(folder)
    if not config.schedulers:
        raise ConfigurationError(
            f"{folder} is that of a node of a ledger without schedulers: 'dtf ha start'"
            " runs it"
        )
    return config


def _copy(source: Path, folder: Path) -> None:
    """What was prepared, the file that says so last."""
    config = read_config(source)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in (config.authority, config.certificate, config.key):
            shutil.copyfile(source / file, folder / file)
            os.chmod(folder / file, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error}") from error
    replace(config, folder=folder).write()


def _check(config: NodeConfig, name: str | None, peers: Coordinators | None) -> None:
    """Refuse to be another than was said, or among others."""
    own = config.names.get(config.node, str(config.node))
    if name is not None and name != own:
        raise ConfigurationError(
            f"{config.folder} is that of coordinator {own} of cluster {config.cluster},"
            f" and --node says {name}"
        )
    if peers is None:
        return
    known = Coordinators(config.names, config.schedulers, config.peers, config.clients)
    for what in ("names", "schedulers", "peers", "clients"):
        if dict(getattr(peers, what)) != dict(getattr(known, what)):
            raise ConfigurationError(
                f"{config.folder} was made for the coordinators {known}, and --peers"
                f" says {peers}"
            )
