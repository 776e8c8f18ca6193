"""Sessions of clients: commands that are done once, in order, whatever fails."""

from __future__ import annotations

import asyncio
import doctest
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from lossy_ledger import LossyLedger
from node_room import QUICK, Room, in_room
from test_redundancy import made_nodes

from dtf_dask.errors import PeerUnavailableError, SessionExpiredError, UsageError
from dtf_dask.ha import client_session
from dtf_dask.ha.client_session import ClientSession
from dtf_dask.ha.ledger.history import Changes
from dtf_dask.ha.ledger.kinds import COMPARE_AND_SET, PUT, PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import NO_SESSION, UNKNOWN, Code, Outcome
from dtf_dask.ha.ledger.protocol import Proposing
from dtf_dask.ha.ledger.queries import Scan
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger

WAIT_S = 30.0


class Mute(LossyLedger):
    """A ledger without faults, whose answers can be held back."""

    def __init__(self) -> None:
        super().__init__(Random(0), loss=0.0)
        self.open = asyncio.Event()
        self.open.set()
        self.sizes: list[int] = []

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """Do it at once; answer as soon as that is allowed."""
        self.sizes.append(len(commands))
        outcomes = self.apply(commands)
        try:
            await asyncio.wait_for(self.open.wait(), timeout_s)
        except TimeoutError:
            return [UNKNOWN] * len(commands)
        return outcomes


class Through:
    """A real ledger whose next answers are lost on their way."""

    def __init__(self, ledger: Proposing) -> None:
        self.ledger = ledger
        self.losing = 0
        self.lost = asyncio.Event()

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """What the node answers, if it comes through."""
        outcomes = await self.ledger.propose(commands, timeout_s)
        if self.losing:
            self.losing -= 1
            self.lost.set()
            return [UNKNOWN] * len(commands)
        return outcomes


def test_the_example_is_true() -> None:
    """What documentation shows is what happens."""
    ran = doctest.testmod(client_session)
    assert (ran.failed, ran.attempted > 0) == (0, True)


