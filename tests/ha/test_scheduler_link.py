"""What a node and its scheduler process say to each other, without a process."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from node_room import QUICK, WAIT_S, Room, in_room, put, three

from dtf_dask import frames
from dtf_dask.frames import Frame
from dtf_dask.ha import (
    process_time,
    scheduler_backlog,
    scheduler_link,
    scheduler_proposals,
)
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.child_process import GONE
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT, PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.queries import Scan
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import LocalLedger, NodeLedger
from dtf_dask.ha.proposing import Fence, Proposals
from dtf_dask.ha.scheduler_link import LinkOptions, SchedulerLink

NOBODY = 2**30
"""The number of no process."""

HELLO = words.hello("lab", 1, "127.0.0.1:0", "dtf://127.0.0.1:0", None, {})


def keep(key: str, value: bytes = b"value") -> bytes:
    """A command that writes a record of the scheduler."""
    return encode_command(PUT, words.NAMESPACE, key, value)


class Process:
    """The other end: what a scheduler process hears and says."""

    def __init__(self, link: SchedulerLink, connection: socket.socket) -> None:
        self.link = link
        self._connection = connection
        self.records: dict[str, bytes] = {}
        self.heard: list[Frame] = []
        self.answers_pings = True
        self._buffer = frames.FrameBuffer()
        self._ready: list[Frame] = []

    async def say(self, frame: dict[str, Any]) -> None:
        """Send a word."""
        await asyncio.get_running_loop().sock_sendall(
            self._connection, frames.pack(frame)
        )

    async def hear(self) -> Frame:
        """The next word that is no ping."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._ready:
                chunk = await loop.sock_recv(self._connection, 2**20)
                if not chunk:
                    raise EOFError
                self._ready += self._buffer.feed(chunk)
            frame = self._ready.pop(0)
            if frame["op"] == words.PING:
                if self.answers_pings:
                    await self.say(words.pong(frame["number"]))
                continue
            self.take(frame)
            return frame

    def take(self, frame: Frame) -> None:
        """Keep records as a scheduler does."""
        self.heard.append(frame)
        if frame["op"] == words.RECORDS:
            if not (len(self.heard) > 1 and self.heard[-2].get("more")):
                self.records.clear()
            self.records.update(frame["records"])
        elif frame["op"] == words.CHANGES:
            for key, value in frame["changes"]:
                if value is None:
                    self.records.pop(key, None)
                else:
                    self.records[key] = value

    async def until(self, op: str) -> Frame:
        """Hear words until one of that kind."""
        while True:
            frame = await self.hear()
            if frame["op"] == op:
                return frame

    async def lead(self, pid: int = NOBODY) -> int:
        """Say that it is there, and wait until it leads: the term."""
        await self.say(words.ready(pid))
        return int((await self.until(words.LEAD))["term"])


Told = Callable[[LocalLedger, Process, "asyncio.Task[str]"], Awaitable[None]]


@asynccontextmanager
async def linked(
    ledger: NodeLedger, **options: Any
) -> AsyncIterator[tuple[Process, asyncio.Task[str]]]:
    """A link of a node, served, and the process at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = SchedulerLink(ledger.node, HELLO, **options)
    served = asyncio.get_running_loop().create_task(link.serve(ours))
    try:
        yield Process(link, theirs), served
    finally:
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        theirs.close()


def alone(folder: Path, test: Told, **options: Any) -> None:
    """Run a test with a ledger of one node and a process linked to it."""

    async def run() -> None:
        async with (
            asyncio.timeout(WAIT_S),
            LocalLedger(str(folder)) as ledger,
            linked(ledger, **options) as (process, served),
        ):
            await test(ledger, process, served)

    asyncio.run(run())


def test_a_process_hears_records_changes_and_that_it_leads(tmp_path: Path) -> None:
    """Hello, all records, what changes of them, and `lead` with all of it said."""

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        assert (await process.hear()) == HELLO
        await process.until(words.RECORDS)
        outcomes = await ledger.propose(
            [keep("a", b"1"), keep("b"), put("of others")], WAIT_S
        )
        assert {one.code for one in outcomes} == {Code.OK}
        gone = encode_command(DELETE, words.NAMESPACE, "b")
        await ledger.propose([gone, keep("c", b"3")], WAIT_S)
        assert await process.lead() == ledger.node.raw.core.term
        assert process.records == {"a": b"1", "c": b"3"}
        assert process.link.term == ledger.node.raw.core.term

    alone(tmp_path, test)


def test_records_come_in_parts_of_one_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, they are as of one index, and bounded frames."""
    monkeypatch.setattr(words, "RECORDS_AT_ONCE", 7)

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            await ledger.propose([keep(f"k{n:03}") for n in range(100)], WAIT_S)
            async with linked(ledger) as (process, _):
                assert (await process.hear())["op"] == words.HELLO
                parts = [await process.hear()]
                while parts[-1]["more"]:
                    await ledger.propose([keep("k050", b"newer")], WAIT_S)
                    parts.append(await process.hear())
                assert {one["op"] for one in parts} == {words.RECORDS}
                assert {one["index"] for one in parts} == {parts[0]["index"]}
                assert max(len(one["records"]) for one in parts) == 7
                assert len(process.records) == 100
                assert process.records["k050"] == b"value"
                await process.lead()
                assert process.records["k050"] == b"newer"

    asyncio.run(run())


