"""What became of a command, said as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple


class Code(IntEnum):
    """How it ended. Part of snapshots: numbers are never given a new meaning."""

    OK = 0
    CONFLICT = 1
    """It was not done: the record's revision is another, which is the value."""
    NO_SESSION = 2
    """It was not done now: the session has expired, was closed or never opened."""
    FORGOTTEN = 3
    """It is not done again: the client had said that it needs no answer any more."""
    REFUSED = 4
    """It was not done: a limit is reached, which the value says in words."""
    UNKNOWN = 5
    """Nobody can say whether it was done, or will be. Never in a log or snapshot."""
    NOT_DONE = 6
    """It was not done, nor will be: nobody took it up. Never in a log or snapshot."""


class Outcome(NamedTuple):
    """How one command ended; ``value`` is what msgpack can hold."""

    code: Code
    value: Any = None


UNKNOWN: Final = Outcome(Code.UNKNOWN)
"""The answer to who waited for a command that was proposed and not heard of again.

A command of a session may be sent again, by the same number: it is done once.
"""

NO_SESSION: Final = Outcome(Code.NO_SESSION)
FORGOTTEN: Final = Outcome(Code.FORGOTTEN)


def refused(reason: str) -> Outcome:
    """A command that meets a limit of the ledger."""
    return Outcome(Code.REFUSED, reason)


def not_done(reason: str) -> Outcome:
    """A command that no node took up: sent again, it may be done."""
    return Outcome(Code.NOT_DONE, reason)


class Unreadable(NamedTuple):
    """Bytes that this version of dtf cannot or must not interpret."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The state machine applies nothing more: it does not know what the log asks.

    ``index`` is that of the first entry that was not applied.
    """

    index: int
    reason: str
