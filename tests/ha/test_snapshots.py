"""Snapshots on a disk: whole and checked, or not there."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from faulty_disk import FaultyDisk

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.files import DISK, DiskFiles
from dtf_dask.ha.raft.messages import ConfigState, NodeId, SnapshotPoint
from dtf_dask.ha.snapshots import SnapshotLimits, SnapshotStore

CONFIG = ConfigState((NodeId(1), NodeId(2), NodeId(3)), (NodeId(4),))


def at(index: int, term: int = 1) -> SnapshotPoint:
    return SnapshotPoint(index, term, CONFIG)


def store_in(folder: Path, kept: int = 2) -> SnapshotStore:
    return SnapshotStore(str(folder), "lab", SnapshotLimits(kept=kept))


def names(folder: Path) -> list[int]:
    return sorted(int(path.name[:20]) for path in folder.glob("*.snapshot"))


def state_of(store: SnapshotStore, reach: int = 1) -> bytes:
    found = store.newest(reach)
    assert found.snapshot is not None
    return b"".join(store.state(found.snapshot))


def test_the_newest_snapshot_is_found_again(tmp_path: Path) -> None:
    """State, place and configuration, by another process later; some are kept."""
    store = store_in(tmp_path / "snapshots")
    assert store.newest(1).snapshot is None
    assert store.oldest_index() == 0
    for index in (10, 20, 30):
        state = (bytes([index]) * 1_000_000 for _ in range(3))
        written = store.write(at(index), state)
    assert names(tmp_path / "snapshots") == [20, 30]
    store = store_in(tmp_path / "snapshots")
    found = store.newest(reach=15)
    assert found.snapshot == written
    assert found.damaged == ()
    assert found.snapshot.point == at(30)
    assert b"".join(store.state(found.snapshot)) == bytes([30]) * 3_000_000
    assert store.oldest_index() == 20


def test_an_older_one_stands_in_where_the_log_reaches(tmp_path: Path) -> None:
    """One changed byte, wherever it is: the older one, and why; else a refusal."""
    store = store_in(tmp_path)
    store.write(at(10), [b"ten"])
    newest = Path(store.write(at(20), [b"twenty"]).path)
    sound = newest.read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1
        newest.write_bytes(damaged)
        if place in (8, 9):  # where the version is
            with pytest.raises(LedgerFolderError, match="has format"):
                store.newest(reach=5)
            continue
        found = store.newest(reach=11, least=20)
        assert found.snapshot is not None
        assert found.snapshot.point.index == 10
        assert str(newest) in found.damaged[0]
        with pytest.raises(
            LedgerDamagedError, match=r"starts at 12.*add the node again"
        ):
            store.newest(reach=12)
    for size in range(len(sound)):
        newest.write_bytes(sound[:size])
        assert state_of(store, reach=11) == b"ten"
    newest.write_bytes(sound)
    assert state_of(store, reach=21) == b"twenty"


def test_a_whole_log_needs_no_snapshot(tmp_path: Path) -> None:
    """Where the log starts at 1 a lost snapshot is said and does no harm."""
    found = store_in(tmp_path).newest(reach=1, least=7)
    assert found.snapshot is None
    assert found.damaged == (f"{tmp_path} lacks the snapshot at 7",)


def test_a_snapshot_comes_from_another_node(tmp_path: Path) -> None:
    """A file that was received is taken in if it checks and is of this cluster."""
    sent = store_in(tmp_path / "a").write(at(40, 3), [b"state"])
    received = tmp_path / "received"
    received.write_bytes(Path(sent.path).read_bytes())
    store = store_in(tmp_path / "b")
    store.write(at(5), [b"old"])
    adopted = store.adopt(str(received))
    assert (adopted.point, adopted.digest) == (sent.point, sent.digest)
    assert state_of(store) == b"state"
    assert not received.exists()

    received.write_bytes(Path(sent.path).read_bytes()[:-1])
    with pytest.raises(LedgerDamagedError, match="does not check"):
        store.adopt(str(received))
    other = SnapshotStore(str(tmp_path / "c"), "field")
    with pytest.raises(LedgerDamagedError, match="is of cluster 'lab'"):
        other.adopt(str(adopted.path))


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Over the limit, the state's own failure: no file, and the old one stays."""
    store = SnapshotStore(str(tmp_path), "lab", SnapshotLimits(bytes_max=1_000))
    store.write(at(1), [b"one"])

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.write(at(2), broken())
    with pytest.raises(DiskFullError, match="over the limit of 1000"):
        store.write(at(2), [b"x" * 1_000])
    assert [path.name[:20] for path in tmp_path.iterdir()] == [f"{1:020d}"]
    (tmp_path / f"{3:020d}-{1:020d}.snapshot.tmp").write_bytes(b"left by a crash")
    assert state_of(store_in(tmp_path)) == b"one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_or_failing_disk(tmp_path: Path) -> None:
    """No room is said as such, with the old snapshot still there; so is a bad disk."""
    disk = FaultyDisk()
    store = SnapshotStore("snapshots", "lab", files=disk)
    store.write(at(1), [b"one"])
    disk.bytes_max = 2_000
    with pytest.raises(DiskFullError):
        store.write(at(2), [b"x" * 900] * 3)
    disk.bytes_max = 2**62
    assert disk.names("snapshots") == [f"{1:020d}-{1:020d}.snapshot"]
    disk.fails["sync"] = 0
    with pytest.raises(LedgerDiskError, match="Input/output error"):
        store.write(at(2), [b"two"])
    disk.fails.clear()
    store.write(at(2), [b"two"])
    assert state_of(store) == b"two"


