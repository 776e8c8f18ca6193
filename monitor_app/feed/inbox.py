"""What the threads of the feed have heard, until the window takes it.

What is heard meanwhile of the same thing is merged: however long the window does not
look, the box holds no more than there is to be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dtf_dask.errors import ProtocolError
from dtf_dask.view.records import Record, formed, kind_of

LineState = Literal["none", "searching", "connecting", "live", "waiting", "refused"]


@dataclass(frozen=True, slots=True)
class Line:
    """How the connection stands.

    Parameters
    ----------
    state
        ``waiting``: it is tried again soon; ``refused``: somebody has to do something.
    place
        Whom it is to.
    why
        What is wrong, in words.
    token_asked
        Whether it wants to be told who asks.
    """

    state: LineState
    place: str = ""
    why: str = ""
    token_asked: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """To a question, by its number: a value, or why there is none."""

    number: int
    value: Any = None
    why: str = ""
    last: bool = True
    """Whether no more of it comes."""


@dataclass(slots=True)
class Batch:
    """What was heard since the box was emptied last.

    Parameters
    ----------
    whole
        All there was at first; None if nothing was told anew.
    put, gone
        What changed since, by key; nothing is in both.
    heard_at
        When the last of it was heard, by the clock of ages; None if nothing was.
    """

    whole: dict[str, Record] | None = None
    put: dict[str, Record] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    id: str = ""
    at: float = 0.0
    heard_at: float | None = None
    awake_at: float | None = None
    coordinators: Mapping[str, Any] | None = None
    line: Line | None = None
    notes: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def has_records(self) -> bool:
        """Whether anything is to be seen that was not."""
        return self.whole is not None or bool(self.put or self.gone)


class Inbox:
    """The box."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._batch = Batch()

    def take(self) -> Batch:
        """Empty it."""
        with self._mutex:
            batch, self._batch = self._batch, Batch()
        return batch

    def hear(self, told: Heard, now: float) -> None:
        """A snapshot or a change."""
        with self._mutex:
            batch = self._batch
            if told.whole is not None:
                batch.whole, batch.put, batch.gone = told.whole, {}, set()
            else:
                batch.put.update(told.put)
                batch.gone.difference_update(told.put)
                for key in told.gone:
                    batch.put.pop(key, None)
                    batch.gone.add(key)
            batch.id, batch.at, batch.heard_at = told.id, told.at, now
            batch.awake_at = now

    def awake(self, now: float) -> None:
        """Whoever is read says that he is there."""
        with self._mutex:
            self._batch.awake_at = now

    def stand(self, told: Mapping[str, Any]) -> None:
        """How the coordinators stand."""
        with self._mutex:
            self._batch.coordinators = told

    def line(self, line: Line) -> None:
        """How the connection stands."""
        with self._mutex:
            self._batch.line = line

    def note(self, words: str) -> None:
        """Something that somebody should read once."""
        with self._mutex:
            del self._batch.notes[:-20]
            self._batch.notes.append(words)

    def answer(self, answer: Answer) -> None:
        """To a question."""
        with self._mutex:
            self._batch.answers.append(answer)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one event told, read: see `Batch`.

    Parameters
    ----------
    odd
        How many records were not understood.
    """

    id: str
    at: float
    whole: dict[str, Record] | None
    put: dict[str, Record]
    gone: tuple[str, ...]
    odd: int = 0


def read_told(told: object) -> Heard:
    """A snapshot or a change, as JSON that was read.

    Of another version there may be kinds and fields that are not known here: those are
    left out, and what is missing has a default.

    Raises
    ------
    ProtocolError
        It is neither.
    """
    if not isinstance(told, Mapping):
        raise ProtocolError("what was told is no object")
    try:
        id, at = str(told["id"]), float(told["at"])
        records = told.get("records")
        found = told["put"] if records is None else records
        gone = tuple(map(str, told["gone"])) if records is None else ()
        read, odd = _read(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"no snapshot, and no change: {error!r:.200}") from None
    if records is None:
        return Heard(id, at, None, read, gone, odd)
    return Heard(id, at, read, {}, (), odd)


def _read(found: Mapping[str, Any]) -> tuple[dict[str, Record], int]:
    read, odd = {}, 0
    for key, fields in found.items():
        try:
            read[key] = formed(kind_of(key), fields)
        except ProtocolError:
            odd += 1
    return read, odd
