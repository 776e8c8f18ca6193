"""What changed in the ledger and a process beside the node has not been told yet.

The history of the state machine is short, and a graph of a million tasks passes it
within a second. So what changes is taken out of it at once, and waits here for a
process that is slower: mostly as values that the ledger holds anyway.
"""

from __future__ import annotations

import asyncio
from collections import deque

from dtf_dask.ha.ledger.history import CHANGE_BYTES, Changes, Compacted
from dtf_dask.ha.ledger.references import value_bytes
from dtf_dask.ha.node import Node

BYTES_MAX = 512 * 2**20


class Backlog:
    """Changes of a namespace after an index, as `run` finds them.

    Parameters
    ----------
    node
        Whose state is followed.
    namespace, prefix
        Of which records.
    after
        What is known up to here.
    bytes_max
        How much may wait; `BYTES_MAX` if not given.
    by_entry
        Whether each answer holds what one entry changed, and ``upto`` is its index.
    """

    def __init__(
        self,
        node: Node,
        namespace: str,
        after: int,
        *,
        prefix: str = "",
        bytes_max: int | None = None,
        by_entry: bool = False,
    ) -> None:
        self.after = after
        """Up to here all is in here, or was taken."""
        self.lost = False
        """Whether it is too much, or gone: what is in here is of no use."""
        self._node = node
        self._namespace, self._prefix = namespace, prefix
        self._bytes_max = BYTES_MAX if bytes_max is None else bytes_max
        self._by_entry = by_entry
        self._waiting: deque[tuple[Changes, int]] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Take out of the history what comes, until it is too much."""
        node = self._node
        while not node.ended:
            state = node.state
            found = self._found()
            if isinstance(found, Compacted) or self._bytes > self._bytes_max:
                break
            self.after = found.upto
            if found.changes:
                size = sum(
                    CHANGE_BYTES + (value_bytes(one.value) if one.value else 0)
                    for one in found.changes
                )
                self._bytes += size
                if self._by_entry:
                    index = state.history.index_of(found.changes[-1])
                    found = found._replace(upto=index)
                self._waiting.append((found, size))
            self._moved.set()
            if self.after >= node.state.index:
                await node.change()
        self.lost = True
        self._moved.set()

    def _found(self) -> Changes | Compacted:
        state = self._node.state
        what = (self.after, self._namespace, self._prefix, state.index)
        if self._by_entry:
            return state.history.after(*what, limit=1)
        return state.history.after(*what)

    def take(self) -> Changes | None:
        """The next of them, if there are any."""
        if not self._waiting:
            return None
        found, size = self._waiting.popleft()
        self._bytes -= size
        return found

    async def move(self) -> None:
        """Wait until something may have come, or the node's role changed."""
        await self._moved.wait()
        self._moved.clear()
