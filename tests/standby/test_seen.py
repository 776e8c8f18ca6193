"""What is to be seen lies in the ledger, and goes on under the next leader."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distributed import Worker
from one_node import Leader, leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.standby.failovers import failover_of
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import PREFIX, decoded, encoded, formed, record_key


def add(x: int, y: int) -> int:
    return x + y


def seen(leader: Leader) -> ReadModel:
    """What a node has applied."""
    model = ReadModel()
    model.replace(leader.records(PREFIX).items(), 1, 1, at=0.0)
    assert model.refused == 0, model.refusal
    return model


async def until(leader: Leader, key: str, **fields: Any) -> ReadModel:
    """Wait until a record is in the ledger, and is so."""
    while True:
        model = seen(leader)
        record = model.get(key)
        if record is not None and fields.items() <= record.items():
            return model
        assert leader.ended == []
        assert Observer.install(leader.role.scheduler).failure == ""
        await asyncio.sleep(0.05)


def test_a_successor_goes_on_from_what_is_seen(tmp_path: Path) -> None:
    """Counters go on, who is gone is said to be, and each failover is a record."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with leading(ledger, port) as leader:
            worker = Worker(leader.address, nthreads=1, name="w", dashboard=False)
            async with worker, Client(leader.address, asynchronous=True) as client:
                futures = [client.submit(add, 1, one) for one in range(4)]
                assert await client.gather(futures) == [1, 2, 3, 4]
                await until(leader, "cluster", ended=4, workers=1)
                model = await until(leader, "load/w", processing=0)
                observer = Observer.install(leader.role.scheduler)
                old = {"name": "old", "waiting": 3, "ended": 7, "since": 1.0}
                observer.put("class", "old", old)
                await until(leader, "class/old", waiting=3)
                await until(leader, "coordinator/1", name="1")
                nodes = {"voters": [1], "active": [1], "quorum_left": 0, "lag": {}}
                await until(leader, "cluster", coordinators=nodes)
                first = model.get("cluster")
                assert first is not None
        async with leading(ledger, port) as leader:
            # A second life, of its own numbers: it has not seen four tasks end.
            while (second := seen(leader).get("cluster")) is None or (
                second["started_at"] == first["started_at"]
            ):
                await asyncio.sleep(0.05)
            assert (second["ended"], second["workers"]) == (4, 0)
            model = await until(leader, "worker/w", status="lost")
            assert model.get("load/w") is None
            # Nothing waits any more of a class that this one does not know.
            await until(leader, "class/old", waiting=0, ended=7, since=None)

    with_ledger(tmp_path, check)


def test_a_full_ledger_hears_nothing_of_what_is_seen(tmp_path: Path) -> None:
    """What is asked for goes first; when there is room again all of it is told."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with leading(ledger, port) as leader:
            observer = Observer.install(leader.role.scheduler)
            await until(leader, "cluster", workers=0)
            durability: Any = leader.role.durability
            durability.room.holds(2**40)
            before = leader.records(PREFIX)
            observer.put("run", "r1", {"run": "r1", "planned": 3})
            observer.look()
            await durability.settled()
            assert leader.records(PREFIX) == before
            durability.room.holds(0)
            observer.look()
            await until(leader, "run/r1", planned=3)

    with_ledger(tmp_path, check)


def test_what_is_told_during_a_takeover_is_written_after_it() -> None:
    """A run that moved, or ended, before all workers were back is not forgotten."""

    class Ledger:
        term = 3
        room: Any = None

        def __init__(self) -> None:
            self.found: dict[str, bytes | None] = {}

        def records(self, prefix: str) -> list[tuple[str, bytes]]:
            old = formed("run", {"run": "a/b", "status": "running"})
            return [(PREFIX + record_key("run", "a/b"), encoded(old))]

    async def check() -> None:
        scheduler: Any = SimpleNamespace(handlers={})
        observer, ledger = Observer.install(scheduler), Ledger()
        assert Observer.install(scheduler) is observer
        observer.put("run", "a/b", {"run": "a/b", "status": "passed"})
        observer.lead(ledger)  # type: ignore[arg-type]
        await observer.close()
        told = observer.answer()["changes"]
        assert [decoded("run", value)["status"] for _, value in told] == ["passed"]

    asyncio.run(check())


def test_what_a_takeover_cost_is_told_when_it_is_known() -> None:
    """Of this term only, and when all workers are back or given up."""
    told = {
        "term": 4,
        "led_at_s": time.time(),
        "without_leader_s": 0.4,
        "leading_after_s": 0.2,
        "settled_after_s": -1.0,
        "tasks": 9,
        "workers": 2,
        "missing": 1,
    }
    assert failover_of({"scheduler": told}, "a", 4) is None
    told["settled_after_s"] = 1.5
    assert failover_of({"scheduler": told}, "a", 5) is None
    found = failover_of({"scheduler": told}, "a", 4)
    assert found is not None
    assert (found["node"], found["settled_after_s"], found["missing"]) == ("a", 1.5, 1)
