"""What Prometheus reads of a node: each figure of `NodeStatus` that can be drawn.

Served by a thread of its own, on an address that the node's file names; nobody is asked
who he is there, so it should be loopback or a network of those who may know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_status import NodeStatus

# Name -> help, the field of `NodeStatus` or what is made of it.
_GAUGES: dict[str, tuple[str, Callable[[NodeStatus], float | None]]] = {
    "term": ("Raft's term.", lambda one: one.term),
    "leader": ("Whether this node leads.", lambda one: one.role == "leader"),
    "leader_known": ("Whether it knows a leader.", lambda one: one.leader > 0),
    "commit_index": ("The last committed entry.", lambda one: one.commit),
    "applied_index": ("The last entry applied.", lambda one: one.applied),
    "last_index": ("The last entry of the log.", lambda one: one.last_index),
    "snapshot_index": ("That of the newest snapshot.", lambda one: one.snapshot_index),
    "log_first_index": ("The first entry held.", lambda one: one.log_first_index),
    "voters": ("Nodes that vote.", lambda one: len(one.voters)),
    "quorum_left": (
        "How many voters may fail; -1 without a majority. Only where it leads.",
        lambda one: one.quorum_left,
    ),
    "records_bytes": ("What the records take.", lambda one: one.held_bytes),
    "contents_bytes": ("What contents take.", lambda one: one.contents_bytes),
    "contents_lacking": (
        "Contents that have yet to be fetched.",
        lambda one: one.contents_lacking,
    ),
    "sessions": ("Sessions of clients.", lambda one: one.sessions),
    "sync_p50_seconds": ("Median of the last syncs.", lambda one: one.sync_p50_s),
    "sync_p99_seconds": ("99th percentile of them.", lambda one: one.sync_p99_s),
    "disk_full": ("Whether its disk is full.", lambda one: bool(one.disk_full)),
    "scheduler_leads": (
        "Whether its scheduler lets workers and clients in.",
        lambda one: one.scheduler.role == "leads",
    ),
    "scheduler_crashes": (
        "How often its scheduler ended unasked, since the node started.",
        lambda one: one.scheduler.crashes,
    ),
    "scheduler_alarm": (
        "Whether its scheduler ends again and again.",
        lambda one: bool(one.scheduler.alarm),
    ),
    "failed": ("Whether it can do nothing more.", lambda one: bool(one.failure)),
}


class NodeCollector:
    """Reads a node's status when Prometheus asks.

    Parameters
    ----------
    status
        The node's status as of now; called in the thread that serves.
    """

    def __init__(self, status: Callable[[], NodeStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All figures of the node (prometheus_client calls this)."""
        status = self._status()
        for name, (words, read) in _GAUGES.items():
            value = read(status)
            if value is not None:
                yield GaugeMetricFamily(f"dtf_ledger_{name}", words, float(value))
        yield CounterMetricFamily(
            "dtf_ledger_elections_won", "Since the node started.", status.elections
        )
        lag = GaugeMetricFamily(
            "dtf_ledger_peer_lag_entries",
            "Entries that a peer lacks. Only where the node leads.",
            labels=["peer"],
        )
        for peer, entries in sorted(status.lag.items()):
            lag.add_metric([str(peer)], entries)
        yield lag


def serve_metrics(
    address: Address, status: Callable[[], NodeStatus]
) -> Callable[[], None]:
    """Serve ``/metrics`` there; what ends it. `OSError` if it cannot be had."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(status))
    host, port = address
    server, thread = start_http_server(port, host, registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
