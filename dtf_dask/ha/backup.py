"""Backups of a ledger: written from a node's folder, checked, and made a node of again.

A backup is the file of a snapshot, with the contents that its records refer to behind
it (`backup_file`). A restore makes a cluster of one node: it is for the day
on which most nodes are lost for good, and whatever was acknowledged after the backup is
lost with them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from dtf_dask.errors import (
    DtfError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.backup_file import (
    backup_chunks,
    checked_backup,
    references_in_order,
)
from dtf_dask.ha.blobs import BlobStore
from dtf_dask.ha.files import DISK, file_error, write_whole
from dtf_dask.ha.ledger.outcomes import Stopped, Unreadable
from dtf_dask.ha.ledger.state_machine import StateMachine, restored
from dtf_dask.ha.node_folder import (
    NodeFolder,
    contents_folder,
    node_exists,
    open_node,
    place_state,
)
from dtf_dask.ha.raft.messages import ConfigState, EntryKind, SnapshotPoint
from dtf_dask.ha.snapshot_file import (
    StoredSnapshot,
    checked_snapshot,
    head_of,
    state_of,
)
from dtf_dask.ha.wal_opening import LogIdentity

_NAME = re.compile(r"\d{20}-\d{20}\.snapshot")
_PAGE_BYTES = 4 * 2**20
_TEMPORARY = ".tmp"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found sound: of a backup, or of a node's folder.

    Parameters
    ----------
    index, term
        Of the last entry that the state holds.
    state_hash
        Equal wherever as much was applied.
    notes
        What was mended or passed over on the way.
    """

    index: int
    term: int
    records_bytes: int
    sessions: int
    contents: int
    contents_bytes: int
    state_hash: str
    notes: tuple[str, ...] = ()


def back_up_stopped(folder: str, identity: LogIdentity, path: str) -> Checked:
    """Write all that a node which does not run knows to be committed.

    Raises
    ------
    LedgerFolderError
        The node runs, or that is no node's folder.
    LedgerDamagedError, LedgerDiskError, DiskFullError, ContentUnavailableError
        Something cannot be read or written; no file is left.
    """
    node = open_node(folder, identity)
    try:
        state, term = _caught_up(node)
        point = SnapshotPoint(state.index, term, node.point.config)
        _write(path, head_of(point, identity.cluster), state, node.contents)
        return _checked(state, term, node.notes)
    finally:
        node.wal.close()


def back_up_running(folder: str, cluster: str, path: str) -> Checked:
    """Copy the newest snapshot of a node that runs; have it make one before.

    Raises
    ------
    LedgerDamagedError, LedgerDiskError, DiskFullError, ContentUnavailableError
        As `back_up_stopped`.
    """
    newest = _newest(os.path.join(folder, "snapshots"))
    found = checked_snapshot(newest, cluster)
    state = _state(found)
    # The node keeps what its newest snapshot refers to.
    contents = BlobStore(contents_folder(folder))
    _write(path, head_of(found.point, cluster), state, contents)
    return _checked(state, found.point.term, ())


def check_backup(path: str, cluster: str) -> Checked:
    """Read all of a backup.

    Raises
    ------
    LedgerDamagedError
        It is not whole, or of another cluster.
    """
    found = checked_backup(path, cluster)
    return _checked(found.state, found.snapshot.point.term, ())


def check_stopped(folder: str, identity: LogIdentity) -> Checked:
    """Read and check all that a node which does not run has on its disk.

    Raises
    ------
    LedgerFolderError
        The node runs, or that is no node's folder.
    LedgerDamagedError
        Something is missing or does not check: it says where.
    """
    node = open_node(folder, identity)
    try:
        state, term = _caught_up(node)
        _read_rest(node)
        notes = (*node.notes, *_check_contents(state, node.contents))
        return _checked(state, term, notes)
    finally:
        node.wal.close()


def restore(path: str, folder: str, identity: LogIdentity) -> Checked:
    """Make a cluster of one node that goes on from a backup.

    Raises
    ------
    LedgerDamagedError
        The backup is not whole, or of another cluster.
    LedgerFolderError
        The folder holds a node's log already.
    """
    found = checked_backup(path, identity.cluster)
    if node_exists(folder):
        raise LedgerFolderError(f"{folder} holds a node's log already")
    store = BlobStore(contents_folder(folder))
    for reference in sorted(found.contents):
        store.receive(*reference, found.chunks(reference))
    point = found.snapshot.point
    point = replace(point, config=ConfigState(voters=(identity.node,)))
    place_state(folder, identity, point, found.state)
    return _checked(found.state, point.term, ())


def _caught_up(node: NodeFolder) -> tuple[StateMachine, int]:
    """The state with all entries applied that the log says are committed."""
    state, wal, term = node.state, node.wal, node.point.term
    while state.index < wal.state.commit:
        first = state.index + 1
        for entry in wal.entries(first, wal.state.commit + 1, _PAGE_BYTES):
            normal = entry.kind is EntryKind.NORMAL
            applied = state.apply(entry.index, entry.payload if normal else b"")
            if isinstance(applied, Stopped):
                raise LedgerFolderError(
                    f"entry {applied.index} cannot be applied: {applied.reason}"
                )
            term = entry.term
    return state, term


def _read_rest(node: NodeFolder) -> None:
    """Read the entries that may not be committed: they must check too."""
    wal = node.wal
    at = max(wal.first_index, wal.state.commit + 1)
    while at <= wal.last_index:
        at += len(wal.entries(at, wal.last_index + 1, _PAGE_BYTES))


def _check_contents(state: StateMachine, store: BlobStore) -> list[str]:
    """Read what records refer to; how much of it is not here yet."""
    references = references_in_order(state)
    here = [one for one in references if store.size(one.digest) is not None]
    for reference in here:
        if not store.check(reference.digest):
            raise LedgerDamagedError(
                f"{store.path(reference.digest)} does not check: a byte of it changed;"
                " delete it, and the node fetches it from another one"
            )
    lacking = len(references) - len(here)
    return [f"{lacking} contents have yet to be fetched"] if lacking else []


def _state(found: StoredSnapshot) -> StateMachine:
    state = restored(state_of(found))
    if isinstance(state, Unreadable):
        raise LedgerDamagedError(f"{found.path}: {state.reason}")
    return state


def _newest(folder: str) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))
    except OSError as error:
        raise LedgerDiskError(f"{folder} cannot be read: {error}") from error
    if not names:
        raise LedgerFolderError(f"{folder} holds no snapshot")
    return os.path.join(folder, names[-1])


def _write(path: str, head: bytes, state: StateMachine, contents: BlobStore) -> None:
    """The file, whole and on the disk, or none."""
    temporary = path + _TEMPORARY
    try:
        file = DISK.create(temporary)
        try:
            size = 0
            for chunk in backup_chunks(head, state, contents.read):
                write_whole(file, size, chunk)
                size += len(chunk)
            file.sync()
        finally:
            file.close()
        DISK.rename(temporary, path)
        DISK.sync_folder(os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        _remove(temporary)
        raise file_error(error, path) from error
    except DtfError:
        _remove(temporary)
        raise


def _remove(path: str) -> None:
    try:
        DISK.remove(path)
    except OSError:
        pass


def _checked(state: StateMachine, term: int, notes: tuple[str, ...]) -> Checked:
    return Checked(
        state.index,
        term,
        state.records.held_bytes,
        len(state.sessions.by_id),
        len(state.records.references.counts),
        sum(one.size for one in state.records.references.counts),
        state.state_hash(),
        notes,
    )
