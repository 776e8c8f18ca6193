"""A node's folder: its log, its snapshots, and the state that they come to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dtf_dask.errors import LedgerDamagedError, LedgerFolderError
from dtf_dask.ha.blobs import BlobStore
from dtf_dask.ha.files import DISK, Files, disk_error
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.state_machine import StateMachine, restored
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigState,
    HardState,
    NodeId,
    SnapshotPoint,
)
from dtf_dask.ha.snapshot_file import StoredSnapshot
from dtf_dask.ha.snapshots import SnapshotStore
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_index import LogIndex
from dtf_dask.ha.wal_opening import LogIdentity

_BEGUN = "begun"


@dataclass(slots=True)
class NodeFolder:
    """What was found in a folder; this process has its lock.

    Parameters
    ----------
    wal, snapshots, contents
        The log, the store of snapshots, and that of values too large for the log.
    newest
        The snapshot that ``state`` was made of; None for a node that waits to be added
        to a cluster.
    state
        The state machine as of ``newest``.
    notes
        What was mended on the way: a torn end cut off, a damaged snapshot passed over.
    """

    wal: Wal
    snapshots: SnapshotStore
    contents: BlobStore
    newest: StoredSnapshot | None
    state: StateMachine
    notes: tuple[str, ...] = ()

    @property
    def point(self) -> SnapshotPoint:
        """Where the state stands, with the configuration there."""
        return self.newest.point if self.newest else SnapshotPoint()


def node_exists(folder: str, files: Files = DISK) -> bool:
    """Whether a node was ever started in a folder."""
    return Wal.exists(_log(folder), files)


def forbid_new_start(folder: str, files: Files = DISK) -> None:
    """Note on the disk that a node runs in a folder: it begins anew there no more."""
    path = os.path.join(folder, _BEGUN)
    if _BEGUN in files.names(folder):
        return
    try:
        file = files.create(path)
        file.close()
        files.sync_folder(folder)
    except OSError as error:
        raise disk_error(error, path) from error


def check_new_start(folder: str, files: Files = DISK) -> None:
    """Refuse to make one of the first members where it has run already.

    Without its log it has forgotten for whom it voted and what it has acknowledged: as
    a voter it could have a majority undo what another one has committed.

    Raises
    ------
    LedgerFolderError
        It has; the message says what to do.
    """
    try:
        begun = _BEGUN in files.names(folder)
    except FileNotFoundError:
        return
    if begun:
        raise LedgerFolderError(
            f"{folder} has no log any more, and its node has voted: remove it from the"
            " cluster and add another with a new number (dtf ha remove, join, add), or"
            " restore a backup if most nodes are lost"
        )


def create_node(
    folder: str,
    identity: LogIdentity,
    voters: Sequence[NodeId],
    limits: WalLimits | None = None,
    files: Files = DISK,
) -> None:
    """Make a node that has not run yet.

    Parameters
    ----------
    folder
        Its own, and empty.
    identity
        The cluster, and which node of it.
    voters
        The first members of a new cluster, the same on each of them; none for a node
        that is to be added to a cluster that runs.

    Raises
    ------
    LedgerFolderError
        There is a node already, or it is in use.
    """
    if not voters:
        store = SnapshotStore(_snapshots(folder), identity.cluster, files=files)
        prepare = partial(_refuse_left, store, _snapshots(folder), None)
        Wal.create(_log(folder), identity, limits, files, prepare=prepare).close()
        return
    state = StateMachine()
    state.apply(1, b"")
    point = SnapshotPoint(1, 1, ConfigState(voters=tuple(sorted(voters))))
    place_state(folder, identity, point, state, limits, files)


def place_state(
    folder: str,
    identity: LogIdentity,
    point: SnapshotPoint,
    state: StateMachine,
    limits: WalLimits | None = None,
    files: Files = DISK,
) -> None:
    """Make a node that goes on from a state, as if all before it had been compacted.

    It is there as soon as its log is, which is made last and at once: a crash leaves
    the whole node, or none, and the same call makes it then.

    Raises
    ------
    LedgerFolderError
        There is a node already, it is in use, or something is left of another one.
    """
    store = SnapshotStore(_snapshots(folder), identity.cluster, files=files)

    def prepare() -> None:
        _refuse_left(store, _snapshots(folder), point)
        store.write(point, state.snapshot())

    # Its term too: what comes after must not be of an earlier one.
    hard = HardState(point.term, NO_NODE, point.index)
    start = LogIndex(hard, point, point.index + 1)
    Wal.create(
        _log(folder), identity, limits, files, start=start, prepare=prepare
    ).close()


def _refuse_left(
    store: SnapshotStore, folder: str, expected: SnapshotPoint | None
) -> None:
    """Without a log nobody knows what a node had promised whose snapshots are left."""
    own = (expected.index, expected.term) if expected else None
    if any(one != own for one in store.places()):
        raise LedgerFolderError(
            f"{folder} holds snapshots, and there is no log: a restore was not"
            " finished, or the log was lost; restore again from the same file, or take"
            " the folder away"
        )


def open_node(
    folder: str,
    identity: LogIdentity,
    limits: WalLimits | None = None,
    files: Files = DISK,
) -> NodeFolder:
    """What a node goes on from.

    Raises
    ------
    LedgerFolderError
        There is no node, it is another's, in use, or of an unknown format.
    LedgerDamagedError
        Something that must be there is missing, or does not check.
    """
    wal = Wal.open(_log(folder), identity, limits, files)
    try:
        return _opened(folder, identity, wal, files)
    except BaseException:
        wal.close()
        raise


def _opened(folder: str, identity: LogIdentity, wal: Wal, files: Files) -> NodeFolder:
    store = SnapshotStore(_snapshots(folder), identity.cluster, files=files)
    contents = BlobStore(contents_folder(folder), files=files)
    found = store.newest(wal.first_index, wal.point.index)
    notes = list(found.damaged)
    if wal.cut is not None:
        notes.append(
            f"{wal.cut.path}: {wal.cut.bytes_cut} bytes at its end, torn by a crash,"
            " were cut off"
        )
    if found.snapshot is None:
        return NodeFolder(wal, store, contents, None, StateMachine(), tuple(notes))
    state = restored(store.state(found.snapshot))
    if isinstance(state, Unreadable):
        raise LedgerFolderError(f"{found.snapshot.path}: {state.reason}")
    if state.index != found.snapshot.point.index:
        raise LedgerDamagedError(
            f"{found.snapshot.path} is of entry {found.snapshot.point.index} and holds"
            f" the state of entry {state.index}"
        )
    if _lacks(wal, found.snapshot.point):
        # It came from another node, which the log was not told before a crash.
        wal.append((), None, found.snapshot.point)
        wal.sync()
    return NodeFolder(wal, store, contents, found.snapshot, state, tuple(notes))


def _lacks(wal: Wal, point: SnapshotPoint) -> bool:
    """Whether a log does not go as far as a snapshot, or not to the same."""
    if point.index <= wal.point.index:
        return False
    return point.index > wal.last_index or wal.term(point.index) != point.term


def _log(folder: str) -> str:
    return os.path.join(folder, "log")


def _snapshots(folder: str) -> str:
    return os.path.join(folder, "snapshots")


def contents_folder(folder: str) -> str:
    """Where a node's contents are."""
    return os.path.join(folder, "contents")
