"""Serves what Prometheus reads of a node, which has no web process, or beside it.

By a thread of its own, on an address that the node's file names; nobody is asked who he
is there, so it should be loopback or a network of those who may know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.view.figures import of_node


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
        for one in of_node(asdict(self._status())):
            family = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
            found = family(one.name, one.words, labels=one.labels)
            for values, number in one.samples:
                found.add_metric(values, number)
            yield found


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