def test_a_slow_process_is_told_all_in_the_end(tmp_path: Path) -> None:
    """More may change than the history holds: it waits for who reads later."""

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        await process.until(words.RECORDS)
        value = bytes(10**6)
        for n in range(40):
            await ledger.propose([keep(f"k{n % 4}", value + b"%d" % n)], WAIT_S)
        await process.lead()
        kinds = [one["op"] for one in process.heard]
        assert kinds.count(words.RECORDS) == 1
        assert process.records == {
            f"k{n % 4}": value + b"%d" % n for n in range(36, 40)
        }

    alone(tmp_path, test)


def test_a_process_that_is_too_slow_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is bounded: beyond that it hears all records again."""
    monkeypatch.setattr(scheduler_backlog, "BYTES_MAX", 5 * 10**6)

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        await process.until(words.RECORDS)
        value = bytes(10**6)
        for n in range(40):
            await ledger.propose([keep(f"k{n % 4}", value + b"%d" % n)], WAIT_S)
        await process.lead()
        kinds = [one["op"] for one in process.heard]
        assert kinds.count(words.RECORDS) > 1
        assert process.records == {
            f"k{n % 4}": value + b"%d" % n for n in range(36, 40)
        }

    alone(tmp_path, test)


def test_proposals_are_answered_in_order_and_kept(tmp_path: Path) -> None:
    """Each ticket is answered once, in order, and what was answered is in the ledger;
    no change of its own is said to one that leads."""

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        await process.lead()
        for n in range(200):
            await process.say(words.propose(n, [keep(f"a{n}"), keep(f"b{n}")]))
        found = [await process.hear() for _ in range(200)]
        assert found == [words.outcome(n, "") for n in range(200)]
        answer = await ledger.read(Scan(words.NAMESPACE), WAIT_S)
        assert answer is not None
        assert len(answer.records) == 400

    alone(tmp_path, test)


def test_a_proposal_too_large_for_an_entry_is_refused(tmp_path: Path) -> None:
    """It is answered with the reason, nothing of it is done, and others are."""

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        await process.lead()
        large = [keep(f"k{n}", bytes(2**20)) for n in range(2)]
        await process.say(words.propose(1, large))
        await process.say(words.propose(2, [keep("small")]))
        first, second = [await process.hear() for _ in range(2)]
        assert (first["ticket"], second) == (1, words.outcome(2, ""))
        assert "bytes of commands at once" in first["why"]
        answer = await ledger.read(Scan(words.NAMESPACE), WAIT_S)
        assert answer is not None
        assert [key for key, _ in answer.records] == ["small"]

    alone(tmp_path, test)


def test_a_full_ledger_refuses_proposals_before_half_of_one_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What might not fit is not begun; what only deletes is done."""
    monkeypatch.setattr(scheduler_proposals, "RECORDS_BYTES_MAX", 34 * 2**20)

    async def test(ledger: LocalLedger, process: Process, _: object) -> None:
        await process.lead()
        for n in range(3):
            await process.say(words.propose(n, [keep(f"k{n}", bytes(900_000))]))
        gone = encode_command(DELETE, words.NAMESPACE, "k0")
        await process.say(words.propose(3, [gone]))
        whys = [(await process.hear())["why"] for _ in range(4)]
        assert [bool(why) for why in whys] == [False, False, True, False]
        assert "full" in whys[2]

    alone(tmp_path, test)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (words.propose(1, [put("other")]), "records of 'tests'"),
        (words.propose(1, [b"\xc1"]), "no msgpack"),
        (words.propose(-1, []), "ticket is no number"),
        ({"op": "propose", "ticket": 1, "commands": "x"}, "holds commands"),
        ({"op": "sing"}, "no word of a scheduler"),
        ({"op": "ready", "version": 99, "pid": 1}, "version 99"),
        (words.trouble("no memory"), "cannot go on: no memory"),
    ],
)
def test_what_is_no_word_ends_the_link(
    tmp_path: Path, frame: dict[str, Any], why: str
) -> None:
    """A process that says what none may say is ended, and the reason is told."""

    async def test(_: object, process: Process, served: asyncio.Task[str]) -> None:
        await process.lead()
        await process.say(frame)
        assert why in await served

    alone(tmp_path, test)


