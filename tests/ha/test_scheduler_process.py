"""Scheduler processes beside nodes: real ones, that do nothing but speak."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import made_up_scheduler
import pytest
from machine_pace import slowness
from node_room import Room, in_room, three

from dtf_dask.ha import process_time
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.node import Node
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.scheduler_link import LinkOptions
from dtf_dask.ha.scheduler_process import SchedulerProcess, SupervisionOptions

QUICK = SupervisionOptions(
    pause_s=0.05, link=LinkOptions(ping_s=0.05, hang_s=0.5, busy_s=30.0)
)
COMMAND = (sys.executable, made_up_scheduler.__file__)


class Stand:
    """A room of nodes, each with its scheduler process."""

    def __init__(self, room: Room, options: SupervisionOptions = QUICK) -> None:
        self.room = room
        self.folder = room.folder
        self.options = options
        self.schedulers: dict[NodeId, SchedulerProcess] = {}

    async def start(self, count: int) -> None:
        """Start nodes and their processes."""
        if count == 1:
            await self.room.start(1, [1])
        else:
            await three(self.room)
        for node in self.room.wires.nodes.values():
            self.add(node)

    def add(self, node: Node) -> None:
        """Start a node's process."""
        hello = words.hello(
            "room", node.node, "", "", None, {"preload": [str(self.folder)]}
        )
        self.schedulers[node.node] = one = SchedulerProcess(
            node, hello, COMMAND, self.options
        )
        one.start()

    def told(self, name: str) -> list[tuple[int, int]]:
        """What processes wrote down: term, or node, and pid."""
        try:
            lines = (self.folder / name).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(int(one), int(other)) for one, other in map(str.split, lines)]

    async def leader(self, *, after: int = 0) -> SchedulerProcess:
        """The scheduler that leads in a term later than one, once it does."""
        while True:
            for one in self.schedulers.values():
                if one.status.role == "leads" and one.status.term > after:
                    return one
            await asyncio.sleep(0.01)

    async def shadows(self, led: SchedulerProcess) -> list[SchedulerProcess]:
        """The others, once they are ready to take over."""
        others = [one for one in self.schedulers.values() if one is not led]
        while {one.status.role for one in others} != {"shadow"}:
            await asyncio.sleep(0.01)
        return others

    async def close(self) -> None:
        """End all processes."""
        for one in self.schedulers.values():
            await one.close()


