"""What one client does to the futures of others: they hear what it was, and who."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from distributed import Future, Worker
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger


async def named(key: str, client: Client) -> Future:
    return Future(key, client)  # type: ignore[no-untyped-call]


def test_others_hear_who_cancelled_by_force_and_who_restarted(tmp_path: Path) -> None:
    """Their futures are cancelled with the reason and the client; it is in the ledger:
    the next leader knows nothing of those tasks either."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with leading(ledger, port) as leader:
            made = {
                "asynchronous": True,
                "set_as_default": False,
                "address": leader.address,
            }
            async with Client(**made) as owner, Client(**made) as other:
                waits = owner.submit(sum, [1], key="waits", resources={"none": 1})
                needs = owner.submit(abs, waits, key="needs")
                await owner.flush(30)
                await other.cancel(
                    [await named("waits", other)], force=True, reason="enough"
                )
                for future in (waits, needs):
                    with pytest.raises(CancelledError) as cancelled:
                        await future
                    assert "enough" in str(cancelled.value)
                    assert f"Client {other.id} did so." in str(cancelled.value)

                waits = owner.submit(sum, [2], key="again", resources={"none": 1})
                await owner.flush(30)
                async with Worker(
                    leader.address, nthreads=1, dashboard=False
                ) as worker:
                    while worker.address not in leader.role.scheduler.workers:
                        await asyncio.sleep(0.02)
                    await other.restart(wait_for_workers=False)
                with pytest.raises(CancelledError) as cancelled:
                    await waits
                assert "scheduler-restart" in str(cancelled.value)
                assert f"Client {other.id} did so." in str(cancelled.value)
                while leader.records("j/"):
                    await asyncio.sleep(0.05)
        async with leading(ledger, port) as successor:
            assert successor.role.scheduler.tasks == {}

    with_ledger(tmp_path, check)
