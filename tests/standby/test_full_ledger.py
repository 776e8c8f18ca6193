"""A ledger that is full: what is refused, and that there is always a way out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from distributed import Lock, Queue, Variable, Worker
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.errors import TaskRefusedError
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.standby import ledger_room

MIB = 2**20


def size_of(value: bytes) -> int:
    return len(value)


async def all_of(works: Iterable[Awaitable[object]]) -> None:
    for work in works:
        await work


async def until_done(work: Callable[[], Awaitable[object]]) -> None:
    """Try it until it is not refused: the node says now and then what there is."""
    while True:
        try:
            await work()
            return
        except TaskRefusedError:
            await asyncio.sleep(0.1)


@pytest.mark.logs("the ledger is full")
def test_who_fills_the_ledger_is_refused_and_can_always_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submissions first, then all that would be kept; releases, deletions and unlocks
    never. Then there is room again, and no scheduler has ended."""
    monkeypatch.setattr(ledger_room, "SUBMITTED_BYTES_MAX", 4 * MIB)
    monkeypatch.setattr(ledger_room, "KEPT_BYTES_MAX", 6 * MIB)

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Worker(leader.address, nthreads=1, dashboard=False) as _,
            Client(leader.address, asynchronous=True) as client,
        ):
            lock, queue = Lock("held"), await Queue("q")
            assert await lock.acquire()
            await queue.put("item")
            kept, refused = [], None
            while refused is None:
                future = client.submit(size_of, bytes(MIB - 4096), pure=False)
                kept.append(future)
                refused = await future.exception()
                assert len(kept) < 8
            assert isinstance(refused, TaskRefusedError)
            assert "the ledger is full" in str(refused)
            assert [await one for one in kept[:-1]] == [MIB - 4096] * (len(kept) - 1)

            sets = (Variable(name).set(bytes(MIB)) for name in "abcdefgh")
            with pytest.raises(TaskRefusedError, match="that is never refused"):
                await all_of(sets)
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await Lock("other").acquire()
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await queue.put("another")
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await client.scatter(1)

            await lock.release()
            assert await queue.get() == "item"
            await client.cancel(kept.pop(0))
            kept.clear()
            await client.flush(30)
            Variable("a").delete()
            await until_done(lambda: Lock("other").acquire())
            await until_done(lambda: client.submit(size_of, b"x", pure=False))
            assert leader.ended == []

    with_ledger(tmp_path, check)
