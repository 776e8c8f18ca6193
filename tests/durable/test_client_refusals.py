"""What a client is told that cannot have what it asks; when it waits, or gives up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import dask
import distributed
import pytest
from coordinator import Journal, lab, lab_thread
from distributed.client import FutureCancelledError

from dtf_dask.client import Client
from dtf_dask.durable import client_preload, client_words, outbox
from dtf_dask.errors import (
    ClientReplacedError,
    ClientVersionError,
    ClusterUnreachableError,
    OverloadedError,
    TaskLostError,
    TaskRefusedError,
)


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await check()

    asyncio.run(limited())


def slowly(x: int) -> int:
    time.sleep(0.05)
    return x + 1


def doubled(x: int) -> int:
    return 2 * x


@pytest.mark.logs(
    *("What is submitted waits: there is no quorum", "A submission waits: "),
    "What is submitted waits no more",
)
def test_without_a_quorum_submissions_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said why, and when it is over.

    flush ends in time, and a thread that submits more is slowed.
    """
    monkeypatch.setattr(outbox, "OPERATIONS_MAX", 3)
    with lab_thread() as thread, Client(thread.lab.address) as client:
        thread.lab.journal.quorum.clear()
        futures = [client.submit(doubled, number) for number in range(3)]
        with pytest.raises(TimeoutError, match=r"3 operations are not .*no quorum"):
            client.flush("300 ms")
        assert client.durability.waiting == "there is no quorum"
        with (
            dask.config.set({"dtf.ha.client-patience": "1500 ms"}),
            pytest.raises(ClusterUnreachableError, match="no room for more since"),
        ):
            client.submit(doubled, 4)
        assert len(client.futures) == 3
        threading.Timer(0.3, thread.lab.journal.quorum.set).start()
        futures.append(client.submit(doubled, 3))
        assert client.gather(futures) == [0, 2, 4, 6]
        client.flush(20)
        assert not client.durability.waiting
        assert caplog.messages.count("What is submitted waits no more") == 1