@pytest.mark.parametrize("seed", range(60))
def test_each_is_done_once_and_in_order_over_a_lossy_network(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some callers are cancelled, some have little time, answers are lost or repeated.

    What is OK was done once. What is NOT_DONE was not, and is not when all that was on
    its way has come in. Whatever was done was done in the order of the asking.
    """
    monkeypatch.setattr(client_session, "_PAUSE_S", 0.0001)
    monkeypatch.setattr(client_session, "_PAUSE_MAX_S", 0.001)
    rng = Random(seed)
    ledger = LossyLedger(rng, loss=rng.choice([0.1, 0.5, 0.8]))
    asked: list[str] = []
    outcomes: dict[str, Outcome] = {}

    async def caller(session: ClientSession, count: int) -> None:
        for _ in range(count):
            key = f"k{len(asked):05}"
            asked.append(key)
            limit_s = rng.choice([WAIT_S, WAIT_S, 0.0, 0.002])
            call = session.put("n", key, b"v", timeout_s=limit_s)
            task = asyncio.ensure_future(call)
            if rng.random() < 0.1:
                # Enough turns of the loop for it to be anywhere on its way.
                for _ in range(rng.randrange(1, 6)):
                    await asyncio.sleep(0)
                task.cancel()
            found = await asyncio.gather(task, return_exceptions=True)
            if isinstance(found[0], Outcome):
                outcomes[key] = found[0]
            else:
                assert isinstance(found[0], asyncio.CancelledError), found
            if rng.random() < 0.5:
                await asyncio.sleep(0)

    async def run() -> None:
        limits = rng.choice([(3, 10**6), (100, 10**6), (100, 30)])
        session = ClientSession(ledger, commands_max=limits[0], bytes_max=limits[1])
        await session.open(WAIT_S)
        await asyncio.gather(*(caller(session, 12) for _ in range(6)))
        assert session._window.held <= limits[0]
        assert not session.expired
        before_close = rng.random() < 0.5
        if before_close:
            ledger.arrive()
        ledger.loss = 0.0
        await session.close()
        assert session._window.held == session._window.held_bytes == 0
        ledger.arrive()

    asyncio.run(asyncio.wait_for(run(), 60))
    records = ledger.state._scan(Scan("n", "", limit=1_000)).records
    revisions = {key: record.revision for key, record in records}
    assert ledger.state.records.revision == len(revisions)
    by_revision = sorted(revisions, key=revisions.__getitem__)
    assert by_revision == sorted(by_revision)
    for key, outcome in outcomes.items():
        if outcome.code is Code.OK:
            assert outcome.value == revisions[key]
        else:
            assert outcome.code in (Code.UNKNOWN, Code.NOT_DONE), outcome
            assert outcome.code is Code.UNKNOWN or key not in revisions
    assert Code.OK in {outcome.code for outcome in outcomes.values()}


def test_an_answer_that_was_lost_is_given_after_all(tmp_path: Path) -> None:
    """Sent again under its number, a command has the outcome that it had."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as node:
            ledger = Through(node)
            async with ClientSession(ledger) as session:
                ledger.losing = 2
                assert await session.put("n", "a", b"1") == Outcome(Code.OK, 1)
                assert not ledger.losing
                changed = await session.compare_and_set("n", "a", 1, b"2")
                assert changed == Outcome(Code.OK, 2)
                assert await session.compare_and_set("n", "a", 1, b"3") == (
                    Outcome(Code.CONFLICT, 2)
                )
                assert await session.delete("n", "a") == Outcome(Code.OK, 2)
            assert node.node.state.records.revision == 3

    asyncio.run(run())


def test_sessions_outlive_a_snapshot_and_a_restart(tmp_path: Path) -> None:
    """A command that was done before is not done again after it."""

    async def run(room: Room) -> None:
        node = await room.start(1, [1])
        ledger = Through(node)
        session = ClientSession(ledger, ttl_s=60)
        await session.open()
        await session.put("n", "a", b"1")
        ledger.losing = 1
        waiting = asyncio.create_task(session.put("n", "b", b"2"))
        await ledger.lost.wait()
        await node.node.snapshots.make()
        await room.stop(1)
        ledger.ledger = node = await room.start(1, [1])
        assert node.node.folder.point.index > 1
        assert await waiting == Outcome(Code.OK, 2)
        assert node.node.state.records.revision == 2
        assert node.node.state.sessions.by_id.keys() == {session.id}
        await session.close()
        assert not node.node.state.sessions.by_id

    in_room(run, Room(tmp_path, QUICK))


def test_a_session_lives_while_nothing_is_asked_for(tmp_path: Path) -> None:
    """It is renewed long before it would expire, in the time of the log."""

    async def run() -> None:
        async with (
            LocalLedger(str(tmp_path)) as ledger,
            ClientSession(ledger, ttl_s=1) as session,
        ):
            await session.put("n", "a", b"1")
            begun = ledger.node.state.time_ms
            while ledger.node.state.time_ms < begun + 2_500:
                await asyncio.sleep(0.05)
            known = ledger.node.state.sessions.by_id[session.id]
            assert known.first > 1  # it is known what was received
            assert await session.put("n", "b", b"2") == Outcome(Code.OK, 2)
            assert not session.expired

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_a_client_that_was_paused_for_too_long_is_told(tmp_path: Path) -> None:
    """Nothing is done again: not what was asked for then, nor later; and it says so."""

    async def run() -> None:
        async with RedundancyManager(made_nodes(tmp_path, 1)[0]) as manager:
            ledger = Through(manager.ledger)
            session = ClientSession(ledger, "paused", ttl_s=1)
            await session.open()
            await session.put("n", "done", b"")
            ledger.losing = 1
            unknown = asyncio.create_task(session.put("n", "unknown", b""))
            await ledger.lost.wait()
            after = [asyncio.create_task(session.put("n", "x", b"")) for _ in range(2)]
            time.sleep(1.3)  # all of this process, but not the node's
            assert await unknown == UNKNOWN
            assert [await one for one in after] == [NO_SESSION, NO_SESSION]
            assert session.expired
            words = (
                rf"{session.id} has expired: 1 commands have their outcomes, 1 may have"
                " been done or not, 2 were not done"
            )
            with pytest.raises(SessionExpiredError, match=words):
                await session.put("n", "y", b"")
            await session.close()
            with pytest.raises(SessionExpiredError):
                await session.put("n", "y", b"")
            answer = await manager.ledger.read(Scan("n", ""), WAIT_S)
            assert answer is not None
            assert [key for key, _ in answer.records] == ["done", "unknown"]

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_a_session_is_closed_once_and_for_all(tmp_path: Path) -> None:
    """What was asked for before is done; a second call does nothing, at any time."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            session = ClientSession(ledger)
            with pytest.raises(UsageError, match="is not open"):
                await session.put("n", "a", b"")
            await session.close()
            await session.open()
            with pytest.raises(UsageError, match="opened once"):
                await session.open()
            waiting = [await session.send(PUT, "n", f"{n}", b"") for n in range(50)]
            await asyncio.gather(session.close(), session.close())
            assert {one.result().code for one in waiting} == {Code.OK}
            await session.close()
            with pytest.raises(UsageError, match="was closed"):
                await session.put("n", "a", b"")
            state = ledger.node.state
            assert (state.records.revision, state.sessions.by_id) == (50, {})

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_what_cannot_be_drained_is_said_at_the_close() -> None:
    """A call that was sent is unknown, one that was not was not done."""

    async def run() -> None:
        ledger = Mute()
        session = ClientSession(ledger)
        await session.open()
        ledger.open.clear()
        sent = await session.send(PUT, "n", "a", b"")
        await asyncio.sleep(0)
        while len(ledger.sizes) < 2:
            await asyncio.sleep(0)
        unsent = await session.send(PUT, "n", "b", b"")
        closing = asyncio.create_task(session.close(0.01))
        assert await sent == UNKNOWN
        assert (await unsent).code is Code.NOT_DONE
        ledger.open.set()
        await closing
        assert not ledger.state.sessions.by_id

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_two_clients_never_share_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is taken is left to who has it: neither gets outcomes of the other."""
    words = iter(["same", "same", "other"])
    monkeypatch.setattr(client_session, "token_hex", lambda _: next(words))

    async def run() -> None:
        ledger = Mute()
        async with ClientSession(ledger) as one, ClientSession(ledger) as two:
            assert (one.id, two.id) == ("client-same", "client-other")
            assert await one.put("n", "a", b"") == Outcome(Code.OK, 1)
            assert await two.put("n", "b", b"") == Outcome(Code.OK, 2)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


@pytest.mark.parametrize(("commands_max", "bytes_max"), [(10, 10**9), (10**9, 10_000)])
def test_the_window_bounds_what_is_held(commands_max: int, bytes_max: int) -> None:
    """Who asks for more waits for room; all of it is done when there is."""

    async def run() -> None:
        ledger = Mute()
        limits = {"commands_max": commands_max, "bytes_max": bytes_max}
        session = ClientSession(ledger, **limits)
        await session.open()
        ledger.open.clear()
        futures: list[asyncio.Future[Outcome]] = []

        async def produce() -> None:
            for n in range(100):
                futures.append(await session.send(PUT, "n", f"k{n:02}", bytes(996)))

        producing = asyncio.create_task(produce())
        for _ in range(300):
            await asyncio.sleep(0)
        assert len(futures) == session._window.held == 10
        assert session._window.held_bytes == 10_000
        ledger.open.set()
        await producing
        outcomes = await asyncio.gather(*futures)
        assert [one.value for one in outcomes] == list(range(1, 101))
        assert max(ledger.sizes) <= 10
        await session.close()

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_who_waits_for_room_in_vain_is_told() -> None:
    """At the end of its time: it was not done, and is not when there is room."""

    async def run() -> None:
        ledger = Mute()
        async with ClientSession(ledger, commands_max=1) as session:
            ledger.open.clear()
            first = await session.send(PUT, "n", "a", b"")
            late = await session.put("n", "b", b"", timeout_s=0.01)
            assert late.code is Code.NOT_DONE
            gone = asyncio.create_task(session.put("n", "c", b""))
            await asyncio.sleep(0)
            gone.cancel()
            for n in range(300):
                put = session.put("n", f"{n}", b"", timeout_s=n % 2 / 1_000)
                task = asyncio.create_task(put)
                await asyncio.sleep(0)
                if n % 3:
                    task.cancel()
            await asyncio.sleep(0.1)
            assert not session._window._outside
            last = asyncio.create_task(session.put("n", "d", b""))
            await asyncio.sleep(0)
            ledger.open.set()
            assert [(await one).value for one in (first, last)] == [1, 2]

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_what_comes_together_travels_together() -> None:
    """All calls of one turn of the loop are one sending, in their order."""

    async def run() -> None:
        ledger = Mute()
        async with ClientSession(ledger) as session:
            calls = (session.put("n", f"{n}", b"") for n in range(500))
            outcomes = await asyncio.gather(*calls)
            assert [one.value for one in outcomes] == list(range(1, 501))
        assert ledger.sizes == [1, 500, 1]

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_a_command_of_no_sense_is_its_callers_error_alone() -> None:
    """Those with it are done; it is no reason to stop."""

    async def run() -> None:
        ledger = Mute()
        async with ClientSession(ledger) as session:
            calls = [
                session.put("n", "a", b""),
                session.put("", "b", b""),
                session.put("n", "\ud800", b""),
                session.put("n", "c", b""),
            ]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in found] == [
                *(Outcome, UsageError, UsageError, Outcome)
            ]
        with pytest.raises(UsageError, match="lives"):
            await ClientSession(ledger, ttl_s=0).open()
        with pytest.raises(UsageError, match="id has up to"):
            await ClientSession(ledger, "x" * 60).open()

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_a_command_that_was_left_out_is_not_done_later(tmp_path: Path) -> None:
    """It names a content that no node has: those after it were done without it."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger, ClientSession(ledger) as one:
            calls = [
                one.put("n", "a", b""),
                one.do(PUT_CONTENT, "n", "a", bytes(32), 7, timeout_s=WAIT_S),
                one.put("n", "a", b""),
            ]
            found = await asyncio.gather(*calls)
            assert [outcome.code for outcome in found] == [
                *(Code.OK, Code.NOT_DONE, Code.OK)
            ]
            alone = one.do(PUT_CONTENT, "n", "a", bytes(32), 7, timeout_s=0.3)
            assert (await alone).code is Code.NOT_DONE
            assert await one.put("n", "a", b"") == Outcome(Code.OK, 3)

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_without_a_ledger_no_session_is_opened() -> None:
    """It says so at the end of the time, and can be tried again."""

    async def run() -> None:
        ledger = LossyLedger(Random(0), loss=1.0)
        session = ClientSession(ledger)
        with pytest.raises(PeerUnavailableError, match="no session was opened"):
            await session.open(0.1)
        ledger.loss = 0.0
        await session.open()
        await session.close()

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


async def leading(managers: Sequence[RedundancyManager]) -> int:
    """The process of the node that leads."""
    while True:
        for manager in managers:
            try:
                leads = (await manager.status())["role"] == "leader"
            except PeerUnavailableError:
                continue
            if leads and manager.pid is not None:
                return manager.pid
        await asyncio.sleep(0.05)


@pytest.mark.logs("ended with code -9")
def test_a_leader_that_is_killed_costs_and_doubles_nothing(tmp_path: Path) -> None:
    """2,000 increments, each on top of the one before: all once, and in order."""
    count = 2_000

    seen: list[object] = []

    async def watch(ledger: RemoteLedger) -> None:
        async for found in ledger.follow("tests", "counter", 1):
            assert isinstance(found, Changes), found
            seen.extend(change.value for change in found.changes)
            if seen[-1] == b"%d" % count:
                return

    async def run() -> None:
        managers = [RedundancyManager(one) for one in made_nodes(tmp_path, 3)]
        await asyncio.gather(*(one.start() for one in managers))
        try:
            ledger = managers[0].ledger
            watching = asyncio.create_task(watch(ledger))
            async with ClientSession(ledger, commands_max=50) as session:
                first = await session.put("tests", "counter", b"0", timeout_s=WAIT_S)
                base = first.value
                futures: list[asyncio.Future[Outcome]] = []
                for n in range(count):
                    wanted = ("tests", "counter", base + n, b"%d" % (n + 1))
                    future = await session.send(
                        COMPARE_AND_SET, *wanted, timeout_s=WAIT_S
                    )
                    futures.append(future)
                    if n in (500, 1_300):
                        os.kill(await leading(managers), signal.SIGKILL)
                outcomes = await asyncio.gather(*futures)
                assert outcomes == [
                    Outcome(Code.OK, base + n) for n in range(1, count + 1)
                ]
            async with asyncio.timeout(WAIT_S):
                await watching
            assert seen == [b"%d" % n for n in range(count + 1)]
        finally:
            await asyncio.gather(*(one.stop() for one in managers))

    asyncio.run(asyncio.wait_for(run(), 120))
