"""Nodes whose disks are full, or fail."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from random import Random

import pytest
from faulty_disk import FaultyDisk
from node_room import WAIT_S, Room, in_room, put, value_at

from dtf_dask.ha.disk import Compact, Disk, DiskTrouble, Job, Write
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.raft.messages import (
    Entry,
    EntryKind,
    HardState,
    MessageKind,
    NodeId,
    SnapshotPoint,
)
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_opening import LogIdentity

full = pytest.mark.logs("no room to write", "there is room on its disk again")
failing = pytest.mark.logs(r"node \d stops: .*cannot be written: Input/output error")


async def on_faulty_disks(room: Room, *nodes: int) -> dict[NodeId, FaultyDisk]:
    """Start nodes, each on a disk of its own that can be made to fail."""
    disks = {NodeId(node): FaultyDisk() for node in nodes}
    for node, disk in disks.items():
        await room.start(node, nodes, files=disk)
    return disks


async def written(room: Room, key: str) -> NodeLedger:
    """Write until it is acknowledged; by whom."""
    while True:
        leader = await room.leader()
        (outcome,) = await leader.propose([put(key)], 1.0)
        if outcome.code is Code.OK:
            return leader
        await asyncio.sleep(0.01)


async def until_full(ledger: NodeLedger, *, full: bool) -> None:
    """Wait until a node says that its disk is full, or that it is not any more."""
    while bool(ledger.node.disk_full) is not full:
        await ledger.node.change()


async def equal_states(room: Room) -> None:
    """All nodes come to the same state."""
    leader = await written(room, "last")
    await room.applied(leader.node.state.index, *room.wires.nodes)
    nodes = room.wires.nodes.values()
    assert len({node.state.index for node in nodes}) == 1
    assert len({node.state.state_hash() for node in nodes}) == 1


@full
def test_a_full_disk_of_a_follower_stops_nobody(tmp_path: Path) -> None:
    """It acknowledges nothing and stands for nothing; with room it catches up."""

    async def run(room: Room) -> None:
        disks = await on_faulty_disks(room, 1, 2, 3)
        leader = await written(room, "before")
        own = leader.node.node
        follower = NodeLedger(room.wires.nodes[NodeId(own % 3 + 1)])
        disks[follower.node.node].fill()
        for n in range(20):
            await leader.propose([put(f"k{n}")], WAIT_S)
        await until_full(follower, full=True)
        match = leader.node.raw.status().peers[follower.node.node].match
        assert match < leader.node.state.index
        # Alone with the leader it is no majority, and the leader finds that out.
        other = NodeId(6 - own - follower.node.node)
        await room.stop(other)
        (outcome,) = await leader.propose([put("never")], 0.5)
        assert outcome.code is not Code.OK
        await room.start(other, [1, 2, 3], files=disks[other])
        disks[follower.node.node].bytes_max = 2**62
        await until_full(follower, full=False)
        assert await value_at(follower, "k19") == b"value"
        await equal_states(room)

    in_room(run, Room(tmp_path))


@full
def test_a_leader_with_a_full_disk_hands_over(tmp_path: Path) -> None:
    """Another leads within an election, with all that was acknowledged; the old one
    says why it takes nothing, and is a follower when it has room."""

    async def run(room: Room) -> None:
        disks = await on_faulty_disks(room, 1, 2, 3)
        leader = await written(room, "before")
        own = leader.node.node
        disks[own].fill(left=50)
        outcomes = [await leader.propose([put(f"k{n}")], WAIT_S) for n in range(3)]
        # What reached a disk of the others may have been done.
        assert {one[0].code for one in outcomes} <= {Code.UNKNOWN, Code.NOT_DONE}
        await until_full(leader, full=True)
        (outcome,) = await leader.propose([put("x")], WAIT_S)
        assert outcome.code is Code.NOT_DONE
        assert "no room to write" in outcome.value
        new = await written(room, "after")
        assert new.node.node != own
        assert await value_at(new, "before") == b"value"
        disks[own].bytes_max = 2**62
        await until_full(leader, full=False)
        assert await value_at(leader, "after") == b"value"
        await equal_states(room)

    in_room(run, Room(tmp_path))


@full
def test_readers_do_not_keep_a_leader_with_a_full_disk(tmp_path: Path) -> None:
    """Though nobody hears that he is to take over, and each read on a follower has the
    leader tell the others that it is there. The leader itself refuses to be read."""

    async def run(room: Room) -> None:
        disks = await on_faulty_disks(room, 1, 2, 3)
        leader = await written(room, "before")
        own = leader.node.node
        room.wires.lost = {MessageKind.TIMEOUT_NOW}

        async def read_on() -> None:
            ledgers = [NodeLedger(node) for node in room.wires.nodes.values()]
            while True:
                reads = (one.read(Get("tests", "before"), 1.0) for one in ledgers)
                await asyncio.gather(*reads)
                await asyncio.sleep(0.005)

        reading = asyncio.create_task(read_on())
        disks[own].fill()
        await leader.propose([put("x")], WAIT_S)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while await leader.read(Get("tests", "before"), WAIT_S) is not None:
            await asyncio.sleep(0.005)
        assert loop.time() - begun < WAIT_S / 2
        new = await written(room, "after")
        assert new.node.node != own
        reading.cancel()

    in_room(run, Room(tmp_path))


@full
def test_a_single_node_waits_for_room(tmp_path: Path) -> None:
    """It refuses and says why, can be read, and goes on by itself."""

    async def run(room: Room) -> None:
        disks = await on_faulty_disks(room, 1)
        ledger = await written(room, "before")
        disks[NodeId(1)].fill()
        (outcome,) = await ledger.propose([put("x")], WAIT_S)
        assert outcome.code is Code.UNKNOWN
        (outcome,) = await ledger.propose([put("y")], WAIT_S)
        assert outcome.code is Code.NOT_DONE
        assert "no room to write" in outcome.value
        assert await value_at(ledger, "before") == b"value"
        # It is taken back as a whole: it can be started again.
        await room.stop(1)
        ledger = await room.start(1, [1], files=disks[NodeId(1)])
        await until_full(ledger, full=True)
        disks[NodeId(1)].bytes_max = 2**62
        await until_full(ledger, full=False)
        await written(room, "after")
        assert await value_at(ledger, "before") == b"value"
        assert await value_at(ledger, "y") is None

    in_room(run, Room(tmp_path))


@failing
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_disk_that_fails_stops_its_node(tmp_path: Path, role: str) -> None:
    """It says so and does nothing more; the others go on, and after a new start it has
    what it lacks."""

    async def run(room: Room) -> None:
        disks = await on_faulty_disks(room, 1, 2, 3)
        leader = await written(room, "before")
        hit = leader.node.node
        if role == "follower":
            hit = NodeId(hit % 3 + 1)
        node = room.wires.nodes[hit]
        disks[hit].fails["sync"] = 0
        await leader.propose([put("x")], 1.0)
        while not node.failure:
            await node.change()
        assert "Input/output error" in node.failure
        assert room.failures == {hit: node.failure}
        (outcome,) = await NodeLedger(node).propose([put("y")], WAIT_S)
        assert (outcome.code, outcome.value) == (Code.NOT_DONE, node.failure)
        assert await NodeLedger(node).read(Get("tests", "before"), 1.0) is None
        await room.stop(hit)
        new = await written(room, "after")
        assert new.node.node != hit
        assert await value_at(new, "before") == b"value"
        disks[hit].crash(Random(1))
        back = await room.start(hit, [1, 2, 3], files=disks[hit])
        assert await value_at(back, "after") == b"value"
        await equal_states(room)

    in_room(run, Room(tmp_path))


# The thread that writes


class Written:
    """A log and the thread that writes it, without a node."""

    def __init__(self, limits: WalLimits | None = None) -> None:
        self.files = FaultyDisk()
        who = LogIdentity("room", NodeId(1))
        self.wal = Wal.create("log", who, limits, files=self.files)
        self.done: list[Job] = []
        self.troubles: list[DiskTrouble] = []
        self.came = threading.Condition()
        self.disk = Disk(self.wal, threading.Lock(), self._done, self._trouble)

    def _done(self, jobs: list[Job]) -> None:
        with self.came:
            assert self.wal.synced
            self.done += jobs
            self.came.notify_all()

    def _trouble(self, trouble: DiskTrouble) -> None:
        with self.came:
            self.troubles.append(trouble)
            self.came.notify_all()

    def wait(self, jobs: int, troubles: int) -> None:
        """Until so many have been answered."""
        with self.came:
            assert self.came.wait_for(
                lambda: (len(self.done), len(self.troubles)) == (jobs, troubles), 10
            ), (self.done, self.troubles)


def entry_of(index: int, size: int) -> Write:
    """A write of one entry."""
    entry = Entry(1, index, EntryKind.NORMAL, b"x" * size)
    return Write([entry], HardState(1, NodeId(1), index - 1), None, sync=True)


def test_what_was_written_before_the_disk_was_full_is_done() -> None:
    """Nobody waits for room that others need; what follows is done in order, and then
    it is said once that there is room."""
    room = Written()
    room.files.fill(left=3_000)
    for index, size in enumerate((100, 100, 5_000, 100, 5_000), start=1):
        room.disk.put(entry_of(index, size))
    room.disk.start()
    room.wait(jobs=2, troubles=1)
    assert "no room" in room.troubles[0].full
    room.files.bytes_max += 4_000
    room.wait(jobs=4, troubles=1)
    room.files.bytes_max += 10_000
    room.wait(jobs=5, troubles=2)
    assert room.troubles[1] == DiskTrouble()
    assert room.wal.last_index == 5
    room.disk.close()


def test_what_makes_room_goes_first() -> None:
    """A log that can be cut is cut, though what was to be written before it waits."""
    room = Written(WalLimits(segment_bytes=4_000))
    for index in range(1, 11):
        write = entry_of(index, 1_000)
        room.wal.append(write.entries, write.state)
    room.wal.append([], None, SnapshotPoint(10, 1))
    room.wal.sync()
    room.files.fill()
    room.disk.put(entry_of(11, 1_000))
    room.disk.put(Compact(10))
    room.disk.start()
    room.wait(jobs=2, troubles=2)
    assert room.wal.last_index == 11
    assert room.wal.first_index > 1
    room.disk.close()


def test_it_is_said_where_the_log_began_when_it_was_cut() -> None:
    """Though a snapshot that comes at once has it begin farther on."""
    room = Written()
    for index in range(1, 11):
        room.disk.put(entry_of(index, 100))
    room.disk.put(Write([], None, SnapshotPoint(10, 1), sync=True))
    room.disk.put(Compact(10))
    room.disk.put(Write([], None, SnapshotPoint(90, 2), sync=True))
    room.disk.start()
    room.wait(jobs=13, troubles=0)
    assert room.done[11] == Compact(10, first_index=1)
    assert room.wal.first_index == 91
    room.disk.close()


def test_a_thread_that_waits_for_room_can_be_ended() -> None:
    """What it could not write is never said to be done."""
    room = Written()
    room.files.fill()
    room.disk.put(entry_of(1, 1_000))
    room.disk.start()
    room.wait(jobs=0, troubles=1)
    room.disk.close()
    assert room.done == []


@pytest.mark.logs("a defect of dtf")
def test_a_defect_in_the_thread_is_said() -> None:
    """Its node would wait for ever otherwise."""
    room = Written()
    room.disk.put(entry_of(1, 10)._replace(entries=[None]))  # type: ignore[list-item]
    room.disk.start()
    room.wait(jobs=0, troubles=1)
    assert "a defect of dtf" in room.troubles[0].failed
