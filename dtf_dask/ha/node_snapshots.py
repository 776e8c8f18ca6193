"""Snapshots of a node: made when the log has grown, sent and fetched as files.

A snapshot in a message of Raft is only a name: digest and size of a file. Whoever is
offered one fetches the file beside the messages, and shows the message to the core when
it has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from dtf_dask.errors import DtfError
from dtf_dask.ha.disk import Compact, Write
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.state_machine import StateMachine, restored
from dtf_dask.ha.node_folder import NodeFolder
from dtf_dask.ha.raft.messages import Message, NodeId, Snapshot, SnapshotPoint
from dtf_dask.ha.raft.progress import PeerState
from dtf_dask.ha.snapshot_file import StoredSnapshot

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_LOG_BYTES = 4 * 2**20
_DIGEST_BYTES = 32


class Snapshots:
    """What a node does with snapshots."""

    def __init__(self, node: Node, folder: NodeFolder) -> None:
        self._node = node
        self._store = folder.snapshots
        self.newest = _named(folder.newest) if folder.newest else Snapshot()
        self.log_bytes = 0
        """Of payloads that were applied since the newest one, or that of a failure."""
        self.holds: deque[frozenset[bytes]] = deque([_referred(folder.state)], maxlen=2)
        """The contents to which records refer in the snapshots that are kept."""
        self._silent: dict[NodeId, int] = {}
        """For how many ticks peers have not answered to a snapshot."""
        self._making: asyncio.Task[None] | None = None
        self._made: Snapshot | None = None
        self._fetching: dict[NodeId, asyncio.Task[None]] = {}
        self._working: set[asyncio.Future[Any]] = set()
        """In threads, which nobody can cancel."""
        self._closing = False
        self.not_taken = ""
        """Why the last snapshot that was offered was not taken in; empty if it was."""
        self._fetched: dict[SnapshotPoint, tuple[StoredSnapshot, StateMachine]] = {}

    # Made here

    def applied(self) -> None:
        """Entries were applied: begin a snapshot if it is time."""
        if self.log_bytes >= self._node.options.snapshot_log_bytes:
            self.make()

    def make(self) -> asyncio.Task[None]:
        """Begin one, unless one is being made."""
        if self._making is None or self._making.done():
            self.log_bytes = 0
            self._making = self._begin(self._make())
        return self._making

    async def _make(self) -> None:
        node = self._node
        if node.raw.core.log.waits_for_snapshot():
            return  # the members are those of that one already, and the state is not
        config = node.raw.status().config
        frozen, holds = node.state.freeze(), _referred(node.state)
        point = SnapshotPoint(frozen.index, node.applied_term, config)
        if point.index <= self._newest_index():
            return
        try:
            chunks = self._until_closing(frozen.chunks())
            stored = await self._in_thread(self._store.write, point, chunks)
        except DtfError as error:
            if self._closing:
                return
            _LOG.warning("node %d: no snapshot could be made: %s", node.node, error)
            threshold = node.options.snapshot_log_bytes
            self.log_bytes = max(threshold - _RETRY_LOG_BYTES, threshold // 2)
            return
        if node.ended or point.index <= self._newest_index():
            return  # one of another node has come meanwhile
        self._made = _named(stored)
        self.holds.append(holds)
        node.disk.put(Write((), None, point, sync=True))

    def _until_closing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Called in a thread: a node that ends does not wait for all of it."""
        for chunk in chunks:
            if self._closing:
                raise DtfError("the node is stopping")
            yield chunk

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Have it done in a thread, and never leave before that has ended."""
        doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        self._working.add(doing)
        doing.add_done_callback(self._working.discard)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait((doing,))
            if not doing.cancelled():
                doing.exception()  # nobody waits for it any more
            raise

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """A node with a defect stops: nobody else would hear of it."""
        try:
            await work
        except Exception as error:
            _LOG.exception("node %d: a defect of dtf", self._node.node)
            self._node.fail(f"a defect of dtf: {error!r}")

    def _newest_index(self) -> int:
        """Of those that are here, are coming, or were damaged since."""
        coming = self._node.raw.core.log.unstable.snapshot
        wanted = coming.point.index if coming is not None else 0
        known = max(self.newest.point.index, self._node.folder.wal.point.index)
        return max(known, wanted)

    def written(self, point: SnapshotPoint) -> None:
        """The log says that there is this snapshot."""
        node = self._node
        fetched = self._fetched.pop(point, None)
        if fetched is not None:
            stored, node.state = fetched
            self.newest = _named(stored)
            self.holds.append(_referred(node.state))
            # Of a newer leader a later one may be on its way to the log already.
            for one in [one for one in self._fetched if one.index < point.index]:
                del self._fetched[one]
            node.applied_term = point.term
            self.log_bytes = 0
            node.storage.restored(self.newest)
            node.proposals.applied(point.index, -1, [])
            node.members_changed()
            node.contents.restored()
            node.reads.applied(point.index)
            node.notify()
        elif self._made is not None and self._made.point == point:
            self.newest, self._made = self._made, None
            node.storage.keep_snapshot(self.newest)
        # What is before the oldest one that is kept serves nobody.
        node.disk.put(Compact(self._store.oldest_index()))

    # Of others

    def tick(self) -> None:
        """Offer a snapshot again to peers that have not answered for a while.

        The offer may be lost, or the file not be had: Raft sends them nothing else
        until they answer. Who is fetching it takes no second offer.
        """
        raw, options = self._node.raw, self._node.options
        silent: dict[NodeId, int] = {}
        for peer, progress in raw.core.tracker.progress.items():
            if progress.state is PeerState.SNAPSHOT:
                silent[peer] = self._silent.get(peer, 0) + 1
        self._silent = silent
        for peer, ticks in silent.items():
            if ticks >= 2 * options.election_ticks:
                silent[peer] = 0
                raw.report_snapshot(peer, received=False)

    def offered(self, message: Message) -> None:
        """A leader has nothing older than a snapshot for this node."""
        named = _name_of(message)
        if named is None or message.snapshot is None:
            self._refuse(message.sender, "it has no name")
            return
        task = self._fetching.get(message.sender)
        if task is not None and not task.done():
            return  # it is on its way: see `tick`
        work = self._fetch(message, message.snapshot.point, *named)
        self._fetching[message.sender] = self._begin(work)

    async def _fetch(
        self, message: Message, point: SnapshotPoint, digest: bytes, size: int
    ) -> None:
        node = self._node
        try:
            if point.index > node.state.index and point not in self._fetched:
                self._fetched[point] = await self._taken_in(message, digest, size)
        except (DtfError, OSError) as error:
            self._refuse(message.sender, str(error))
            return
        self.not_taken = ""
        if node.ended:
            return
        node.step(message)
        if not node.raw.core.log.waits_for_snapshot():
            self._fetched.pop(point, None)  # it came too late
        node.wake()

    def _refuse(self, sender: NodeId, reason: str) -> None:
        self.not_taken = f"the snapshot of node {sender} was not fetched: {reason}"
        _LOG.warning("node %d: %s", self._node.node, self.not_taken)

    async def _taken_in(
        self, message: Message, digest: bytes, size: int
    ) -> tuple[StoredSnapshot, StateMachine]:
        network = self._node.network
        path = await network.fetch(digest, size, [message.sender])
        try:
            return await self._in_thread(self._adopted, path)
        finally:
            network.forget(digest)

    def _adopted(self, path: str) -> tuple[StoredSnapshot, StateMachine]:
        stored = self._store.adopt(path)
        state = restored(self._store.state(stored))
        if isinstance(state, Unreadable):
            raise DtfError(f"{stored.path}: {state.reason}")
        return stored, state

    def sent(self, peer: NodeId, *, received: bool) -> None:
        """A peer has fetched the file, or has given up."""
        self._node.raw.report_snapshot(peer, received=received)
        self._node.wake()

    def peer_lost(self, peer: NodeId) -> None:
        """The connection broke: what was on its way is not."""
        self._node.raw.report_snapshot(peer, received=False)
        task = self._fetching.pop(peer, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End what is going on: when this returns nothing is written any more."""
        self._closing = True
        tasks = [*self._fetching.values()]
        for task in tasks:
            task.cancel()
        if self._making is not None:
            tasks.append(self._making)
        await asyncio.gather(*tasks, *self._working, return_exceptions=True)


def _referred(state: StateMachine) -> frozenset[bytes]:
    return frozenset(one.digest for one in state.records.references.counts)


def _named(stored: StoredSnapshot) -> Snapshot:
    payload: bytes = msgpack.packb((stored.digest, stored.size))
    return Snapshot(stored.point, payload)


def _name_of(message: Message) -> tuple[bytes, int] | None:
    """Digest and size of the file; None if the message names none."""
    payload: Any = message.snapshot.payload if message.snapshot else b""
    try:
        digest, size = msgpack.unpackb(payload)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    sound = type(digest) is bytes and len(digest) == _DIGEST_BYTES
    return (digest, size) if sound and type(size) is int and size > 0 else None
