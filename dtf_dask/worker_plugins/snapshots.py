"""A worker's store of code snapshots: receives contents, unpacks trees, stays small."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dtf_dask.errors import ProtocolError, SnapshotStoreError
from dtf_dask.snapshot_manifest import Manifest
from dtf_dask.worker_plugins.file_lock import open_lock, try_lock
from dtf_dask.worker_plugins.snapshot_folder import StoreFolder, in_use, key_of
from dtf_dask.worker_plugins.snapshot_incoming import Incoming
from dtf_dask.worker_plugins.snapshot_space import plan_eviction
from dtf_dask.worker_plugins.snapshot_tree import (
    remove,
    remove_foreign,
    write_all,
    write_tree,
)

TREES_KEPT_MAX = 8
LOCK_TIMEOUT_S = 300.0

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(slots=True)
class _Claim:
    """A snapshot that this process wants: its lock, and how often it is in use."""

    manifest: Manifest
    handle: int
    awaited: dict[str, int] = field(default_factory=dict)
    uses: int = 0
    use_handle: int | None = None


class SnapshotStore:
    """Contents and unpacked trees below ``folder``, at most ``limit_bytes`` of them.

    Any number of workers of a host may share the folder, and any of them may be killed
    at any time. A snapshot is never dropped while a process that asked for it with
    `missing` or `unpack` lives and has not released it.

    Parameters
    ----------
    folder
        On a local disk: its locks need `flock`.
    limit_bytes
        Bound of contents and trees together. What tests write into a tree counts when
        the next snapshot comes.
    trees_kept_max
        Unpacked trees kept beside those in use.

    Raises
    ------
    SnapshotStoreError
        Here and from every method: when the disk is full or rights are missing.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        *,
        trees_kept_max: int = TREES_KEPT_MAX,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._trees_kept_max = trees_kept_max
        self._claims: dict[str, _Claim] = {}
        # Taken before the folder's lock, never after it.
        self._mutex = threading.RLock()
        with _disk_errors(folder):
            self._folder = StoreFolder(Path(os.path.realpath(folder)), lock_timeout_s)
        self._incoming = Incoming(self._folder)

    def missing(self, manifest: Manifest) -> list[str]:
        """The digests that have to be sent before `unpack`; makes room for them.

        Raises
        ------
        SnapshotStoreError
            When the limit leaves no room beside what is in use.
        """
        key = key_of(manifest)
        with self._mutex, _disk_errors(self._folder.path):
            with self._folder.locked():
                claim = self._claim(manifest)
                claim.awaited = self._absent(manifest)
                needed = sum(claim.awaited.values())
                if not self._folder.tree(key).exists():
                    needed += manifest.size_bytes
                try:
                    if needed:
                        self._make_room(needed)
                except BaseException:
                    self._close_if_unused(key)
                    raise
            if needed:
                self._folder.sweep()
            return list(claim.awaited)

    def add(self, digest: str, chunk: bytes, offset: int, size_total: int) -> bool:
        """Take the next piece of a content that `missing` named; true at its end.

        Pieces come in order; one at offset 0 starts the content again.

        Raises
        ------
        ProtocolError
            When nobody asked for the content, a piece is out of order, or the whole
            does not have its digest.
        """
        if not (
            isinstance(digest, str)
            and _HEX_DIGEST.match(digest)
            and isinstance(chunk, bytes | bytearray | memoryview)
            and isinstance(offset, int)
            and offset >= 0
        ):
            raise ProtocolError("A piece of a content has another form.")
        with self._mutex, _disk_errors(self._folder.path):
            waiting = [c for c in self._claims.values() if digest in c.awaited]
            if not waiting:
                if self._folder.content(digest).exists():
                    return True  # sent twice
                raise ProtocolError(f"Nobody asked for the content {digest[:12]}.")
            size = waiting[0].awaited[digest]
            if size_total != size:
                raise ProtocolError(
                    f"The content {digest[:12]} is announced with {size_total!r} bytes "
                    f"and has {size} in its snapshot."
                )
            whole = self._incoming.take(digest, size, bytes(chunk), offset)
            if whole:
                for claim in waiting:
                    del claim.awaited[digest]
            return whole

    def unpack(self, manifest: Manifest) -> Path:
        """The folder that holds exactly these files; in use until `release`.

        It is shared: by the workers of this host, and by runs one after the other. When
        nobody else uses it, what an earlier run changed or left there is put right,
        ``__pycache__`` apart. Files are copies and may be written to.

        Raises
        ------
        SnapshotIncompleteError
            When contents are missing or damaged: ask `missing` again and send them.
        """
        key = key_of(manifest)
        with _disk_errors(self._folder.path):
            with self._mutex:
                with self._folder.locked():
                    claim = self._claim(manifest)
                claim.uses += 1
            try:
                with self._folder.tree_locked(key):
                    made = self._prepare(key, claim)
                if made:
                    with self._mutex, self._folder.locked():
                        self._drop_what_is_over(self._limit_bytes)
                    self._folder.sweep()
            except BaseException:
                self.release(manifest)
                raise
            return self._folder.tree(key) / manifest.name

    def release(self, manifest: Manifest) -> None:
        """Give back what one `unpack` has taken."""
        with self._mutex:
            claim = self._claims.get(key_of(manifest))
            if claim is not None:
                claim.uses = max(0, claim.uses - 1)
        self.abandon(manifest)

    def abandon(self, manifest: Manifest) -> None:
        """Give back what a `missing` has taken, when no `unpack` is to follow it."""
        with self._mutex:
            self._close_if_unused(key_of(manifest))

    def close(self) -> None:
        """Give back everything, as the end of the process would."""
        with self._mutex:
            self._incoming.close()
            for key, claim in list(self._claims.items()):
                claim.uses = 0
                self._close_if_unused(key)

    def _claim(self, manifest: Manifest) -> _Claim:
        """Want a snapshot; to be called with the store locked."""
        key = key_of(manifest)
        claim = self._claims.get(key)
        if claim is None:
            handle = open_lock(self._folder.claim(key))
            try:
                if not try_lock(handle, exclusive=False):
                    raise SnapshotStoreError(
                        f"{self._folder.claim(key)} is locked by something that is no "
                        "worker of dtf; give workers a folder of their own."
                    )
                encoded = manifest.to_bytes()
                if os.pread(handle, len(encoded) + 1, 0) != encoded:
                    os.ftruncate(handle, 0)
                    write_all(handle, encoded)
            except BaseException:
                os.close(handle)
                raise
            claim = self._claims[key] = _Claim(manifest, handle)
        os.utime(claim.handle)
        return claim

    def _close_if_unused(self, key: str) -> None:
        claim = self._claims.get(key)
        if claim is None or claim.uses > 0:
            return
        del self._claims[key]
        # Closed, not unlocked: children that were forked keep what they run in.
        os.close(claim.handle)
        if claim.use_handle is not None:
            os.close(claim.use_handle)

    def _absent(self, manifest: Manifest) -> dict[str, int]:
        absent = {}
        for digest, size in manifest.contents().items():
            try:
                status = os.stat(self._folder.content(digest), follow_symlinks=False)
            except FileNotFoundError:
                absent[digest] = size
                continue
            if status.st_size != size:  # cut short by a crash of the machine
                self._folder.content(digest).unlink()
                absent[digest] = size
        return absent

    def _prepare(self, key: str, claim: _Claim) -> bool:
        """Make the tree or put it right; true when it was made. The tree is locked."""
        root = self._folder.tree(key) / claim.manifest.name
        use = claim.use_handle
        if use is None:
            use = open_lock(self._folder.use(key))
        try:
            alone = claim.use_handle is None and try_lock(use, exclusive=True)
            made = not root.is_dir()
            if not made and alone:
                made = not self._put_right(root, claim.manifest)
            if made:
                self._make(key, claim.manifest)
            try_lock(use, exclusive=False)
        except BaseException:
            if claim.use_handle is None:
                os.close(use)
            raise
        claim.use_handle = use
        return made

    def _put_right(self, root: Path, manifest: Manifest) -> bool:
        """False when the tree cannot be put right and has to be made anew."""
        try:
            kept = remove_foreign(root, manifest)
            write_tree(root, manifest, self._folder.content, kept)
        except OSError as error:
            if error.errno in _FULL:
                raise
            return False
        return True

    def _make(self, key: str, manifest: Manifest) -> None:
        building = self._folder.building(key)
        remove(building)
        try:
            (building / manifest.name).mkdir(parents=True)
            write_tree(building / manifest.name, manifest, self._folder.content)
            for digest in manifest.contents():
                os.utime(self._folder.content(digest))
            remove(self._folder.tree(key))
            os.rename(building, self._folder.tree(key))
        except BaseException:
            remove(building)
            raise

    def _make_room(self, needed_bytes: int) -> None:
        left = self._drop_what_is_over(self._limit_bytes - needed_bytes)
        if left + needed_bytes > self._limit_bytes:
            raise SnapshotStoreError(
                f"The code snapshot needs {needed_bytes} more bytes in "
                f"{self._folder.path}, where {left} bytes are in use and "
                f"{self._limit_bytes} are allowed. Raise the limit of the worker's "
                "snapshot store, or send less with .gitignore."
            )

    def _drop_what_is_over(self, left_bytes_max: int) -> int:
        """Drop what is not in use; how many bytes stay. The store is locked."""
        used = set()
        for key, claim in self._claims.items():
            used |= in_use(key, claim.manifest)
        for key, manifest in self._folder.claimed_elsewhere(set(self._claims)):
            used |= in_use(key, manifest)
        eviction = plan_eviction(
            self._folder.stored(),
            in_use=used,
            left_bytes_max=left_bytes_max,
            trees_kept_max=self._trees_kept_max,
        )
        self._folder.drop(eviction)
        return eviction.left_bytes


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Tell of a disk in the words of whoever runs the worker."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            what = "The disk is full (or a quota or limit is reached)"
            advice = "Free room there, or give the worker a folder on another disk."
        else:
            what = f"It is not possible to write there ({error.strerror or error})"
            advice = "Give the worker a folder on a local disk that it may write to."
        raise SnapshotStoreError(
            f"The code snapshot cannot be kept in {os.fspath(folder)!r}. {what}. "
            f"{advice}"
        ) from error
