"""``dtf ha join``: the folder of a node that is to be added, or to replace another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from dtf_dask.cli.ha_backup import folder_argument
from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.coordinators import PEERS_ABOVE
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import (
    NodeConfig,
    parse_address,
    read_config,
    shown_address,
)
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.security.authority import Authority

T = TypeVar("T")

PEER_PORT = 8790


def host_value(text: str) -> Address:
    """``host``, or ``host:port`` with a port that has a next one."""
    try:
        host, port = parse_address(text if ":" in text else f"{text}:{PEER_PORT}")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="HOST") from None
    if not 0 < port < 65_535:
        raise click.BadParameter(f"{text!r}: no port that has a next one")
    return host, port


@click.command()
@folder_argument
@click.argument("node", type=click.IntRange(1))
@click.argument("host")
@click.option(
    "--like",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder of a node that belongs to the cluster.",
)
def join(folder: Path, node: int, host: str, like: Path) -> None:
    """Make the folder of a node that is to be added; run by who has the authority.

    FOLDER is the one given to 'dtf ha init', HOST[:PORT] where the node will run. Start
    it there, then 'dtf ha add' it. One that runs where a node is known to be replaces
    that: 'dtf ha remove' the old one first.
    """
    known = read_config(like)
    place = host_value(host)
    own = folder / f"node-{node}"
    if own.exists():
        raise ConfigurationError(f"{own} exists already")
    authority = Authority(folder / "authority")
    uri = f"dtf://{known.cluster}/node/{node}"
    authority.issue(uri, own, ("localhost", place[0]))
    left = [one for one, where in known.peers.items() if where != place]
    peers = {**_of(left, known.peers), NodeId(node): place}
    clients = {**_of(left, known.clients), NodeId(node): (place[0], place[1] + 1)}
    config = NodeConfig(
        *(own, known.cluster, NodeId(node), peers, clients),
        joins=True,
        metrics=_next_metrics(known, place),
        **_schedulers(known, NodeId(node), place, left),
    )
    config.write()
    click.echo(f"{own}: node {node}, to be added at {shown_address(place)}")


def _of(nodes: Collection[NodeId], by_node: Mapping[NodeId, T]) -> dict[NodeId, T]:
    return {node: one for node, one in by_node.items() if node in nodes}


def _schedulers(
    known: NodeConfig, node: NodeId, place: Address, left: Collection[NodeId]
) -> dict[str, Any]:
    """Of coordinators: where that of the new node listens, in the usual distance.

    One that replaces another has its name, too.
    """
    if not known.schedulers:
        return {}
    host, port = place
    name = next((known.names[one] for one in known.names if one not in left), f"{node}")
    return {
        "names": {**_of(left, known.names), node: name},
        "schedulers": {
            **_of(left, known.schedulers),
            node: (host, port - PEERS_ABOVE),
        },
        "scheduler": known.scheduler,
    }


def _next_metrics(known: NodeConfig, place: Address) -> Address | None:
    """As the node that is known does it, on a port that none of them has."""
    if known.metrics is None:
        return None
    host, port = known.metrics
    here = [node for node, one in known.peers.items() if one[0] == place[0]]
    own_host = known.peers[known.node][0]
    before = [
        n for n in known.peers if n < known.node and known.peers[n][0] == own_host
    ]
    return host, port - len(before) + len(here)
