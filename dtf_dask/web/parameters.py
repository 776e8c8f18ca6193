"""What may be said in the query of a request: read within bounds, described. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dtf_dask.web.problem import refused

TEXT_CHARS_MAX = 4_000
"""Of one value: what stands in a URL is short."""
_DIGITS_MAX = 15


class Parameter(Protocol):
    """One of them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def words(self) -> str:
        """What it is for."""

    @property
    def required(self) -> bool:
        """Whether there is no answer without it."""

    @property
    def default(self) -> Any:
        """What stands for one that is not said."""

    def read(self, text: str) -> Any:
        """Its value; ValueError says what it must be."""

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    name: str
    words: str
    low: int
    high: int
    default: int
    required: bool = False

    def read(self, text: str) -> int:
        """See `Parameter`."""
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX:
            value = int(text)
            if self.low <= value <= self.high:
                return value
        raise ValueError(f"a whole number from {self.low} to {self.high}")

    def schema(self) -> dict[str, Any]:
        """See `Parameter`."""
        return {
            "type": "integer",
            "minimum": self.low,
            "maximum": self.high,
            "default": self.default,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """Any text up to a length."""

    name: str
    words: str
    required: bool = False
    chars_max: int = TEXT_CHARS_MAX
    default: str = ""

    def read(self, text: str) -> str:
        """See `Parameter`."""
        if not 0 < len(text) <= self.chars_max:
            raise ValueError(f"a text of 1 to {self.chars_max} characters")
        return text

    def schema(self) -> dict[str, Any]:
        """See `Parameter`."""
        return {"type": "string", "minLength": 1, "maxLength": self.chars_max}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    name: str
    words: str
    choices: Sequence[str]
    default: str = ""
    required: bool = False

    def read(self, text: str) -> str:
        """See `Parameter`."""
        if text not in self.choices:
            raise ValueError(f"one of {', '.join(self.choices)}")
        return text

    def schema(self) -> dict[str, Any]:
        """See `Parameter`."""
        found: dict[str, Any] = {"type": "string", "enum": list(self.choices)}
        if self.default:
            found["default"] = self.default
        return found


def read_query(
    known: Sequence[Parameter], said: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The values of a query, by name.

    Raises
    ------
    RefusedError
        Something is unknown, said twice, missing or not within its bounds.
    """
    names = {one.name: one for one in known}
    for name, values in said.items():
        if name not in names:
            there = ", ".join(names) or "none"
            raise refused(400, f"no parameter {name!r:.100} here: there are {there}")
        if len(values) != 1:
            raise refused(400, f"{name} is said {len(values)} times: say it once")
    found = {}
    for one in known:
        if one.name in said:
            text = said[one.name][0]
            try:
                found[one.name] = one.read(text)
            except ValueError as error:
                raise refused(400, f"{one.name}={text!r:.100}: say {error}") from None
        elif one.required:
            raise refused(400, f"{one.name} is missing: {one.words}")
        else:
            found[one.name] = one.default
    return found
