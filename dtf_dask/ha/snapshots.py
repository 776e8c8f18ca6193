"""Snapshots of a node's state on its disk: whole and checked, or not there.

A snapshot is a file (`snapshot_file`). It is written under another name, synced, and
renamed. The last few that are sound are kept, so that one that was damaged since can be
stood in for by an older one and the log.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.files import DISK, Files, OpenFile, disk_error, write_whole
from dtf_dask.ha.raft.messages import SnapshotPoint
from dtf_dask.ha.snapshot_file import (
    StoredSnapshot,
    checked_snapshot,
    content,
    head_of,
    state_of,
)
from dtf_dask.ha.wal_opening import REMEDY, TEMPORARY

_NAME = re.compile(r"(\d{20})-(\d{20})\.snapshot")


@dataclass(frozen=True, slots=True)
class SnapshotLimits:
    """How many snapshots are kept, and how large one may get."""

    kept: int = 2
    bytes_max: int = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Found:
    """The newest snapshot that can be used, and what was wrong with newer ones."""

    snapshot: StoredSnapshot | None
    damaged: tuple[str, ...] = ()


class SnapshotStore:
    """The snapshots in a folder. Used by one process: the one with the log's lock."""

    def __init__(
        self,
        folder: str,
        cluster: str,
        limits: SnapshotLimits | None = None,
        files: Files = DISK,
    ) -> None:
        self._folder = folder
        self._cluster = cluster
        self._limits = limits or SnapshotLimits()
        self._files = files
        self._known: dict[bytes, StoredSnapshot] = {}
        self._keeping = threading.Lock()
        try:
            files.make_folder(folder)
            self._remove(
                name
                for name in files.names(folder)
                if name.endswith(".snapshot" + TEMPORARY)
            )
        except OSError as error:
            raise disk_error(error, folder) from error

    def write(self, point: SnapshotPoint, state: Iterable[bytes]) -> StoredSnapshot:
        """Put a state on the disk; when this returns it is there.

        Raises
        ------
        DiskFullError
            There is no room, or the state is over the limit; nothing was changed.
        LedgerDiskError
            The disk failed; the snapshots that were there still are.
        """
        head = head_of(point, self._cluster)
        path = self._path(point)
        size, digest = self._put(path, content(head, state))
        return self._keep(StoredSnapshot(point, path, size, digest, len(head)))

    def adopt(self, path: str) -> StoredSnapshot:
        """Take in a file that came from another node, if it is a sound snapshot.

        Raises
        ------
        LedgerDamagedError
            It does not check, or is of another cluster; the file is left.
        """
        found = self._check(path)
        own = self._path(found.point)
        try:
            self._files.rename(path, own)
            self._files.sync_folder(self._folder)
        except OSError as error:
            raise disk_error(error, own) from error
        return self._keep(replace(found, path=own))

    def newest(self, reach: int, least: int = 0) -> Found:
        """The newest sound snapshot from which the log goes on.

        Parameters
        ----------
        reach
            The first index that the log holds: an older snapshot than the one before
            it cannot stand in.
        least
            The index of the snapshot that the log says there is.

        Raises
        ------
        LedgerDamagedError
            There is none, though there must be: the log does not start at 1.
        """
        damaged: list[str] = []
        for index, _, name in reversed(self._stored()):
            if index + 1 < reach:
                break
            try:
                found = self._check(os.path.join(self._folder, name))
            except LedgerDamagedError as error:
                damaged.append(str(error))
                continue
            return Found(self._know(found), tuple(damaged))
        if reach > 1:
            wrong = "; ".join(damaged) or "there is none"
            raise LedgerDamagedError(
                f"{self._folder} holds no sound snapshot that the log, which starts at"
                f" {reach}, goes on from ({wrong}); {REMEDY}"
            )
        if least and not damaged:
            damaged.append(f"{self._folder} lacks the snapshot at {least}")
        return Found(None, tuple(damaged))

    def state(self, snapshot: StoredSnapshot) -> Iterator[bytes]:
        """The state, in chunks. It was checked when it was found."""
        return state_of(snapshot, self._files)

    def size(self, digest: bytes) -> int | None:
        """How long the file with a digest is; None if it is not here."""
        known = self._known.get(digest)
        return None if known is None else known.size

    def read(self, digest: bytes, offset: int, length: int) -> bytes | None:
        """Some bytes of the file with a digest, for another node."""
        known = self._known.get(digest)
        if known is None:
            return None
        try:
            return self._files.read(known.path, offset, length)
        except FileNotFoundError:
            return None  # a newer one has taken its place meanwhile
        except OSError as error:
            raise LedgerDiskError(f"{known.path} cannot be read: {error}") from error

    def places(self) -> list[tuple[int, int]]:
        """Index and term of each, sound or not, the oldest first."""
        return [(index, term) for index, term, _ in self._stored()]

    def oldest_index(self) -> int:
        """The index of the oldest snapshot that is kept: the log is kept from there."""
        return min((index for index, _, _ in self._stored()), default=0)

    def _keep(self, snapshot: StoredSnapshot) -> StoredSnapshot:
        # One may be written here while another comes from a peer.
        with self._keeping:
            self._prune(snapshot.path)
            return self._know(snapshot)

    def _know(self, snapshot: StoredSnapshot) -> StoredSnapshot:
        kept = {index for index, _, _ in self._stored()}
        self._known = {
            digest: one
            for digest, one in self._known.items()
            if one.point.index in kept
        }
        self._known[snapshot.digest] = snapshot
        return snapshot

    def _put(self, path: str, content: Iterable[bytes]) -> tuple[int, bytes]:
        """Write a file, sync it, and give it its name."""
        size, whole = 0, hashlib.sha256()
        file: OpenFile | None = None
        try:
            file = self._files.create(path + TEMPORARY)
            for chunk in content:
                if size + len(chunk) > self._limits.bytes_max:
                    raise DiskFullError(
                        f"a snapshot over the limit of {self._limits.bytes_max} bytes"
                    )
                write_whole(file, size, chunk)
                whole.update(chunk)
                size += len(chunk)
            file.sync()
            self._files.rename(path + TEMPORARY, path)
            self._files.sync_folder(self._folder)
        except OSError as error:
            self._give_up(path)
            raise disk_error(error, path) from error
        except BaseException:
            self._give_up(path)
            raise
        finally:
            if file is not None:
                file.close()
        return size, whole.digest()

    def _give_up(self, path: str) -> None:
        try:
            self._remove([os.path.basename(path) + TEMPORARY])
        except OSError:
            pass  # the next start removes it

    def _check(self, path: str) -> StoredSnapshot:
        return checked_snapshot(path, self._cluster, self._files)

    def _stored(self) -> list[tuple[int, int, str]]:
        """Index, term and name of each, the oldest first."""
        try:
            names = self._files.names(self._folder)
        except OSError as error:
            raise disk_error(error, self._folder) from error
        found = (_NAME.fullmatch(name) for name in names)
        return sorted((int(m[1]), int(m[2]), m[0]) for m in found if m)

    def _prune(self, written: str) -> None:
        """Keep the last few: the one just written, and others if they are sound.

        They are read once more before any goes: a damaged one stands in for nothing,
        and must not be kept in the place of one that could.
        """
        names = [name for _, _, name in self._stored()]
        if len(names) <= self._limits.kept:
            return
        # Another thread may have put newer ones in its place already.
        kept = int(os.path.basename(written) in names)
        going: list[str] = []
        for name in reversed(names):
            path = os.path.join(self._folder, name)
            if path == written:
                continue
            if kept < self._limits.kept and self._sound(path):
                kept += 1
            else:
                going.append(name)
        try:
            self._remove(reversed(going))
        except OSError as error:
            raise disk_error(error, self._folder) from error

    def _sound(self, path: str) -> bool:
        try:
            self._check(path)
        except (LedgerDamagedError, LedgerDiskError, LedgerFolderError):
            return False
        return True

    def _remove(self, names: Iterable[str]) -> None:
        gone = False
        for name in names:
            self._files.remove(os.path.join(self._folder, name))
            gone = True
        if gone:
            self._files.sync_folder(self._folder)

    def _path(self, point: SnapshotPoint) -> str:
        name = f"{point.index:020d}-{point.term:020d}.snapshot"
        return os.path.join(self._folder, name)
