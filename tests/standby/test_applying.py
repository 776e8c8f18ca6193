"""Operations on a real scheduler: as Dask has it, and in a shadow nothing runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dask
import dask.array
import dask.bag
import pytest
from dask import delayed
from dask.base import collections_to_expr
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol import Serialized, serialize
from memory_ledger import bare

from dtf_dask.durable import operations
from dtf_dask.durable.makings import mark_of
from dtf_dask.durable.operations import decode_operation, encode_operation
from dtf_dask.standby import dask_seam
from dtf_dask.standby.applying import Applier
from dtf_dask.submission.materialise import materialise
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table


def test_dask_has_what_is_leaned_on() -> None:
    """Nothing is missing of the installed version."""
    assert dask_seam.broken() == ()


class Heard(SchedulerPlugin):
    """Keeps what plugins are told of graphs."""

    name = "heard"

    def __init__(self) -> None:
        self.graphs: list[dict[str, Any]] = []

    def update_graph(self, scheduler: Any, **words: Any) -> None:
        del words["stimulus_id"]
        words["tasks"] = set(words["tasks"])
        words["keys"] = set(words["keys"])
        words["annotations"] = {
            name: {key: list(v) if isinstance(v, tuple) else v for key, v in by.items()}
            for name, by in words["annotations"].items()
        }
        self.graphs.append(words)


def on_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


def facts(scheduler: Scheduler) -> dict[Any, Any]:
    """What matters of tasks. Dask has no annotations where a span has left nothing."""
    return {
        ts.key: (
            ts.state,
            {dts.key for dts in ts.dependencies},
            {cs.client_key for cs in ts.who_wants or ()},
            ts.priority,
            {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in (ts.annotations or {}).items()
            },
            ts.actor,
            ts.retries,
            ts.resource_restrictions,
            ts.worker_restrictions,
            ts.host_restrictions,
            ts.loose_restrictions,
            bool(ts.run_spec and ts.run_spec.data_producer),
        )
        for ts in scheduler.tasks.values()
    }


def workloads() -> dict[str, Callable[[], list[Any]]]:
    def plain() -> list[Any]:
        return [delayed(sum)([delayed(abs)(one) for one in range(5)])]

    def arrays() -> list[Any]:
        x = dask.array.ones((40, 40), chunks=(10, 10))
        with dask.annotate(priority=3, retries=2, resources={"GPU": 1}):
            y = (x + x.T).sum(axis=0)
        return [y.mean(), (x * 2).sum()]

    def bags() -> list[Any]:
        return [dask.bag.range(50, npartitions=5).map(str).frequencies()]

    def bound() -> list[Any]:
        with dask.annotate(workers=["tcp://127.0.0.1:1"], allow_other_workers=True):
            return [delayed(abs)(-1) + delayed(abs)(-2)]

    return {"delayed": plain, "array": arrays, "bag": bags, "bound": bound}


@pytest.mark.parametrize("name", workloads())
def test_tasks_are_those_that_dask_would_make(name: str) -> None:
    """Keys, needs, wishes, priorities, annotations, and what plugins hear of them."""

    async def check() -> None:
        collections = workloads()[name]()
        with bare() as dasks, bare() as ours:
            applier = Applier(ours, lambda operation: None)
            applier.lead()
            applier.schedule()
            heard, told = Heard(), Heard()
            dasks.add_plugin(heard)
            ours.add_plugin(told)
            for number, collection in enumerate(collections, 1):
                expr = collections_to_expr([collection])
                keys = list(dask.core.flatten(expr.__dask_keys__()))
                fifo = "60s" if number % 2 else 0
                await dasks.update_graph(
                    client="c",
                    expr_ser=Serialized(*serialize(expr)),
                    keys=set(keys),
                    span_metadata={"collections": []},
                    internal_priority=None,
                    submitting_task=None,
                    fifo_timeout=fifo,
                )
                table = materialise(expr, keys, "c", number)
                packed = encode_operation(
                    operations.TABLE, "c", encode_table(table), {"fifo_timeout": fifo}
                )
                for _ in applier.act(decode_operation(packed), packed, 1e9 * number):
                    pass
            assert facts(ours) == facts(dasks)
            assert told.graphs == heard.graphs
            assert ours.tasks

    on_loop(check)


def play(applier: Applier, *packed: bytes) -> None:
    """Act on operations, each a second after the one before."""
    for one in packed:
        for _ in applier.act(decode_operation(one), one, applier.last_s + 1.0):
            pass


def one_task(seq: int, key: str) -> bytes:
    rows = (Row(key, (), b"p", (), False, {}),)
    table = encode_table(Table("c", seq, (key,), (), rows))
    return encode_operation(operations.TABLE, "c", table, {})


def test_what_was_counted_of_a_task_is_not_of_the_next_one_of_its_key() -> None:
    """What is written of a task may come to the journal behind the one after it. What
    does not say of which it is, as before, is of the one that is known."""
    with bare() as scheduler:
        applier = Applier(scheduler, lambda operation: None)
        release = encode_operation(operations.RELEASE, "c", ("k",))

        def counts(run_id: int, *made: int) -> bytes:
            columns: tuple[tuple[int, ...], ...] = ((1,), (2,), (run_id,))
            columns += (made,) if made else ()
            return encode_operation(operations.COUNTS, "", ("k",), *columns)

        first, second = mark_of("c", 1), mark_of("c", 2)
        play(applier, one_task(1, "k"), release, one_task(2, "k"), counts(7, first))
        task = scheduler.tasks["k"]
        assert (task.retries, task.suspicious, task.run_id) == (0, 0, None)
        play(applier, counts(8, second))
        assert (task.retries, task.suspicious, task.run_id) == (1, 2, 8)
        play(applier, counts(9))
        assert task.run_id == 9
