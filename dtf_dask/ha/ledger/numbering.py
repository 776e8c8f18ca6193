"""The client's side of a session: numbers, what is outstanding, what an answer means.

Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Code, Outcome
from dtf_dask.ha.ledger.sessions import OUTCOMES_MAX

_HEAD_NUMBER = 1
_OF_THIS_SENDING = (Code.NO_SESSION, Code.FORGOTTEN, Code.NOT_DONE)


class Numbered(NamedTuple):
    """A command to be sent, as often as it takes, until its outcome is there."""

    number: int
    packed: bytes


class Numbering:
    """Numbers the commands of one session and tells the ledger what it may forget.

    Parameters
    ----------
    session : str
        The session's id, as it was opened.
    outstanding_max : int
        How many commands may wait for outcomes; the ledger allows no more than
        `OUTCOMES_MAX` numbers between the lowest of them and the next.
    """

    def __init__(self, session: str, outstanding_max: int = OUTCOMES_MAX // 2) -> None:
        self.session = session
        self._outstanding_max = min(outstanding_max, OUTCOMES_MAX)
        self._next = _HEAD_NUMBER
        # Number -> whether it may have been done by a sending that was not answered.
        # In the order of numbers, since they are given in it: the first is the lowest.
        self._outstanding: dict[int, bool] = {}

    @property
    def full(self) -> bool:
        """Whether outcomes must come before another command can be numbered."""
        spread = self._next - self.done_below
        return spread >= self._outstanding_max

    @property
    def done_below(self) -> int:
        """All commands with lower numbers have their outcomes."""
        return next(iter(self._outstanding), self._next)

    def number(self, kind: int, *arguments: Any) -> Numbered:
        """A command with the next number; ask `full` before."""
        if self.full:
            raise ValueError(f"{self._outstanding_max} commands wait for outcomes")
        packed = encode_command(
            kind,
            *arguments,
            session=self.session,
            number=self._next,
            done_below=self.done_below,
        )
        numbered = Numbered(self._next, packed)
        self._outstanding[self._next] = False
        self._next += 1
        return numbered

    def unanswered(self, number: int) -> None:
        """A sending was not answered: the command may have been done, or will be."""
        if number in self._outstanding:
            self._outstanding[number] = True

    def settle(self, number: int, outcome: Outcome) -> Outcome:
        """What an outcome means for the command; it is not sent again.

        A session that has expired says nothing of an earlier sending of the command, so
        its outcome is then unknown. So it is if the caller gives up, with `UNKNOWN`, or
        with `NOT_DONE` where only the last sending is known not to have been taken up.
        """
        maybe_done = self._outstanding.pop(number, False)
        if maybe_done and outcome.code in _OF_THIS_SENDING:
            return UNKNOWN
        return outcome
