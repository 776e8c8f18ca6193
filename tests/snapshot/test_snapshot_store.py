"""The worker's store: whole or not at all, shared, bounded, put right. Real disk."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtf_dask.errors import (
    ProtocolError,
    SnapshotIncompleteError,
    SnapshotStoreError,
)
from dtf_dask.snapshot_manifest import Manifest, SnapshotFile
from dtf_dask.worker_plugins.snapshot_folder import key_of
from dtf_dask.worker_plugins.snapshot_space import Stored, plan_eviction
from dtf_dask.worker_plugins.snapshots import SnapshotStore

LIMIT = 10**8
Code = dict[str, str]


def manifest_of(code: Code, name: str = "project") -> Manifest:
    """A manifest of texts by path; ``-> target`` is a link, ``#!`` is executable."""
    files = []
    for path, text in code.items():
        if text.startswith("-> "):
            files.append(SnapshotFile(path, "", 0, link=text[3:]))
            continue
        digest = hashlib.sha256(text.encode()).hexdigest()
        size = len(text.encode())
        files.append(SnapshotFile(path, digest, size, text.startswith("#!")))
    return Manifest(tuple(files), name)


def send(store: SnapshotStore, code: Code) -> Manifest:
    """What the driver does: ask, and send what is missing."""
    manifest = manifest_of(code)
    contents = {
        hashlib.sha256(t.encode()).hexdigest(): t.encode() for t in code.values()
    }
    for digest in store.missing(manifest):
        content = contents[digest]
        store.add(digest, content, 0, len(content))
    return manifest


def read(tree: Path) -> Code:
    found = {}
    for path in tree.rglob("*"):
        place = path.relative_to(tree).as_posix()
        if path.is_symlink():
            found[place] = f"-> {os.readlink(path)}"
        elif not path.is_dir():
            found[place] = path.read_text()
    return found


def files_in(folder: Path) -> list[str]:
    """Their names; a folder that a living worker moves away meanwhile has none."""
    return sorted(name for _, _, names in os.walk(folder) for name in names)


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """The kernel refuses to write on, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[SnapshotStore]:
    one = SnapshotStore(folder, LIMIT)
    yield one
    one.close()


CODE = {
    "pkg/__init__.py": "",
    "pkg/a.py": "a = 1\n",
    "pkg/copy.py": "a = 1\n",
    "bin/run": "#!/bin/sh\n",
    "link": "-> pkg/a.py",
    "pkg/up": "-> ../bin",
    "é\nü.txt": "é",
}


def test_a_tree_holds_exactly_the_files(store: SnapshotStore) -> None:
    """Content, links and executable bits; below a folder with the root's name."""
    tree = store.unpack(send(store, CODE))
    assert tree.name == "project"
    assert read(tree) == CODE
    assert os.access(tree / "bin/run", os.X_OK)
    assert not os.access(tree / "pkg/a.py", os.X_OK)


def test_only_what_is_missing_is_asked_for(store: SnapshotStore) -> None:
    """Each content once, and none that an earlier snapshot brought."""
    assert len(store.missing(manifest_of(CODE))) == 4
    send(store, CODE)
    assert store.missing(manifest_of(CODE)) == []
    more = manifest_of(CODE | {"pkg/a.py": "a = 2\n", "moved.py": "a = 1\n"})
    assert store.missing(more) == [hashlib.sha256(b"a = 2\n").hexdigest()]


def test_pieces_come_in_order_and_can_start_again(store: SnapshotStore) -> None:
    """Out of order is refused; offset 0 begins anew; the last piece ends it."""
    manifest = manifest_of({"a": "0123456789"})
    (digest,) = store.missing(manifest)
    assert not store.add(digest, b"0123", 0, 10)
    for offset in (3, 5, 10, -1):
        with pytest.raises(ProtocolError):
            store.add(digest, b"4", offset, 10)
    assert not store.add(digest, b"xx", 0, 10)
    assert not store.add(digest, bytearray(b"012"), 0, 10)
    assert store.add(digest, memoryview(b"3456789"), 3, 10)
    assert store.add(digest, b"0123", 0, 10)  # sent twice
    assert read(store.unpack(manifest)) == {"a": "0123456789"}


