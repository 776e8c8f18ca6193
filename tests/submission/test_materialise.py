"""What Dask computes, sent as tables: each kind of workload comes out the same.

The client of these tests turns all that it is about to send into a table, through its
bytes and back, and then submits nothing but the tasks that came out.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import dask
import dask.array
import dask.bag
import dask.dataframe
import numpy
import pytest
from dask._expr import LLGExpr
from dask._task_spec import GraphNode, Task, TaskRef
from distributed import Client, LocalCluster
from distributed.scheduler import _materialize_graph

from dtf_dask.errors import TaskRefusedError
from dtf_dask.submission import materialise as seam
from dtf_dask.submission.materialise import materialise, opened
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import decode_table, encode_table


class TableClient(Client):
    """Sends what a table says, and keeps the tables."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.tables: list[Table] = []
        super().__init__(*args, **kwargs)

    def _graph_to_futures(self, expr: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
        table = materialise(
            expr, keys, self.id, len(self.tables) + 1, dask.get_annotations()
        )
        if not _draws_names(expr):
            graph, _ = _materialize_graph(expr, validate=True)
            needs = {row.key: set(row.needs) for row in table.rows}
            assert (
                needs.items()
                <= {key: set(node.dependencies) for key, node in graph.items()}.items()
            )
        found = decode_table(encode_table(table))
        self.tables.append(found)
        graph = {row.key: opened(row, found.functions) for row in found.rows}
        return super()._graph_to_futures(LLGExpr(graph), found.wanted, *args, **kwargs)


def _draws_names(expr: Any) -> bool:
    """Materialising it twice gives other names: that is why it is done once."""
    return set(expr.__dask_graph__()) != set(expr.__dask_graph__())


def run(check: Callable[[TableClient], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with (
            asyncio.timeout(60),
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=False,
                protocol="tcp://",
                asynchronous=True,
                dashboard_address="127.0.0.1:0",
                scheduler_port=0,
                host="127.0.0.1",
            ) as cluster,
            TableClient(cluster, asynchronous=True) as client,
        ):
            await check(client)
            assert client.tables

    asyncio.run(limited())


def test_the_installed_dask_has_what_the_seam_uses() -> None:
    """Names and properties of its graphs."""
    assert seam.broken() == ()


def test_arrays() -> None:
    """Blockwise, reductions, and random names of a decomposition."""

    async def check(client: TableClient) -> None:
        x = dask.array.arange(100, chunks=100).reshape(10, 10).rechunk((5, 5))
        found = await client.compute((x @ x.T).sum(axis=0))
        y = numpy.arange(100).reshape(10, 10)
        assert (found == (y @ y.T).sum(axis=0)).all()
        u, s, v = dask.array.linalg.svd(
            dask.array.random.random((40, 4), chunks=(10, 4))
        )
        shape = await client.compute((u * s @ v).sum())
        assert shape > 0
        kept = client.persist(x + 1)
        assert await client.compute(kept.sum()) == y.sum() + 100

    run(check)


def test_dataframes() -> None:
    """Group-by and a shuffle, by tasks and by the workers' own exchange."""

    async def check(client: TableClient) -> None:
        columns = {"a": [1, 2, 3, 4] * 5, "b": list(range(20))}
        ours = dask.dataframe.from_dict(columns, npartitions=4)
        found = await client.compute(ours.groupby("a").b.sum())
        assert found.to_dict() == {1: 40, 2: 45, 3: 50, 4: 55}
        for method in ("tasks", "p2p"):
            shuffled = ours.shuffle("a", shuffle_method=method)
            assert len(await client.compute(shuffled)) == 20

    run(check)


def test_delayed_bags_and_plain_graphs() -> None:
    """Nested arguments, aliases and old graphs of tuples."""

    async def check(client: TableClient) -> None:
        twice = dask.delayed(lambda x: 2 * x)
        total = dask.delayed(sum)([twice(1), twice(dask.delayed(3)), 5])
        assert await client.compute(total) == 13
        nested = dask.delayed(lambda d: d["x"][0] + d["y"])({"x": [twice(4)], "y": 1})
        assert await client.compute(nested) == 9
        bag = dask.bag.from_sequence(range(10), npartitions=3).map(lambda x: x**2)
        assert await client.compute(bag.sum()) == 285
        graph = {"a": 1, "b": (sum, ["a", 2]), "c": "b", "unused": (sum, [1])}
        held = client.get(graph, ["c", "b"], sync=False)
        assert await client.gather(held) == [3, 3]
        assert "unused" not in [row.key for row in client.tables[-1].rows]

    run(check)


def test_futures_within() -> None:
    """Results of earlier submissions are needed, and are no rows of later ones."""

    async def check(client: TableClient) -> None:
        one = client.submit(lambda: 20)
        two = client.submit(lambda x, more: x + more["y"][0], one, {"y": [one]})
        assert await two == 40
        (row,) = client.tables[-1].rows
        assert set(row.needs) == {one.key}
        several = client.map(lambda x, y: x + y, range(3), y=one)
        assert await client.gather(several) == [20, 21, 22]
        assert await client.submit(sum, several) == 63
        assert await client.compute(dask.delayed(sum)([one, two])) == 60
        scattered = await client.scatter([1, 2, 3])
        assert await client.submit(sum, scattered) == 6

    run(check)


def test_annotations() -> None:
    """Of all tasks, of parts of a graph, by a function of the key; sets and NumPy's."""
    notes = ({"b": {2.5, 1}}, b"a", None)
    with dask.annotate(retries=numpy.int64(2), workers=list(notes)):
        x = dask.array.ones(4, chunks=2)
    y = x + 1
    expr = dask.base.collections_to_expr([y], optimize_graph=False)
    table = materialise(
        expr, y.__dask_keys__(), "c", 1, {"priority": 5, "of": lambda key: str(key[0])}
    )
    found = decode_table(encode_table(table))
    by_name = {str(row.key[0]): row.annotations for row in found.rows}  # type: ignore[index]
    assert by_name[x.name] == {
        "priority": 5,
        "of": x.name,
        "retries": 2,
        "workers": ({"b": (1, 2.5)}, b"a", None),
    }
    assert by_name[y.name] == {"priority": 5, "of": y.name}


def test_rows_stand_in_the_order_of_dask() -> None:
    """What a row needs stands before it, and chains are not torn apart."""
    graph: dict[Any, GraphNode] = {"end": Task("end", sum, [TaskRef("b-9")])}
    for chain in "ab":
        graph[f"{chain}-0"] = Task(f"{chain}-0", int)
        for at in range(1, 10):
            need = TaskRef(f"{chain}-{at - 1}")
            graph[f"{chain}-{at}"] = Task(f"{chain}-{at}", abs, need)
    table = materialise(LLGExpr(graph), ["a-9", "end"], "c", 1)
    places = {row.key: at for at, row in enumerate(table.rows)}
    assert all(
        places[need] < places[row.key] for row in table.rows for need in row.needs
    )
    spread = [places[f"a-{at}"] for at in range(10)]
    assert spread == list(range(spread[0], spread[0] + 10))


def test_what_cannot_be_pickled_is_refused() -> None:
    """The task is named; nothing of the submission is sent."""

    class Never:
        def __dask_tokenize__(self) -> str:
            return "never"

        def __reduce__(self) -> str:
            raise ValueError("never")

    graph = LLGExpr({"x": Task("x", lambda: Never)})
    assert materialise(graph, ["x"], "c", 1).rows
    graph = LLGExpr({"x": Task("x", id, Never())})
    with pytest.raises(TaskRefusedError, match="task 'x' cannot be sent: ValueError"):
        materialise(graph, ["x"], "c", 1)


def test_a_payload_that_is_no_task() -> None:
    """It is said, and not run."""
    with pytest.raises(TaskRefusedError, match="the payload of 'x' is no task"):
        opened(Row("x", (), pickle.dumps(5), (), False, {}), ())


def test_a_function_travels_once() -> None:
    """However many tasks call it, also within a partial; values are each task's own."""
    more = 100
    graph = {
        f"x-{at}": Task(f"x-{at}", partial(lambda a, b: a + b + more, at), at)
        for at in range(50)
    }
    called = Task("y", lambda f, x: f(x), lambda x: -x, 5)
    table = materialise(LLGExpr(graph), list(graph), "c", 1)
    found = decode_table(encode_table(table))
    assert len(found.functions) == 50  # each turn of the loop made one
    one = partial(lambda a, b: a + b + more, 1)
    graph = {f"x-{at}": Task(f"x-{at}", one, at) for at in range(50)} | {"y": called}
    table = materialise(LLGExpr(graph), list(graph), "c", 1)
    found = decode_table(encode_table(table))
    assert len(found.functions) == 3
    assert len(encode_table(table)) < 50 * 300
    values = {row.key: opened(row, found.functions)({}) for row in found.rows}
    assert values == {"y": -5} | {f"x-{at}": 101 + at for at in range(50)}


def test_what_a_script_defines_goes_by_value() -> None:
    """Workers do not import ``__main__``, so its classes travel with their tasks."""
    code = """
from dask._expr import LLGExpr
from dask._task_spec import Task
from dtf_dask.submission.materialise import materialise
from dtf_dask.submission.table_codec import encode_table

class Point:
    x = 3

def shift(point):
    return point.x + 1

expr = LLGExpr({"a": Task("a", shift, Point()), "b": Task("b", shift, Point())})
import sys
sys.stdout.buffer.write(encode_table(materialise(expr, ["a", "b"], "c", 1)))
"""
    body = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    ).stdout
    found = decode_table(body)
    assert [opened(row, found.functions)({}) for row in found.rows] == [4, 4]


def test_a_function_that_is_not_there() -> None:
    """A payload cannot reach for anything but the functions of its table."""
    table = materialise(LLGExpr({"x": Task("x", lambda: 5)}), ["x"], "c", 1)
    assert opened(table.rows[0], table.functions)({}) == 5
    with pytest.raises(pickle.UnpicklingError, match="no function 0"):
        opened(table.rows[0], ())