@pytest.mark.logs("What is submitted waits")
def test_on_the_loop_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can wait there, and what is kept does not grow without bound."""
    monkeypatch.setattr(outbox, "OPERATIONS_MAX", 1)

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:
            one.journal.quorum.clear()
            futures = [client.submit(doubled, n) for n in range(outbox.HARD_FACTOR)]
            with pytest.raises(OverloadedError, match=r"await client.flush\(\)"):
                client.submit(doubled, 9)
            one.journal.quorum.set()
            await client.flush(20)
            futures.append(client.submit(doubled, 9))
            assert await client.gather(futures) == [0, 2, 4, 6, 18]

    run(check)


@pytest.mark.logs("This client gives up")
def test_patience_ends() -> None:
    """Futures are cancelled and say why, flush fails, and the client is closed."""

    async def check() -> None:
        async with lab() as one:
            client = await Client(one.address, asynchronous=True)
            future = client.submit(slowly, 1)
            await client.flush(20)
            with dask.config.set({"dtf.ha.client-patience": "300 ms"}):
                await one.die()
                with pytest.raises(FutureCancelledError, match="no scheduler leads"):
                    await future
            with pytest.raises(ClusterUnreachableError):
                await client.flush(20)
            while client.status != "closed":
                await asyncio.sleep(0.01)

    run(check)


def test_two_clients_of_one_id() -> None:
    """The second is told so, whether the cluster has anything of the first or not."""

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as first:

            class Twin(Client):
                @property
                def id(self) -> str:  # type: ignore[override]
                    return first.id

                @id.setter
                def id(self, _: str) -> None:
                    pass

            one.journal.tokens[first.id] = "another"
            with pytest.raises(ClientReplacedError, match="another has its id"):
                await Twin(one.address, asynchronous=True)
            del one.journal.tokens[first.id]
            one.journal.seen[first.id] = 3
            with pytest.raises(ClientReplacedError, match="another client of the id"):
                await Twin(one.address, asynchronous=True)

    run(check)


@pytest.mark.logs("This client gives up")
@pytest.mark.parametrize("kind", [Client, distributed.Client])
def test_a_leader_dies_as_the_client_comes(kind: type[distributed.Client]) -> None:
    """The client comes again; one of another version is closed, and says why."""

    async def check() -> None:
        async with lab() as one:
            one.journal.drops = 2
            async with kind(one.address, asynchronous=True, timeout=30) as client:
                assert await client.submit(doubled, 3) == 6
                assert client.submit(doubled, 4).durable is False
                assert one.journal.drops == 0
            one.journal.version = 9
            if kind is not Client:
                client = await kind(one.address, asynchronous=True, timeout=30)
                assert client.status == "closed"

    with dask.config.set({"distributed.client.preload": [client_preload.MODULE]}):
        run(check)


@pytest.mark.parametrize(("version", "age"), [(0, "newer"), (2, "older")])
def test_another_version(version: int, age: str) -> None:
    """The client says which of the two is the older."""

    async def check() -> None:
        async with lab(Journal(version=version)) as one:
            with pytest.raises(ClientVersionError, match=f"this client is {age} than"):
                await Client(one.address, asynchronous=True)

    run(check)


def test_what_is_too_large_names_the_task() -> None:
    """At once, and nothing of it is kept."""

    async def check() -> None:
        async with (
            lab(Journal(bytes_max=10_000)) as one,
            Client(one.address, asynchronous=True) as client,
        ):
            with pytest.raises(TaskRefusedError, match="10000 are the most that"):
                client.submit(len, b"x" * 20_000, key="large")
            large = bytes(65 * 2**20)
            with pytest.raises(TaskRefusedError, match="'huge', of 68"):
                client.submit(len, large, key="huge")
            assert not client.futures
            assert not client.durability.pending
            assert await client.submit(doubled, 2) == 4

    run(check)


@pytest.mark.logs("The scheduler refused something: nor that")
def test_what_is_refused_and_what_is_lost_fails_with_a_reason() -> None:
    """The future raises an error of dtf with what the scheduler said."""

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:
            one.journal.refuses = "not today"
            refused = client.submit(doubled, 1)
            with pytest.raises(TaskRefusedError, match="not today"):
                await refused
            one.journal.refuses = ""
            fails = client.submit(divmod, 1, 0)
            assert isinstance(await fails.exception(), ZeroDivisionError)
            one.journal.refuses = "nor that"
            with pytest.raises(TaskRefusedError, match="nor that"):
                await client.retry([fails])
            assert isinstance(await fails.exception(), TaskRefusedError)
            one.journal.refuses = ""
            lost = client.submit(slowly, 2)
            await client.flush(20)
            await one.die()
            one.journal.records.clear()
            await one.lead()
            with pytest.raises(TaskLostError, match="is nowhere"):
                await lost

    run(check)


@pytest.mark.logs("What is submitted waits")
def test_what_was_cancelled_before_is_no_word_on_what_is_submitted_since() -> None:
    """A word on a key whose submission is not acknowledged is of the task before. If it
    was not, the client hears that when it asks, once the cluster has the submission."""

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:
            assert one.leader is not None
            stays = client.submit(doubled, 1, key="stays")
            await client.flush(20)
            one.journal.quorum.clear()
            again = client.submit(doubled, 2, key="again")
            lost = client.submit(slowly, 3, key="lost", resources={"none": 1})
            while not client.durability.waiting:
                await asyncio.sleep(0.01)
            plugin: Any = one.leader.plugins["coordinator"]
            for reason in ("enough", client_words.LOST):
                words = {"keys": ["again", "lost"], "reason": reason, "msg": "late"}
                plugin.say(client.id, {"op": "cancelled-keys", **words})
            plugin.say(client.id, {"op": "cancelled-keys", "keys": ["stays"]})
            while stays.status != "cancelled":
                await asyncio.sleep(0.01)
            one.journal.forgets = {"lost"}
            one.journal.quorum.set()
            assert await again == 4
            with pytest.raises(TaskLostError, match="lost is nowhere"):
                await lost

    run(check)
