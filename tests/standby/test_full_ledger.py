"""A ledger that is full: what is refused, and that there is always a way out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from distributed import Lock, Queue, Variable, Worker, fire_and_forget
from hand_client import by_hand, table
from one_node import leading, with_ledger

from dtf_dask import Client
from dtf_dask.durable import client_words as words
from dtf_dask.durable.operations import (
    DESIRE,
    RELEASE,
    RETRY,
    SCATTER,
    encode_operation,
)
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
            Client(leader.address, asynchronous=True, set_as_default=False) as other,
            Client(leader.address, asynchronous=True) as client,
        ):
            lock, queue = Lock("held"), await Queue("q")
            theirs = await Queue("q", client=other)
            assert await lock.acquire()
            kept, refused = [], None
            while refused is None:
                future = client.submit(size_of, bytes(MIB - 4096), pure=False)
                kept.append(future)
                refused = await future.exception()
                assert len(kept) < 8
            assert isinstance(refused, TaskRefusedError)
            assert "the ledger is full" in str(refused)
            assert [await one for one in kept[:-1]] == [MIB - 4096] * (len(kept) - 1)

            await queue.put(kept[0])
            await queue.put("item")
            sets = (Variable(name).set(bytes(MIB)) for name in "abcdefgh")
            with pytest.raises(TaskRefusedError, match="that is never refused"):
                await all_of(sets)
            # By the node's next word it may be a little less: it stays full.
            monkeypatch.setattr(ledger_room, "KEPT_BYTES_MAX", 4 * MIB)
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await Lock("other").acquire()
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await queue.put("another")
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await client.scatter(1)
            with pytest.raises(TaskRefusedError, match="the ledger is full"):
                await client.retry([future])
            # What is known may still be wanted by who takes it out of a queue.
            taken = await theirs.get()
            assert taken.client is other
            assert await taken == MIB - 4096
            with monkeypatch.context() as no_more:
                no_more.setattr(ledger_room, "WISHED_BYTES_MAX", 0)
                fire_and_forget(kept[1])
                while kept[1].status != "error":  # its value is there already
                    await asyncio.sleep(0.01)
                with pytest.raises(TaskRefusedError, match="the ledger is full"):
                    await kept[1]

            await lock.release()
            assert await queue.get() == "item"
            taken.release()
            await client.cancel(kept.pop(0))
            kept.clear()
            await client.flush(30)
            Variable("a").delete()
            await until_done(lambda: Lock("other").acquire())
            await until_done(lambda: client.submit(size_of, b"x", pure=False))
            assert leader.ended == []

    with_ledger(tmp_path, check)


@pytest.mark.logs("is refused: ", "waits: the ledger is full")
def test_no_client_fills_the_ledger_with_what_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only takes room is refused, and what names too many keys. What lets go
    waits until what was let go before is out of the ledger, and comes to its turn."""
    monkeypatch.setattr(ledger_room, "SUBMITTED_BYTES_MAX", 3 * MIB)
    monkeypatch.setattr(ledger_room, "KEPT_BYTES_MAX", 1 * MIB)
    monkeypatch.setattr(ledger_room, "LETTING_GO_BYTES_MAX", 4 * MIB)
    unknown = [f"{number:0200}" for number in range(4_000)]

    async def check(ledger: LocalLedger, port: int) -> None:
        async with leading(ledger, port) as leader:
            client = await by_hand(leader, "c-1", "token")
            tasks, room = leader.role.scheduler.tasks, leader.role.durability.room
            most = 0

            def asked(size: int, own: Callable[[int], None] = room.asked) -> None:
                nonlocal most
                own(size)
                most = max(most, room._held + room._under_way)

            monkeypatch.setattr(room, "asked", asked)
            wide = table("c-1", "a", payload=bytes(2 * MIB))
            await client.say(words.durable(1, wide))
            assert (await client.until(words.ACK))["upto"] == 1
            many = encode_operation(RELEASE, "c-1", tuple(map(str, range(10_001))))
            await client.say(
                words.durable(2, encode_operation(DESIRE, "c-1", ("b",))),
                words.durable(3, encode_operation(RETRY, "c-1", ("a",))),
                words.durable(4, encode_operation(SCATTER, "c-1", ("c",), (1,))),
                words.durable(5, many),
            )
            refused = [await client.until(words.REFUSED) for _ in range(4)]
            assert [one["seq"] for one in refused] == [2, 3, 4, 5]
            assert [one["keys"] for one in refused] == [("b",), (), ("c",), ()]
            assert all("the ledger is full" in one["why"] for one in refused[:3])
            assert "names 10001 keys" in refused[3]["why"]
            flood = encode_operation(RELEASE, "c-1", tuple(unknown))
            await client.say(*(words.durable(6 + n, flood) for n in range(4)))
            assert "the ledger is full" in (await client.until(words.WAITING))["why"]
            while (await client.until(words.ACK))["upto"] < 9:
                pass
            assert 3 * MIB < most <= 4 * MIB
            assert set(tasks) == {"a"}
            # One that leaves lets go of all, whatever of it still waits for room.
            monkeypatch.setattr(ledger_room, "LETTING_GO_BYTES_MAX", 0)
            await client.say(words.durable(10, flood))
            while not (await client.until(words.WAITING))["why"]:
                pass
            await client.say({"op": "close-client"}, {"op": "close-stream"})
            while tasks or leader.records("j/") or leader.records("s/"):
                await asyncio.sleep(0.05)
            assert leader.ended == []

    with_ledger(tmp_path, check)