def stand(
    folder: Path,
    count: int,
    test: Callable[[Stand], Coroutine[None, None, None]],
    options: SupervisionOptions = QUICK,
) -> None:
    """Run a test with nodes and processes; none of these is left after it."""
    found: list[Stand] = []

    async def run(room: Room) -> None:
        found.append(Stand(room, options))
        try:
            await found[0].start(count)
            await test(found[0])
        finally:
            await found[0].close()

    in_room(run, Room(folder))
    terms = [term for term, _ in found[0].told("led")]
    assert len(set(terms)) == len(terms), "two processes led in one term"
    for _, pid in found[0].told("pids"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_process_leads_and_the_others_are_shadows(tmp_path: Path) -> None:
    """Only that of the leader is made to lead; the node's status says what it said."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        while led.status.settled_after_s < 0:
            await asyncio.sleep(0.01)
        assert (led.status.tasks, led.status.workers) == (7, 2)
        assert led.status.led_at_s > 0
        await stand.shadows(led)
        assert stand.room.wires.nodes[NodeId(1)].scheduler.pid > 0
        assert len(stand.told("led")) == 1

    stand(tmp_path, 3, test)


def test_of_a_process_that_starts_it_is_asked_what_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes is waited for."""
    asked: set[int] = set()
    cpu_s = process_time.cpu_s

    def spy(pid: int) -> float | None:
        asked.add(pid)
        return cpu_s(pid)

    monkeypatch.setattr(process_time, "cpu_s", spy)

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        assert asked == {led.status.pid}

    stand(tmp_path, 1, test, SupervisionOptions(link=LinkOptions(ping_s=0.001)))


def test_a_lost_leadership_kills_the_process(tmp_path: Path) -> None:
    """It is dead before it can act for a leader who is none; a new shadow is there."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        await stand.shadows(led)
        pid, term = led.status.pid, led.status.term
        while led.status.pid == pid:
            # On a slow machine Raft may give a hand-over up.
            led._node.disk_answers.hand_over()
            await asyncio.sleep(0.5)
        other = await stand.leader(after=term)
        assert other is not led
        while led.status.role != "shadow":
            await asyncio.sleep(0.01)
        assert led.status.pid != pid
        assert led.status.crashes == 0
        assert f"term {term} is over" in led.status.last_end

    stand(tmp_path, 3, test)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("crash", "it ended with code 7"),
        ("hang", "it has not answered for"),
        ("trouble", "it cannot go on: as it was told"),
    ],
)
@pytest.mark.logs("the scheduler process of node 1 ended: .*1 in a row")
def test_alone_a_process_that_fails_is_replaced_in_a_new_term(
    tmp_path: Path, what: str, why: str
) -> None:
    """Nobody else can lead: a new process does, in a later term."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        term = led.status.term
        (stand.folder / what).touch()
        await stand.leader(after=term)
        assert led.status.crashes == 1
        assert re.search(why, led.status.last_end)

    stand(tmp_path, 1, test)


@pytest.mark.parametrize(("what", "within_s"), [("crash", 1.0), ("hang", 5.0)])
@pytest.mark.logs(r"the scheduler process of node \d ended: .*1 in a row")
def test_a_crash_is_noticed_within_a_second_and_a_hang_within_five(
    tmp_path: Path, what: str, within_s: float
) -> None:
    """With the times that are the default; then another leads, and the status of the
    one that failed says why. A slow machine has so much longer."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        others = await stand.shadows(led)
        began, pace = time.monotonic(), slowness()
        (stand.folder / what).touch()
        while not led.status.crashes:
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - began
        assert took_s < within_s * max(pace, slowness()), took_s
        assert led.status.last_end
        assert await stand.leader(after=led.status.term) in others

    stand(tmp_path, 3, test, SupervisionOptions())


@pytest.mark.logs(r"the scheduler process of node \d ended: .*")
def test_a_leader_hands_over_to_whose_process_is_ready(tmp_path: Path) -> None:
    """A node whose process has just failed lets the wish pass: the third one leads."""

    async def test(stand: Stand) -> None:
        first = await stand.leader()
        others = await stand.shadows(first)
        # No process that is started from now on is ever ready.
        (stand.folder / "crash at start").touch()
        os.kill(first.status.pid, signal.SIGKILL)
        second = await stand.leader(after=first.status.term)
        assert second in others
        os.kill(second.status.pid, signal.SIGKILL)
        third = await stand.leader(after=second.status.term)
        assert third in others
        assert third is not second
        assert first.status.role in ("starting", "pausing")

    stand(tmp_path, 3, test)


@pytest.mark.logs(r"the scheduler process of node \d ended: .*")
def test_what_is_asked_of_a_node_without_a_process_is_asked_of_who_leads(
    tmp_path: Path,
) -> None:
    """By way of the leader's node; of one that has a process that one is asked."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        follows, _ = await stand.shadows(led)
        asked = {"id": "a-1", "keys": ["x"]}
        told = {"pid": follows.status.pid, "led": False, "asked": asked}
        assert await follows.ask(asked) == told
        (stand.folder / "crash at start").touch()
        os.kill(follows.status.pid, signal.SIGKILL)
        while not follows.status.crashes:
            await asyncio.sleep(0.01)
        told = {"pid": led.status.pid, "led": True, "asked": asked}
        assert await follows.ask(asked) == told
        here, there = follows._node.node, led._node.node
        stand.room.wires.cut.add(frozenset((here, there)))
        assert await follows.ask(asked) is None

    stand(tmp_path, 3, test)


@pytest.mark.logs(
    "the scheduler process of node 1 ended: .*",
)
def test_a_process_that_ends_again_and_again_is_an_alarm(tmp_path: Path) -> None:
    """It is started at growing intervals, the status says so, and it is over when one
    has lived for a while."""

    async def test(stand: Stand) -> None:
        (stand.folder / "crash at start").touch()
        scheduler = stand.schedulers[NodeId(1)]
        while not scheduler.status.alarm:
            await asyncio.sleep(0.01)
        assert "3 times in a row" in scheduler.status.alarm
        assert "code 3" in scheduler.status.alarm
        (stand.folder / "crash at start").unlink()
        await stand.leader()
        while scheduler.status.alarm:
            await asyncio.sleep(0.01)

    options = SupervisionOptions(pause_s=0.05, steady_s=0.3, link=QUICK.link)
    stand(tmp_path, 1, test, options)


def test_a_process_that_was_too_slow_begins_anew_and_is_no_crash(
    tmp_path: Path,
) -> None:
    """It ended since it could not be told of what changed: another follows instead."""

    async def test(stand: Stand) -> None:
        led = await stand.leader()
        before = {one: one.status.pid for one in await stand.shadows(led)}
        (stand.folder / "too slow").touch()
        while all(one.status.pid in (0, pid) for one, pid in before.items()):
            await asyncio.sleep(0.01)
        await stand.shadows(led)
        ended = [one.status.last_end for one in before if one.status.last_end]
        assert ended == ["it was too slow to hear of all that changed"]
        assert {(one.status.crashes, one.status.alarm) for one in before} == {(0, "")}

    stand(tmp_path, 3, test)


@pytest.mark.logs("the scheduler process of node 1 ended: no process can be started")
def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    """No such program: the node goes on without a scheduler, and says why."""

    async def test(room: Room) -> None:
        ledger = await room.start(1, [1])
        made = SchedulerProcess(
            ledger.node,
            words.hello("room", 1, "", "", None, {}),
            [str(tmp_path / "nothing")],
            QUICK,
        )
        made.start()
        while made.status.role != "pausing":
            await asyncio.sleep(0.01)
        assert "no process can be started" in made.status.last_end
        await made.close()

    in_room(test, Room(tmp_path))
