"""``dtf ha``: nodes of the replicated ledger: made, started, watched, changed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.ha_backup import backup, folder_argument, restore, verify
from dtf_dask.cli.ha_join import PEER_PORT, host_value, join
from dtf_dask.cli.ha_prepare import issue, prepare
from dtf_dask.cli.ha_running import until_stopped
from dtf_dask.cli.ha_text import status_lines
from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import json_option
from dtf_dask.cli.terminal_table import width
from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import (
    NodeConfig,
    parse_address,
    read_config,
    shown_address,
)
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.security.authority import Authority

T = TypeVar("T")

_NODES_MAX = 9
_METRICS: Address = ("127.0.0.1", 9464)
_WATCH_S = 1.0
_LOOPBACK = "127.0.0.1"

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take.",
)


@click.group()
def ha() -> None:
    """Keep a ledger on 1, 3 or 5 nodes, so that the loss of some loses nothing.

    FOLDER is that of a node, as 'dtf ha init' makes it.
    """


for _command in (prepare, issue, join, backup, verify, restore):
    ha.add_command(_command)


@ha.command()
@folder_argument
@click.option("--cluster", default="dtf", show_default=True, help="The cluster's name.")
@click.option(
    "--node",
    "hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Where a node will run, one for each. PORT is for the other nodes, the next"
    f" one for clients; {PEER_PORT} if not given.",
)
@click.option(
    "--metrics",
    "served_at",
    default=shown_address(_METRICS),
    show_default=True,
    metavar="HOST:PORT|off",
    help="Where each node serves figures for Prometheus, to anybody who can connect"
    " there. Of several nodes on one host each takes the next port.",
)
def init(folder: Path, cluster: str, hosts: Sequence[str], served_at: str) -> None:
    """Make an authority, and a folder with a certificate for each node.

    Move each folder to its host and run 'dtf ha start' there. The authority's key is
    needed to add nodes, and by nobody else: keep it where nodes do not run.
    """
    if not 1 <= len(hosts) <= _NODES_MAX:
        raise click.UsageError(
            f"Give 1 to {_NODES_MAX} times --node, 3 or 5 are usual."
        )
    peers = {NodeId(n): host_value(one) for n, one in enumerate(hosts, start=1)}
    if len(set(peers.values())) < len(peers):
        raise click.UsageError("Two nodes have the same host and port.")
    try:
        first = None if served_at == "off" else parse_address(served_at)
        served = metrics_places(first, peers)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics") from None
    for config in make_nodes(folder, cluster, peers, served):
        where = config.metrics
        figures = f", figures on {shown_address(where)}" if where else ""
        click.echo(
            f"{config.folder}: node {config.node} on"
            f" {shown_address(config.peers[config.node])}, for clients on"
            f" {shown_address(config.clients[config.node])}{figures}"
        )
    click.echo(f"{folder / 'authority'}: the key that signs certificates; keep it safe")


def make_nodes(
    folder: Path,
    cluster: str,
    peers: Mapping[NodeId, Address],
    metrics: Mapping[NodeId, Address],
) -> list[NodeConfig]:
    """An authority and the folders of nodes; clients' ports are one above peers'."""
    authority = Authority(folder / "authority")
    authority.create(cluster)
    clients = {node: (host, port + 1) for node, (host, port) in peers.items()}
    made = []
    for node, (host, _) in peers.items():
        own = folder / f"node-{node}"
        authority.issue(f"dtf://{cluster}/node/{node}", own, ("localhost", host))
        config = NodeConfig(
            own, cluster, node, peers, clients, metrics=metrics.get(node)
        )
        config.write()
        made.append(config)
    return made


def metrics_places(
    first: Address | None, peers: Mapping[NodeId, Address]
) -> dict[NodeId, Address]:
    """Where nodes serve figures: on one host each takes the next port."""
    if first is None:
        return {}
    places: dict[NodeId, Address] = {}
    for node, (host, _) in sorted(peers.items()):
        before = sum(peers[other][0] == host for other in places)
        places[node] = (first[0], first[1] + before)
    if not all(0 < port < 2**16 for _, port in places.values()):
        raise ValueError(f"no ports from {first[1]} on for {len(peers)} nodes")
    return places


@ha.command()
@folder_argument
def start(folder: Path) -> None:
    """Run a node until Ctrl-C; started again if it dies."""
    manager = RedundancyManager(folder)
    config = manager.config
    click.echo(f"Starting node {config.node} of cluster {config.cluster}.", err=True)
    until_stopped([manager], ready=lambda: _say_ready(config))


def _say_ready(config: NodeConfig) -> None:
    where = shown_address(config.clients[config.node])
    click.echo(f"Node {config.node} takes part; clients: {where}. Ctrl-C ends it.")


@ha.command()
@folder_argument
@click.option("--watch", is_flag=True, help="Show it anew each second, until Ctrl-C.")
@json_option
def status(folder: Path, watch: bool, as_json: bool) -> None:
    """Show how each node stands: role, lag, what can still fail.

    Exit code 1 if there is no leader.
    """
    manager = RedundancyManager(folder)

    async def look() -> bool:
        try:
            while True:
                told = await manager.cluster_status()
                if as_json:
                    print_json({str(node): one for node, one in told.items()})
                else:
                    if watch:
                        click.clear()
                    show(status_lines(manager.config.cluster, told, width()))
                if not watch:
                    return any(
                        not isinstance(one, str) and one["role"] == "leader"
                        for one in told.values()
                    )
                await asyncio.sleep(_WATCH_S)
        finally:
            await manager.ledger.close()

    try:
        led = asyncio.run(look())
    except KeyboardInterrupt:
        return
    if not led:
        raise SystemExit(1)


@ha.command()
@folder_argument
@click.argument("node")
@timeout_option
def transfer(folder: Path, node: str, timeout: float) -> None:
    """Have another node lead: NODE is its number, or a coordinator's name."""
    _asked_of(folder, node, lambda ledger, n: ledger.transfer_leader(n, timeout))
    click.echo(f"Node {node} leads.")


