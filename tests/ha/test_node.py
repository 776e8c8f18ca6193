"""Nodes of the ledger over real logs: writes, reads, losses, snapshots, full disks."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from node_room import QUICK, WAIT_S, Room, in_room, put, value_at

from dtf_dask.errors import UsageError
from dtf_dask.ha.ledger.entries import encode_command, encode_entry
from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.node_folder import create_node
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigChange,
    ConfigStep,
    Entry,
    EntryKind,
    HardState,
    MessageKind,
    NodeId,
    StepKind,
)
from dtf_dask.ha.raft.outcomes import Outcome as Taken
from dtf_dask.ha.raft.progress import PeerState
from dtf_dask.ha.standing import standing_ticks
from dtf_dask.ha.wal import Wal
from dtf_dask.ha.wal_opening import LogIdentity


def test_a_local_ledger_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """What was answered is there after a new start; reads see it at once."""

    async def write() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            outcomes = await ledger.propose([put("a"), put("b", b"2")], WAIT_S)
            assert [one.code for one in outcomes] == [Code.OK, Code.OK]
            assert await value_at(ledger, "b") == b"2"

    async def read() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            assert await value_at(ledger, "a") == b"value"
            assert await value_at(ledger, "b") == b"2"
            assert await value_at(ledger, "c") is None

    asyncio.run(write())
    asyncio.run(read())


def test_malformed_commands_are_refused_together(tmp_path: Path) -> None:
    """None of a call's commands is done if one of them is malformed."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            with pytest.raises(UsageError, match="no msgpack"):
                await ledger.propose([put("a"), b"\xc1"], WAIT_S)
            assert await value_at(ledger, "a") is None

    asyncio.run(run())


def test_three_nodes_agree_and_all_answer_reads(tmp_path: Path) -> None:
    """A write is acknowledged once a majority has it, and every node reads it."""

    async def run(room: Room) -> None:
        ledgers = [await room.start(node, [1, 2, 3]) for node in (1, 2, 3)]
        leader = await room.leader()
        outcomes = await asyncio.gather(
            *(leader.propose([put(f"k{n}", b"%d" % n)], WAIT_S) for n in range(50))
        )
        assert {one[0].code for one in outcomes} == {Code.OK}
        for ledger in ledgers:
            assert await value_at(ledger, "k49") == b"49"
        last = leader.node.state.index
        await room.applied(last, 1, 2, 3)
        hashes = {ledger.node.state.state_hash() for ledger in ledgers}
        assert len(hashes) == 1
        follower = next(one for one in ledgers if one.node is not leader.node)
        (outcome,) = await follower.propose([put("x")], WAIT_S)
        assert outcome.code is Code.NOT_DONE
        assert "does not lead" in outcome.value

    in_room(run, Room(tmp_path))


def test_a_node_that_applies_a_long_log_lets_others_in_between(tmp_path: Path) -> None:
    """Else nobody hears of it until it has, and it is taken for dead and ended."""
    identity, count = LogIdentity("local", NodeId(1)), 40_000
    folder = str(tmp_path / "node")
    create_node(folder, identity, [NodeId(1)])
    payload = encode_entry(0, [encode_command(PUT, "long", "key", b"v" * 50)])
    wal = Wal.open(os.path.join(folder, "log"), identity)
    for first in range(2, count + 2, 1_000):
        entries = [
            Entry(2, index, EntryKind.NORMAL, payload)
            for index in range(first, first + 1_000)
        ]
        wal.append(entries, HardState(2, NO_NODE, entries[-1].index))
    wal.sync()
    wal.close()

    async def main() -> set[int]:
        seen: set[int] = set()
        async with LocalLedger(folder) as ledger:
            while ledger.node.state.index < count:
                seen.add(ledger.node.state.index)
                await asyncio.sleep(0)
            answer = await ledger.read(Get("long", "key"), WAIT_S)
        assert answer is not None
        assert answer.records[0][1].revision == count
        return seen

    assert len(asyncio.run(main())) > 3


