"""Reads that wait for their leader to be confirmed, in rounds of heartbeats. Pure.

A read sees every write that was acknowledged before it if the leader, after it was
asked, hears from a quorum that it still leads (ReadIndex; Raft thesis, §6.4). One round
of heartbeats confirms all reads that wait when it begins; and an answer to a round is
one to all earlier rounds too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dtf_dask.ha.raft.messages import NodeId


class ReadRound(NamedTuple):
    """Reads by who asked, and the commit index when the round began."""

    number: int
    read_index: int
    reads: dict[NodeId, list[int]]


class ReadRounds:
    """Reads of one leader in one term."""

    __slots__ = ("_answered", "_rounds", "count", "last_number", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[NodeId, list[int]] = {}
        self.count = 0
        self.last_number = 0
        self._rounds: deque[ReadRound] = deque()
        self._answered: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return len(self._rounds)

    def ask(self, node: NodeId, reads: list[int] | tuple[int, ...]) -> None:
        """``node`` wants to read; the next round confirms it."""
        self.waiting.setdefault(node, []).extend(reads)
        self.count += len(reads)

    def begin(self, read_index: int) -> ReadRound:
        """All that wait go into a round."""
        self.last_number += 1
        begun = ReadRound(self.last_number, read_index, self.waiting)
        self._rounds.append(begun)
        self.waiting = {}
        return begun

    def newest(self) -> int:
        """The number of the newest round that is not confirmed; 0 for none."""
        return self._rounds[-1].number if self._rounds else 0

    def answer(self, node: NodeId, number: int) -> None:
        """``node`` has answered this round, and so all before."""
        if number > self._answered.get(node, 0):
            self._answered[node] = min(number, self.last_number)

    def confirmed(
        self, won: Callable[[dict[NodeId, bool]], bool]
    ) -> Iterator[ReadRound]:
        """Rounds that a quorum has answered, oldest first; they are done then.

        Parameters
        ----------
        won
            Whether these nodes are a quorum.
        """
        while self._rounds:
            first = self._rounds[0]
            heard = {
                node: True
                for node, number in self._answered.items()
                if number >= first.number
            }
            if not won(heard):
                return
            self._rounds.popleft()
            self.count -= sum(len(reads) for reads in first.reads.values())
            yield first
