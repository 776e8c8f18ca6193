"""What waits to be sent to one peer, bounded. Pure.

Raft sends again what matters: when there is too much, the oldest appends and heartbeats
go first, and the core is told that the peer is not to be reached.
"""

from __future__ import annotations

from collections import deque

from dtf_dask.ha.message_codec import MESSAGES_MAX, Packed
from dtf_dask.ha.raft.messages import MessageKind

_GO_FIRST = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT})


class Outbox:
    """A queue of packed messages.

    Examples
    --------
    >>> outbox = Outbox(messages_max=2, bytes_max=100)
    >>> [outbox.put(MessageKind.APPEND, b"abc") for _ in range(3)]
    [0, 0, 1]
    >>> outbox.take(5)
    [b'abc']
    """

    __slots__ = ("_bytes", "_bytes_max", "_messages_max", "_queue")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._queue: deque[tuple[MessageKind, Packed]] = deque()
        self._bytes = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def bytes_waiting(self) -> int:
        """How much waits."""
        return self._bytes

    def put(self, kind: MessageKind, packed: Packed) -> int:
        """Add one; how many had to be dropped for it."""
        self._queue.append((kind, packed))
        self._bytes += len(packed)
        dropped = 0
        # The newest stays, however large: it may be what ends the trouble.
        while len(self._queue) > 1 and (
            len(self._queue) > self._messages_max or self._bytes > self._bytes_max
        ):
            self._drop_one()
            dropped += 1
        return dropped

    def take(self, bytes_max: int) -> list[Packed]:
        """The oldest, up to a number of bytes; one at least, if there is any."""
        queue, size = self._queue, 0
        taken: list[Packed] = []
        while queue and len(taken) < MESSAGES_MAX:
            size += len(queue[0][1])
            if taken and size > bytes_max:
                break
            taken.append(queue.popleft()[1])
        self._bytes -= sum(map(len, taken))
        return taken

    def clear(self) -> int:
        """Drop all of them; how many."""
        dropped = len(self._queue)
        self._queue.clear()
        self._bytes = 0
        return dropped

    def _drop_one(self) -> None:
        at = next(
            (at for at, (kind, _) in enumerate(self._queue) if kind in _GO_FIRST), 0
        )
        if at == len(self._queue) - 1:
            at = 0
        self._bytes -= len(self._queue[at][1])
        del self._queue[at]
