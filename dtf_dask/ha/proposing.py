"""Commands on their way into the log, and back to whoever waits for them. Pure.

All commands of one call go into one entry, and calls that come together share entries.
An entry is found again by its index and term: commands in one that another leader has
replaced are never answered as done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from dtf_dask.ha.ledger.entries import ENTRY_COMMANDS_MAX
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Outcome

ENTRY_BYTES = 256 * 2**10
"""Calls share an entry up to this size."""

WAITING_BYTES_MAX = 64 * 2**20
"""Of the commands that are not applied yet; more are refused."""

COMMAND_BYTES = 32
"""What a command counts for beside its bytes."""


_FENCED = "the term is over in which it was asked, or what came before was refused"


class Waiter(Protocol):
    """Who waits for the outcomes of a call."""

    def answer(self, outcomes: list[Outcome]) -> None:
        """One outcome for each command, in order."""

    def refuse(self, reason: str) -> None:
        """Nothing was done, and nothing will be."""


class Fence:
    """What calls have in common that go into the log in their order, in one term.

    Once one of them is refused, so are all that come after it: none is done without
    those before it.
    """

    __slots__ = ("broken", "term")

    def __init__(self, term: int) -> None:
        self.term = term
        self.broken = False


class Call(NamedTuple):
    """Commands that belong together, and who waits for them."""

    commands: Sequence[bytes]
    size: int
    waiter: Waiter
    fence: Fence | None = None


class _Placed(NamedTuple):
    """An entry of the log that holds the commands of some calls."""

    index: int  # type: ignore[assignment]  # that of a tuple is of no use here
    term: int
    calls: list[Call]


class Proposals:
    """Calls in the order in which they came: waiting, then placed in the log.

    Parameters
    ----------
    waiting_bytes_max
        How much is held before further calls are refused.
    """

    def __init__(self, waiting_bytes_max: int = WAITING_BYTES_MAX) -> None:
        self._waiting_bytes_max = waiting_bytes_max
        self._waiting: deque[Call] = deque()
        self._placed: deque[_Placed] = deque()
        self.held_bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether some are to be placed."""
        return bool(self._waiting)

    def add(
        self, commands: Sequence[bytes], waiter: Waiter, fence: Fence | None = None
    ) -> bool:
        """Take up a call; False if too much is held already."""
        size = sum(map(len, commands)) + COMMAND_BYTES * len(commands)
        if self.held_bytes and self.held_bytes + size > self._waiting_bytes_max:
            return False
        self.held_bytes += size
        self._waiting.append(Call(commands, size, waiter, fence))
        return True

    def take(self, term: int) -> list[Call]:
        """The calls that go into the next entry; none if none wait.

        Those of another term than the one in which they would be are refused.
        """
        taken: list[Call] = []
        room, count = ENTRY_BYTES, ENTRY_COMMANDS_MAX
        waiting = self._waiting
        while waiting:
            call = waiting[0]
            fence = call.fence
            if fence is not None and (fence.broken or fence.term != term):
                self.refuse([waiting.popleft()], _FENCED)
                continue
            room -= call.size
            count -= len(call.commands)
            if taken and (room < 0 or count < 0):
                break
            taken.append(waiting.popleft())
        return taken

    def place(self, index: int, term: int, calls: list[Call]) -> None:
        """They are in the log, at the end of it; what was there before is not."""
        while self._placed and self._placed[-1].index >= index:
            self._forget(self._placed.pop())
        self._placed.append(_Placed(index, term, calls))

    def refuse(self, calls: Sequence[Call], reason: str) -> None:
        """They could not be placed."""
        for call in calls:
            self.held_bytes -= call.size
            if call.fence is not None:
                call.fence.broken = True
            call.waiter.refuse(reason)

    def refuse_waiting(self, reason: str) -> None:
        """None of those that wait will be placed here."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.refuse(waiting, reason)

    def applied(self, index: int, term: int, outcomes: list[Outcome]) -> None:
        """An entry was applied: whose commands were in it is answered."""
        placed = self._placed
        while placed and placed[0].index <= index:
            entry = placed.popleft()
            if entry.index == index and entry.term == term:
                self._answer(entry, outcomes)
            else:
                self._forget(entry)

    def forget(self) -> None:
        """Nobody can say any more what becomes of those that were placed."""
        while self._placed:
            self._forget(self._placed.popleft())

    def _answer(self, entry: _Placed, outcomes: list[Outcome]) -> None:
        if len(entry.calls) == 1:
            call = entry.calls[0]
            self.held_bytes -= call.size
            call.waiter.answer(outcomes)
            return
        at = 0
        for call in entry.calls:
            end = at + len(call.commands)
            self.held_bytes -= call.size
            call.waiter.answer(outcomes[at:end])
            at = end

    def _forget(self, entry: _Placed) -> None:
        for call in entry.calls:
            self.held_bytes -= call.size
            call.waiter.answer([UNKNOWN] * len(call.commands))
