"""What clients asked and were told, in a file and as the checker wants it.

Keys are used for some seconds each, so that the history of each is short enough to be
decided, and can be decided soon. All times are of one monotonic clock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from linearizability.models import Register
from linearizability.operation import Operation
from linearizability.search import NotLinearizable, Undecided, check

REFUSED = "refused"
"""The result of what was certainly not done."""


class Event(NamedTuple):
    """One operation: the fields of `Operation`, and the revision that was told.

    ``kind`` is that of a `Register`, or ``mark``: a record written once, and never
    again. ``returned`` is None if nobody knows whether it was done.
    """

    client: str
    kind: str
    key: str
    argument: Any
    result: Any
    called: float
    returned: float | None
    revision: int | None = None

    @property
    def operation(self) -> Operation:
        """As the checker has it."""
        argument = self.argument
        if isinstance(argument, list):
            argument = tuple(argument)
        rest = (argument, self.result, self.called, self.returned)
        return Operation(self.client, self.kind, self.key, *rest)


class Final(NamedTuple):
    """A record as it was at the end."""

    value: str
    revision: int


class HistoryFile:
    """Takes events to a file, a line each."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def add(self, event: Event) -> None:
        """Write one."""
        self._file.write(json.dumps(event) + "\n")

    def close(self) -> None:
        """All is in the file."""
        self._file.close()


def read_history(path: Path) -> Iterator[Event]:
    """What a file holds; a last line that is torn is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield Event(*json.loads(line))


@dataclass(slots=True)
class Found:
    """What a check came to.

    Parameters
    ----------
    keys
        How many registers were decided.
    undecided
        Those that took too long to decide.
    broken
        Rules that were broken, in words.
    """

    keys: int = 0
    undecided: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """What another check came to, too."""
        self.keys += other.keys
        self.undecided += other.undecided
        self.broken += other.broken


def check_registers(events: Iterable[Event], limit_s: float = 60.0) -> Found:
    """Whether what was seen of each register has an order that explains it."""
    found = Found()
    by_key: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind != "mark" and event.result != REFUSED:
            by_key[event.key].append(event)
    for key, own in by_key.items():
        found.broken += _revisions_wrong(key, own)
        operations = [event.operation for event in own]
        verdict = check(operations, Register(), limit_s=limit_s)
        if isinstance(verdict, NotLinearizable):
            found.broken.append(str(verdict))
        elif isinstance(verdict, Undecided):
            found.undecided.append(f"{key}: {verdict.reason}")
        else:
            found.keys += 1
    return found


def _revisions_wrong(key: str, events: Sequence[Event]) -> list[str]:
    """A value has one revision: another one means that it was written twice."""
    known: dict[str, int] = {}
    wrong = []
    for event in events:
        if event.returned is None or event.revision is None:
            continue
        value = event.result if event.kind == "read" else event.argument
        if event.kind == "cas":
            value = event.argument[1] if event.result else None
        if value is None:
            continue
        if known.setdefault(value, event.revision) != event.revision:
            wrong.append(
                f"key {key!r}: the value {value!r} has revision {known[value]}, and"
                f" {event.revision} in {event.operation}"
            )
    return wrong


def check_marks(events: Iterable[Event], final: Mapping[str, Final]) -> Found:
    """Whether all marks that were acknowledged are there, each written once."""
    found = Found()
    asked = set()
    for event in events:
        if event.kind != "mark":
            continue
        asked.add(event.key)
        there = final.get(event.key)
        if event.result == REFUSED:
            if there is not None:
                found.broken.append(f"refused, and there: {event.operation}")
        elif event.returned is None:
            continue
        elif there is None:
            found.broken.append(f"acknowledged, and lost: {event.operation}")
        elif there != (event.argument, event.revision):
            found.broken.append(
                f"acknowledged with revision {event.revision}, and at the end there is"
                f" {there}: {event.operation}"
            )
    found.broken += [
        f"there, and never asked for: mark {key!r}"
        for key in sorted(final.keys() - asked)
    ]
    return found


def check_all(
    events: Iterable[Event],
    registers: Mapping[str, Final],
    marks: Mapping[str, Final],
    ended: float,
    limit_s: float = 300.0,
) -> Found:
    """All that a history and what is there at its end must come to.

    Parameters
    ----------
    registers, marks
        The records at the end, read when all operations had ended.
    ended
        When that was.
    """
    known = list(events)
    keys = {event.key for event in known if event.kind != "mark"}
    found = check_marks(known, marks)
    for key in sorted(keys):
        value, revision = registers.get(key, (None, None))
        last = (value, ended, ended + 1.0, revision)
        known.append(Event("the end", "read", key, None, *last))
    found.add(check_registers(known, limit_s))
    strange = sorted(registers.keys() - keys)
    found.broken += [f"there, and never asked for: key {key!r}" for key in strange]
    return found
