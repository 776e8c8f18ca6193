"""Shuffles whose barrier the scheduler never opens are planned as Dask plans them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import pandas as pd
import pytest
from dask import dataframe as dd
from dask.base import collections_to_expr
from distributed import Scheduler
from distributed.shuffle._core import P2PBarrierTask, ShuffleRunSpec, ShuffleSpec
from free_contact import LOOPBACK

from dtf_dask.errors import ProtocolError
from dtf_dask.standby import dask_shuffles
from dtf_dask.standby.dask_shuffles import ClosedSpec
from dtf_dask.standby.graphs import OpaqueTask, opaque_tasks
from dtf_dask.submission.materialise import materialise
from dtf_dask.submission.shuffle_plans import open_spec, plan_of, read_plan
from dtf_dask.submission.table_codec import decode_table, encode_table


def dataframe() -> Any:
    frame = dd.from_pandas(pd.DataFrame({"k": range(40), "v": 1}), npartitions=7)
    return frame.shuffle("k", npartitions=5)


def array() -> Any:
    return da.ones((12, 12), chunks=(3, 12)).rechunk((12, 4), method="p2p")


def barriers(collection: Any) -> list[OpaqueTask]:
    """The barriers of what a client would send, as a scheduler has them."""
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        expr = collections_to_expr([collection], True).optimize()
        keys = list(dask.core.flatten(collection.__dask_keys__()))
        table = decode_table(encode_table(materialise(expr, keys, "c", 1)))
    return [
        task
        for task in opaque_tasks(table, 0.0).values()
        if isinstance(pickle.loads(pickle.dumps(task)), P2PBarrierTask)
    ]


@pytest.mark.parametrize("collection", [dataframe, array])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_plan_is_the_one_of_dask(collection: Callable[[], Any], count: int) -> None:
    """The same partitions, each on the same worker; unpickled it is Dask's own."""
    (barrier,) = barriers(collection())
    own = open_spec(barrier.key, barrier.payload, barrier.functions)
    answer = plan_of(barrier.key, barrier.payload, dict(barrier.functions), count)
    closed = ClosedSpec(own.id, own.disk, barrier, read_plan(answer))
    workers = [f"tcp://w:{number}" for number in range(count)]
    partitions = list(own.output_partitions)
    assert list(closed.output_partitions) == partitions
    assert len(partitions) > 1
    places = {one: own.pick_worker(one, workers) for one in partitions}
    assert {one: closed.pick_worker(one, workers) for one in partitions} == places
    # A worker fewer than when the plan was made is no error.
    assert all(closed.pick_worker(one, workers[:1]) for one in partitions)
    made = closed.create_new_run(places, None)
    told = pickle.loads(pickle.dumps(made.run_spec))
    assert isinstance(told, ShuffleRunSpec)
    assert type(told.spec) is type(own)
    assert isinstance(told.spec, ShuffleSpec)
    assert (told.id, told.run_id, told.worker_for) == (own.id, made.run_id, places)


def test_what_is_no_plan_is_refused() -> None:
    """A worker that cannot plan says why; other answers are not believed."""
    answer = plan_of("x", b"no payload", {}, 2)
    with pytest.raises(ProtocolError, match="no barrier"):
        read_plan(answer)
    for bad in (
        None,
        {"status": "OK"},
        {"status": "OK", "plan": 3},
        {"status": "OK", "plan": [(1,)]},
        {"status": "OK", "plan": [(1, -1)]},
        {"status": "OK", "plan": [(None, 1)]},
        {"status": "OK", "plan": [(1, "tcp://w:1")]},
    ):
        with pytest.raises(ProtocolError):
            read_plan(bad)


def test_the_installed_dask_begins_shuffles_as_known() -> None:
    """Names and call sites; a scheduler without the extension is left alone."""
    made = Scheduler(dashboard=False, dashboard_address=f"{LOOPBACK}:0")
    try:
        assert dask_shuffles.broken(made) == ()
        del made.extensions["shuffle"]
        with pytest.raises(RuntimeError, match="shuffle"):
            dask_shuffles.Shuffles.install(made)
    finally:
        made.http_server.stop()
