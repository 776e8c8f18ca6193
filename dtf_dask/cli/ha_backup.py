"""``dtf ha backup``, ``verify`` and ``restore``: the ledger as a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from dtf_dask.errors import ConfigurationError, PeerUnavailableError
from dtf_dask.ha.backup import (
    Checked,
    back_up_running,
    back_up_stopped,
    check_backup,
    check_stopped,
)
from dtf_dask.ha.backup import restore as restore_from
from dtf_dask.ha.node_config import NodeConfig, read_config
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.wal_opening import LogIdentity

folder_argument = click.argument(
    "folder", type=click.Path(file_okay=False, path_type=Path)
)
_file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@folder_argument
@_file_argument
def backup(folder: Path, file: Path) -> None:
    """Write the state of a node into FILE, while it runs or not."""
    config = read_config(folder)
    if file.exists():
        raise ConfigurationError(f"{file} exists: a backup overwrites nothing")
    try:
        asyncio.run(_snapshot(config))
    except PeerUnavailableError:
        checked = back_up_stopped(str(folder), _identity(config), str(file))
    else:
        checked = back_up_running(str(folder), config.cluster, str(file))
    _say(str(file), checked)


@click.command()
@folder_argument
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A backup, rather than what the node has.",
)
def verify(folder: Path, file: Path | None) -> None:
    """Read and check all that a node which does not run has, or a backup."""
    config = read_config(folder)
    if file is not None:
        _say(str(file), check_backup(str(file), config.cluster))
    else:
        _say(str(folder), check_stopped(str(folder), _identity(config)))


@click.command()
@_file_argument
@folder_argument
@click.option(
    "--lose-what-came-later",
    is_flag=True,
    required=True,
    help="Say that you know: what was acknowledged after the backup is lost.",
)
def restore(file: Path, folder: Path, lose_what_came_later: bool) -> None:
    """Make a cluster of one node, in FOLDER, that goes on from a backup.

    For the day on which most nodes are lost for good. FOLDER has the node's node.json
    and certificate, and no log: move what is left of it away. No other node of the old
    cluster may run any more: take them into the new one with 'dtf ha join' and 'add'.
    """
    config = read_config(folder)
    checked = restore_from(str(file), str(folder), _identity(config))
    _say(str(folder), checked)
    click.echo(f"Start it: dtf ha start {folder}")


async def _snapshot(config: NodeConfig) -> None:
    nodes = {int(config.node): config.clients[config.node]}
    async with RemoteLedger(nodes, config.security()) as ledger:
        await ledger.status(config.node)
        await ledger.snapshot(config.node)


def _identity(config: NodeConfig) -> LogIdentity:
    return LogIdentity(config.cluster, config.node)


def _say(what: str, checked: Checked) -> None:
    for one in checked.notes:
        click.echo(f"note: {one}")
    click.echo(
        f"{what}: sound; entry {checked.index} of term {checked.term},"
        f" {checked.records_bytes} bytes of records, {checked.sessions} sessions,"
        f" {checked.contents} contents of {checked.contents_bytes} bytes,"
        f" hash {checked.state_hash}"
    )
