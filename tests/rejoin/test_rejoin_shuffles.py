"""Shuffles (P2P) under way as their scheduler dies: nothing of them is kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
from distributed import Status
from free_contact import free_contact
from rejoin_kit import asking, cut, leading, run, until, working

from dtf_dask.durable.inventory import Inventory
from dtf_dask.worker_plugins.dask_holdings import SHUFFLING


def late(part: Any, gate: str) -> Any:
    """The last part of the input waits, so that the shuffle cannot end."""
    while part["x"].max() == 39 and not Path(gate).exists():
        time.sleep(0.01)
    return part


def shuffling(worker: Any) -> set[str]:
    return {
        task.prefix
        for task in worker.state.tasks.values()
        if task.prefix in SHUFFLING and task.state != "cancelled"
    }


def keys_of(brought: Inventory) -> set[str]:
    parts = (*brought.memory, *brought.running, *brought.erred)
    return {str(one.key) for one in parts}


def test_what_only_a_dead_shuffle_needs_is_dropped(tmp_path: Path) -> None:
    """Its inputs are kept, and what it was to make; what it moved is not.

    Else the next leader would take numbers of a run that is gone for results.
    """

    async def check() -> None:
        contact = free_contact()
        gate = str(tmp_path / "gate")
        parts = dd.from_dict({"x": range(40)}, npartitions=4)
        with dask.config.set({"dataframe.shuffle.method": "p2p"}):
            moved = parts.map_partitions(late, gate, meta={"x": int}).shuffle("x")
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path / "a", nthreads=2) as one,
            working(contact, tmp_path / "b", nthreads=2) as other,
            asking(contact) as client,
        ):
            workers = (one, other)
            with dask.config.set({"dataframe.shuffle.method": "p2p"}):
                future = client.compute(moved)
            await until(
                lambda: (
                    sum(len(worker.data) for worker in workers)
                    and all(
                        worker.extensions["shuffle"].shuffle_runs._active_runs
                        for worker in workers
                    )
                    and sum("shuffle-transfer" in shuffling(w) for w in workers)
                )
            )
            runs = [
                list(w.extensions["shuffle"].shuffle_runs._active_runs.values())
                for w in workers
            ]
            plugins = [worker.extensions["shuffle"] for worker in workers]
            cut(first)
            async with leading(contact, 2) as second:
                await until(lambda: len(second.workers) == 2)
                for worker, plugin, (old,) in zip(workers, plugins, runs, strict=True):
                    assert worker.extensions["shuffle"] is plugin
                    assert not plugin.shuffle_runs._active_runs
                    await until(lambda: old.closed)  # noqa: B023
                    brought = keys_of(second.inventory(worker))
                    assert not [k for k in brought if "transfer" in k or "barrier" in k]
                    assert shuffling(worker) == set()
                Path(gate).touch()
                await until(lambda: not any(w.state.executing for w in workers))
                await asyncio.sleep(0)
                assert all(worker.status == Status.running for worker in workers)
                assert not [one for one in second.said if one["op"] == "task-erred"]
            # Nobody leads: what a peer sends for a run that is over asks nobody.
            (old,) = runs[0]
            answer = await one.rpc(other.address).shuffle_receive(
                shuffle_id=old.id, run_id=old.run_id, data=b""
            )
            assert answer["exception_text"].startswith("ShuffleClosedError")
            del future

    run(check)
