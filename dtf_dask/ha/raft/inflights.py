"""The window of append messages that a peer has not acknowledged yet. Pure.

Limits the number of messages and their bytes. The byte limit is crossed by at most one
message: otherwise one that is larger than the limit could never be sent.
"""

from __future__ import annotations

from collections import deque


class Inflights:
    """Messages on their way to one peer, by the last index that each carries.

    Parameters
    ----------
    messages_max
        How many at most.
    bytes_max
        The window is full once this many bytes are in it; 0 for no limit.
    """

    __slots__ = ("bytes", "bytes_max", "messages_max", "sent")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.sent: deque[tuple[int, int]] = deque()  # last index, bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent before something is acknowledged."""
        return len(self.sent) >= self.messages_max or (0 < self.bytes_max <= self.bytes)

    def add(self, last_index: int, size: int) -> None:
        """A message up to ``last_index`` with ``size`` bytes was sent."""
        self.sent.append((last_index, size))
        self.bytes += size

    def acknowledge(self, index: int) -> None:
        """The peer has everything up to ``index``."""
        sent = self.sent
        while sent and sent[0][0] <= index:
            self.bytes -= sent.popleft()[1]

    def clear(self) -> None:
        """Nothing counts as on its way any more."""
        self.sent.clear()
        self.bytes = 0
