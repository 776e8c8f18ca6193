"""What a field of a record may hold, and what is made of anything else. Pure.

Whoever writes a record may be of another version, or pass on what a worker said of
itself. So texts and lists are cut to their bounds, what is missing has a default, and
what is of another kind is refused.

Each node reads some hundred records a second. So what is as it should be, which is
nearly all, is known by one look; how odd something is, is found out afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from dtf_dask.hints import shown

Plain = Any
"""What JSON can hold: None, flags, finite numbers, texts, lists and maps of these."""

COUNT_MAX = 2**53
"""Beyond it, whole numbers are not whole for who reads JSON into floats."""


class Kept(Protocol):
    """How a field is read."""

    @property
    def default(self) -> Plain:
        """What stands for a field that is missing."""

    def read(self, value: object) -> Plain:
        """What is kept of it; ValueError if it is of another kind."""


@dataclass(frozen=True, slots=True)
class Text:
    """At most so many characters; the rest is cut, and lone surrogates are replaced."""

    chars_max: int = 200
    default: str = ""

    def read(self, value: object) -> str:
        """See `Kept`."""
        if type(value) is str and len(value) <= self.chars_max and value.isascii():
            return value
        if not isinstance(value, str):
            raise ValueError(f"{shown(value)} is no text")
        if len(value) > self.chars_max:
            value = value[: self.chars_max - 1] + "…"
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds."""

    low: float = 0.0
    high: float = float(COUNT_MAX)
    default: float = 0.0

    def read(self, value: object) -> float:
        """See `Kept`."""
        if type(value) is not float and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise ValueError(f"{shown(value)} is no number")
        if not self.low <= value <= self.high:  # as what is no finite number is not
            raise ValueError(f"{shown(value)} is not within its bounds")
        return value


@dataclass(frozen=True, slots=True)
class Whole:
    """How many."""

    low: int = 0
    high: int = COUNT_MAX
    default: int = 0

    def read(self, value: object) -> int:
        """See `Kept`."""
        if type(value) is not int and (
            isinstance(value, bool) or not isinstance(value, int)
        ):
            raise ValueError(f"{shown(value)} is no whole number")
        if not self.low <= value <= self.high:
            raise ValueError(f"{shown(value)} is not within its bounds")
        return value


@dataclass(frozen=True, slots=True)
class Maybe:
    """Something, or nothing."""

    inner: Kept
    default: None = None

    def read(self, value: object) -> Plain:
        """See `Kept`."""
        return None if value is None else self.inner.read(value)


@dataclass(frozen=True, slots=True)
class Many:
    """A list; what goes beyond the bound is left out."""

    inner: Kept
    count_max: int

    @property
    def default(self) -> list[Plain]:
        """See `Kept`."""
        return []

    def read(self, value: object) -> list[Plain]:
        """See `Kept`."""
        if not isinstance(value, list | tuple):
            raise ValueError(f"{shown(value)} is no list")
        read = self.inner.read
        return [read(one) for one in islice(value, self.count_max)]


@dataclass(frozen=True, slots=True)
class Named:
    """Values by name; what goes beyond the bound is left out."""

    inner: Kept
    count_max: int
    name: Text = Text(100)

    @property
    def default(self) -> dict[str, Plain]:
        """See `Kept`."""
        return {}

    def read(self, value: object) -> dict[str, Plain]:
        """See `Kept`."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{shown(value)} is no map")
        name, inner = self.name.read, self.inner.read
        return {
            name(key): inner(one) for key, one in islice(value.items(), self.count_max)
        }


@dataclass(frozen=True, slots=True)
class Value:
    """A text, a number or a flag, or a list of texts: a fact of a worker."""

    default: None = None
    text: Text = Text(200)
    number: Number = Number(-float(COUNT_MAX))

    def read(self, value: object) -> Plain:
        """See `Kept`."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, list | tuple):
            return [self.text.read(one) for one in islice(value, 50)]
        if isinstance(value, int | float):
            return self.number.read(value)
        return self.text.read(value)


@dataclass(frozen=True, slots=True)
class Shape:
    """A map of known fields: others are left out."""

    fields: Mapping[str, Kept]
    _reads: tuple[tuple[str, Callable[[object], Plain]], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        reads = tuple((name, kept.read) for name, kept in self.fields.items())
        object.__setattr__(self, "_reads", reads)

    @property
    def default(self) -> dict[str, Plain]:
        """See `Kept`."""
        return self.read({})

    def read(self, value: object) -> dict[str, Plain]:
        """See `Kept`."""
        if type(value) is not dict and not isinstance(value, Mapping):
            raise ValueError(f"{shown(value)} is no map")
        found = {}
        for name, read in self._reads:
            try:
                found[name] = read(value[name])
            except KeyError:
                found[name] = self.fields[name].default
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return found


def shape(*names: Iterable[str], **fields: Kept) -> Shape:
    """A shape of some fields that are texts, and others."""
    texts: dict[str, Kept] = {name: Text() for group in names for name in group}
    return Shape({**texts, **fields})
