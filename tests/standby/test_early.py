"""What a leader forgets by itself, while more is on its way: all act in one order."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import pytest
from distributed import Scheduler
from memory_ledger import Leader, MemoryLedger, bare, lead
from test_shadow import CLIENTS, KEYS, Asking, known, one_task

from dtf_dask.durable import operations
from dtf_dask.durable.makings import NONE, mark_of
from dtf_dask.durable.operations import encode_operation
from dtf_dask.standby import durability
from dtf_dask.standby.applying import FIRE_AND_FORGET
from dtf_dask.standby.asked_again import KEEPER
from dtf_dask.standby.dask_takeover import made_of
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table

CASES = ("scattered", "fire and forget")


async def quiet(leader: Leader) -> float:
    """Wait for what follows of itself, too; answers when all was in the ledger."""
    for _ in range(3):
        await leader.durability.settled()
        await asyncio.sleep(0.005)
    return time.monotonic()


def lose(leader: Leader, key: str) -> None:
    """A worker died with what cannot be made again."""
    if key in leader.scheduler.tasks:
        leader.scheduler.transitions({key: "forgotten"}, "lost")


def finish(leader: Leader, key: str) -> None:
    """A task is done, which nobody waits for: Dask itself voids that wish."""
    scheduler = leader.scheduler
    cs, ts = scheduler.clients.get(FIRE_AND_FORGET), scheduler.tasks.get(key)
    if cs is None or ts is None or ts not in cs.wants_what:
        return
    follows: dict[Any, Any] = {}
    scheduler._client_releases_keys([key], cs, follows)
    leader.applier.finished(key)
    scheduler.transitions(follows, "done")


def table(
    client: str, seq: int, needs: tuple[str, ...], wanted: tuple[str, ...]
) -> bytes:
    """A submission of a task that needs others, which are in it, too."""
    rows = [Row(key, (), b"p", (), False, {}) for key in needs]
    rows.append(Row(wanted[0], needs, b"p", (), False, {}))
    made = encode_table(Table(client, seq, wanted, (), tuple(rows)))
    return encode_operation(operations.TABLE, client, made, {})


@pytest.mark.parametrize("case", CASES)
def test_what_is_on_its_way_is_of_who_forgot_before_it(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader forgets while tasks of the same key are on their way: it makes them
    anew, and so does who follows, and who begins with what is left."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            old = ledger.shadow(early)
            scatter = encode_operation(operations.SCATTER, "d", ("s",), (8,))
            leader.durability.append(scatter)
            leader.durability.append(one_task(1, "k"))
            wish = encode_operation(operations.DESIRE, FIRE_AND_FORGET, ("k",))
            leader.durability.append(wish)
            leader.durability.append(encode_operation(operations.RELEASE, "c", ("k",)))
            await quiet(leader)
            if case == "scattered":  # another making of the key waits for the value
                finish(leader, "k")
                await quiet(leader)
            ledger.may_commit.clear()
            leader.durability.append(one_task(2, "k", ("s",)))
            leader.durability.append(one_task(3, "k"))
            await asyncio.sleep(0.1)
            lose(leader, "s")
            finish(leader, "k")
            ledger.may_commit.set()
            await quiet(leader)
            new = ledger.shadow(late)
            await old.catch_up()
            await new.catch_up()
            for scheduler in (first, early, late):
                assert list(scheduler.tasks) == ["k"]
                (wanted,) = scheduler.clients["c"].wants_what
                assert wanted is scheduler.tasks["k"]
                assert wanted.run_spec.dependencies == set()
                assert wanted.run_spec.made == first.tasks["k"].run_spec.made
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 30))


def test_who_is_asked_for_again_stays_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for who reads a journal from which those are gone that wanted it meanwhile:
    what workers have is of the first."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            append = leader.durability.append
            append(one_task(1, "needed"))
            append(one_task(2, "k", ("needed",)))
            append(encode_operation(operations.RELEASE, "c", ("needed",)))
            append(encode_operation(operations.DESIRE, "d", ("k",)))
            await quiet(leader)
            append(encode_operation(operations.RELEASE, "c", ("k",)))
            append(table("e", 1, ("needed",), ("k", "needed")))
            append(encode_operation(operations.RELEASE, "d", ("k",)))
            await quiet(leader)
            new = ledger.shadow(late)
            await new.catch_up()
            assert known(late) == known(first)
            assert first.tasks["k"].run_spec.made == mark_of("c", 2)
            assert KEEPER not in late.clients
            append(encode_operation(operations.CLIENT_GONE, "e"))
            await quiet(leader)
            assert first.tasks == {} == ledger.records
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 30))


@pytest.mark.parametrize("submitted", [False, True])
def test_a_scattered_value_is_one_while_a_task_needs_it(
    submitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client may have let go of it, and may have submitted it as a task as well:
    what a worker has is the value that was scattered."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            append = leader.durability.append
            leader.applier.quiet = True  # no worker is here, which would have the value
            first.new_task("s", None, "released")  # as Dask does, before it is written
            append(encode_operation(operations.SCATTER, "d", ("s",), (8,)))
            append(one_task(1, "k", ("s",)))
            if submitted:
                append(one_task(2, "s"))
            append(encode_operation(operations.RELEASE, "d", ("s",)))
            await quiet(leader)
            new = ledger.shadow(late)
            await new.catch_up()
            for scheduler in (first, late):
                assert set(scheduler.tasks) == {"k", "s"}
                made = made_of(scheduler.tasks["s"])
                assert made == made_of(first.tasks["s"]) != NONE
                assert (scheduler.tasks["s"].run_spec is not None) == submitted
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 30))


class Losing(Asking):
    """Asks also for what nobody waits for, and has values scattered again."""

    def one(self, scheduler: Scheduler) -> bytes:
        chance = self.chance
        client = chance.choice((*CLIENTS, FIRE_AND_FORGET))
        if client == FIRE_AND_FORGET:
            keys = tuple(chance.sample(KEYS, 2))
            return encode_operation(operations.DESIRE, client, keys)
        if chance.random() < 0.2:
            return encode_operation(operations.SCATTER, client, ("s-1",), (8,))
        return super().one(scheduler)


async def ask_and_lose(leader: Leader, ledger: MemoryLedger, asking: Losing) -> None:
    """A few operations on their way, while tasks are done and values are lost."""
    chance = asking.chance
    ledger.may_commit.clear()
    for _ in range(chance.choice((1, 2, 6))):
        leader.durability.append(asking.one(leader.scheduler))
        if chance.random() < 0.3:
            await asyncio.sleep(durability.LAZILY_S)  # in another proposal
    tasks = leader.scheduler.tasks
    for key in chance.sample([*KEYS, "s-1"], 4):
        if key in tasks and tasks[key].run_spec is None:
            lose(leader, key)
        else:
            finish(leader, key)
    ledger.may_commit.set()


@pytest.mark.parametrize("seed", [0, 16, 38])
def test_whatever_is_forgotten_when(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leader, who follows from the beginning, and who reads what is left, know the same
    makings of the same tasks, for the same clients."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)
    asking = Losing(Random(seed))
    asking.reshape()  # once: two tasks of one key that differ in this are misuse

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            leader.applier.quiet = True  # no worker is here, which would have values
            old = ledger.shadow(early)
            for _ in range(40):
                await ask_and_lose(leader, ledger, asking)
                if asking.chance.random() < 0.3:
                    all_there_s = await quiet(leader)
                    if asking.chance.random() < 0.5:
                        await ask_and_lose(leader, ledger, asking)
                    await old.catch_up(all_there_s)
            await quiet(leader)
            new = ledger.shadow(late)
            await old.catch_up()
            await new.catch_up()
            assert leader.failed == []
            assert known(early) == known(first)
            assert known(late) == known(first)
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))