def test_a_shadow_may_not_propose(tmp_path: Path) -> None:
    """Only a process that was told to lead writes."""

    async def test(
        ledger: LocalLedger, process: Process, served: asyncio.Task[str]
    ) -> None:
        await process.say(words.propose(1, [keep("k")]))
        assert "does not lead" in await served

    alone(tmp_path, test)


def test_a_frame_over_the_limit_ends_the_link(tmp_path: Path) -> None:
    """It is not read."""

    async def test(_: object, process: Process, served: asyncio.Task[str]) -> None:
        await process.lead()
        await process.say({"op": words.TROUBLE, "why": "x" * (5 * 2**20)})
        assert "a frame of" in await served

    async def quietly(*arguments: Any) -> None:
        try:
            await test(*arguments)
        except OSError:
            assert "a frame of" in await arguments[2]

    alone(tmp_path, quietly)


def test_a_process_that_hangs_is_seen(tmp_path: Path) -> None:
    """One that answers no ping is ended, sooner if it leads; one that is gone at once;
    one that says it is busy is given the time that it asks for."""
    options = LinkOptions(ping_s=0.02, hang_s=0.2, busy_s=0.6)

    async def test(_: object, process: Process, served: asyncio.Task[str]) -> None:
        loop = asyncio.get_running_loop()
        await process.lead()
        await process.say(words.leading(0.1, 0))
        await process.say(words.busy(0.8))
        process.answers_pings = False
        began = loop.time()
        while not process.link.lets_in:
            await asyncio.sleep(0.01)
        assert "it has not answered" in await served
        assert loop.time() - began >= 0.8

    alone(tmp_path, test, options=options)

    async def gone(_: object, process: Process, served: asyncio.Task[str]) -> None:
        await process.lead()
        process._connection.close()
        assert await served == GONE

    alone(tmp_path, gone, options=LinkOptions(busy_s=WAIT_S))


@pytest.mark.parametrize(
    ("cpu", "busy_s", "said_s"), [(0.0, 40, 0.3), (0.3, 0.8, 0.8), (0.95, 40, 0.3)]
)
def test_one_that_is_not_let_run_does_not_hang(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cpu: float,
    busy_s: float,
    said_s: float,
) -> None:
    """Who computes all the time, or nothing, hangs; who is let compute a part of it by
    others is given longer."""
    options = LinkOptions(ping_s=0.02, hang_s=0.3, busy_s=busy_s)

    async def test(_: object, process: Process, served: asyncio.Task[str]) -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(scheduler_link, "cpu_s", lambda pid: loop.time() * cpu)
        await process.lead()
        process.answers_pings = False
        await process.say(words.leading(0.1, 0))
        found = re.search(r"it has not answered for ([\d.]+) s", await served)
        assert found is not None
        assert said_s <= float(found[1]) < 40

    alone(tmp_path, test, options=options)


def test_one_that_computes_as_it_starts_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it comes up; one that does nothing is ended sooner, and one that
    is never ready some time."""
    spent_s = 0

    def cpu_s(pid: int) -> int:
        nonlocal spent_s
        spent_s += works
        return spent_s

    monkeypatch.setattr(process_time, "cpu_s", cpu_s)
    options = LinkOptions(ping_s=0.02, start_s=0.3)

    async def stops(_: object, process: Process, served: asyncio.Task[str]) -> None:
        nonlocal works
        await asyncio.wait([served], timeout=1.0)
        assert not served.done()
        works = False
        assert await served == "it was not ready, and did nothing for 0.3 s"

    async def never(_: object, process: Process, served: asyncio.Task[str]) -> None:
        assert await served == "it was not ready within 0.5 s"

    works = True
    alone(tmp_path / "stops", stops, options=options)
    works = True
    monkeypatch.setattr(process_time, "START_MAX_S", 0.5)
    alone(tmp_path / "never", never, options=options)


def test_what_a_process_has_computed() -> None:
    """It grows with what it computes; of a process that is none nobody knows."""
    before = process_time.cpu_s(os.getpid())
    assert before is not None
    while time.process_time() < before + 0.05:
        pass
    after = process_time.cpu_s(os.getpid())
    assert after is not None
    assert after > before
    assert process_time.cpu_s(NOBODY) is None


def test_one_that_was_led_in_this_term_is_not_made_to_lead_again(
    tmp_path: Path,
) -> None:
    """A second process of a term would give the same numbers to other runs."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            node = ledger.node
            await ledger.propose([keep("k")], WAIT_S)
            term = node.raw.core.term
            async with linked(ledger, beyond_term=term) as (process, _):
                leading = asyncio.ensure_future(process.lead())
                await ledger.propose([keep("k2")], WAIT_S)
                await asyncio.wait([leading], timeout=0.2)
                assert not leading.done()
                node.raw.step_down()
                node.raw.campaign()
                node.wake()
                assert await leading == term + 1

    asyncio.run(run())


