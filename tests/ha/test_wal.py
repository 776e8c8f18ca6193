"""The log of a node: what it keeps, what it refuses, on a real disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.files import DISK
from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    ConfigState,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    SnapshotPoint,
)
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_format import Record, decode_preamble, read_record
from dtf_dask.ha.wal_opening import LogIdentity, replay

WHO = LogIdentity("lab", NodeId(1))
SMALL = WalLimits(segment_bytes=20_000, entry_bytes_max=10_000, part_bytes=15_000)


def run_of(first: int, count: int, term: int = 1, size: int = 200) -> list[Entry]:
    return [
        Entry(term, index, EntryKind.NORMAL, index.to_bytes(8, "big") * (size // 8))
        for index in range(first, first + count)
    ]


def created(folder: Path, limits: WalLimits = SMALL) -> Wal:
    return Wal.create(str(folder), WHO, limits)


def opened(folder: Path, limits: WalLimits = SMALL) -> Wal:
    return Wal.open(str(folder), WHO, limits)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    """Entries, hard state and the snapshot's place, over several segments."""
    wal = created(tmp_path / "deep" / "log")
    config = ConfigState((NodeId(1), NodeId(2)), (NodeId(3),), (NodeId(1),), (), True)
    for first in range(1, 301, 10):
        wal.append(run_of(first, 10), HardState(1, NodeId(1), first - 1))
    wal.append(
        [Entry(2, 301, EntryKind.CONFIG_CHANGE, b"")], HardState(2, NodeId(3), 300)
    )
    wal.append([], point=SnapshotPoint(250, 1, config))
    wal.sync()
    wal.close()

    wal = opened(tmp_path / "deep" / "log")
    assert wal.cut is None
    assert wal.state == HardState(2, NodeId(3), 300)
    assert wal.point == SnapshotPoint(250, 1, config)
    assert (wal.first_index, wal.last_index) == (1, 301)
    last = Entry(2, 301, EntryKind.CONFIG_CHANGE, b"")
    assert wal.entries(1, 302, 2**30) == [*run_of(1, 300), last]
    assert (wal.term(300), wal.term(301), wal.term(250)) == (1, 2, 1)
    assert len(segments(tmp_path / "deep" / "log")) > 3
    wal.close()


def test_reading_is_bounded_by_bytes(tmp_path: Path) -> None:
    """As many as fit, one at least; what is not there is an `IndexError`."""
    wal = created(tmp_path)
    wal.append(run_of(1, 10))
    assert wal.entries(3, 11, 600) == run_of(3, 3)
    assert wal.entries(3, 11, 0) == run_of(3, 1)
    for first, end in ((0, 2), (5, 12), (11, 12), (5, 5)):
        with pytest.raises(IndexError, match="1 to 10"):
            wal.entries(first, end, 100)
    wal.close()


def test_an_entry_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    """Records of any size are read whole."""
    limits = WalLimits()
    wal = created(tmp_path, limits)
    large = Entry(1, 2, EntryKind.NORMAL, os.urandom(2 * 2**20))
    wal.append([*run_of(1, 1), large, *run_of(3, 1)])
    wal.append([Entry(1, 4, EntryKind.NORMAL, bytes(2 * 2**20))])  # is deflated
    assert wal.bytes_used < 2.2 * 2**20
    assert wal.entries(2, 3, 0) == [large]
    assert wal.entries(3, 5, 2**30)[1].payload == bytes(2 * 2**20)
    wal.close()


