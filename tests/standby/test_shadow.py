"""A shadow has what the leader has, whenever it began, whatever has gone."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import pytest
from distributed import Scheduler
from memory_ledger import MemoryLedger, bare, lead

from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_operation
from dtf_dask.standby import durability
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table

KEYS = "abcdefghij"
CLIENTS = "xyz"


def known(scheduler: Scheduler) -> dict[Any, Any]:
    """Tasks, of which making they are, what they need, and who wants them."""
    return {
        ts.key: (
            sorted(dts.key for dts in ts.dependencies),
            sorted(cs.client_key for cs in ts.who_wants or ()),
            ts.run_spec and ts.run_spec.made,
            ts.annotations,
        )
        for ts in scheduler.tasks.values()
    }


def in_order(scheduler: Scheduler) -> list[Any]:
    tasks = [ts for ts in scheduler.tasks.values() if ts.priority]
    return [ts.key for ts in sorted(tasks, key=lambda ts: (ts.priority, ts.key))]


class Asking:
    """Makes operations that make sense of what there is."""

    def __init__(self, random: Random) -> None:
        self.chance = random
        self._seq = 0
        self.needs: dict[str, tuple[str, ...]] = {}

    def table(self, scheduler: Scheduler, client: str, wanted: list[str]) -> bytes:
        rows: dict[str, Row] = {}

        def add(key: str) -> None:
            if key in rows:
                return
            needs = self.needs[key]
            if key in scheduler.tasks:
                needs = tuple(
                    sorted(dts.key for dts in scheduler.tasks[key].dependencies)
                )
            for need in needs:
                if need not in scheduler.tasks or need in wanted:
                    add(need)
            rows[key] = Row(key, needs, b"p" + key.encode(), (), False, {"retries": 1})

        for key in wanted:
            add(key)
        self._seq += 1
        made = Table(client, self._seq, tuple(wanted), (), tuple(rows.values()))
        return encode_operation(operations.TABLE, client, encode_table(made), {})

    def reshape(self) -> None:
        """What is asked for anew need not be what it was."""
        for at, key in enumerate(KEYS):
            count = min(at, self.chance.choice((0, 0, 1, 2)))
            self.needs[key] = tuple(sorted(self.chance.sample(KEYS[:at], count)))

    def one(self, scheduler: Scheduler) -> bytes:
        random = self.chance
        client = random.choice(CLIENTS)
        keys = sorted(random.sample(KEYS, random.randint(1, 3)))
        kind = random.choices(
            ("table", "release", "desire", "cancel", "gone", "scatter"),
            (10, 10, 3, 1, 1, 1),
        )[0]
        if kind == "table":
            return self.table(scheduler, client, keys)
        if kind == "release":
            return encode_operation(operations.RELEASE, client, tuple(keys))
        if kind == "desire":
            return encode_operation(operations.DESIRE, client, tuple(keys))
        if kind == "cancel":
            force = random.random() < 0.5
            return encode_operation(operations.CANCEL, client, tuple(keys), force, "")
        if kind == "gone":
            return encode_operation(operations.CLIENT_GONE, client)
        return encode_operation(operations.SCATTER, client, ("s-1",), (8,))


@pytest.mark.parametrize("seed", [*range(6), 108, 170])
def test_whoever_takes_over_has_what_the_leader_had(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shadow of the first hour, one that comes late, and one after each takeover."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)
    random = Random(seed)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            old = ledger.shadow(early)
            asking = Asking(random)
            there_s = 0.0
            for number in range(60):
                asking.reshape()
                for _ in range(random.choice((1, 2, 6))):
                    leader.durability.append(asking.one(leader.scheduler))
                    if random.random() < 0.5:
                        await leader.durability.settled()
                if random.random() < 0.3:
                    await old.catch_up(there_s)
                    for _ in range(2):  # the second for what the first made void
                        await leader.durability.settled()
                    there_s = time.monotonic()
                if number == 30:
                    for _ in range(3):
                        await leader.durability.settled()
                        await asyncio.sleep(0.03)
            for _ in range(3):  # what follows of itself, too
                await leader.durability.settled()
                await asyncio.sleep(0.03)
            new = ledger.shadow(late)
            await old.catch_up()
            await new.catch_up()
            assert leader.failed == []
            assert known(late) == known(first)
            assert known(early) == known(first)
            await leader.close()
            # Whoever takes over goes on with the same journal, until nothing is left.
            leader = await lead(ledger, old, 2)
            for client in CLIENTS:
                leader.durability.append(
                    encode_operation(operations.CLIENT_GONE, client)
                )
            for _ in range(5):
                await leader.durability.settled()
                await asyncio.sleep(0.03)
            assert leader.scheduler.tasks == {}
            assert ledger.records == {}
            await new.catch_up()
            assert late.tasks == {}
            assert len(new.applier.living) == 0
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


def test_tasks_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside submissions that are over, and gone from the journal."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            old = ledger.shadow(early)
            for number in range(40):
                key = f"k-{number % 7}-{number}"
                rows = (Row(key, (), b"", (), False, {"priority": number % 3}),)
                table = encode_table(Table("c", number + 1, (key,), (), rows))
                words = {"fifo_timeout": 0.0}
                leader.durability.append(
                    encode_operation(operations.TABLE, "c", table, words)
                )
                if number % 2:
                    leader.durability.append(
                        encode_operation(operations.RELEASE, "c", (key,))
                    )
                if number % 5 == 0:
                    await leader.durability.settled()
                    await old.catch_up()
            for _ in range(3):
                await leader.durability.settled()
                await asyncio.sleep(0.03)
            new = ledger.shadow(late)
            await old.catch_up()
            await new.catch_up()
            assert len(ledger.records) < 25
            assert len(in_order(first)) == 20
            assert in_order(late) == in_order(early) == in_order(first)
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


def one_task(seq: int, key: str, needs: tuple[str, ...] = ()) -> bytes:
    rows = (Row(key, needs, b"p", (), False, {}),)
    table = encode_table(Table("c", seq, (key,), (), rows))
    return encode_operation(operations.TABLE, "c", table, {})


BEFORE = {
    "cancelled": encode_operation(operations.CANCEL, "c", ("k",), False, ""),
    "cancelled by another": encode_operation(operations.CANCEL, "d", ("k",), True, ""),
    "lost": one_task(2, "k", ("nowhere",)),
    "wanted in vain": encode_operation(operations.DESIRE, "c", ("k",)),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("before", BEFORE)
def test_what_is_wished_again_at_once_stays_wished(
    before: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if both are in one batch, as after an outage: what the scheduler writes of
    the wish that was void says nothing of the one that is."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            old = ledger.shadow(early)
            if before.startswith("cancelled"):
                leader.durability.append(one_task(1, "k"))
            if known:
                wish = encode_operation(operations.DESIRE, "other", ("k",))
                leader.durability.append(wish)
                await leader.durability.settled()
            leader.durability.append(BEFORE[before])
            leader.durability.append(one_task(3, "k"))
            for _ in range(4):
                await leader.durability.settled()
                await asyncio.sleep(0.02)
            new = ledger.shadow(late)
            for shadow in (old, new):
                await shadow.catch_up()
            for scheduler in (first, early, late):
                (wanted,) = scheduler.clients["c"].wants_what
                assert wanted is scheduler.tasks["k"]
                assert wanted.run_spec.dependencies == set()
            gone = [encode_operation(operations.CLIENT_GONE, one) for one in KEEPERS]
            for one in gone:
                leader.durability.append(one)
            for _ in range(4):
                await leader.durability.settled()
                await asyncio.sleep(0.02)
            assert first.tasks == {} == ledger.records
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


def test_much_that_is_void_at_once_is_written_in_bounded_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much there is above what is cancelled; all follow it, and it goes."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)
    monkeypatch.setattr(operations, "ASKED_KEYS_MAX", 3)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            old = ledger.shadow(early)
            counts: list[int] = []
            tell_more = leader.applier.tell_more

            def told(packed: bytes) -> None:
                counts.append(len(operations.decode_operation(packed).body[0]))
                tell_more(packed)

            leader.applier.tell_more = told
            leader.durability.append(one_task(1, "k"))
            for seq in range(2, 12):
                leader.durability.append(one_task(seq, f"above-{seq}", ("k",)))
            await leader.durability.settled()
            leader.durability.append(BEFORE["cancelled"])
            leader.durability.append(one_task(12, "again"))
            for _ in range(4):
                await leader.durability.settled()
                await asyncio.sleep(0.02)
            assert (max(counts), sum(counts)) == (3, 11)
            new = ledger.shadow(late)
            for shadow in (old, new):
                await shadow.catch_up()
            for scheduler in (first, early, late):
                assert list(scheduler.tasks) == ["again"]
            assert len(leader.applier.living) == 1
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


@pytest.mark.parametrize("acted", [False, True])
def test_of_operations_that_are_alike_the_one_is_kept_that_was_left(
    acted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a future that is let go of and made again at once: whether the record was
    acted on before it was written again or not, the wish stays in who follows."""
    monkeypatch.setattr(durability, "CUT_EVERY_S", 0.0)

    async def check() -> None:
        ledger = MemoryLedger()
        with bare() as first, bare() as early, bare() as late:
            leader = await lead(ledger, ledger.shadow(first), 1)
            leader.durability.append(one_task(1, "k"))
            await leader.durability.settled()
            follower = ledger.shadow(early)
            await follower.catch_up()
            desire = encode_operation(operations.DESIRE, "d", ("k",))
            release = encode_operation(operations.RELEASE, "d", ("k",))
            for operation in (desire, release, desire):
                leader.durability.append(operation)
            await leader.durability.settled()
            if acted:
                await follower.catch_up()
            for _ in range(4):
                await leader.durability.settled()
                await asyncio.sleep(0.02)
            await follower.catch_up()
            await leader.close()
            leader = await lead(ledger, follower, 2)
            gone = encode_operation(operations.CLIENT_GONE, "c")
            leader.durability.append(gone)
            for _ in range(4):
                await leader.durability.settled()
                await asyncio.sleep(0.02)
            new = ledger.shadow(late)
            await new.catch_up()
            for scheduler in (early, late):
                assert list(scheduler.tasks) == ["k"]
                (wanted,) = scheduler.clients["d"].wants_what
                assert wanted is scheduler.tasks["k"]
            await leader.close()

    asyncio.run(asyncio.wait_for(check(), 60))


KEEPERS = ("c", "other")