@ha.command()
@folder_argument
@click.argument("node", type=click.IntRange(1))
@click.argument("address")
@timeout_option
def add(folder: Path, node: int, address: str, timeout: float) -> None:
    """Add a node that runs at ADDRESS (host:port for nodes): see 'dtf ha join'."""
    try:
        place = parse_address(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from None
    _asked(folder, lambda manager, _: manager.ledger.add_node(node, place, timeout))
    click.echo(f"Node {node} votes.")


@ha.command()
@folder_argument
@click.argument("node")
@timeout_option
def remove(folder: Path, node: str, timeout: float) -> None:
    """Have a node (NODE is its number or name) belong to the cluster no more."""
    _asked_of(folder, node, lambda ledger, n: ledger.remove_node(n, timeout))
    click.echo(f"Node {node} was removed; its folder is of no use any more.")


@ha.command()
@click.option(
    "--nodes", type=click.IntRange(1, _NODES_MAX), default=3, show_default=True
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it is kept; by default nothing is left of it.",
)
@click.option(
    "--metrics/--no-metrics",
    default=True,
    show_default=True,
    help="Serve figures for Prometheus, on ports that are free.",
)
def dev(nodes: int, folder: Path | None, metrics: bool) -> None:
    """Run a whole cluster on this machine until Ctrl-C."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="dtf-ha-")
            folder = Path(stack.enter_context(temporary))
        if (folder / "authority").exists():
            made = sorted(folder.glob("node-*"))
        else:
            ids = [NodeId(n + 1) for n in range(nodes)]
            # Clients are served at the port above that of the peers.
            found = [(_LOOPBACK, port) for port in free_ports(2 * nodes, (1,))]
            peers = dict(zip(ids, found[:nodes], strict=True))
            served = dict(zip(ids, found[nodes:], strict=True))
            made = [
                one.folder
                for one in make_nodes(folder, "dev", peers, served if metrics else {})
            ]
        managers = [RedundancyManager(one) for one in made]
        click.echo(f"Starting {len(managers)} nodes in {folder}.", err=True)

        def say() -> None:
            click.echo(f"They take part. Look: dtf ha status {made[0]} --watch")
            click.echo("Ctrl-C ends them.")

        until_stopped(managers, ready=say)


def _asked_of(
    folder: Path, node: str, question: Callable[[RemoteLedger, int], Awaitable[T]]
) -> T:
    """Ask something about a node that is said by its number or its name."""
    number = int(node) if node.isascii() and node.isdecimal() else None
    if number == 0:
        raise click.BadParameter("nodes count from 1, and this is 0", param_hint="NODE")
    if number is None and node not in read_config(folder).names.values():
        raise _nobody_called(node)

    def ask(manager: RedundancyManager, nodes: Collection[int]) -> Awaitable[T]:
        return question(manager.ledger, number or _called(node, manager, nodes))

    return _asked(folder, ask)


def _called(node: str, manager: RedundancyManager, nodes: Collection[int]) -> int:
    """The number of a node: who replaced another has its name, not its number."""
    found = [one for one in sorted(nodes) if manager.names.get(one) == node]
    if not found:
        raise _nobody_called(node)
    if len(found) > 1:
        numbers = " and ".join(map(str, found))
        raise click.BadParameter(
            f"nodes {numbers} are called {node!r}: say which by its number",
            param_hint="NODE",
        )
    return found[0]


def _nobody_called(node: str) -> click.BadParameter:
    return click.BadParameter(f"no node is called {node!r}", param_hint="NODE")


def _asked(
    folder: Path,
    question: Callable[[RedundancyManager, Collection[int]], Awaitable[T]],
) -> T:
    """Ask the cluster of a node's folder, and whoever was added to it since.

    ``question`` is given the numbers of the nodes that there are.
    """
    manager = RedundancyManager(folder)

    async def run() -> T:
        try:
            # It finds where those are that were added.
            return await question(manager, await manager.cluster_status())
        finally:
            await manager.ledger.close()

    try:
        return asyncio.run(run())
    except PeerUnavailableError as error:
        raise PeerUnavailableError(
            f"{error}; 'dtf ha status {folder}' shows which nodes answer"
        ) from error
