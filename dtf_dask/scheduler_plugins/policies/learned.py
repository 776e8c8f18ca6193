"""What is learned, as rows that outlive a scheduler: checked and bounded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args

NAME_LENGTH_MAX = 1000
"""Nothing is learned of longer names."""

GROUP_LENGTH_MAX = 1000
NUMBERS_MAX = 100
THREADS_MAX = 1e9
MOMENT_MAX = 1e12

SECONDS_MAX = 1e7
"""Durations are clipped to this: a wild value must not break sums."""

ROWS_MAX = 100_000

Kind = Literal["runs", "similar", "class", "tenant"]
"""Durations of a task, a family of tests, a priority class; a tenant's threads."""

_MOST = {
    kind: THREADS_MAX if kind == "tenant" else SECONDS_MAX for kind in get_args(Kind)
}
_Subject = tuple[Kind, str, str]


class Row(NamedTuple):
    """What is remembered of one thing.

    Parameters
    ----------
    group
        The kind of machine; empty where it says nothing.
    used_at
        When it was last added to, in seconds of the epoch.
    """

    kind: Kind
    name: str
    group: str
    numbers: tuple[float, ...]
    used_at: float


class Note(Protocol):
    """Hears that one number more was learned, and how many of a thing are kept."""

    def __call__(
        self, kind: Kind, name: str, group: str, number: float, kept: int
    ) -> None: ...


def sensible(row: Any) -> Row | None:
    """A row that was stored, or None: it may be damaged, or somebody's joke.

    Examples
    --------
    >>> sensible(["runs", "train", "x86_64", [1.5], 0.0]).numbers
    (1.5,)
    >>> sensible(["runs", "train", "x86_64", [float("nan")], 0.0]) is None
    True
    """
    try:
        kind, name, group, numbers, used_at = row
    except (TypeError, ValueError):
        return None
    if not (
        isinstance(name, str)
        and isinstance(group, str)
        and isinstance(kind, str)
        and kind in _MOST
        and len(name) <= NAME_LENGTH_MAX
        and len(group) <= GROUP_LENGTH_MAX
        and isinstance(numbers, list | tuple)
        and 0 < len(numbers) <= NUMBERS_MAX
        and all(_is_number(number, _MOST[kind]) for number in numbers)
        and _is_number(used_at, MOMENT_MAX)
    ):
        return None
    return Row(
        cast(Kind, kind), name, group, tuple(map(float, numbers)), float(used_at)
    )


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) <= most


class Additions:
    """What was learned and is not kept yet: the last numbers of each thing.

    Parameters
    ----------
    rows_max
        Of how many things; beyond it that goes which was learned of first.
    """

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._rows: dict[_Subject, tuple[list[float], int]] = {}
        self.dropped = 0
        """Of how many things something was dropped."""

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, kind: Kind, name: str, group: str, number: float, kept: int) -> None:
        """One number more, of which the last so many are of use."""
        subject = (kind, name, group)
        row = self._rows.get(subject)
        if row is None:
            if len(group) > GROUP_LENGTH_MAX:
                return
            if len(self._rows) >= self._rows_max:
                del self._rows[next(iter(self._rows))]
                self.dropped += 1
            row = self._rows[subject] = ([], kept)
        numbers = row[0]
        numbers.append(number)
        if len(numbers) > kept:
            del numbers[0]

    def add(self, later: Additions) -> None:
        """What was learned after this."""
        self.dropped += later.dropped
        for (kind, name, group), (numbers, kept) in later._rows.items():
            for number in numbers:
                self.note(kind, name, group, number, kept)

    def first(self, count: int) -> list[tuple[Kind, str, str, Sequence[float], int]]:
        """Some of it: kind, name, group, numbers, how many numbers are of use."""
        return [
            (*subject, numbers, kept)
            for subject, (numbers, kept) in islice(self._rows.items(), count)
        ]

    def drop(self, count: int) -> None:
        """The first so many are kept elsewhere now."""
        for subject in list(islice(self._rows, count)):
            del self._rows[subject]
