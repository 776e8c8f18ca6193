"""The line before the ledger: order, batches, what is large, and what does not come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgpack
import pytest
from memory_ledger import Leader, MemoryLedger, bare, lead

from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_operation
from dtf_dask.ha.ledger.entries import COMMAND_BYTES_MAX, ENTRY_COMMANDS_MAX
from dtf_dask.standby import dask_seam, durability
from dtf_dask.standby.client_lines import ClientLine
from dtf_dask.standby.journal import JournalReader, number_of
from dtf_dask.standby.ledger_room import SUBMITTED_BYTES_MAX
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table


def alone(test: Callable[[MemoryLedger, Leader], Awaitable[None]]) -> None:
    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as scheduler:
            leader = await lead(ledger, ledger.shadow(scheduler), 1)
            await test(ledger, leader)
            assert leader.failed == []
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


def table(*keys: str, payload: bytes = b"") -> bytes:
    rows = tuple(Row(key, (), payload, (), False, {}) for key in keys)
    packed = encode_table(Table("c", 1, keys, (), rows))
    return encode_operation(operations.TABLE, "c", packed, {})


def line(leader: Leader, told: list[Any]) -> ClientLine:
    return ClientLine("c", "t", 0, leader.durability, lambda *one: told.append(one))


def test_much_is_written_together() -> None:
    """Thousands of submissions are a few proposals, each within the ledger's bounds."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        told: list[Any] = []
        asking = line(leader, told)
        for seq in range(1, 3001):
            asking.take(seq, table(f"k-{seq}", payload=bytes(300)))
        await leader.durability.settled()
        assert len(leader.scheduler.tasks) == 3000
        assert told[-1] == ("ack", 3000)
        assert [one[1] for one in told] == sorted(one[1] for one in told)
        assert ledger.proposals < 20
        token, seen = msgpack.unpackb(ledger.records["s/c"])
        assert (token, seen) == ("t", 3000)

    alone(check)


def test_what_is_large_is_there_as_a_whole_or_not() -> None:
    """It takes several proposals; the client's number goes with the last of them."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        told: list[Any] = []
        asking = line(leader, told)
        proposed: list[Sequence[bytes]] = []
        propose = ledger.propose

        def watched(commands: Sequence[bytes]) -> Any:
            assert sum(map(len, commands)) <= COMMAND_BYTES_MAX
            assert len(commands) <= ENTRY_COMMANDS_MAX
            proposed.append(commands)
            return propose(commands)

        leader.durability._propose = watched
        asking.take(1, table("small"))
        asking.take(2, table("a", "b", payload=bytes(3 * 2**20)))
        asking.take(3, table("after"))
        await leader.durability.settled()
        while told[-1] != ("ack", 3):
            await asyncio.sleep(0.01)
        assert set(leader.scheduler.tasks) == {"small", "a", "b", "after"}
        assert len(proposed) >= 4
        # A leader that dies before the last of them leaves nothing of it.
        reader, seen = JournalReader(), []
        for key, value in sorted(ledger.records.items())[:-3]:
            if key.startswith("j/"):
                batch = reader.read(number_of(key), value)
                seen += batch.operations if batch else ()
        assert [len(one) < 1000 for one in seen] == [True]

    alone(check)


def test_clients_hear_that_the_ledger_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is half done meanwhile; when it answers all is done, in its order."""
    monkeypatch.setattr(durability, "TOLD_AFTER_S", 0.05)

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        waits: list[str] = []
        leader.durability._waiting = waits.append
        told: list[Any] = []
        asking = line(leader, told)
        ledger.may_commit.clear()
        asking.take(1, table("a"))
        while not waits:
            await asyncio.sleep(0.01)
        asking.take(2, encode_operation(operations.RELEASE, "c", ("a",)))
        asking.take(3, table("b"))
        await asyncio.sleep(0.05)
        assert "cannot be reached" in waits[0]
        assert told == []
        assert leader.scheduler.tasks == {}
        ledger.may_commit.set()
        await leader.durability.settled()
        assert waits[-1] == ""
        assert set(leader.scheduler.tasks) == {"b"}
        assert told[-1] == ("ack", 3)

    alone(check)


