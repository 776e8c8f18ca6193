"""Backups of a ledger: written, checked, restored; and what they refuse."""

from __future__ import annotations

import asyncio
import resource
import struct
from pathlib import Path

import pytest

from dtf_dask.errors import (
    ContentUnavailableError,
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.backup import (
    back_up_running,
    back_up_stopped,
    check_backup,
    check_stopped,
    restore,
)
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT, PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.wal_opening import LogIdentity

LOCAL = LogIdentity("local", NodeId(1))
WAIT_S = 60.0


async def write(ledger: LocalLedger, *keys: str) -> None:
    """Have some records written."""
    commands = [encode_command(PUT, "tests", key, b"value") for key in keys]
    outcomes = await ledger.propose(commands, WAIT_S)
    assert {one.code for one in outcomes} == {Code.OK}


def filled(folder: Path, *keys: str) -> None:
    """A node that has run and was ended."""

    async def run() -> None:
        async with LocalLedger(str(folder)) as ledger:
            await write(ledger, *keys)

    asyncio.run(run())


async def has(ledger: LocalLedger, key: str) -> bool:
    """Whether a record is there."""
    answer = await ledger.read(Get("tests", key), WAIT_S)
    assert answer is not None
    return bool(answer.records)


def test_a_stopped_node_is_backed_up_and_restored(tmp_path: Path) -> None:
    """All that it acknowledged is there, and the restored one takes writes."""
    filled(tmp_path / "old", "a", "b")
    file = str(tmp_path / "file")
    written = back_up_stopped(str(tmp_path / "old"), LOCAL, file)
    assert check_backup(file, "local").state_hash == written.state_hash
    assert check_stopped(str(tmp_path / "old"), LOCAL).state_hash == written.state_hash
    assert restore(file, str(tmp_path / "new"), LOCAL).index == written.index

    async def run() -> None:
        async with LocalLedger(str(tmp_path / "new")) as ledger:
            assert await has(ledger, "b")
            await write(ledger, "c")
            assert ledger.node.raw.core.term > written.term
        async with LocalLedger(str(tmp_path / "new")) as ledger:
            assert await has(ledger, "a")
            assert await has(ledger, "c")

    asyncio.run(run())


def test_a_node_is_backed_up_while_it_runs(tmp_path: Path) -> None:
    """What was acknowledged before its snapshot is in the backup."""
    file = str(tmp_path / "file")

    async def run() -> str:
        async with LocalLedger(str(tmp_path / "node")) as ledger:
            await write(ledger, "a")
            await ledger.node.snapshots.make()
            before = ledger.node.state.state_hash()
            await write(ledger, "later")
            back_up_running(str(tmp_path / "node"), "local", file)
            with pytest.raises(LedgerFolderError, match="in use"):
                back_up_stopped(str(tmp_path / "node"), LOCAL, file)
            return before

    assert asyncio.run(run()) == check_backup(file, "local").state_hash


def test_a_backup_of_another_cluster_or_with_a_flipped_bit_is_refused(
    tmp_path: Path,
) -> None:
    """Before anything is made of it."""
    filled(tmp_path / "node", "a")
    file = tmp_path / "file"
    back_up_stopped(str(tmp_path / "node"), LOCAL, str(file))
    with pytest.raises(LedgerDamagedError, match="of cluster 'local'"):
        restore(str(file), str(tmp_path / "new"), LogIdentity("other", NodeId(1)))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(LedgerDamagedError):
        restore(str(file), str(tmp_path / "new"), LOCAL)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_a_log_is_not_restored_into(tmp_path: Path) -> None:
    """What is there stays."""
    filled(tmp_path / "node", "a")
    file = str(tmp_path / "file")
    back_up_stopped(str(tmp_path / "node"), LOCAL, file)
    with pytest.raises(LedgerFolderError, match="already"):
        restore(file, str(tmp_path / "node"), LOCAL)
    check_stopped(str(tmp_path / "node"), LOCAL)


def test_damage_in_a_log_is_found(tmp_path: Path) -> None:
    """With the file, and the byte where it is."""
    filled(tmp_path / "node", *(f"key{n}" for n in range(100)))
    log = next((tmp_path / "node" / "log").glob("*.log"))
    content = bytearray(log.read_bytes())
    content[300] ^= 1
    log.write_bytes(content)
    with pytest.raises(LedgerDamagedError, match=r"\.log"):
        check_stopped(str(tmp_path / "node"), LOCAL)


def content_of(n: int) -> bytes:
    """The bytes of a content."""
    return b"%d" % n * 1_100_000


async def refer(ledger: LocalLedger, count: int) -> None:
    """Have records refer to contents."""
    for n in range(count):
        reference = await ledger.put_content(content_of(n), WAIT_S)
        command = encode_command(PUT_CONTENT, "tests", f"large{n}", *reference)
        (outcome,) = await ledger.propose([command], WAIT_S)
        assert outcome.code is Code.OK


def with_contents(folder: Path) -> None:
    """A node that has run, some records of which refer to contents."""

    async def run() -> None:
        async with LocalLedger(str(folder)) as ledger:
            await refer(ledger, 3)
            await ledger.put_content(b"nothing refers to it" * 100_000, WAIT_S)

    asyncio.run(run())


def test_contents_are_backed_up_and_restored(tmp_path: Path) -> None:
    """Those that records refer to, and no others."""
    with_contents(tmp_path / "old")
    file = str(tmp_path / "file")
    written = back_up_stopped(str(tmp_path / "old"), LOCAL, file)
    assert (written.contents, written.contents_bytes) == (3, 3_300_000)
    assert check_backup(file, "local") == written
    assert check_stopped(str(tmp_path / "old"), LOCAL) == written
    assert 3_300_000 < Path(file).stat().st_size < 3_302_000
    restore(file, str(tmp_path / "new"), LOCAL)

    async def run() -> None:
        async with LocalLedger(str(tmp_path / "new")) as ledger:
            assert len(ledger.node.folder.contents.digests) == 3
            for n in range(3):
                answer = await ledger.read(Get("tests", f"large{n}"), WAIT_S)
                assert answer is not None
                reference = answer.records[0][1].value
                assert isinstance(reference, Reference)
                content = await ledger.get_content(reference, WAIT_S)
                assert content == content_of(n)

    asyncio.run(run())


def test_a_running_node_is_backed_up_with_its_contents(tmp_path: Path) -> None:
    """Those of its newest snapshot, whatever has become of the records since."""
    file = str(tmp_path / "file")

    async def run() -> None:
        async with LocalLedger(str(tmp_path / "node")) as ledger:
            await refer(ledger, 2)
            await ledger.node.snapshots.make()
            await ledger.propose([encode_command(DELETE, "tests", "large0")], WAIT_S)
            store = ledger.node.contents.store
            store._opened, store._used = -1e9, {}  # their time is over
            await ledger.node.contents.sweep.sweep()
            assert len(store.digests) == 2
            back_up_running(str(tmp_path / "node"), "local", file)

    asyncio.run(run())
    assert check_backup(file, "local").contents == 2


@pytest.mark.parametrize("at", [300, -1_500_000, -24, -20, -16, -3])
def test_a_backup_with_damaged_contents_is_refused(tmp_path: Path, at: int) -> None:
    """Before anything is made of it: a flipped bit, in a content or at the end."""
    with_contents(tmp_path / "node")
    file = tmp_path / "file"
    back_up_stopped(str(tmp_path / "node"), LOCAL, str(file))
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(LedgerDamagedError):
        restore(str(file), str(tmp_path / "new"), LOCAL)
    assert not (tmp_path / "new").exists()


def test_a_backup_that_was_cut_is_refused(tmp_path: Path) -> None:
    """Wherever: in a content, between two, before the end, or in the snapshot."""
    with_contents(tmp_path / "node")
    file = tmp_path / "file"
    back_up_stopped(str(tmp_path / "node"), LOCAL, str(file))
    content = file.read_bytes()
    for size in (0, 10, 300, 100_000, 1_100_300, len(content) - 24, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(LedgerDamagedError):
            check_backup(str(file), "local")
    snapshot_size = struct.unpack_from("<Q", content, len(content) - 24)[0]
    file.write_bytes(content[:snapshot_size])
    with pytest.raises(LedgerDamagedError, match="lacks 3 contents"):
        check_backup(str(file), "local")


def test_contents_that_are_missing_or_damaged_are_said(tmp_path: Path) -> None:
    """A stopped node may have to fetch some yet; a backup needs them all."""
    with_contents(tmp_path / "node")
    contents = tmp_path / "node" / "contents"
    sizes = {path: path.stat().st_size for path in contents.iterdir()}
    one, other, _ = (path for path, size in sizes.items() if size == 1_100_000)
    kept = one.read_bytes()
    one.unlink()
    checked = check_stopped(str(tmp_path / "node"), LOCAL)
    assert checked.notes == ("1 contents have yet to be fetched",)
    with pytest.raises(ContentUnavailableError, match="is not on this node yet"):
        back_up_stopped(str(tmp_path / "node"), LOCAL, str(tmp_path / "file"))
    one.write_bytes(kept)
    other.write_bytes(b"x" + other.read_bytes()[1:])
    with pytest.raises(LedgerDamagedError, match="delete it, and the node fetches it"):
        check_stopped(str(tmp_path / "node"), LOCAL)
    with pytest.raises(LedgerDamagedError, match="does not check"):
        back_up_stopped(str(tmp_path / "node"), LOCAL, str(tmp_path / "file"))
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_without_room_no_file_is_left(tmp_path: Path) -> None:
    """Half a backup would be worse than none."""
    filled(tmp_path / "node", *(f"key{n}" for n in range(200)))
    file = tmp_path / "file"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(DiskFullError, match="no room"):
            back_up_stopped(str(tmp_path / "node"), LOCAL, str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in tmp_path.iterdir()] == ["node"]


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    """With the path and the reason."""
    filled(tmp_path / "node", "a")
    with pytest.raises(LedgerDiskError, match="no-folder/x cannot be written"):
        back_up_stopped(str(tmp_path / "node"), LOCAL, str(tmp_path / "no-folder/x"))
