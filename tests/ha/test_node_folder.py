"""What a node finds in its folder, and what it refuses to start from."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from faulty_disk import FaultyDisk
from node_room import WAIT_S, Room, in_room, put, value_at

from dtf_dask.errors import (
    DtfError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.ledger.kinds import VERSION
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.records import Record
from dtf_dask.ha.ledger.state_machine import StateMachine
from dtf_dask.ha.local_ledger import LocalLedger, NodeLedger
from dtf_dask.ha.node_folder import create_node, node_exists, open_node
from dtf_dask.ha.raft.messages import (
    ConfigState,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    SnapshotPoint,
)
from dtf_dask.ha.snapshots import SnapshotStore
from dtf_dask.ha.wal import Wal
from dtf_dask.ha.wal_opening import LogIdentity

Kept = dict[str, dict[str, Record]]

OWN = LogIdentity("room", NodeId(1))


def made(folder: Path) -> str:
    """A folder of node 1."""
    create_node(str(folder), OWN, [NodeId(1)])
    return str(folder)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (LogIdentity("room", NodeId(2)), "node 1"),
        (LogIdentity("hall", NodeId(1)), "room"),
    ],
)
def test_a_folder_of_another_node_is_refused(
    tmp_path: Path, identity: LogIdentity, reason: str
) -> None:
    """And of another cluster; its own node can start from it afterwards."""
    folder = made(tmp_path)
    with pytest.raises(LedgerFolderError, match=reason):
        open_node(folder, identity)
    open_node(folder, OWN).wal.close()


def test_a_folder_serves_one_node_at_a_time(tmp_path: Path) -> None:
    """Whoever comes second is told which process has it."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            with pytest.raises(LedgerFolderError, match="in use by process"):
                LocalLedger(str(tmp_path))
            (outcome,) = await ledger.propose([put("a")], WAIT_S)
            assert outcome.code is Code.OK
        async with LocalLedger(str(tmp_path)) as ledger:
            assert await value_at(ledger, "a") == b"value"

    asyncio.run(run())


def test_a_node_is_made_once(tmp_path: Path) -> None:
    """What is there is never written over; where nothing is, nothing is opened."""
    folder = str(tmp_path / "new")
    assert not node_exists(folder)
    with pytest.raises(LedgerFolderError, match="holds no log"):
        open_node(folder, OWN)
    made(Path(folder))
    with pytest.raises(LedgerFolderError, match="holds a log already"):
        create_node(folder, OWN, [NodeId(1)])


def _later_log(folder: Path) -> None:
    (segment,) = (folder / "log").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[8] = 9
    segment.write_bytes(content)


def _later_snapshot(folder: Path) -> None:
    (snapshot,) = (folder / "snapshots").glob("*.snapshot")
    content = bytearray(snapshot.read_bytes())
    content[8] = 9
    snapshot.write_bytes(content)


def _no_snapshot(folder: Path) -> None:
    shutil.rmtree(folder / "snapshots")


