"""Nodes that end while something is under way, and what must not be lost silently."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from network import Node, close, run
from node_room import WAIT_S, Room, in_room, put, value_at
from serving_room import Hall, in_hall
from test_redundancy import made_nodes

from dtf_dask.errors import LedgerFolderError, NodeProcessError, PeerUnavailableError
from dtf_dask.ha import node_snapshots
from dtf_dask.ha.files import DiskFile, DiskFiles, OpenFile
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.snapshots import Frozen
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.raft.messages import ConfigChange, ConfigStep, NodeId, StepKind
from dtf_dask.ha.redundancy import RedundancyManager


class _HeldFile(DiskFile):
    """A file whose syncs wait for a gate."""

    gate: threading.Event
    waits: threading.Event

    def sync(self) -> None:
        """Return when the gate is open."""
        if not self.gate.is_set():
            self.waits.set()
        self.gate.wait()
        super().sync()


class HeldFiles(DiskFiles):
    """A disk that does not answer while the gate is shut, for files of one ending.

    ``waits`` is set when somebody has to wait.
    """

    def __init__(self, ending: str) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Event()
        self._ending = ending

    def create(self, path: str) -> OpenFile:
        """A new file."""
        return self._file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, path: str) -> OpenFile:
        """A file that exists."""
        return self._file(path, os.O_RDWR)

    def _file(self, path: str, flags: int) -> OpenFile:
        if not path.endswith(self._ending):
            return DiskFile(path, flags)
        file = _HeldFile(path, flags)
        file.gate, file.waits = self.gate, self.waits
        return file


@pytest.mark.logs("its disk does not answer; its folder stays locked")
def test_a_folder_stays_locked_while_its_disk_may_still_write(tmp_path: Path) -> None:
    """A write that hangs may come to the disk at any time: no other process may read
    the log until then."""
    files = HeldFiles(".log")

    async def test(room: Room) -> None:
        ledger = await room.start(1, [1], files=files)
        await ledger.propose([put("a")], WAIT_S)
        node = ledger.node
        node.disk.close = partial(node.disk.close, 0.2)  # type: ignore[method-assign]
        files.gate.clear()
        writing = asyncio.create_task(ledger.propose([put("b")], WAIT_S))
        await asyncio.to_thread(files.waits.wait)
        await room.stop(1)
        await writing
        with pytest.raises(LedgerFolderError, match="in use by process"):
            await room.start(1, [])
        files.gate.set()
        node.disk._thread.join()
        node.folder.wal.close()
        back = await room.start(1, [])
        assert await value_at(back, "a") == b"value"

    try:
        in_room(test, Room(tmp_path))
    finally:
        files.gate.set()


def test_a_snapshot_that_is_being_written_ends_with_its_node(tmp_path: Path) -> None:
    """When the folder is given up no thread writes there any more."""
    files = HeldFiles(".snapshot.tmp")

    async def test(room: Room) -> None:
        ledger = await room.start(1, [1], files=files)
        for n in range(20):
            await ledger.propose([put(f"k{n}", b"x" * 100_000)], WAIT_S)
        files.gate.clear()
        ledger.node.snapshots.make()
        await asyncio.to_thread(files.waits.wait)
        stopping = asyncio.create_task(room.stop(1))
        done, _ = await asyncio.wait([stopping], timeout=0.3)
        assert not done
        files.gate.set()
        await stopping
        folder = tmp_path / "1" / "snapshots"
        before = sorted(path.name for path in folder.iterdir())
        assert not [name for name in before if name.endswith(".tmp")]
        back = await room.start(1, [])
        assert await value_at(back, "k19") == b"x" * 100_000

    try:
        in_room(test, Room(tmp_path))
    finally:
        files.gate.set()


def test_a_node_that_ends_does_not_wait_for_all_of_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the state is: what was written of it goes."""

    class Endless(Frozen):
        def chunks(self) -> Iterator[bytes]:
            while True:
                yield b"x"

    async def main() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            await ledger.propose([put("a")], WAIT_S)
            endless = Endless(5, 0, 0, {}, {})
            monkeypatch.setattr(ledger.node.state, "freeze", lambda: endless)
            ledger.node.snapshots.make()
            while not list((tmp_path / "snapshots").glob("*.tmp")):
                await asyncio.sleep(0.01)
        assert not list((tmp_path / "snapshots").glob("*.tmp"))
        async with LocalLedger(str(tmp_path)) as ledger:
            assert await value_at(ledger, "a") == b"value"

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