def test_a_lost_leadership_ends_the_link(tmp_path: Path) -> None:
    """At once, and what its process proposed since is not done; the next leader's
    process hears all that was acknowledged, and then that it leads."""

    async def test(room: Room) -> None:
        leader = await three(room)
        async with AsyncExitStack() as stack:
            ends = {
                node: await stack.enter_async_context(linked(NodeLedger(one)))
                for node, one in room.wires.nodes.items()
            }
            process, served = ends.pop(leader.node.node)
            term = await process.lead()
            await process.say(words.propose(1, [keep("kept")]))
            assert await process.hear() == words.outcome(1, "")
            waiting = [asyncio.ensure_future(one.lead()) for one, _ in ends.values()]
            for other in ends:
                room.wires.cut.add(frozenset((leader.node.node, other)))
            await process.say(words.propose(2, [keep("lost")]))
            assert f"term {term} is over" in await served
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert done.pop().result() > term
            (led,) = [one for one, _ in ends.values() if one.link.term]
            assert led.records == {"kept": b"value"}
            room.wires.cut.clear()
            index = (await room.leader()).node.state.index
            await room.applied(index, leader.node.node)
            assert leader.node.state.records.get(words.NAMESPACE, "lost") is None
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    in_room(test, Room(tmp_path))


def test_what_the_log_refuses_for_now_is_tried_again_in_order(tmp_path: Path) -> None:
    """A hand-over that comes to nothing loses no proposal and changes no order."""

    async def test(room: Room) -> None:
        leader = await three(room)
        other = next(one for one in room.wires.nodes if one != leader.node.node)
        async with linked(leader) as (process, _):
            await process.lead()
            room.wires.cut.add(frozenset((leader.node.node, other)))
            leader.node.raw.transfer_leader(other)
            leader.node.wake()
            for n in range(50):
                await process.say(words.propose(n, [keep("k", b"%d" % n)]))
            found = [await process.hear() for _ in range(50)]
        assert found == [words.outcome(n, "") for n in range(50)]
        record = leader.node.state.records.get(words.NAMESPACE, "k")
        assert record is not None
        assert record.value == b"49"

    in_room(test, Room(tmp_path, QUICK))


@pytest.mark.logs("the record 'odd' of a scheduler is a content")
def test_a_content_among_the_records_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No scheduler writes such a record: it is left out, and an error is logged."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            content = await ledger.put_content(b"large", WAIT_S)
            assert isinstance(content, Reference)
            named = encode_command(PUT_CONTENT, words.NAMESPACE, "odd", *content)
            await ledger.propose([named, keep("even")], WAIT_S)
            with caplog.at_level(logging.ERROR):
                async with linked(ledger) as (process, _):
                    await process.until(words.RECORDS)
            assert process.records == {"even": b"value"}
            assert "'odd'" in caplog.text

    asyncio.run(run())


def test_nothing_is_read_of_a_process_that_asks_for_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its proposals wait no more are taken, nor is it held to hang; all are
    answered in the end."""
    monkeypatch.setattr(scheduler_proposals, "HELD_COUNT_MAX", 3)
    monkeypatch.setattr(scheduler_link, "_OVERSLEPT_S", WAIT_S)

    async def test(_: object, process: Process, served: object) -> None:
        await process.lead()
        await process.say(words.leading(0.0, 0))
        for n in range(30):
            await process.say(words.propose(n, [keep("k", bytes(2**10))]))
        found = [(await process.hear())["ticket"] for _ in range(30)]
        assert found == [*range(30)]

    alone(tmp_path, test, options=LinkOptions(ping_s=0.02))


class _Notes:
    """Who waits for a call, and notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def answer(self, outcomes: list[Outcome]) -> None:
        """It was applied."""
        self.heard.append("answered")

    def refuse(self, reason: str) -> None:
        """It was not."""
        self.heard.append("refused")


def test_calls_behind_a_fence_go_in_order_or_not_at_all() -> None:
    """Calls of another term are refused where they would be placed, and so are those
    that come after a refused one; calls of others go on."""
    proposals, fence = Proposals(), Fence(7)
    first, second, third, other = (_Notes() for _ in range(4))
    assert proposals.add([b"1"], first, fence)
    (taken,) = proposals.take(7)
    assert proposals.add([b"2"], second, fence)
    proposals.refuse([taken], "not now")
    assert proposals.add([b"3"], third, fence)
    assert proposals.add([b"4"], other)
    assert [one.waiter for one in proposals.take(7)] == [other]
    assert (first.heard, second.heard, third.heard) == (["refused"],) * 3
    later = _Notes()
    assert proposals.add([b"5"], later, Fence(7))
    assert proposals.take(8) == []
    assert later.heard == ["refused"]