def _damaged_snapshot(folder: Path) -> None:
    (snapshot,) = (folder / "snapshots").glob("*.snapshot")
    content = bytearray(snapshot.read_bytes())
    content[-40] ^= 1
    snapshot.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "error", "reason"),
    [
        (_later_log, LedgerFolderError, "format 9"),
        (_later_snapshot, LedgerFolderError, "format 9"),
        (_no_snapshot, LedgerDamagedError, "no sound snapshot"),
        (_damaged_snapshot, LedgerDamagedError, "does not check"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    tmp_path: Path, harm: Callable[[Path], None], error: type[DtfError], reason: str
) -> None:
    """A format of a later version, a state that is missing or damaged: the refusal
    names the file, and the folder is given up."""
    folder = made(tmp_path)
    harm(tmp_path)
    for _ in range(2):
        with pytest.raises(error, match=reason) as refused:
            open_node(folder, OWN)
        assert folder in str(refused.value)


def test_a_damaged_snapshot_is_stood_in_for_by_an_older_one(tmp_path: Path) -> None:
    """With the log since then it comes to the same state; snapshots go on."""

    async def write() -> Kept:
        async with LocalLedger(str(tmp_path)) as ledger:
            for n in range(3):
                await ledger.propose([put(f"k{n}")], WAIT_S)
                await ledger.node.snapshots.make()
            await ledger.propose([put("last")], WAIT_S)
            return ledger.node.state.records.copied()

    async def read(before: Kept) -> None:
        newest = max((tmp_path / "snapshots").glob("*.snapshot"))
        content = bytearray(newest.read_bytes())
        content[-40] ^= 1
        newest.write_bytes(content)
        ledger = LocalLedger(str(tmp_path))
        (note,) = ledger.node.folder.notes
        assert newest.name in note
        async with ledger:
            assert await value_at(ledger, "last") == b"value"
            assert ledger.node.state.records.copied() == before
            await ledger.node.snapshots.make()
            assert ledger.node.failure == ""
        ledger = LocalLedger(str(tmp_path))
        assert ledger.node.folder.notes == ()
        async with ledger:
            assert await value_at(ledger, "k2") == b"value"

    before = asyncio.run(write())
    asyncio.run(read(before))


@pytest.mark.parametrize("entries", [0, 3, 30])
def test_a_snapshot_of_which_the_log_does_not_know_is_gone_on_from(
    tmp_path: Path, entries: int
) -> None:
    """A crash came between the two: whatever the log held, it begins after it."""
    folder = made(tmp_path / "1")
    state = StateMachine()
    for index in range(1, 21):
        state.apply(index, b"")
    point = SnapshotPoint(20, 5, ConfigState(voters=(NodeId(1),)))
    store = SnapshotStore(str(tmp_path / "1" / "snapshots"), "room")
    store.write(point, state.snapshot())
    shutil.rmtree(tmp_path / "1" / "log")
    wal = Wal.create(str(tmp_path / "1" / "log"), OWN)
    wal.append((), None, SnapshotPoint(1, 1, point.config))
    old = [Entry(2, 2 + n, EntryKind.NORMAL, b"") for n in range(entries)]
    wal.append(old, HardState(7, NodeId(1), 1))
    wal.sync()
    wal.close()
    opened = open_node(folder, OWN)
    assert opened.state.index == 20
    assert (opened.wal.point, opened.wal.first_index) == (point, 21)
    assert opened.wal.state == HardState(7, NodeId(1), 1)
    opened.wal.close()

    async def run(room: Room) -> None:
        ledger = await room.start(1, [])
        (outcome,) = await ledger.propose([put("a")], WAIT_S)
        assert outcome.code is Code.OK
        assert ledger.node.raw.status().term == 8

    in_room(run, Room(tmp_path))


def test_a_node_that_lost_what_it_compacted_is_refused(tmp_path: Path) -> None:
    """No snapshot is left that the log goes on from: it says what to do."""
    folder = str(tmp_path)

    async def fill() -> None:
        async with LocalLedger(folder) as ledger:
            for n in range(3):
                await ledger.propose([put(f"k{n}", b"x" * 100_000)] * 10, WAIT_S)
                await ledger.node.snapshots.make()

    asyncio.run(fill())
    shutil.rmtree(tmp_path / "snapshots")
    with pytest.raises(LedgerDamagedError, match="add the node again"):
        LocalLedger(folder)


@pytest.mark.logs(r"node 3 stops: entry \d+ cannot be applied")
def test_a_node_of_an_older_version_stops_and_says_so(tmp_path: Path) -> None:
    """It skips nothing and guesses nothing; the others go on. With their version it
    has what they have."""

    async def run(room: Room) -> None:
        for node in (3, 1, 2):
            await room.start(node, [1, 2, 3])
        old = room.wires.nodes[NodeId(3)]
        assert old.state.index == 1
        old.state = StateMachine(version=0)
        old.state.apply(1, b"")
        leader = await room.leader()
        while leader.node is old:
            # Its own entry would stop it all the same.
            old.raw.step_down()
            leader = await room.leader()
        for n in range(5):
            (outcome,) = await leader.propose([put(f"k{n}")], WAIT_S)
            assert outcome.code is Code.OK
        while not old.failure:
            await old.change()
        said = f"version {VERSION} of the commands; this node knows versions up to 0"
        assert said in old.failure
        assert "with the version of dtf that the others have" in old.failure
        assert room.failures == {NodeId(3): old.failure}
        status = await NodeLedger(old).status()
        assert status.stopped is not None
        assert status.stopped.index == status.applied + 1
        assert leader.node.failure == ""
        await room.stop(3)
        back = await room.start(3, [])
        assert await value_at(back, "k4") == b"value"

    in_room(run, Room(tmp_path))


_STEPS = [
    (operation, count)
    for operation in ("create", "write", "sync", "rename", "sync_folder")
    for count in range(4)
]


@pytest.mark.parametrize(("operation", "count"), _STEPS)
def test_a_crash_while_a_node_is_made_leaves_a_node_or_none(
    operation: str, count: int
) -> None:
    """At each step, whatever of it came to the disk: it is never taken for a node
    that waits to be added, and making it again gives the same node."""
    voters = (NodeId(1), NodeId(2), NodeId(3))
    for seed in range(40):
        disk = FaultyDisk()
        disk.fails[operation] = count
        try:
            create_node("node", OWN, voters, files=disk)
        except LedgerDiskError:
            pass
        disk.crash(Random(seed))
        if not node_exists("node", disk):
            create_node("node", OWN, voters, files=disk)
        opened = open_node("node", OWN, files=disk)
        assert opened.notes == ()
        assert opened.point == SnapshotPoint(1, 1, ConfigState(voters=voters))
        assert opened.wal.point == opened.point
        assert opened.wal.state == HardState(1, NodeId(0), 1)
        assert (opened.wal.first_index, opened.wal.last_index) == (2, 1)
        opened.wal.close()


def test_a_machine_that_goes_down_while_a_node_is_made() -> None:
    """With all that was done not synced yet: the log never comes without what it
    goes on from."""
    voters = (NodeId(1), NodeId(2), NodeId(3))
    found = set()
    for seed in range(300):
        disk = FaultyDisk()
        create_node("node", OWN, voters, files=disk)
        # Nothing that was done after the last sync of a folder is certain.
        disk.crash(Random(seed))
        found.add(node_exists("node", disk))
        open_node("node", OWN, files=disk).wal.close()
    assert found == {True}


@pytest.mark.parametrize("voters", [[], [NodeId(1)]], ids=["joins", "first"])
def test_snapshots_without_their_log_are_no_new_node(
    tmp_path: Path, voters: list[NodeId]
) -> None:
    """Their node has promised things that only its log knew: it does not begin anew
    with their state, and nothing of it is deleted."""

    async def fill() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            await ledger.propose([put("a")], WAIT_S)
            await ledger.node.snapshots.make()

    asyncio.run(fill())
    shutil.rmtree(tmp_path / "log")
    before = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    with pytest.raises(LedgerFolderError, match="there is no log"):
        create_node(str(tmp_path), OWN, voters)
    assert not node_exists(str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == before
