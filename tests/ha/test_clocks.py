"""Clocks that jump, stand still, or are wrong: what the ledger's time does then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from node_room import WAIT_S, Room, put, value_at
from serving_room import Hall, in_hall

from dtf_dask.ha import local_ledger, node_reads
from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import SESSION_OPEN
from dtf_dask.ha.ledger.log_clock import PAUSE_MS_MAX, LogClock
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.local_ledger import LocalLedger, NodeLedger

DAY_S = 86_400.0
YEARS_S = 10 * 365 * DAY_S


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose monotonic clock can be made to jump ahead."""

    ahead_s = 0.0

    def time(self) -> float:
        """The clock of the machine, and what it has jumped."""
        return super().time() + self.ahead_s


def run_jumping(main: Callable[[JumpingLoop], Coroutine[Any, Any, None]]) -> None:
    """Run on such a loop."""
    loop = JumpingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))


def opened(session: str, ttl_ms: int = 60_000) -> bytes:
    """A command that opens a session."""
    return encode_command(SESSION_OPEN, ttl_ms, session=session)


def test_a_pause_between_two_looks_counts_for_little() -> None:
    """However long it was; what is looked at often counts whole."""
    clock = LogClock(1_000, now_s=0.0)
    assert clock.stamp(YEARS_S) == 1_000 + PAUSE_MS_MAX
    for tick in range(1, 1_001):
        clock.look(YEARS_S + tick * 0.05)
    assert clock.stamp(YEARS_S + 50.0) == 1_000 + PAUSE_MS_MAX + 50_000


@pytest.mark.parametrize("ahead_s", [DAY_S, YEARS_S], ids=["a day", "ten years"])
def test_a_leader_whose_clock_jumps_ahead_ends_no_sessions(
    tmp_path: Path, ahead_s: float
) -> None:
    """However many entries it writes after the jump; it leads on, and at once."""

    async def main(loop: JumpingLoop) -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            (outcome,) = await ledger.propose([opened("client")], WAIT_S)
            assert outcome.code is Code.OK
            before = ledger.node.state.time_ms
            loop.ahead_s = ahead_s
            begun = time.monotonic()
            for n in range(2_000):
                await ledger.propose([put(f"k{n % 5}")], WAIT_S)
            took_ms = (time.monotonic() - begun) * 1_000
            state = ledger.node.state
            assert "client" in state.sessions.by_id
            assert before < state.time_ms <= before + PAUSE_MS_MAX + took_ms + 1_000
            assert ledger.node.elections == 1

    run_jumping(main)


def test_followers_and_the_next_leader_do_not_jump(tmp_path: Path) -> None:
    """All clocks of a cluster jump, the leader ends, another leads: the time of the
    log goes on from where it was, never back."""

    async def main(loop: JumpingLoop) -> None:
        room = Room(tmp_path)
        try:
            for node in (1, 2, 3):
                await room.start(node, [1, 2, 3])
            leader = await room.leader()
            await leader.propose([opened("client")], WAIT_S)
            times, begun = [leader.node.state.time_ms], time.monotonic()
            loop.ahead_s = DAY_S
            for turn in range(3):
                leader = await room.leader()
                await leader.propose([put(f"k{turn}")], WAIT_S)
                times.append(leader.node.state.time_ms)
                own = leader.node.node
                await room.stop(own)
                loop.ahead_s += DAY_S
                await room.start(own, [1, 2, 3])
            leader = await room.leader()
            await leader.propose([put("last")], WAIT_S)
            assert times == sorted(times)
            took_ms = (time.monotonic() - begun) * 1_000
            assert times[-1] < times[0] + 3 * PAUSE_MS_MAX + took_ms + 1_000
            assert "client" in leader.node.state.sessions.by_id
        finally:
            await room.close()

    run_jumping(main)


@pytest.mark.parametrize("ahead_s", [YEARS_S, -YEARS_S], ids=["forward", "back"])
def test_a_clock_on_the_wall_that_jumps_by_years_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """On all nodes, while connections stand: who leads goes on, sessions live, the
    time of the log goes on by what has passed. Nor in a node's next life."""
    real = time.time

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        await leader.propose([opened("client")], WAIT_S)
        before, begun = leader.node.state.time_ms, time.monotonic()
        monkeypatch.setattr(time, "time", lambda: real() + ahead_s)
        for n in range(20):
            (outcome,) = await leader.propose([put(f"k{n}")], WAIT_S)
            assert outcome.code is Code.OK
        took_ms = (time.monotonic() - begun) * 1_000
        assert leader.node.state.time_ms < before + took_ms + 1_000
        monkeypatch.setattr(time, "time", real)
        again = next(n for n in hall.nodes if n != leader.node.node)
        await hall.stop(again)
        monkeypatch.setattr(time, "time", lambda: real() - YEARS_S)
        back = await hall.start(again)
        assert await value_at(back, "k19") == b"value"
        assert "client" in back.node.state.sessions.by_id
        assert before <= back.node.state.time_ms <= leader.node.state.time_ms

    assert in_hall(tmp_path, 3, test) == {}


def test_a_node_that_slept_does_not_take_its_state_for_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its monotonic clock stood still while the machine was suspended: a read that may
    be a second old is refused all the same where nobody can be asked."""
    slept_s = 0.0

    def elapsed() -> float:
        return elapsed_s() + slept_s

    monkeypatch.setattr(node_reads, "elapsed_s", elapsed)
    monkeypatch.setattr(local_ledger, "elapsed_s", elapsed)

    async def main() -> None:
        nonlocal slept_s
        room = Room(tmp_path)
        try:
            for node in (1, 2, 3):
                await room.start(node, [1, 2, 3])
            leader = await room.leader()
            await leader.propose([put("a")], WAIT_S)
            own = leader.node.node
            other = next(n for n in room.wires.nodes if n != own)
            follower = NodeLedger(room.wires.nodes[other])
            assert await value_at(follower, "a") == b"value"
            room.wires.cut = {frozenset((other, n)) for n in room.wires.nodes}
            assert await follower.read(Get("tests", "a"), 0.2, 60.0) is not None
            slept_s = 3_600.0
            assert await follower.read(Get("tests", "a"), 0.2, 60.0) is None
        finally:
            await room.close()

    asyncio.run(main())


def test_elapsed_time_goes_on() -> None:
    """As fast as the monotonic clock while nothing sleeps."""
    begun, first = time.monotonic(), elapsed_s()
    time.sleep(0.05)
    passed = elapsed_s() - first
    assert 0.04 < passed < time.monotonic() - begun + 0.01
