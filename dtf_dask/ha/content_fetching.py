"""Contents that records refer to and this node lacks: fetched from who has them.

In the background, a few at a time, again and again until they are here or no record
refers to them any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dtf_dask.errors import DtfError
from dtf_dask.ha.content_holders import other_members
from dtf_dask.ha.ledger.references import Reference

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

_LOG = logging.getLogger(__name__)

_AT_ONCE = 2
_FETCHES_MAX = 6
"""At a time, whoever asks: peers answer a connection that asks for too much no more."""

_PAUSE_S, _PAUSE_MAX_S = 0.1, 15.0


class Fetching:
    """What a node lacks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.folder.contents
        self.missing: dict[Reference, None] = {}
        self._worker: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._turns = asyncio.Semaphore(_FETCHES_MAX)

    def look(self, references: Iterable[Reference]) -> None:
        """Records refer to these: fetch those that are not here."""
        found: list[Reference] = []
        for one in references:
            if self._store.size(one.digest) is None:
                found.append(one)
            else:
                # It may just be about to be removed: see `content_sweep`.
                self._store.touch(one.digest)
        if not found:
            return
        self.missing.update(dict.fromkeys(found))
        self._more.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._run())

    async def fetch(self, reference: Reference) -> str:
        """Get one now; why it cannot be had, empty if it is here."""
        node = self._node
        raft = node.raw.status()
        sources = other_members(raft.config, node.node, raft.lead)
        try:
            async with self._turns:
                if self._store.size(reference.digest) is None:
                    await asyncio.to_thread(self._store.check_room, reference.size)
                await node.network.fetch(*reference, sources)
        except (DtfError, OSError) as error:
            return str(error)
        return ""

    async def close(self) -> None:
        """End what is going on."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        turns = asyncio.Semaphore(_AT_ONCE)
        while self._left():
            self._more.clear()
            tried = [*self.missing]
            said = await asyncio.gather(*(self._one(turns, one) for one in tried))
            if not any(said):
                pause_s = _PAUSE_S
                continue
            _LOG.info(
                "node %d: %d contents are not here yet: %s",
                *(self._node.node, len(self._left()), next(filter(None, said))),
            )
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            try:
                await asyncio.wait_for(self._more.wait(), pause_s)
            except TimeoutError:
                pass

    async def _one(self, turns: asyncio.Semaphore, reference: Reference) -> str:
        async with turns:
            return await self.fetch(reference) if self._lacks(reference) else ""

    def _left(self) -> dict[Reference, None]:
        """Those that are still wanted."""
        self.missing = dict.fromkeys(filter(self._lacks, self.missing))
        return self.missing

    def _lacks(self, reference: Reference) -> bool:
        referred = reference in self._node.state.records.references.counts
        return referred and self._store.size(reference.digest) is None
