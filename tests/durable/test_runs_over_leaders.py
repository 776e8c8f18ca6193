"""What a run asks of schedulers and workers, while one leader follows another."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import dask
import pytest
from coordinator import Lab, lab

from dtf_dask.client import Client
from dtf_dask.errors import ClusterUnreachableError
from dtf_dask.runs.attendance import Attendance
from dtf_dask.runs.roster import Roster
from dtf_dask.runs.scheduler_line import Led, SchedulerLine
from dtf_dask.runs.workers import WorkerDoor
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await check()

    asyncio.run(limited())


class Watched:
    """A cluster, a client, its line, and what that has told."""

    def __init__(self, here: Lab, client: Client) -> None:
        self.here, self.client = here, client
        self.led: list[Led] = []
        self.again = asyncio.Event()
        self.line = SchedulerLine(client, self._led)
        self.watching = asyncio.ensure_future(self.line.watch())

    def _led(self, led: Led) -> None:
        self.led.append(led)
        self.again.set()


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with (
        lab() as here,
        Client(here.address, asynchronous=True, set_as_default=False) as client,
    ):
        made = Watched(here, client)
        yield made
        made.watching.cancel()
        await asyncio.gather(made.watching, return_exceptions=True)


async def add_plugin(here: Lab) -> None:
    assert here.worker is not None
    await here.worker.plugin_add(RunnerPlugin())


def test_the_next_leader_answers() -> None:
    """A question asked while nobody leads, and who leads is told once."""

    async def check() -> None:
        async with watched() as one:
            assert one.line.outlives
            before = await one.line.workers()
            assert len(before) == 1
            await one.here.die()
            while not one.line.away:
                await asyncio.sleep(0.01)
            asked = asyncio.ensure_future(one.line.workers())
            await asyncio.sleep(0.1)
            assert not asked.done()
            await one.here.lead()
            after = await asked
            assert after.keys() != before.keys()
            await one.again.wait()
            (led,) = one.led
            assert (led.node, led.term) == ("3", 2)
            assert led.away_s > 0.1
            assert not one.line.away

    run(check)


def test_who_does_not_wait_for_answers_hears_of_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was asked of nobody ends with who asked, or with the client: in silence."""

    async def check() -> None:
        async with watched() as one:
            await one.here.die()
            while not one.line.away:
                await asyncio.sleep(0.01)
            telling = asyncio.ensure_future(one.line.tell(["tcp://w"], "dtf_close", 60))
            await asyncio.sleep(0.05)
            telling.cancel()
            await one.client.close()
            with pytest.raises(ClusterUnreachableError):
                await one.watching
        assert telling.cancelled()
        del telling, one
        gc.collect()
        assert "never retrieved" not in caplog.text

    run(check)


def test_a_leader_that_dies_with_a_question() -> None:
    """It is asked of the next one; who asked has an answer, and no error."""

    async def check() -> None:
        async with watched() as one:
            asked, before = asyncio.Event(), set(await one.line.workers())

            async def hangs(comm: Any = None, **_: Any) -> None:
                asked.set()
                await asyncio.sleep(3600)

            assert one.here.leader is not None
            one.here.leader.handlers["identity"] = hangs
            question = asyncio.ensure_future(one.line.workers())
            await asked.wait()
            await one.here.die()
            await one.here.lead()
            assert before.isdisjoint(await question)

    run(check)


def test_a_worker_that_is_gone_has_no_answer() -> None:
    """Who asked hears so, though each leader tries for long to reach it, and dies; and
    so does who asks afterwards, until it has joined again."""

    async def check() -> None:
        # The next leader reaches it, and hears nothing.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await ask(f"tcp://127.0.0.1:{silent.getsockname()[1]}")

    async def ask(worker: str) -> None:
        async with watched() as one:
            asked = asyncio.Event()

            async def reaches_nobody(comm: Any = None, **_: Any) -> None:
                asked.set()
                await asyncio.sleep(3600)

            assert one.here.leader is not None
            one.here.leader.handlers["proxy"] = reaches_nobody
            question = asyncio.ensure_future(one.line.ask(worker, "x"))
            await asked.wait()
            await one.here.die()
            await one.here.lead()
            await asyncio.wait({question}, timeout=0.2)
            assert not question.done()
            one.line.gone(worker)
            with pytest.raises(OSError, match="is gone"):
                await question
            with pytest.raises(OSError, match="is gone"):
                await one.line.ask(worker, "x")
            one.line.came(worker)
            again = asyncio.ensure_future(one.line.ask(worker, "x"))
            await asyncio.wait({again}, timeout=0.2)
            assert not again.done()
            again.cancel()

    run(check)


@pytest.mark.logs("gives up")
def test_a_client_that_gives_up() -> None:
    """The watch says why the run cannot go on, and nobody waits for an answer."""

    async def check() -> None:
        async with watched() as one:
            await one.here.die()
            with pytest.raises(ClusterUnreachableError, match="has given up"):
                await one.watching
            with pytest.raises(OSError, match="closed"):
                await one.line.workers()

    with dask.config.set({"dtf.ha.client-patience": "300 ms"}):
        run(check)


def test_an_error_is_no_answer() -> None:
    """Who is told something has heard it if one of them answers, and does not fail."""

    async def check() -> None:
        async with watched() as one:
            await add_plugin(one.here)
            there = list(await one.line.workers())
            assert await one.line.tell(there, "dtf_cancel", 30.0, run="r")
            wrong = {"run": "r", "name": "", "offset": 0}
            assert not await one.line.tell(there, "dtf_blob", 30.0, **wrong)

    run(check)


def test_a_worker_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone, though no scheduler says so; one that has come is opened."""
    monkeypatch.setattr("dtf_dask.runs.attendance._LOOK_AGAIN_S", 0.05)

    async def check() -> None:
        async with watched() as one:
            opened: list[str] = []
            gone: list[str] = []
            refused: list[Exception] = []
            lost = asyncio.Event()

            def lose(address: str) -> None:
                roster.lose(address)
                gone.append(address)
                lost.set()

            await add_plugin(one.here)
            spec = {"run": "r", "kind": "cases", "root": "", "keep_events": True}
            door = WorkerDoor(one.line.ask, spec, None, lambda _: None)
            roster = Roster(one.line, door, lambda address, _: opened.append(address))
            there = Attendance(roster, lambda _: None, lose, refused.append)
            await there.open_all()
            assert opened == roster.addresses() == [*await one.line.workers()]
            await one.here.die()
            await one.here.lead()
            await one.again.wait()
            await add_plugin(one.here)
            there.look()
            await lost.wait()
            assert gone == opened[:1]
            while len(opened) < 2:
                await asyncio.sleep(0.01)
            assert roster.addresses() == opened[1:] == [*await one.line.workers()]
            assert refused == []
            there.close()

    run(check)
