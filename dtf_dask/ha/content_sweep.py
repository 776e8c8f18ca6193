"""Contents that nothing refers to any more: removed, when nobody can count on them.

A node keeps what it has for `NodeOptions.content_keep_s` after it was last used: sent,
offered, asked for by a leader, or found to be referred to. A leader counts on what a
node says for half of that, so that a content that may yet be named is never removed.
Before it removes anything a node asks the leader how far the log goes, and applies all
of it; what it has of the log beyond that is looked through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from dtf_dask.errors import DtfError
from dtf_dask.ha.ledger.entries import decode_entry, references_of
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.raft.messages import EntryKind

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

_LOG = logging.getLogger(__name__)

_SWEEPS = 8  # in the time for which contents are kept
_READ_S = 10.0
_TAIL_BYTES_MAX = 2 * 2**20


class Sweep:
    """Removes contents of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.folder.contents
        self._task: asyncio.Task[None] | None = None
        self.removed = 0
        """How many were removed since the node started."""

    def start(self) -> None:
        """Look again and again from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End what is going on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._node.ended:
            await asyncio.sleep(self._node.options.content_keep_s / _SWEEPS)
            try:
                await self.sweep()
            except DtfError as error:
                _LOG.warning("node %d: %s", self._node.node, error)

    async def sweep(self) -> None:
        """Remove what is of no use now."""
        store = self._store
        parts = await asyncio.to_thread(store.parts)
        for digest in parts:
            if store.size(digest) is not None:
                # It came whole another way, and nobody goes on with the part.
                await asyncio.to_thread(store.remove_parts, digest)
        for digest in self._held():
            store.touch(digest)
        before = time.monotonic() - self._node.options.content_keep_s
        store.forget_uses(before)
        idle = {
            digest
            for digest in (*store.digests, *parts)
            if store.last_used(digest) < before and not store.is_received(digest)
        }
        if not idle or not await self._node.reads.point(_READ_S):
            return
        tail = self.unapplied()
        if tail is None:
            return
        held = self._held() | {one.digest for one in tail}
        for digest in sorted(idle - held):
            if store.last_used(digest) < before and not store.is_received(digest):
                store.take_out(digest)
                await asyncio.to_thread(store.remove, digest)
                self.removed += 1

    def unapplied(self) -> list[Reference] | None:
        """What the log names beyond the state; None if that is too much to look at."""
        node = self._node
        end = node.raw.core.log.last_index() + 1
        first = node.state.index + 1
        found: list[Reference] = []
        room = _TAIL_BYTES_MAX
        while first < end:
            entries = node.raw.core.log.slice(first, end, room) if room > 0 else None
            if not entries:
                return None
            for entry in entries:
                room -= len(entry.payload)
                if entry.kind is EntryKind.NORMAL:
                    decoded = decode_entry(entry.payload)
                    if isinstance(decoded, Unreadable):
                        return None
                    found += references_of(decoded)
            first = entries[-1].index + 1
        return found

    def _held(self) -> set[bytes]:
        """What records refer to, or did in the snapshots that are kept."""
        node = self._node
        held = {one.digest for one in node.state.records.references.counts}
        return held.union(*node.snapshots.holds)