@pytest.mark.logs("a defect of dtf")
def test_a_defect_while_a_snapshot_is_made_stops_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and nobody waits for the snapshot for ever."""

    async def main() -> None:
        ledger = LocalLedger(str(tmp_path))
        async with ledger:
            await ledger.propose([put("a")], WAIT_S)

            def broken() -> None:
                raise RuntimeError("a mistake")

            monkeypatch.setattr(ledger.node.state, "freeze", broken)
            await asyncio.wait_for(ledger.node.snapshots.make(), WAIT_S)
            assert ledger.node.failure == "a defect of dtf: RuntimeError('a mistake')"

    asyncio.run(main())


@pytest.mark.logs("a defect of dtf: STATUS is not answered")
def test_a_defect_while_a_client_is_answered_ends_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for an answer that never comes; others are served."""

    async def test(hall: Hall) -> None:
        await hall.start_all()
        node = hall.node(1)
        async with hall.client() as client:
            assert (await client.status(1))["node"] == 1
            with monkeypatch.context() as patch:
                patch.delattr(node, "metrics_at")
                with pytest.raises(PeerUnavailableError):
                    await asyncio.wait_for(client.status(1), 3.0)
            assert (await client.status(1))["node"] == 1

    assert in_hall(tmp_path, 1, test) == {}


@pytest.mark.logs("was not fetched: .*version 99")
def test_a_snapshot_of_a_later_version_is_not_taken_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the node's status, as long as it is so; it takes it in once it knows how."""

    async def test(room: Room) -> None:
        await room.start(1, [1])
        leader = await room.leader()
        await leader.propose([put("early")], WAIT_S)
        joined = await room.start(2, [])
        monkeypatch.setattr(
            node_snapshots,
            "restored",
            lambda _: Unreadable("a snapshot of version 99; this node knows 2"),
        )
        change = ConfigChange((ConfigStep(StepKind.ADD_LEARNER, NodeId(2)),))
        leader.node.raw.propose_change(change)
        leader.node.wake()
        while not NodeStatus.of(joined.node).not_taken:
            await asyncio.sleep(0.01)
        assert "version 99" in NodeStatus.of(joined.node).not_taken
        assert joined.node.state.index == 0
        monkeypatch.undo()
        assert await value_at(joined, "early") == b"value"
        assert NodeStatus.of(joined.node).not_taken == ""

    in_room(test, Room(tmp_path))


@pytest.mark.parametrize("host", ["a..b", "\0", "x" * 255, "ä" * 100])
def test_a_host_of_no_sense_is_an_address_that_fails(tmp_path: Path, host: str) -> None:
    """It may come from the ledger or from a peer: the way to the node is kept up."""

    async def main() -> None:
        one, two = (Node(n, tmp_path) for n in (1, 2))
        for node in (one, two):
            await node.listen()
        one.transport.set_peers({two.id: [(host, 1), two.address]})
        await one.until(lambda: ("connected", 2) in one.events)
        await close((one, two))

    run(main())


def test_a_process_that_says_long_lines_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or it would wait for ever to say the next one."""
    caplog.set_level(logging.INFO)
    (folder,) = made_nodes(tmp_path, 1)
    program = tmp_path / "program"
    program.write_text(
        f"""#!{sys.executable}
import sys
sys.stderr.write("x" * 1_000_000 + "\\nthe end\\n")
sys.stderr.flush()
print('{{"ready": 1}}', flush=True)
sys.stdin.read()
"""
    )
    program.chmod(0o700)
    monkeypatch.setattr("dtf_dask.ha.redundancy.sys.executable", str(program))

    async def main() -> None:
        async with RedundancyManager(folder) as manager:
            while "the end" not in caplog.text:
                await asyncio.sleep(0.01)
            assert manager.pid is not None

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (None, "no process for the node"),
        ("print('nonsense')", "said b'nonsense.*where it says that it is ready"),
    ],
)
def test_a_process_that_is_no_node_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, why: str
) -> None:
    """None at all, or one that says something else first."""
    (folder,) = made_nodes(tmp_path, 1)
    path = tmp_path / "program"
    if program is not None:
        path.write_text(f"#!{sys.executable}\n{program}\n")
        path.chmod(0o700)
    monkeypatch.setattr("dtf_dask.ha.redundancy.sys.executable", str(path))

    async def main() -> None:
        manager = RedundancyManager(folder)
        with pytest.raises(NodeProcessError, match=why):
            await manager.start()
        await manager.stop()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
