"""Reads of a node that must see all that was acknowledged before them.

All reads that come in a turn of the loop are one question to the leader. Its answer is
an index: once that is applied here, they see what they must.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Protocol

from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.ha.ledger.state_machine import StateMachine
from dtf_dask.ha.raft.messages import ReadState
from dtf_dask.ha.raft.outcomes import Outcome as Taken
from dtf_dask.ha.raft.raw_node import RawNode

WAITING_MAX = 100_000

ROUNDS_MAX = 1
"""That are asked for at a time: what comes meanwhile is asked for together."""


class Reader(Protocol):
    """The node that reads."""

    raw: RawNode
    state: StateMachine
    disk_full: str
    rng: Random

    def wake(self) -> None:
        """Have a turn soon."""


class _Round:
    """Reads that are asked for together."""

    __slots__ = ("asked_at", "read_index", "waiters")

    def __init__(self, waiters: list[asyncio.Future[bool]], asked_at: float) -> None:
        self.waiters = waiters
        self.asked_at = asked_at
        self.read_index = 0

    def answer(self, *, can_read: bool) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(can_read)


class Reads:
    """Who waits to read."""

    def __init__(self, node: Reader) -> None:
        self._node = node
        self._waiting: list[asyncio.Future[bool]] = []
        self._asked: dict[int, _Round] = {}
        self._confirmed: deque[_Round] = deque()
        # Never one of an earlier life of the node: an answer that was on its way when
        # it ended would say what was committed then.
        self._number = node.rng.getrandbits(40) << 20
        self._held = 0
        self.fresh_at = -math.inf
        """The state holds all that was acknowledged up to this time of `elapsed_s`."""

    @property
    def waiting(self) -> bool:
        """Whether some are to be asked for."""
        return bool(self._waiting) and len(self._asked) < ROUNDS_MAX

    async def point(self, timeout_s: float) -> bool:
        """Wait until the state holds all that was acknowledged before the call.

        False if that cannot be said now, or not in time: there is no leader, or too
        many reads wait.
        """
        if self._held >= WAITING_MAX:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        # A timer of its own: `asyncio.timeout` costs several times as much.
        timer = loop.call_later(timeout_s, _give_up, waiter)
        self._waiting.append(waiter)
        self._held += 1
        try:
            self._node.wake()
            return await waiter
        finally:
            self._held -= 1
            timer.cancel()

    def ask(self) -> None:
        """Ask for those that have gathered."""
        if not self.waiting:
            return
        waiters, self._waiting = self._waiting, []
        begun = _Round(waiters, elapsed_s())
        self._number += 1
        if self._node.raw.read_index(self._number) is Taken.DONE:
            self._asked[self._number] = begun
        else:
            begun.answer(can_read=False)

    def taken(self, states: Sequence[ReadState], refused: Sequence[int]) -> None:
        """What Raft answers."""
        for read_index, numbers in states:
            for number in numbers:
                found = self._asked.pop(number, None)
                if found is not None:
                    found.read_index = read_index
                    self._confirmed.append(found)
        for number in refused:
            found = self._asked.pop(number, None)
            if found is not None:
                found.answer(can_read=False)
        if self._confirmed:
            self.applied(self._node.state.index)
        if self._node.disk_full:
            self.refuse_unapplied()

    def applied(self, index: int) -> None:
        """The state is as of this entry."""
        confirmed = self._confirmed
        # Later rounds never have lower indexes.
        while confirmed and confirmed[0].read_index <= index:
            found = confirmed.popleft()
            self.fresh_at = max(self.fresh_at, found.asked_at)
            found.answer(can_read=True)

    def refuse_unapplied(self) -> None:
        """What they must see is not written here, and will not be before long."""
        while self._confirmed:
            self._confirmed.popleft().answer(can_read=False)

    def refuse_all(self) -> None:
        """Nothing can be read here any more."""
        rounds = [*self._asked.values(), *self._confirmed]
        rounds.append(_Round(self._waiting, 0.0))
        self._asked.clear()
        self._confirmed.clear()
        self._waiting = []
        for one in rounds:
            one.answer(can_read=False)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