def test_an_append_in_parts_is_all_or_nothing(tmp_path: Path) -> None:
    """An append over the size of a part, its last record torn off, never was."""
    wal = created(tmp_path)
    wal.append(run_of(1, 1), HardState(1, NodeId(1), 0))
    before = wal.bytes_used
    wal.append(run_of(2, 100, term=2), HardState(2, NodeId(2), 50))
    assert wal.entries(1, 102, 2**30)[1:] == run_of(2, 100, term=2)
    wal.close()
    (path,) = segments(tmp_path)
    sound = path.read_bytes()
    seed = decode_preamble(sound)[1]
    first_part = read_record(sound, before, seed=seed, chain=None)
    assert isinstance(first_part, Record)
    assert first_part.more
    for size in (len(sound) - 1, first_part.end):  # torn, and between the parts
        path.write_bytes(sound[:size])
        wal = opened(tmp_path)
        assert wal.cut is not None
        assert (wal.cut.offset, wal.cut.bytes_cut) == (before, size - before)
        assert (wal.last_index, wal.state) == (1, HardState(1, NodeId(1), 0))
        assert wal.bytes_used == path.stat().st_size == before
        wal.append(run_of(2, 3))
        wal.close()
        wal = opened(tmp_path)
        assert wal.last_index == 4
        wal.close()


@pytest.mark.parametrize("end", ["short", "zeros"])
def test_a_torn_end_is_cut_and_said(tmp_path: Path, end: str) -> None:
    """However a crash left the last record: it is gone, and how much is said."""
    wal = created(tmp_path)
    wal.append(run_of(1, 2))
    whole = wal.bytes_used
    wal.append(run_of(3, 2))
    wal.close()
    (path,) = segments(tmp_path)
    size = path.stat().st_size
    for left in range(whole + 1, size):
        os.truncate(path, left)
        if end == "zeros":
            os.truncate(path, size + 512)
        wal = opened(tmp_path)
        assert wal.cut is not None
        assert wal.cut.path == str(path)
        length = size + 512 if end == "zeros" else left
        assert (wal.cut.offset, wal.cut.bytes_cut) == (whole, length - whole)
        assert (wal.last_index, path.stat().st_size) == (2, whole)
        wal.append(run_of(3, 2))
        wal.close()
    assert opened(tmp_path).entries(1, 5, 10_000) == run_of(1, 4)


def test_damage_in_the_middle_is_refused_with_its_place(tmp_path: Path) -> None:
    """A byte that changed, in any file: which file, where in it, what to do."""
    wal = created(tmp_path)
    for first in range(1, 301, 10):
        wal.append(run_of(first, 10))
        wal.sync()
    wal.close()
    for path in segments(tmp_path):
        sound = path.read_bytes()
        for at in (0, 9, 13, 20, 40, 60, 3_000, len(sound) - 400):
            damaged = bytearray(sound)
            damaged[at] ^= 4
            path.write_bytes(damaged)
            with pytest.raises((LedgerDamagedError, LedgerFolderError)) as caught:
                opened(tmp_path)
            assert str(path) in str(caught.value)
            if at not in (9,):
                assert "byte" in str(caught.value)
                assert "add the node again" in str(caught.value)
        path.write_bytes(sound)
    opened(tmp_path).close()


@pytest.mark.parametrize("how", ["synced", "opened again"])
def test_a_hole_in_what_was_synced_is_damage(tmp_path: Path, how: str) -> None:
    """A lost sector looks torn, but a later record knew it to be on the disk."""
    wal = created(tmp_path)
    wal.append(run_of(1, 20))
    if how == "synced":
        wal.sync()
    else:  # what is there when a log is opened is put on the disk
        wal.close()
        wal = opened(tmp_path)
    wal.append(run_of(21, 1))
    wal.close()
    (path,) = segments(tmp_path)
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(512))
    with pytest.raises(LedgerDamagedError, match=r"byte \d+: a record does not check"):
        opened(tmp_path)


