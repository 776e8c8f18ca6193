"""The folder of a snapshot store, shared by the workers of a host.

::

    lock              held while claims are made and things are dropped
    blobs/ab/DIGEST   contents
    incoming/         contents being received; locked by whoever receives them
    building/KEY/     trees being made
    trees/KEY/NAME/   whole trees: they come here by a rename
    claims/KEY        manifests; locked (shared) by every process that wants the tree
    uses/KEY          locked (shared) by every process that has the tree in use
    stripes/AB        held while a tree whose key starts so is made or put right
    trash/            being removed

All locks are of open files, so that nothing stale is left by ``kill -9``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

from dtf_dask.errors import ProtocolError
from dtf_dask.snapshot_manifest import MANIFEST_BYTES_MAX, Manifest
from dtf_dask.worker_plugins.file_lock import locked, open_lock, try_lock
from dtf_dask.worker_plugins.snapshot_space import Eviction, Stored, StoredKind
from dtf_dask.worker_plugins.snapshot_tree import remove, tree_bytes

_FOLDERS = (
    "blobs",
    "building",
    "claims",
    "incoming",
    "stripes",
    "trash",
    "trees",
    "uses",
)


def key_of(manifest: Manifest) -> str:
    """The name of a snapshot's files in the store.

    Half of the digest: 128 bits do not meet by chance, and a shorter path leaves tests
    room for the names of their sockets.
    """
    return manifest.digest[:32]


class StoreFolder:
    """Where things lie, and which of them are wanted by a living process."""

    def __init__(self, path: Path, lock_timeout_s: float) -> None:
        self.path = path
        self._lock_timeout_s = lock_timeout_s
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in _FOLDERS:
            (path / name).mkdir(exist_ok=True, mode=0o700)

    def content(self, digest: str) -> Path:
        return self.path / "blobs" / digest[:2] / digest

    def incoming(self, digest: str) -> Path:
        return self.path / "incoming" / f"{digest}.{uuid4().hex}"

    def building(self, key: str) -> Path:
        return self.path / "building" / key

    def tree(self, key: str) -> Path:
        return self.path / "trees" / key

    def claim(self, key: str) -> Path:
        return self.path / "claims" / key

    def use(self, key: str) -> Path:
        return self.path / "uses" / key

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other process from claiming and dropping."""
        return locked(self.path / "lock", self._lock_timeout_s)

    def tree_locked(self, key: str) -> AbstractContextManager[None]:
        """Keep every other process from making or putting right this tree."""
        return locked(self.path / "stripes" / key[:2], self._lock_timeout_s)

    def stored(self) -> Iterator[Stored]:
        """Everything that takes room."""
        for shard in _listed(self.path / "blobs"):
            for blob in _listed(Path(shard)):
                status = blob.stat(follow_symlinks=False)
                yield Stored("content", blob.name, status.st_size, status.st_mtime)
        for tree in _listed(self.path / "trees"):
            try:
                last_used_s = self.claim(tree.name).stat().st_mtime
            except FileNotFoundError:
                last_used_s = 0.0
            yield Stored("tree", tree.name, tree_bytes(Path(tree)), last_used_s)

    def claimed_elsewhere(self, own: set[str]) -> Iterator[tuple[str, Manifest | None]]:
        """Snapshots that other processes want; forgets claims of the dead.

        To be called with the store locked: then nobody is about to lock a claim.
        """
        for entry in _listed(self.path / "claims"):
            if entry.name in own:
                continue
            with _opened(Path(entry)) as handle:
                if not try_lock(handle, exclusive=True):
                    yield entry.name, _manifest(handle)
                elif not self.tree(entry.name).exists():
                    Path(entry).unlink()

    def drop(self, eviction: Eviction) -> None:
        """Take away what was chosen; `sweep` frees the room of trees."""
        for item in eviction.dropped:
            if item.kind == "content":
                self.content(item.key).unlink(missing_ok=True)
            else:
                os.rename(
                    self.tree(item.key),
                    self.path / "trash" / f"{item.key}.{uuid4().hex}",
                )
                self.claim(item.key).unlink(missing_ok=True)
                self.use(item.key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove trash, and what processes left half made when they died."""
        for entry in _listed(self.path / "trash"):
            # Another process may be removing the same.
            shutil.rmtree(entry.path, ignore_errors=True)
        for entry in _listed(self.path / "incoming"):
            try:
                with _opened(Path(entry)) as handle:
                    if try_lock(handle, exclusive=True):
                        Path(entry).unlink(missing_ok=True)
            except FileNotFoundError:
                continue
        for entry in _listed(self.path / "building"):
            with _opened(self.path / "stripes" / entry.name[:2]) as handle:
                if try_lock(handle, exclusive=True):
                    remove(Path(entry))


def in_use(key: str, manifest: Manifest | None) -> set[tuple[StoredKind, str]]:
    """What of a store belongs to a snapshot that somebody wants."""
    used: set[tuple[StoredKind, str]] = {("tree", key)}
    if manifest is not None:
        used.update(("content", digest) for digest in manifest.contents())
    return used


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = open_lock(path)
    try:
        yield handle
    finally:
        os.close(handle)


def _manifest(handle: int) -> Manifest | None:
    try:
        return Manifest.from_bytes(os.pread(handle, MANIFEST_BYTES_MAX + 1, 0))
    except ProtocolError:
        return None
