"""How the nodes of a ledger stand, as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from dtf_dask.cli.terminal_table import note, table

_HEAD = ("NODE", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "SYNC P99", "REMARK")
_REMARK = len(_HEAD) - 1
_STYLES = {"leader": "bold green", "follower": "", "learner": "blue"}


def status_lines(
    cluster: str, told: Mapping[int, Mapping[str, Any] | str], columns: int
) -> Iterator[Text]:
    """A headline, then a line for each node.

    Parameters
    ----------
    told
        `NodeStatus` as a mapping, or why a node did not answer.
    """
    leader = next(
        (
            one
            for one in told.values()
            if not isinstance(one, str) and one["role"] == "leader"
        ),
        None,
    )
    yield Text(_headline(cluster, leader), style="bold" if leader else "bold red")
    lag = leader["lag"] if leader else {}
    rows = [_row(node, one, lag) for node, one in sorted(told.items())]
    yield from table(_HEAD, rows, columns, cut=_REMARK, right=(2, 3, 4, 5, 6))
    served = [
        f"node {node} at http://{one['metrics']}/metrics"
        for node, one in sorted(told.items())
        if not isinstance(one, str) and one.get("metrics")
    ]
    if served:
        yield note(f"Figures for Prometheus: {', '.join(served)}.", columns, "dim")
    if leader and not leader["quorum_left"]:
        yield note("If one more node fails, nothing can be written.", columns, "yellow")


def _headline(cluster: str, leader: Mapping[str, Any] | None) -> str:
    if leader is None:
        return f"Cluster {cluster}: no leader; nothing is written until there is one."
    left = leader["quorum_left"]
    nodes = "node" if left == 1 else "nodes"
    return (
        f"Cluster {cluster}: node {leader['node']} leads; {left} more {nodes} may fail."
    )


def _row(
    node: int, told: Mapping[str, Any] | str, lag: Mapping[int, int]
) -> list[str | Text]:
    if isinstance(told, str):
        away = Text("away", style="red")
        return [str(node), away, "", "", "", "", "", told]
    role = told["role"]
    wrong = ("failure", "disk_full", "removed", "not_taken")
    remark = next((told[one] for one in wrong if told.get(one)), "")
    if not remark and node in told["voters_outgoing"]:
        remark = "members are being changed"
    if not remark and told.get("contents_lacking"):
        remark = f"{told['contents_lacking']} contents have yet to be fetched"
    behind = lag.get(node)
    return [
        str(node),
        Text(role, style=_STYLES.get(role, "yellow")),
        str(told["term"]),
        str(told["commit"]),
        str(told["applied"]),
        "" if behind is None else str(behind),
        f"{told['sync_p99_s'] * 1e3:.1f} ms" if told["sync_p99_s"] else "",
        remark,
    ]
