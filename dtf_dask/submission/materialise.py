"""From whatever Dask computes to a table of tasks, in the client's process.

This is the one place that knows what Dask's graphs are made of; `broken` names what an
installed version no longer has. Materialising draws random names (of shuffles, for
one), so it is done once, and what came of it is what is recorded and recovered.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, cast

from dask import _expr, _task_spec, order
from dask._task_spec import Alias, DataNode, GraphNode, Task, convert_legacy_graph

from dtf_dask.errors import TaskRefusedError
from dtf_dask.submission.payloads import Payloads, open_payload
from dtf_dask.submission.table import Key, Plain, Row, Table, shown

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of Dask that the tests were run with."""


_PLAIN = (str, int, float, bool, bytes, type(None))


def broken() -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = [
        f"{owner.__name__}.{name}"
        for owner, name in (
            (_expr.Expr, "__dask_graph__"),
            (_expr.Expr, "__dask_annotations__"),
            (_expr.Expr, "_layer"),
            (_expr.Expr, "dependencies"),
            (_expr, "LLGExpr"),
            (order, "order"),
            (_task_spec, "convert_legacy_graph"),
        )
        if not callable(getattr(owner, name, None))
    ]
    missing += [
        f"{node.__name__}.{name}"
        for node in (Task, DataNode, Alias)
        for name in ("dependencies", "data_producer")
        if not isinstance(inspect.getattr_static(node, name, None), property)
        and not isinstance(inspect.getattr_static(node, name, None), bool)
    ]
    return tuple(missing)


def materialise(
    expr: _expr.Expr,
    wanted: Iterable[Key],
    client: str,
    seq: int,
    annotations: Mapping[str, Any] | None = None,
    places: Mapping[Key, int] | None = None,
) -> Table:
    """What a client would send to compute an expression, as a table.

    Parameters
    ----------
    expr
        What Dask's client is about to send: of collections, or of a plain graph.
    wanted
        The keys of which the client holds futures.
    annotations
        For all tasks; those of the graph's parts come first. A function is called with
        the key of each task, as Dask's scheduler does.
    places
        In which order tasks had better run, if the caller knows; those that it does not
        name come first.

    Raises
    ------
    TaskRefusedError
        A task cannot be sent, or what is annotated is not plain.
    """
    held = tuple(dict.fromkeys(wanted))
    graph = _graph_of(expr)
    if isinstance(expr, _expr.LLGExpr) and not _all_wanted(held, graph):
        graph = _needed(graph, held)
    noted = _Annotations(annotations or {}, expr.__dask_annotations__())
    payloads = Payloads()
    rows = tuple(
        Row(
            key,
            tuple(graph[key].dependencies),
            *_written(payloads, key, graph[key]),
            bool(graph[key].data_producer),
            noted.of(key),
        )
        for key in _in_order(graph, places)
    )
    return Table(client, seq, held, tuple(payloads.functions), rows)


def _graph_of(expr: _expr.Expr) -> dict[Key, GraphNode]:
    """All tasks, by key. Those of the calls that are submitted one by one are there.

    What Dask does to find the parts of an expression takes several times as long.
    """
    whole = type(expr).__dask_graph__ is _expr.Expr.__dask_graph__
    if whole and not expr.dependencies():
        found = expr._layer()
    else:
        found = expr.__dask_graph__()
    if all(isinstance(node, GraphNode) for node in found.values()):
        return {
            key: node
            for key, node in found.items()
            if type(node) is not Alias or node.target != key
        }
    return convert_legacy_graph(dict(found))


def _all_wanted(held: Sequence[Key], graph: Mapping[Key, GraphNode]) -> bool:
    """Whether every task of a graph is wanted, so that none can be left out."""
    return len(held) == len(graph) and all(key in graph for key in held)


def _in_order(
    graph: dict[Key, GraphNode], places: Mapping[Key, int] | None
) -> Iterable[Key]:
    if len(graph) < 2:
        return graph
    if not places:
        places = cast("dict[Key, int]", order.order(cast(Any, graph)))
    known = places
    return sorted(graph, key=lambda one: known.get(one, -1))


def opened(row: Row, functions: Sequence[bytes]) -> GraphNode:
    """The task of a row, as Dask runs it. It executes what a client sent: in workers.

    Raises
    ------
    TaskRefusedError
        The payload is none.
    """
    node = open_payload(row.payload, functions)
    if not isinstance(node, GraphNode):
        raise TaskRefusedError(f"the payload of {shown(row.key)} is no task")
    return node


def _written(
    payloads: Payloads, key: Key, node: GraphNode
) -> tuple[bytes, tuple[int, ...]]:
    try:
        return payloads.write(node)
    except Exception as error:
        raise TaskRefusedError(
            f"task {shown(key)} cannot be sent: {type(error).__name__}: {error}"
        ) from error


def _needed(graph: dict[Key, GraphNode], wanted: Iterable[Key]) -> dict[Key, GraphNode]:
    """What is needed of a plain graph, from which nobody has left out the rest."""
    found: dict[Key, GraphNode] = {}
    stack = list(wanted)
    while stack:
        key = stack.pop()
        if key not in found and key in graph:
            found[key] = graph[key]
            stack.extend(graph[key].dependencies)
    return found


class _Annotations:
    """What is annotated, by task, where Dask has it by annotation."""

    def __init__(
        self, for_all: Mapping[str, Any], by_name: Mapping[str, Mapping[Key, Any]]
    ) -> None:
        self._for_all = for_all
        self._by_name = {name: values for name, values in by_name.items() if values}
        self._plain = {
            name: plain(value) for name, value in for_all.items() if not callable(value)
        }

        self._one_by_one = bool(self._by_name) or len(self._plain) < len(for_all)

    def of(self, key: Key) -> dict[str, Plain]:
        if not self._one_by_one:
            return self._plain
        found = dict(self._plain)
        for name, value in self._for_all.items():
            if callable(value):
                found[name] = plain(value(key))
        for name, values in self._by_name.items():
            value = values.get(key)
            if value is not None:
                found[name] = plain(value)
        return found


def plain(value: Any) -> Plain:
    """A value as it can travel. What cannot is left, to be refused with its name."""
    if type(value) in _PLAIN or isinstance(value, str | bytes):
        return cast(Plain, value)
    if isinstance(value, Integral):
        return int(value)  # of NumPy, for one
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(one) for one in value)
    if isinstance(value, Set):
        return tuple(sorted((plain(one) for one in value), key=repr))
    return cast(Plain, value)