def test_segments_that_are_missing_or_moved_are_refused(tmp_path: Path) -> None:
    """One in the middle, the first ones, one under another's name."""
    wal = created(tmp_path)
    for first in range(1, 601, 10):
        wal.append(run_of(first, 10), HardState(1, NodeId(1), first))
    wal.close()
    paths = segments(tmp_path)
    assert len(paths) > 4
    kept = [path.read_bytes() for path in paths]
    paths[2].unlink()
    with pytest.raises(LedgerDamagedError, match=f"{paths[2].name} is missing"):
        opened(tmp_path)
    paths[0].unlink()
    paths[1].unlink()
    with pytest.raises(LedgerDamagedError, match="lacks the entries from 1 to"):
        opened(tmp_path)
    for path, content in zip(paths, kept, strict=True):
        path.write_bytes(content)
    paths[1].write_bytes(kept[2])
    with pytest.raises(LedgerDamagedError, match=r"does not check|is segment 3"):
        opened(tmp_path)


def test_records_that_are_missing_or_repeated_are_refused(tmp_path: Path) -> None:
    """Each is sound by itself; but it does not follow the one before it."""
    wal = created(tmp_path)
    edges = [wal.bytes_used]
    for term in range(1, 5):
        wal.append([], HardState(term, NodeId(term), 0))
        edges.append(wal.bytes_used)
    wal.close()
    (path,) = segments(tmp_path)
    sound = path.read_bytes()
    second = sound[edges[1] : edges[2]]
    for changed in (
        sound[: edges[1]] + sound[edges[2] :],
        sound[: edges[2]] + second + sound[edges[2] :],
    ):
        path.write_bytes(changed)
        with pytest.raises(LedgerDamagedError, match="does not follow the one before"):
            opened(tmp_path)
    path.write_bytes(sound)
    wal = opened(tmp_path)
    assert wal.state == HardState(4, NodeId(4), 0)
    wal.close()


def test_a_torn_end_before_the_last_segment_is_damage(tmp_path: Path) -> None:
    """A segment was on the disk before the next one was begun."""
    wal = created(tmp_path)
    for first in range(1, 301, 10):
        wal.append(run_of(first, 10))
    wal.close()
    path = segments(tmp_path)[1]
    content = path.read_bytes()
    os.truncate(path, len(content) - 7)
    with pytest.raises(LedgerDamagedError, match=f"{path.name}, byte .* the file ends"):
        opened(tmp_path)
    path.write_bytes(content + b"more")
    with pytest.raises(LedgerDamagedError, match=f"{path.name}, byte {len(content)}: "):
        opened(tmp_path)


def test_a_folder_of_another_node_or_cluster_is_refused(tmp_path: Path) -> None:
    """And one that holds no log, or has one already where a new one is made."""
    created(tmp_path).close()
    for other in (LogIdentity("lab", NodeId(2)), LogIdentity("field", NodeId(1))):
        with pytest.raises(
            LedgerFolderError, match="belongs to node 1 of cluster 'lab'"
        ):
            Wal.open(str(tmp_path), other)
    with pytest.raises(LedgerFolderError, match="holds a log already"):
        created(tmp_path)
    with pytest.raises(LedgerFolderError, match="holds no log"):
        opened(tmp_path / "nowhere")
    opened(tmp_path).close()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """A log of a later version is not guessed at."""
    created(tmp_path).close()
    (path,) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[8] = 9
    path.write_bytes(content)
    with pytest.raises(LedgerFolderError, match=r"format 9.* knows 1 only"):
        opened(tmp_path)


