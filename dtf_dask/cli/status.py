"""``dtf status``: who leads, since when, what it cost, and what is wrong."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import Ask, json_option, talk
from dtf_dask.cli.status_text import Standing, status_lines
from dtf_dask.cli.terminal_table import width
from dtf_dask.cli.view_link import Unanswered, ViewLink, seen_plain
from dtf_dask.errors import ClusterUnreachableError, SchedulingUnavailableError
from dtf_dask.ha.node_config import NodeConfig, read_config
from dtf_dask.ha.redundancy import RedundancyManager

_OP = "dtf_standing"
_BEGINS_S, _AGAIN_S = 5.0, 0.2


@click.command()
@click.argument("address", required=False)
@json_option
def status(address: str | None, as_json: bool) -> None:
    """Show who leads a cluster of coordinators, and what the last failover cost.

    ADDRESS is that of the cluster, dtf://HOST:8786,...; or the folder of a coordinator,
    which tells more: how each of them stands, even if none leads. By default it is
    Dask's scheduler-address. Exit code 1 if none leads.
    """
    if address is not None and Path(address).is_dir():
        standing = asyncio.run(_of_folder(read_config(Path(address))))
    else:
        standing = talk(address, standing_of_leader)
    if standing.leader is not None and (as_json or standing.holdings):
        standing.view = asyncio.run(_view(standing.address))
    if as_json:
        print_json(standing.plain())
    else:
        show(status_lines(standing, width()))
    if standing.leader is None:
        raise SystemExit(1)


async def standing_of_leader(ask: Ask) -> Standing:
    """How a cluster stands, as who leads says.

    Its node tells the scheduler how it stands now and then, so one that has only just
    begun to lead may not know it, or know how it was before: it is asked again.

    Raises
    ------
    SchedulingUnavailableError
        If it is no coordinator, or its node has told it nothing for 5 s.
    """
    until = time.monotonic() + _BEGINS_S
    while True:
        try:
            told = await ask(_OP)
        except SchedulingUnavailableError:
            raise SchedulingUnavailableError(
                "the scheduler there is no coordinator: nobody takes over when it dies"
            ) from None
        status = told["status"]
        leads = status.get("scheduler", {}).get("role") == "leads"
        if leads or time.monotonic() > until:
            break
        await asyncio.sleep(_AGAIN_S)
    if not status:
        name = told["names"].get(str(told["node"]), told["node"])
        raise SchedulingUnavailableError(
            f"the scheduler of {name} answers, and has yet to be told how the cluster"
            " stands: ask again, or at the folder of a coordinator"
        )
    return Standing(
        told["cluster"],
        told["address"],
        {int(node): name for node, name in told["names"].items()},
        {told["node"]: status},
        {one: told[one] for one in ("workers", "clients", "tasks")},
        seen_by=told["node"],
    )


async def _of_folder(config: NodeConfig) -> Standing:
    manager = RedundancyManager(config.folder)
    try:
        told = await manager.cluster_status()
    finally:
        await manager.ledger.close()
    contact = config.contact if config.schedulers else ""
    standing = Standing(config.cluster, contact, manager.names, told, {})
    if standing.leader is not None and not config.scheduler.get("tls"):
        standing.holdings = await asyncio.to_thread(_holdings, contact)
    return standing


async def _view(contact: str) -> dict[str, Any] | None:
    """What is to be seen, as `dtf top` shows it; None if nobody says so in time."""
    link = ViewLink(contact)
    try:
        await link.ask()
    except Unanswered:
        return None
    finally:
        await link.close()
    return seen_plain(link)


def _holdings(contact: str) -> dict[str, Any]:
    """What the leader has; nothing if it does not say so."""

    async def ask(ask: Ask) -> dict[str, Any]:
        told = await ask(_OP)
        return {one: told[one] for one in ("workers", "clients", "tasks")}

    try:
        return talk(contact, ask)
    except (ClusterUnreachableError, SchedulingUnavailableError):
        return {}
