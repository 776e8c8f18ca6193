"""``dtf ha prepare`` and ``issue``: folders and certificates, made in one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dtf_dask.cli.ha_backup import folder_argument
from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.coordinators import Coordinators, parse_coordinators
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import NodeConfig, parse_address, shown_address
from dtf_dask.security.authority import Authority

_OTHERS = ("client", "worker")
_DASHBOARD = "127.0.0.1:8787"


def peers_value(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> Coordinators | None:
    """What ``--peers`` says."""
    if text is None:
        return None
    try:
        return parse_coordinators(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


peers_option = click.option(
    "--peers",
    callback=peers_value,
    metavar="NAME=HOST[:PORT],...",
    help="All coordinators: where the scheduler of each lets workers and clients in"
    " while it leads. The ports 4 and 5 above are for the other coordinators, and for"
    " 'dtf status'.",
)


@click.command()
@folder_argument
@peers_option
@click.option("--cluster", default="dtf", show_default=True, help="The cluster's name.")
@click.option(
    "--dashboard",
    default=_DASHBOARD,
    show_default=True,
    metavar="HOST:PORT",
    help="Where the dashboard of who leads listens.",
)
@click.option(
    "--tls/--no-tls",
    default=None,
    help="Let only workers and clients with a certificate in. [default: if any"
    " coordinator is not on this machine]",
)
@click.option(
    "--metrics",
    "served_at",
    metavar="HOST:PORT",
    help="Where each coordinator serves figures for Prometheus. [default: nowhere]",
)
def prepare(
    folder: Path,
    peers: Coordinators | None,
    cluster: str,
    dashboard: str,
    tls: bool | None,
    served_at: str | None,
) -> None:
    """Make an authority, and folders with certificates for each coordinator and others.

    Move each coordinator's folder to its host and run 'dtf coordinator' there. The
    authority's key is needed to add nodes and clients, and by nobody else: keep it
    where coordinators do not run.
    """
    if peers is None:
        raise click.UsageError("Which coordinators? Give --peers a=HOST,b=HOST,c=HOST.")
    try:
        metrics = None if served_at is None else parse_address(served_at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics") from None
    safe = (not peers.local) if tls is None else tls
    made = make_coordinators(
        folder, cluster, peers, {"dashboard": dashboard, "tls": safe}, metrics
    )
    for config in made:
        name = config.names[config.node]
        where = shown_address(config.schedulers[config.node])
        click.echo(f"{config.folder}: coordinator {name} at {where}")
    for kind in _OTHERS:
        click.echo(f"{folder / f'{kind}s'}: a certificate for {kind}s")
    click.echo(f"{folder / 'authority'}: the key that signs certificates; keep it safe")
    click.echo(f"The cluster's address: {made[0].contact}")


def make_coordinators(
    folder: Path,
    cluster: str,
    peers: Coordinators,
    scheduler: Mapping[str, Any],
    metrics: Address | None = None,
) -> list[NodeConfig]:
    """An authority, a certificate for clients, and the coordinators' folders."""
    authority = Authority(folder / "authority")
    authority.create(cluster)
    for kind in _OTHERS:
        authority.issue(f"dtf://{cluster}/{kind}/all", folder / f"{kind}s")
    made = []
    for node, name in peers.names.items():
        own = folder / name
        host = peers.schedulers[node][0]
        authority.issue(f"dtf://{cluster}/node/{node}", own, ("localhost", host))
        config = NodeConfig(
            *(own, cluster, node, peers.peers, peers.clients),
            metrics=metrics,
            names=peers.names,
            schedulers=peers.schedulers,
            scheduler=scheduler,
        )
        config.write()
        made.append(config)
    return made


@click.command()
@folder_argument
@click.argument("name")
@click.option("--cluster", default="dtf", show_default=True, help="The cluster's name.")
@click.option("--worker", is_flag=True, help="For workers, rather than for a client.")
def issue(folder: Path, name: str, cluster: str, worker: bool) -> None:
    """Make a folder with a certificate for a client called NAME.

    FOLDER is the one given to 'dtf ha prepare' or 'dtf ha init'.
    """
    own = folder / name
    if own.exists():
        raise ConfigurationError(f"{own} exists already")
    kind = "worker" if worker else "client"
    Authority(folder / "authority").issue(f"dtf://{cluster}/{kind}/{name}", own)
    click.echo(f"{own}: authority.pem, certificate.pem, certificate.key")