@pytest.mark.logs("an operation .table. of client c cannot be acted on")
def test_one_operation_does_not_end_all_schedulers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What nobody thought of fails alone: here, and wherever it is acted on again."""
    make = dask_seam.make_tasks

    def make_tasks(scheduler: Any, given: Any, *args: Any, **kwargs: Any) -> Any:
        if given.table.wanted == ("bad",):
            raise RuntimeError("never heard of")
        return make(scheduler, given, *args, **kwargs)

    monkeypatch.setattr(dask_seam, "make_tasks", make_tasks)

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        with bare() as other:
            shadow = ledger.shadow(other)
            told: list[Any] = []
            asking = line(leader, told)
            for seq, key in enumerate(("a", "bad", "b"), 1):
                asking.take(seq, table(key))
            await leader.durability.settled()
            await shadow.catch_up()
            assert ("refused", 2, "RuntimeError: never heard of", ()) in told
            assert told[-1] == ("ack", 3)
            assert set(leader.scheduler.tasks) == set(other.tasks) == {"a", "b"}

    alone(check)


@pytest.mark.logs("of client c is refused")
def test_what_makes_no_sense_is_refused() -> None:
    """Before it is written: the next operation is taken all the same."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        told: list[Any] = []
        asking = line(leader, told)
        row = Row("a", (), b"", (), False, {})
        needy = Row("b", ("a",), b"", (), False, {})
        packed = encode_table(Table("c", 1, ("a",), (), (row,)))
        words: list[dict[str, Any]] = [
            {"fifo_timeout": "some"},
            {"submitting_task": {"a": 1}},
            {"actors": ({"a": 1},)},
            {"code": ("text",)},
            {"span": {"collections": 5}},
        ]
        said = [encode_operation(operations.TABLE, "c", packed, one) for one in words]
        upside_down = encode_table(Table("c", 1, ("b",), (), (needy, row)))
        said.append(encode_operation(operations.TABLE, "c", upside_down, {}))
        said.append(encode_operation(operations.TABLE, "c", b"no table", {}))
        for seq, one in enumerate([*said, table("good")], 1):
            asking.take(seq, one)
        await leader.durability.settled()
        refused = [one[1] for one in told if one[0] == "refused"]
        assert refused == list(range(1, len(said) + 1))
        assert set(leader.scheduler.tasks) == {"good"}
        assert len([key for key in ledger.records if key.startswith("j/")]) == 1

    alone(check)


@pytest.mark.logs("of client c is refused: the ledger is full")
def test_a_full_ledger_refuses_submissions_and_ends_no_leader() -> None:
    """What frees it is taken all the same, and then there is room again."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        told: list[Any] = []
        asking = line(leader, told)
        asking.take(1, table("a"))
        await leader.durability.settled()
        leader.durability.room.holds(SUBMITTED_BYTES_MAX + 1)
        asking.take(2, table("b"))
        asking.take(3, encode_operation(operations.RELEASE, "c", ("a",)))
        await leader.durability.settled()
        assert [one[1] for one in told if one[0] == "refused"] == [2]
        assert "let go of futures" in next(one[2] for one in told if len(one) > 2)
        assert set(leader.scheduler.tasks) == set()
        leader.durability.room.holds(0)
        asking.take(4, table("c"))
        await leader.durability.settled()
        assert told[-1] == ("ack", 4)
        assert set(leader.scheduler.tasks) == {"c"}

    alone(check)


def test_submissions_under_way_count_as_held() -> None:
    """Those that the node has not told of yet, too: they come faster than its word."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        told: list[Any] = []
        asking = line(leader, told)
        leader.durability.room.holds(SUBMITTED_BYTES_MAX - 2**20)
        ledger.may_commit.clear()
        for seq in range(1, 5):
            asking.take(seq, table(f"k-{seq}", payload=bytes(200_000)))
        assert leader.durability.room.none_to_submit(300 * 2**10)
        ledger.may_commit.set()
        await leader.durability.settled()
        assert leader.durability.room.none_to_submit(300 * 2**10)
        leader.durability.room.holds(0)
        assert not leader.durability.room.none_to_submit(300 * 2**10)
        assert told[-1] == ("ack", 4)

    alone(check)


def test_many_records_at_once_are_within_the_bounds_of_an_entry() -> None:
    """An entry that is too large would be refused, and end the leader."""

    async def check(ledger: MemoryLedger, leader: Leader) -> None:
        proposed: list[int] = []
        propose = ledger.propose

        def counted(commands: Sequence[bytes]) -> Any:
            proposed.append(len(commands))
            return propose(commands)

        leader.durability._propose = counted
        leader.durability.keep_lazily(dict.fromkeys(map(str, range(25_000))))
        await leader.durability.settled()
        assert sum(proposed) == 25_000
        assert max(proposed) <= ENTRY_COMMANDS_MAX

    alone(check)