def test_two_processes_never_share_a_folder(tmp_path: Path) -> None:
    """The second is refused and told who has it; the lock ends with its process."""
    code = f"""
        import time
        from dtf_dask.ha.wal import Wal
        from dtf_dask.ha.wal_opening import LogIdentity
        wal = Wal.create({str(tmp_path)!r}, LogIdentity("lab", 1))
        print("open", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(LedgerFolderError, match=f"in use by process {child.pid}"):
            opened(tmp_path)
        child.send_signal(signal.SIGKILL)
    wal = opened(tmp_path)
    with pytest.raises(LedgerFolderError, match=f"in use by process {os.getpid()}"):
        opened(tmp_path)
    wal.close()
    wal.close()
    with pytest.raises(LedgerDiskError, match="closed"):
        wal.append(run_of(1, 1))


def test_a_full_disk_takes_back_and_works_again(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: half is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = created(tmp_path, WalLimits())
    wal.append(run_of(1, 10))
    wal.sync()
    (path,) = segments(tmp_path)
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, hard))
    try:
        for _ in range(2):
            with pytest.raises(DiskFullError, match="no room to write"):
                wal.append(run_of(11, 10), HardState(1, NodeId(1), 20))
            assert path.stat().st_size == size
            assert (wal.last_index, wal.state) == (10, HardState())
        wal.append(run_of(11, 1))  # what fits is taken
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    wal.append(run_of(12, 9))
    wal.sync()
    wal.close()
    assert opened(tmp_path).entries(1, 21, 10_000) == run_of(1, 20)


def append_for_ever(wal: Wal) -> None:
    while True:
        wal.append(run_of(wal.last_index + 1, 10))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this may be made."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_is_full(small_disk: Path) -> None:
    """Filled to the last byte by others, and freed again: nothing is lost or torn."""
    wal = created(small_disk / "log", WalLimits())
    wal.append(run_of(1, 100))
    wal.sync()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**20))
    with pytest.raises(DiskFullError, match="No space left"):
        append_for_ever(wal)
    wal.sync()
    taken = wal.last_index
    assert 100 <= taken < 200
    with pytest.raises(DiskFullError):
        wal.append(run_of(taken + 1, 100))
    wal.close()
    wal = opened(small_disk / "log", WalLimits())  # full, and opened all the same
    assert wal.entries(1, taken + 1, 2**20) == run_of(1, taken)
    filler.unlink()
    wal.append(run_of(taken + 1, 100))
    wal.sync()
    wal.close()
    wal = opened(small_disk / "log", WalLimits())
    assert wal.entries(1, taken + 101, 2**20) == run_of(1, taken + 100)
    wal.close()


def test_no_room_for_a_new_segment(tmp_path: Path) -> None:
    """The append fails, the old segments serve on, nothing half made stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = created(tmp_path)
    wal.append(run_of(1, 60))
    wal.append(run_of(61, 60))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(DiskFullError):
            wal.append(run_of(121, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.suffix for path in tmp_path.iterdir() if path.name != "lock"] == [
        ".log"
    ]
    wal.append(run_of(121, 1))
    assert wal.entries(1, 122, 2**30) == run_of(1, 121)
    wal.close()


def test_compaction_drops_whole_segments(tmp_path: Path) -> None:
    """Only below a snapshot, and what is above stays; a full last one makes way too."""
    wal = created(tmp_path)
    for first in range(1, 501, 10):
        wal.append(run_of(first, 10), HardState(1, NodeId(1), first + 9))
    with pytest.raises(ValueError, match="in no snapshot"):
        wal.compact(300)
    wal.append([], point=SnapshotPoint(300, 1))
    before = wal.bytes_used
    freed = wal.compact(300)
    assert freed > 40_000
    assert wal.bytes_used == before - freed
    assert 200 < wal.first_index <= 301
    assert wal.entries(301, 501, 2**30) == run_of(301, 200)
    wal.close()

    wal = opened(tmp_path)
    assert (wal.point.index, wal.last_index) == (300, 500)
    wal.append([], point=SnapshotPoint(500, 1))
    wal.compact(500)
    assert (wal.first_index, wal.last_index) == (501, 500)
    assert wal.bytes_used < 1_000
    wal.close()
    wal = opened(tmp_path)
    assert wal.state == HardState(1, NodeId(1), 500)
    assert wal.point.index == 500
    wal.append(run_of(501, 1))
    assert wal.entries(501, 502, 1000) == run_of(501, 1)
    wal.close()


def test_a_full_disk_can_be_compacted(tmp_path: Path) -> None:
    """There is no room for another segment: the old ones go, the last one stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = created(tmp_path)
    for first in range(1, 201, 10):
        wal.append(run_of(first, 10), HardState(1, NodeId(1), first + 9))
    wal.append([], point=SnapshotPoint(200, 1))
    before = len(segments(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        assert wal.compact(200) > 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(segments(tmp_path)) == 1 < before
    wal.append(run_of(201, 3))
    assert wal.last_index == 203
    wal.close()
    assert opened(tmp_path).entries(201, 204, 1000) == run_of(201, 3)


def test_a_snapshot_from_elsewhere_voids_the_log(tmp_path: Path) -> None:
    """Ahead of the log, or of another term at its index: the log starts anew."""
    wal = created(tmp_path)
    wal.append(run_of(1, 10), HardState(1, NodeId(1), 5))
    wal.append([], point=SnapshotPoint(4, 1))
    assert wal.first_index == 1
    wal.append(run_of(8, 1, term=3), HardState(3, NodeId(0), 7), SnapshotPoint(7, 2))
    assert (wal.first_index, wal.last_index) == (8, 8)
    wal.append([], HardState(3, NodeId(0), 90), SnapshotPoint(90, 3))
    assert (wal.first_index, wal.last_index, wal.term(90)) == (91, 90, 3)
    wal.close()
    wal = opened(tmp_path)
    assert (wal.first_index, wal.last_index, wal.term(90)) == (91, 90, 3)
    wal.close()


@pytest.mark.parametrize(
    ("entries", "state", "point", "why"),
    [
        (run_of(12, 1), None, None, "entry 12 where 11 is the next"),
        (run_of(4, 1), None, None, "entry 4 in the place of a committed one"),
        ([*run_of(11, 1), *run_of(13, 1)], None, None, "do not follow each other"),
        ([], HardState(0, NodeId(0), 4), None, "term 0 after term 1"),
        ([], HardState(1, NodeId(1), 3), None, "commit 3 after commit 4"),
        ([], HardState(1, NodeId(1), 11), None, "commit 11, past the end"),
        ([], None, SnapshotPoint(1, 1), "a snapshot at 1 after one at 2"),
        (run_of(11, 1, size=12_000), None, None, "12000 bytes is over the limit"),
    ],
)
def test_what_raft_never_does_is_refused(
    tmp_path: Path,
    entries: list[Entry],
    state: HardState | None,
    point: SnapshotPoint | None,
    why: str,
) -> None:
    """A mistake above is not written down: the log stays as it was."""
    wal = created(tmp_path)
    wal.append(run_of(1, 10), HardState(1, NodeId(1), 4), SnapshotPoint(0, 0))
    wal.append([], point=SnapshotPoint(2, 1))
    before = wal.bytes_used
    with pytest.raises(ValueError, match=why):
        wal.append(entries, state, point)
    assert (wal.bytes_used, wal.last_index) == (before, 10)
    wal.close()


def test_the_largest_numbers_are_kept(tmp_path: Path) -> None:
    """Terms and indexes up to the limit, beyond any that will be."""
    wal = created(tmp_path)
    point = SnapshotPoint(NUMBER_MAX - 10, NUMBER_MAX - 1)
    wal.append(
        run_of(NUMBER_MAX - 9, 2, term=NUMBER_MAX, size=8),
        HardState(NUMBER_MAX, NodeId(7), NUMBER_MAX - 9),
        point,
    )
    wal.close()
    wal = opened(tmp_path)
    assert (wal.state.term, wal.point, wal.last_index) == (
        *(NUMBER_MAX, point, NUMBER_MAX - 8),
    )
    wal.close()


def test_a_log_can_be_checked_without_touching_it(tmp_path: Path) -> None:
    """`replay` reads a folder that is in use, and changes nothing."""
    wal = created(tmp_path)
    wal.append(run_of(1, 5))
    (path,) = segments(tmp_path)
    with path.open("ab") as file:
        file.write(b"half")
    before = path.read_bytes()
    found = replay(DISK, str(tmp_path), WHO)
    assert found.index.next_index == 6
    assert found.cut is not None
    assert found.cut.bytes_cut == 4
    assert path.read_bytes() == before
    wal.close()
