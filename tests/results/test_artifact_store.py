"""Artifacts are kept once, whole, under the hash of their content."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dtf_dask.errors import ResultsCorruptError, ResultsUnavailableError, UsageError
from dtf_dask.runs.artifacts import GRACE_S, MEMORY_BYTES_MAX, ArtifactStore

CONTENT = b"content" * 1000


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store in a folder that does not exist yet, and one that is remote."""
    if request.param == "local":
        return ArtifactStore(tmp_path / "artifacts")
    return ArtifactStore(f"memory://{uuid.uuid4().hex}")


def put(store: ArtifactStore, content: bytes) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return store.put_file(file.name)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_content_comes_back_by_its_digest(store: ArtifactStore, tmp_path: Path) -> None:
    """Bytes and files with equal content have one digest, the SHA-256."""
    file = tmp_path / "file.bin"
    file.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert not store.exists(digest)
    assert put(store, CONTENT) == digest
    assert store.put_file(file) == digest
    assert store.exists(digest)
    assert digest in store.url(digest)
    with store.open(digest) as found:
        assert found.read() == CONTENT
    assert put(store, b"") != digest
    assert store.delete(digest)
    assert not store.delete(digest)
    with pytest.raises(ResultsUnavailableError, match="pruned"):
        store.open(digest)


def test_a_large_file_goes_by_the_disk(store: ArtifactStore, tmp_path: Path) -> None:
    """What does not fit in memory's share comes back all the same."""
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(MEMORY_BYTES_MAX + 17))
    with store.open(store.put_file(file)) as found:
        assert found.read() == file.read_bytes()


def test_damage_is_found_when_reading(tmp_path: Path) -> None:
    """What is read is what was put, or an error."""
    store = ArtifactStore(tmp_path)
    digest = put(store, CONTENT)
    path = Path(store.url(digest))
    path.write_bytes(CONTENT[:-1] + b"X")
    with pytest.raises(ResultsCorruptError, match="damaged"):
        store.open(digest)


def test_the_size_is_bounded(tmp_path: Path) -> None:
    """A file over the limit is refused and leaves nothing behind."""
    store = ArtifactStore(tmp_path / "artifacts", bytes_max=100)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 101)
    with pytest.raises(UsageError, match="limit of 100 bytes"):
        store.put_file(file)
    assert files_of(tmp_path / "artifacts") == []
    put(store, b"x" * 100)


def test_only_regular_files_are_artifacts(tmp_path: Path) -> None:
    """A folder, a pipe, a device and a missing file are refused, none waited for."""
    store = ArtifactStore(tmp_path / "artifacts")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(UsageError):
            store.put_file(path)


def test_a_digest_is_no_path(store: ArtifactStore) -> None:
    """Nothing but a SHA-256 reaches the file system."""
    for bad in ("../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        for use in (store.open, store.exists, store.delete, store.url):
            with pytest.raises(UsageError):
                use(bad)
    assert not store.delete_old("../x", 0.0)


def test_what_is_new_again_is_not_old(tmp_path: Path) -> None:
    """Deleting the old spares what was just put, first or again."""
    store = ArtifactStore(tmp_path)
    digest = put(store, CONTENT)
    now = time.time()
    assert not store.delete_old(digest, now)
    os.utime(store.url(digest), (0, 0))
    put(store, CONTENT)
    assert not store.delete_old(digest, now)
    assert store.delete_old(digest, now + 2 * GRACE_S)
    assert not store.exists(digest)


def _put_often(folder: str, seed: int) -> None:
    store = ArtifactStore(folder)
    for n in range(200):
        digest = put(store, b"%d" % (n % 20) * 5000)
        with store.open(digest) as found:
            assert len(found.read())
        assert seed >= 0


def test_writers_of_the_same_content_do_not_meet(tmp_path: Path) -> None:
    """Processes that put the same things at once leave each once, and whole."""
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_put_often, args=(str(tmp_path), n)) for n in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(files_of(tmp_path)) == 20


def test_a_folder_without_rights_is_said(
    open_folder: Path, without_rights: Callable[[], AbstractContextManager[None]]
) -> None:
    """A folder that cannot be written is the world's fault, with what to check."""
    store = ArtifactStore(open_folder / "artifacts")
    open_folder.chmod(0o555)
    with without_rights(), pytest.raises(ResultsUnavailableError, match="rights"):
        put(store, CONTENT)


def test_an_unknown_place_is_refused() -> None:
    """A URL that fsspec does not know is a mistake of the caller."""
    with pytest.raises(UsageError):
        ArtifactStore("nowhere://bucket")
