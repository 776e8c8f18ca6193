"""Clients of a coordinator's scheduler: Dask's own, and the words of dtf's by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, Worker
from distributed.comm import CommClosedError
from distributed.core import connect
from distributed.utils_test import captured_logger
from distributed.versions import get_versions
from hand_client import by_hand, table
from one_node import Leader, leading, with_ledger

from dtf_dask.durable import client_words as words
from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_operation
from dtf_dask.errors import TaskRefusedError
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.standby.client_lines import id_wrong

Test = Callable[[Leader], Awaitable[None]]


def with_leader(folder: Path, test: Test, **settings: Any) -> None:
    async def check(ledger: LocalLedger, port: int) -> None:
        with dask.config.set({f"dtf.ha.{name}": one for name, one in settings.items()}):
            async with leading(ledger, port) as leader:
                await test(leader)
                assert leader.ended == []

    with_ledger(folder, check)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def of_dask(leader: Leader) -> Client:
    """A client of Dask's own: a worker in this process has clients made others."""
    with dask.config.set({"distributed.client.preload": []}):
        return Client(leader.address, asynchronous=True)


def add(x: int, y: int) -> int:
    return x + y


def test_a_client_of_dask_is_served(tmp_path: Path) -> None:
    """Graphs, wishes and cancellations go by the ledger; they end with the client."""

    async def check(leader: Leader) -> None:
        tasks = leader.role.scheduler.tasks
        async with Worker(leader.address, nthreads=1, dashboard=False):
            with captured_logger("distributed.client", logging.WARNING) as logged:
                client = await of_dask(leader)
                assert not hasattr(client, "flush")
                one = client.submit(add, 1, 2)
                total = client.submit(sum, [one, one])
                assert await total == 6
                bag = dask.delayed(sum)([dask.delayed(add)(i, i) for i in range(4)])
                assert await client.compute(bag) == 12
                assert leader.records("j/")
                await client.cancel([total])
                await until(lambda: total.key not in tasks)
                assert one.key in tasks
                await client.close()
                assert not logged.getvalue()  # none of our words came to it
            await until(lambda: not tasks and not leader.records("j/"))
            assert leader.records("s/") == {}

    with_leader(tmp_path, check)


def test_graphs_are_not_opened_where_they_are_not_to_be(tmp_path: Path) -> None:
    """The future fails, and says what to do."""

    async def check(leader: Leader) -> None:
        async with of_dask(leader) as client:
            with pytest.raises(TaskRefusedError, match=r"ha\.raw-graphs: never"):
                await client.submit(add, 1, 2)
            assert leader.role.scheduler.tasks == {}

    with_leader(tmp_path, check, **{"raw-graphs": "never"})


@pytest.mark.logs("is refused: ")
def test_numbers_are_taken_once_and_in_order(tmp_path: Path) -> None:
    """What is said again is dropped; what makes no sense is passed over, and said."""

    async def check(leader: Leader) -> None:
        tasks = leader.role.scheduler.tasks
        client = await by_hand(leader, "c-1", "token")
        assert (await client.until(words.WELCOME))["seen"] == 0
        release = encode_operation(operations.RELEASE, "c-1", ("a",))
        await client.say(
            words.durable(1, table("c-1", "a", "b")),
            words.durable(2, table("c-1", "c", annotations={"retries": "many"})),
            words.durable(3, table("c-2", "d")),
            words.durable(4, b"nothing"),
            words.durable(5, encode_operation(operations.CLIENT_GONE, "c-1")),
            words.durable(6, release),
            words.durable(1, table("c-1", "a")),
        )
        refused = [await client.until(words.REFUSED) for _ in range(4)]
        assert [one["seq"] for one in refused] == [2, 3, 4, 5]
        assert "retries" in refused[0]["why"]
        while (await client.until(words.ACK))["upto"] < 6:
            pass
        assert set(tasks) == {"b"}
        await client.say(words.states(["a", "b"]))
        lost = await client.until("cancelled-keys")
        assert (lost["keys"], lost["reason"]) == (("a",), words.LOST)
        # One that comes back hears what is there, and is not taken for another.
        client.comm.abort()
        again = await by_hand(leader, "c-1", "token")
        assert (await again.until(words.WELCOME))["seen"] == 6
        await again.say(words.durable(8, release))
        assert "one was lost" in (await again.until(words.REFUSED))["why"]
        assert set(tasks) == {"b"}

    with_leader(tmp_path, check)