def test_a_wrong_content_is_dropped(store: SnapshotStore, folder: Path) -> None:
    """Another content, too much of it, an unknown digest or size: nothing stays."""
    manifest = manifest_of({"a": "0123456789"})
    (digest,) = store.missing(manifest)
    with pytest.raises(ProtocolError, match="is another one"):
        store.add(digest, b"012345678X", 0, 10)
    with pytest.raises(ProtocolError, match="longer than"):
        store.add(digest, b"0" * 11, 0, 10)
    with pytest.raises(ProtocolError, match="announced with 11"):
        store.add(digest, b"0", 0, 11)
    for unknown in ("f" * 64, "../../etc/passwd", digest.upper(), "", 5):
        with pytest.raises(ProtocolError):
            store.add(unknown, b"", 0, 0)  # type: ignore[arg-type]
    assert files_in(folder / "blobs") == files_in(folder / "incoming") == []
    with pytest.raises(SnapshotIncompleteError, match="of 'a'; send them again"):
        store.unpack(manifest)


def test_a_damaged_content_is_never_unpacked(
    store: SnapshotStore, folder: Path
) -> None:
    """Cut short it is missing; changed it is found on the way, and asked for again."""
    manifest = send(store, {"a": "0123456789"})
    (blob,) = (path for path in (folder / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"01234")
    assert len(store.missing(manifest)) == 1
    send(store, {"a": "0123456789"})
    blob.write_bytes(b"012345678X")
    assert store.missing(manifest) == []
    with pytest.raises(SnapshotIncompleteError):
        store.unpack(manifest)
    send(store, {"a": "0123456789"})
    assert read(store.unpack(manifest)) == {"a": "0123456789"}


def test_a_test_that_writes_into_its_tree_harms_no_other(store: SnapshotStore) -> None:
    """Files are copies: neither the store nor another snapshot's tree changes."""
    one = store.unpack(send(store, CODE))
    two = store.unpack(send(store, CODE | {"new.py": "x"}))
    (one / "pkg/a.py").write_text("spoilt")
    assert (two / "pkg/a.py").read_text() == "a = 1\n"
    assert store.missing(manifest_of(CODE)) == []


def test_an_unused_tree_is_put_right(store: SnapshotStore, tmp_path: Path) -> None:
    """Changed, lost, replaced and new files; compiled modules stay."""
    manifest = send(store, CODE)
    tree = store.unpack(manifest)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "pkg/__pycache__").mkdir()
    (tree / "pkg/__pycache__/a.pyc").write_text("compiled")
    (tree / "pkg/a.py").write_text("a = 2\n")
    (tree / "pkg/copy.py").unlink()
    (tree / "bin/run").unlink()
    (tree / "bin").rmdir()
    (tree / "bin").symlink_to(outside)
    (tree / "link").unlink()
    (tree / "link").symlink_to(outside)
    (tree / "left/deep").mkdir(parents=True)
    (tree / "left/deep/over.txt").write_text("x")
    (tree / "conftest.py").write_text("raise SystemExit")
    store.release(manifest)
    assert store.unpack(manifest) == tree
    assert read(tree) == CODE | {"pkg/__pycache__/a.pyc": "compiled"}
    assert list(outside.iterdir()) == []


def test_a_tree_in_use_is_left_alone(store: SnapshotStore, folder: Path) -> None:
    """Of this worker or another one: what its tests have written is still theirs."""
    manifest = send(store, CODE)
    tree = store.unpack(manifest)
    (tree / "made.txt").write_text("x")
    other = SnapshotStore(folder, LIMIT)
    assert store.unpack(manifest) == other.unpack(manifest) == tree
    store.release(manifest)
    store.release(manifest)
    assert (other.unpack(manifest) / "made.txt").exists()
    other.close()
    assert not (store.unpack(manifest) / "made.txt").exists()


def test_times_follow_from_content(store: SnapshotStore) -> None:
    """The same in every tree and at any time, in the past, and not when it differs."""
    one = store.unpack(send(store, CODE))
    two = store.unpack(send(store, CODE | {"bin/run": "#!/bin/ksh"}))
    assert (one / "pkg/a.py").stat().st_mtime == (two / "pkg/copy.py").stat().st_mtime
    assert (one / "bin/run").stat().st_mtime != (two / "bin/run").stat().st_mtime
    assert (one / "bin/run").stat().st_mtime < 1_300_000_000


