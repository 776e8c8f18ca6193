"""One coordinator with its ledger, a real worker and a real client, in one loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from distributed import Worker
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger


def add(x: int, y: int) -> int:
    return x + y


def test_what_is_asked_is_written_and_then_done(tmp_path: Path) -> None:
    """Results come back; when nobody wants them any more, the journal is empty."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Worker(leader.address, nthreads=1, dashboard=False) as _,
            Client(leader.address, asynchronous=True) as client,
        ):
            futures = [client.submit(add, 1, one) for one in range(5)]
            total = client.submit(sum, futures)
            assert await total == 15
            assert leader.records("j/")
            assert leader.records("s/")
            for future in (*futures, total):
                future.release()
            while leader.records("j/"):
                await asyncio.sleep(0.05)
            assert leader.role.scheduler.tasks == {}
            assert leader.ended == []

    with_ledger(tmp_path, check)