def test_what_a_submission_lacks_is_told_after_its_ack(tmp_path: Path) -> None:
    """So a client knows which submission of a key it is that is cancelled."""

    async def check(leader: Leader) -> None:
        client = await by_hand(leader, "c-1", "token")
        await client.until(words.WELCOME)
        lacks = table("c-1", "a", needs=("nowhere",))
        await client.say(words.durable(1, table("c-1", "b")), words.durable(2, lacks))
        while "cancelled-keys" not in (heard := [one["op"] for one in client.heard]):
            client.heard += await client.comm.read()
        before = client.heard[: heard.index("cancelled-keys")]
        assert words.ack(2) in before, client.heard

    with_leader(tmp_path, check)


@pytest.mark.logs("another client of the same id")
def test_two_clients_of_one_id_are_told_apart(tmp_path: Path) -> None:
    """The second is refused and takes nothing away; the first may come back."""

    async def check(leader: Leader) -> None:
        tasks = leader.role.scheduler.tasks
        first = await by_hand(leader, "c-1", "token-1")
        await first.say(words.durable(1, table("c-1", "a")))
        await first.until(words.ACK)
        second = await by_hand(leader, "c-1", "token-2")
        refused = await second.until(words.REFUSED)
        assert refused["seq"] == 0
        await first.say(words.durable(2, table("c-1", "b")))
        await first.until(words.ACK)
        # It comes back while its old connection seems to stand.
        back = await by_hand(leader, "c-1", "token-1")
        await back.say(words.durable(3, table("c-1", "c")))
        assert (await back.until(words.ACK))["upto"] == 3
        first.comm.abort()
        await asyncio.sleep(0.05)
        assert set(tasks) == {"a", "b", "c"}
        await back.say({"op": "close-client"}, {"op": "close-stream"})
        await until(lambda: not tasks)

    with_leader(tmp_path, check)


def test_wishes_of_a_client_that_does_not_come_back_end(tmp_path: Path) -> None:
    """After its grace; until then they stand."""

    async def check(leader: Leader) -> None:
        tasks = leader.role.scheduler.tasks
        client = await by_hand(leader, "c-1", "token")
        await client.say(words.durable(1, table("c-1", "a")))
        await client.until(words.ACK)
        client.comm.abort()
        clients = leader.role.scheduler.clients
        await until(lambda: "c-1" not in leader.role.scheduler.client_comms)
        assert set(tasks) == {"a"}
        assert "c-1" in clients
        # It comes back, and its connection breaks before it could say who it is.
        back = await by_hand(leader, "c-1")
        back.comm.abort()
        await until(lambda: "c-1" not in leader.role.scheduler.client_comms)
        await asyncio.sleep(0.1)
        assert set(tasks) == {"a"}
        await until(lambda: not tasks)
        assert "c-1" not in clients
        await until(lambda: not (leader.records("j/") or leader.records("s/")))

    with_leader(tmp_path, check, **{"client-grace": "0.3 s"})


class HangsAtFirst:
    """A connection whose other end takes nothing for a while, and is then gone."""

    name = ""

    def __init__(self) -> None:
        self.breaks = asyncio.Event()

    async def write(self, message: object) -> None:
        await self.breaks.wait()
        raise CommClosedError("the test breaks it")

    def closed(self) -> bool:
        return True

    def abort(self) -> None:
        """Nothing is there."""

    async def close(self) -> None:
        """Nothing is there."""


def test_a_client_that_is_back_does_not_leave_while_it_is_greeted(
    tmp_path: Path,
) -> None:
    """However long that takes; if it never gets that far, its grace begins anew."""

    async def check(leader: Leader) -> None:
        scheduler, comm = leader.role.scheduler, HangsAtFirst()
        client = await by_hand(leader, "c-1", "token")
        await client.say(words.durable(1, table("c-1", "a")))
        await client.until(words.ACK)
        client.comm.abort()
        await until(lambda: "c-1" not in scheduler.client_comms)
        add: Any = scheduler.handlers["register-client"]
        greeted = asyncio.create_task(add(comm, "c-1", get_versions()))
        await asyncio.sleep(0.8)  # longer than its grace
        assert set(scheduler.tasks) == {"a"}
        comm.breaks.set()
        await greeted
        assert set(scheduler.tasks) == {"a"}
        await until(lambda: not scheduler.tasks)

    with_leader(tmp_path, check, **{"client-grace": "0.5 s"})