def test_compiled_modules_are_used_again(store: SnapshotStore) -> None:
    """Python takes the .pyc of the first run in the second, as its time fits."""
    manifest = send(store, {"mod.py": "x = 1\n"})
    command = [sys.executable, "-v", "-c", "import mod"]
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("PYTHONPYCACHEPREFIX", None)
    said = []
    for _ in range(2):
        tree = store.unpack(manifest)
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(f"matches {tree}/mod.py" in done.stderr)
        store.release(manifest)
    assert said == [False, True]


def test_a_full_disk_is_said_and_leaves_nothing_half(
    store: SnapshotStore, folder: Path
) -> None:
    """While receiving and while unpacking; with room again it goes on."""
    code = {"big.bin": "x" * 50_000, "small.py": "x"}
    manifest = manifest_of(code)
    digests = store.missing(manifest)
    big = next(d for d in digests if manifest.contents()[d] == 50_000)
    with file_size_limit(20_000):
        assert not store.add(big, b"x" * 20_000, 0, 50_000)
        with pytest.raises(SnapshotStoreError, match="disk is full"):
            store.add(big, b"x" * 30_000, 20_000, 50_000)
    assert files_in(folder / "blobs") == files_in(folder / "incoming") == []
    send(store, code)
    with (
        file_size_limit(20_000),
        pytest.raises(SnapshotStoreError, match="Free room there"),
    ):
        store.unpack(manifest)
    assert list((folder / "trees").iterdir()) == []
    assert list((folder / "building").iterdir()) == []
    assert read(store.unpack(manifest)) == code


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """With its path, the system's reason and what to do."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SnapshotStoreError, match="Not a directory") as error:
        SnapshotStore(tmp_path / "file" / "store", LIMIT)
    assert "local disk" in str(error.value)


def test_the_least_recently_used_goes_first(folder: Path) -> None:
    """Room is made for the next snapshot, out of what nobody uses."""
    store = SnapshotStore(folder, 5_000)
    codes = [{"a": str(number) * 1_000} for number in range(3)]
    for code, age in zip(codes[:2], (500, 100), strict=True):
        manifest = send(store, code)
        store.unpack(manifest)
        store.release(manifest)
        for path in (folder / "claims" / key_of(manifest), *blobs(folder, manifest)):
            os.utime(path, (1e9 - age, 1e9 - age))
    last = send(store, codes[2])
    store.unpack(last)
    assert [store.missing(manifest_of(code)) == [] for code in codes[1:]] == [True] * 2
    assert len(list((folder / "trees").iterdir())) == 2
    store.close()


def blobs(folder: Path, manifest: Manifest) -> list[Path]:
    return [folder / "blobs" / d[:2] / d for d in manifest.contents()]


def test_what_is_in_use_is_never_dropped(folder: Path) -> None:
    """Used here, used elsewhere, or only asked for: the newcomer is refused instead."""
    here, there = SnapshotStore(folder, 5_000), SnapshotStore(folder, 5_000)
    used = send(here, {"a": "1" * 1_000})
    tree = here.unpack(used)
    asked = send(there, {"a": "2" * 1_000})
    third = manifest_of({"a": "3" * 1_000})
    with pytest.raises(SnapshotStoreError, match="needs 2000 more bytes"):
        SnapshotStore(folder, 4_000).missing(third)
    assert read(tree) == {"a": "1" * 1_000}
    assert read(there.unpack(asked)) == {"a": "2" * 1_000}
    there.close()
    assert here.missing(third)
    assert read(tree) == {"a": "1" * 1_000}
    here.close()


def test_what_was_only_asked_for_is_given_back(folder: Path) -> None:
    """After `abandon` another snapshot may have the room."""
    store = SnapshotStore(folder, 2_000)
    first = send(store, {"a": "1" * 1_000})
    second = manifest_of({"a": "2" * 1_000})
    with pytest.raises(SnapshotStoreError):
        store.missing(second)
    store.abandon(first)
    assert len(store.missing(second)) == 1
    store.close()


def test_eviction_is_decided_by_use_age_and_number() -> None:
    """Oldest first, of one age the tree, never what is in use; trees have a number."""
    tree = Stored("tree", "t", 10, 1.0)
    content = Stored("content", "c", 10, 1.0)
    young = Stored("tree", "y", 10, 2.0)
    everything = [young, content, tree]

    def dropped(left: int, trees: int = 9, used: tuple[Stored, ...] = ()) -> object:
        in_use = {(item.kind, item.key) for item in used}
        plan = plan_eviction(
            everything, in_use=in_use, left_bytes_max=left, trees_kept_max=trees
        )
        assert plan.left_bytes == 30 - 10 * len(plan.dropped)
        return plan.dropped

    assert dropped(30) == ()
    assert dropped(29) == (tree,)
    assert dropped(10) == (tree, content)
    assert dropped(10, used=(tree,)) == (content, young)
    assert dropped(0, used=(tree, content, young)) == ()
    assert dropped(30, trees=1) == (tree,)
    assert dropped(30, trees=0) == (tree, young)


def test_threads_of_one_worker_share_a_store(store: SnapshotStore) -> None:
    """Several runs at once, each with its snapshot, in the threads of one process."""
    failed: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for turn in range(4):
                code = CODE | {"n.py": str((number + turn) % 3)}
                manifest = send(store, code)
                assert read(store.unpack(manifest)) == code
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


SNAPSHOTS = 6
# With two thirds of the files in common, six snapshots take 8.7 times the size of one,
# and the three that three workers use at most 4.7 times.
STORE_SIZES = 5

# A worker process: uses each snapshot in turn, in a store that is too small to keep
# them all, and checks the tree that it gets.
WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_snapshot_store import code_of, read, send, SNAPSHOTS, SnapshotStore
store = SnapshotStore(Path(sys.argv[2]), int(sys.argv[3]))
for turn in range(int(sys.argv[4])):
    code = code_of((turn + int(sys.argv[5])) % SNAPSHOTS)
    manifest = send(store, code)
    tree = store.unpack(manifest)
    assert read(tree) == code, "not the snapshot"
    store.release(manifest)
print("done")
"""