def test_no_two_nodes_stand_for_election_together() -> None:
    """Of those that lost their leader: each in its turn, and each as often."""
    voters = [NodeId(n) for n in (1, 2, 3, 5, 9)]
    for lost in voters:
        times = [standing_ticks(node, lost, voters) for node in voters if node != lost]
        assert len({len(one) for one in times}) == 1
        everyone = sorted(ticks for one in times for ticks in one)
        assert everyone == list(range(0, 2 * len(everyone), 2))


def test_the_death_of_a_leader_loses_nothing(tmp_path: Path) -> None:
    """Another leads within an election; what was acknowledged is there; it comes back
    and catches up."""

    async def run(room: Room) -> None:
        for node in (1, 2, 3):
            await room.start(node, [1, 2, 3])
        leader = await room.leader()
        await leader.propose([put("before")], WAIT_S)
        gone = leader.node.node
        await room.stop(gone)
        leader = await room.leader()
        assert leader.node.node != gone
        assert await value_at(leader, "before") == b"value"
        (outcome,) = await leader.propose([put("after")], WAIT_S)
        assert outcome.code is Code.OK
        back = await room.start(gone, [1, 2, 3])
        assert await value_at(back, "after") == b"value"

    in_room(run, Room(tmp_path))


def test_a_leader_that_is_cut_off_acknowledges_nothing(tmp_path: Path) -> None:
    """Its calls end as unknown, it reads nothing, and its entry is never seen."""

    async def run(room: Room) -> None:
        for node in (1, 2, 3):
            await room.start(node, [1, 2, 3])
        leader = await room.leader()
        old = leader.node.node
        others = [node for node in room.wires.nodes if node != old]
        room.wires.cut = {frozenset((old, other)) for other in others}
        lost = asyncio.create_task(leader.propose([put("lost")], 1.0))
        assert (await lost)[0].code is Code.UNKNOWN
        assert await leader.read(Get("tests", "x"), 0.2) is None
        while (new := await room.leader()).node.node == old:
            await asyncio.sleep(0.01)
        await new.propose([put("new")], WAIT_S)
        room.wires.cut = set()
        assert await value_at(leader, "new") == b"value"
        assert await value_at(leader, "lost") is None

    in_room(run, Room(tmp_path))


def test_a_node_that_was_away_for_long_gets_a_snapshot(tmp_path: Path) -> None:
    """When the log no longer holds what it lacks, it gets the state as a file."""

    async def run(room: Room) -> None:
        for node in (1, 2, 3):
            await room.start(node, [1, 2, 3])
        leader = await room.leader()
        away = next(node for node in room.wires.nodes if node != leader.node.node)
        await room.stop(away)
        big = b"x" * 200_000
        # Segments of the log go as wholes: write more than some of them hold.
        for turn in range(3):
            for n in range(100):
                await leader.propose([put(f"k{n}", big + b"%d" % turn)], WAIT_S)
            for node in room.wires.nodes.values():
                await node.snapshots.make()
        await leader.propose([put("last")], WAIT_S)
        assert leader.node.storage.first_index() > 150
        back = await room.start(away, [1, 2, 3])
        assert await value_at(back, "last") == b"value"
        assert await value_at(back, "k7") == big + b"2"
        assert back.node.state.state_hash() == leader.node.state.state_hash()
        await room.stop(away)
        again = await room.start(away, [1, 2, 3])
        assert await value_at(again, "k7") == big + b"2"

    in_room(run, Room(tmp_path))