def test_a_crash_leaves_the_old_one_or_the_new_one() -> None:
    """Whenever the machine goes down: what was acknowledged is there, and sound."""
    for seed in range(200):
        random = Random(seed)
        disk = FaultyDisk()
        store = SnapshotStore("snapshots", "lab", files=disk)
        store.write(at(1), [b"1" * 3_000])
        operation = random.choice(("write", "sync", "sync_folder", "none"))
        disk.fails[operation] = random.randint(0, 2)
        done = 1
        try:
            for index in (2, 3):
                store.write(at(index), [b"%d" % index * 1_500, b"%d" % index * 1_500])
                done = index
        except LedgerDiskError:
            pass
        disk.crash(random)
        store = SnapshotStore("snapshots", "lab", files=disk)
        found = store.newest(reach=2)
        assert found.snapshot is not None
        assert found.damaged == ()
        index = found.snapshot.point.index
        assert index in (done, done + 1)
        assert b"".join(store.state(found.snapshot)) == b"%d" % index * 3_000


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A disk that cannot be read is no damage: it is said, and nothing falls back."""

    class Unreadable(DiskFiles):
        def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    SnapshotStore(str(tmp_path), "lab", files=DISK).write(at(1), [b"one"])
    with pytest.raises(LedgerDiskError, match="cannot be read"):
        SnapshotStore(str(tmp_path), "lab", files=Unreadable()).newest(1)


def harm(path: str) -> None:
    """A byte of a file is another one."""
    content = bytearray(Path(path).read_bytes())
    content[-40] ^= 1
    Path(path).write_bytes(content)


@pytest.mark.parametrize("known", [True, False], ids=["known", "since"])
def test_a_damaged_one_is_not_kept_in_the_place_of_a_sound_one(
    tmp_path: Path, known: bool
) -> None:
    """Whether a start has found it, or nobody has yet: two sound ones are left."""
    store = store_in(tmp_path)
    store.write(at(10), [b"ten"])
    damaged = store.write(at(20), [b"twenty"])
    harm(damaged.path)
    if known:
        store = store_in(tmp_path)
        found = store.newest(reach=5, least=20)
        assert found.damaged
    newest = store.write(at(30), [b"thirty"])
    assert names(tmp_path) == [10, 30]
    assert store.oldest_index() == 10
    harm(newest.path)
    assert state_of(store_in(tmp_path), reach=11) == b"ten"


def test_the_one_that_was_just_written_is_always_kept(tmp_path: Path) -> None:
    """Though newer ones are there, as after one has come from another node."""
    store = store_in(tmp_path)
    for index in (20, 30, 10):
        store.write(at(index), [b"%d" % index])
    assert names(tmp_path) == [10, 30]


def test_one_that_another_thread_has_removed_counts_for_nothing(
    tmp_path: Path,
) -> None:
    """Two are to be kept, and the one just written is none of them any more."""
    store = store_in(tmp_path)
    gone = store.write(at(1), [b"a"])
    others = store_in(tmp_path, kept=3)
    for index in (2, 3, 4):
        others.write(at(index), [b"a"])
    assert names(tmp_path) == [2, 3, 4]
    store._keep(gone)
    assert names(tmp_path) == [3, 4]


def test_snapshots_are_kept_while_others_come(tmp_path: Path) -> None:
    """Two threads write at once: none fails, and the last few are there."""
    store = store_in(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        writes = [
            pool.submit(store.write, at(index), [b"%d" % index] * 3)
            for index in range(1, 61)
        ]
        for one in writes:
            one.result()
    assert len(names(tmp_path)) == 2
    assert store_in(tmp_path).newest(reach=1).damaged == ()