def code_of(number: int) -> Code:
    """Sixty files of which a third is another for each number."""
    return {
        f"d{n % 7}/m{n}.py": f"x = {n}, {number if n % 3 == 0 else 0}\n" * 50
        for n in range(60)
    }


def start_worker(folder: Path, limit: int, turns: int, first: int) -> subprocess.Popen:
    here = str(Path(__file__).parent)
    arguments = [here, str(folder), str(limit), str(turns), str(first)]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_share_a_store_while_it_evicts(folder: Path) -> None:
    """Whatever the others receive, unpack and drop, each gets whole trees."""
    size = manifest_of(code_of(1)).size_bytes
    workers = [
        start_worker(folder, STORE_SIZES * size, 12, first) for first in range(3)
    ]
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    assert said == ["done\n"] * 3
    assert files_in(folder / "incoming") == []
    assert len(list((folder / "trees").iterdir())) < SNAPSHOTS


def test_a_killed_worker_leaves_nothing_half_taken_for_whole(folder: Path) -> None:
    """Killed at any moment of its work; the next one goes on, and cleans up."""
    size = manifest_of(code_of(1)).size_bytes
    for number in range(6):
        before = set((folder / "trees").glob("*"))
        worker = start_worker(folder, STORE_SIZES * size, 10_000, number)
        caught = False
        while not caught and worker.poll() is None:
            if number % 3 == 0:
                caught = bool(files_in(folder / "incoming"))
            elif number % 3 == 1:
                caught = bool(files_in(folder / "building"))
            else:
                caught = not before.issuperset((folder / "trees").glob("*"))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert caught
        for tree in (folder / "trees").glob("*/project"):
            assert read(tree) in [code_of(n) for n in range(SNAPSHOTS)]
    last = SnapshotStore(folder, STORE_SIZES * size)
    for number in range(SNAPSHOTS):
        manifest = send(last, code_of(number))
        assert read(last.unpack(manifest)) == code_of(number)
        last.release(manifest)
    last.close()
    assert files_in(folder / "incoming") == files_in(folder / "building") == []