@pytest.mark.logs("is refused: ")
def test_no_client_speaks_for_another(tmp_path: Path) -> None:
    """Neither by a word in a message, nor under the other's id without its token."""

    async def check(leader: Leader) -> None:
        tasks = leader.role.scheduler.tasks
        owner = await by_hand(leader, "c-1", "token")
        await owner.say(words.durable(1, table("c-1", "a")))
        await owner.until(words.ACK)
        release = encode_operation(operations.RELEASE, "c-1", ("a",))
        stranger = await by_hand(leader, "c-2", "token")
        await stranger.say({**words.durable(2, release), "client": "c-1"})
        await stranger.until(words.REFUSED)
        owner.comm.abort()
        await until(lambda: "c-1" not in leader.role.scheduler.client_comms)
        for said in (
            {"op": "client-releases-keys", "keys": ["a"]},
            {
                "op": "cancel-keys",
                "keys": ["a"],
                "force": True,
                "reason": "",
                "msg": "",
            },
        ):
            stranger = await by_hand(leader, "c-1")
            await stranger.say(said)
            # It did not say that it knows our words.
            assert set(await stranger.to_end()) <= {"stream-closed"}
        stranger = await by_hand(leader, "c-1")
        await stranger.say({"op": "close-client"}, {"op": "close-stream"})
        await until(lambda: "c-1" not in leader.role.scheduler.client_comms)
        # Nor does one stand in its way, or a stream of its own that broke unnoticed.
        await by_hand(leader, "c-1")
        owner = await by_hand(leader, "c-1", "token")
        await owner.say(words.durable(2, table("c-1", "b")))
        assert (await owner.until(words.ACK))["upto"] == 2
        assert set(tasks) == {"a", "b"}

    with_leader(tmp_path, check)


@pytest.mark.logs("is refused: ")
def test_a_client_says_nothing_that_only_workers_say(tmp_path: Path) -> None:
    """Dask has one table of handlers for both: a task would be done for a word."""

    async def check(leader: Leader) -> None:
        for said in (
            {"op": "task-finished", "key": "a", "worker": "tcp://127.0.0.1:1"},
            {"op": "release-worker-data", "key": "a", "worker": "tcp://127.0.0.1:1"},
        ):
            stranger = await by_hand(leader, "c-1", "token")
            await stranger.say(said)
            assert "only workers" in (await stranger.until(words.REFUSED))["why"]

    with_leader(tmp_path, check)


@pytest.mark.parametrize(
    "client", ["", "x" * 201, "fire-and-forget", "variable-x", "queue-x", "published-x"]
)
def test_nobody_has_an_id_that_stands_for_something_else(client: str) -> None:
    """What a variable holds would be released by a client of its name that leaves."""
    assert id_wrong(client)
    assert not id_wrong("Client-0123")


@pytest.mark.logs("is refused: ")
@pytest.mark.parametrize("keys", [5, [{}], [["a", {}]], "a"])
def test_a_question_that_makes_no_sense_ends_no_scheduler(
    tmp_path: Path, keys: Any
) -> None:
    """Who asks it is refused; the others go on."""

    async def check(leader: Leader) -> None:
        bad = await by_hand(leader, "c-2", "token")
        await bad.say({"op": words.STATES, "keys": keys})
        await bad.until(words.REFUSED)
        good = await by_hand(leader, "c-1", "token")
        await good.say(words.durable(1, table("c-1", "a")))
        await good.until(words.ACK)

    with_leader(tmp_path, check)


@pytest.mark.logs("nobody's id")
def test_a_client_cannot_be_the_one_that_stands_for_all(tmp_path: Path) -> None:
    """If it left, the wishes of all that nobody waits for would go with it."""

    async def check(leader: Leader) -> None:
        comm = await connect(leader.address)
        asked = {"op": "register-client", "client": "fire-and-forget"}
        await comm.write({**asked, "reply": False, "versions": get_versions()})
        with pytest.raises(OSError):
            await comm.read()
        assert "fire-and-forget" in leader.role.scheduler.clients

    with_leader(tmp_path, check)