@pytest.mark.logs("was not fetched: no such snapshot")
@pytest.mark.parametrize("lost", ["offers", "files"])
def test_a_snapshot_that_did_not_arrive_is_offered_again(
    tmp_path: Path, lost: str
) -> None:
    """Whether nobody heard of it, or the file was not to be had."""

    async def run(room: Room) -> None:
        await room.start(1, [1])
        leader = await room.leader()
        await leader.propose([put("early")], WAIT_S)
        if lost == "offers":
            room.wires.lost = {MessageKind.SNAPSHOT}
        else:
            room.wires.fetches_failing = 2
        joined = await room.start(2, [])
        change = ConfigChange((ConfigStep(StepKind.ADD_LEARNER, NodeId(2)),))
        leader.node.raw.propose_change(change)
        leader.node.wake()
        while lost == "offers":
            progress = leader.node.raw.core.tracker.progress.get(NodeId(2))
            if progress is not None and progress.state is PeerState.SNAPSHOT:
                break
            await asyncio.sleep(0.005)
        room.wires.lost = set()
        assert await value_at(joined, "early") == b"value"
        assert room.wires.fetches_failing == 0

    in_room(run, Room(tmp_path))


def test_a_member_joins_as_a_learner_and_then_votes(tmp_path: Path) -> None:
    """It gets everything, and counts in majorities afterwards."""

    async def run(room: Room) -> None:
        await room.start(1, [1])
        leader = await room.leader()
        await leader.propose([put("early")], WAIT_S)
        joined = await room.start(2, [])
        for kind in (StepKind.ADD_LEARNER, StepKind.ADD_VOTER):
            change = ConfigChange((ConfigStep(kind, NodeId(2)),))
            leader.node.raw.propose_change(change)
            leader.node.wake()
            assert await value_at(joined, "early") == b"value"
            await leader.propose([put("nothing")], WAIT_S)
        assert leader.node.raw.status().config.voters == (1, 2)
        await room.stop(1)
        # Alone it is no majority of two.
        assert await joined.read(Get("tests", "early"), 0.3) is None

    in_room(run, Room(tmp_path))


def test_changes_are_followed(tmp_path: Path) -> None:
    """Who follows sees each change once, in order, from the index on that he has."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            seen: list[str] = []

            async def watch() -> None:
                async for found in ledger.follow("tests", "w", 1):
                    assert isinstance(found, Changes)
                    seen.extend(change.key for change in found.changes)
                    if "w9" in seen:
                        return

            watching = asyncio.create_task(watch())
            for n in range(10):
                await ledger.propose([put(f"w{n}"), put(f"other{n}")], WAIT_S)
            await asyncio.wait_for(watching, WAIT_S)
            assert seen == [f"w{n}" for n in range(10)]

    asyncio.run(run())


def test_who_follows_from_before_a_start_is_told_where_to_begin(
    tmp_path: Path,
) -> None:
    """A restored state does not know its past changes: it says so."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            await ledger.propose([put("a")], WAIT_S)
            await ledger.node.snapshots.make()
        async with LocalLedger(str(tmp_path)) as ledger:
            assert await value_at(ledger, "a") == b"value"
            found = [one async for one in ledger.follow("tests", "", 1)]
            assert isinstance(found[0], Compacted)

    asyncio.run(run())


def test_snapshots_are_made_as_the_log_grows(tmp_path: Path) -> None:
    """And a start goes on from the newest."""
    options = replace(QUICK, snapshot_log_bytes=20_000)

    async def run() -> None:
        async with LocalLedger(str(tmp_path), options) as ledger:
            for n in range(60):
                await ledger.propose([put(f"k{n % 3}", b"x" * 1_000)], WAIT_S)
            await ledger.node.snapshots.make()
            assert ledger.node.snapshots.newest.point.index > 20
        async with LocalLedger(str(tmp_path), options) as ledger:
            assert ledger.node.snapshots.newest.point.index > 20
            assert await value_at(ledger, "k2") == b"x" * 1_000

    asyncio.run(run())


def test_reads_are_numbered_anew_in_each_life_of_a_node(tmp_path: Path) -> None:
    """An answer that was on its way when a node ended answers nothing of its next."""
    asked: list[int] = []

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            raw = ledger.node.raw
            ask = raw.read_index

            def noted(number: int) -> Taken:
                asked.append(number)
                return ask(number)

            raw.read_index = noted  # type: ignore[method-assign]
            for _ in range(3):
                await value_at(ledger, "a")

    asyncio.run(run())
    asyncio.run(run())
    assert len(asked) >= 6
    assert len(set(asked)) == len(asked)
