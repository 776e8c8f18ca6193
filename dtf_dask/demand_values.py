"""What a demand compares a fact with, read by the fact's kind. Pure.

Each reader returns what `Comparison.value` holds, or raises ValueError with what was
expected; the parser adds where.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dtf_dask.demand_tokens import Token, What
from dtf_dask.facts import (
    DURATION_S_MAX,
    RESOURCE_MAX,
    SIZE_BYTES_MAX,
    Fact,
    Kind,
    is_text,
)
from dtf_dask.quantities import parse_duration, parse_size
from dtf_dask.versions import version_key

EXAMPLES = {
    Kind.TEXT: "'text'",
    Kind.NUMBER: "2",
    Kind.SIZE: "'16 GiB'",
    Kind.DURATION: "'5 min'",
    Kind.VERSION: "'3.12'",
    Kind.NAMES: "'name'",
    Kind.FLAG: "true",
}
_BARE_NUMBER = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?")


def read_value(fact: Fact, word: Token, unit: Token | None) -> Any:
    """The value that a word, with the unit behind it, means to a fact.

    Raises
    ------
    ValueError
        If it means nothing there.
    """
    return _READERS[fact.kind](fact, word, unit)


def _expected(fact: Fact, word: Token, unit: Token | None = None) -> ValueError:
    found = f"{word.text[:40]} {unit.text[:40]}" if unit else word.shown
    return ValueError(f"expected one such as {EXAMPLES[fact.kind]}, not {found}")


def _no_unit(unit: Token | None) -> None:
    if unit is not None:
        raise ValueError(f"{unit.shown} means nothing behind its value")


def _text(fact: Fact, word: Token, unit: Token | None) -> str:
    if word.what is not What.TEXT:
        raise _expected(fact, word)
    _no_unit(unit)
    if not is_text(word.text):
        raise ValueError(f"none is like {word.shown}: empty, long, blanks around it")
    return word.text.lower() if fact.lower else word.text


def _number(fact: Fact, word: Token, unit: Token | None) -> int | float:
    if word.what is not What.NUMBER:
        raise _expected(fact, word)
    _no_unit(unit)
    try:
        value = float(word.text)
    except ValueError:
        raise _expected(fact, word) from None
    if value > RESOURCE_MAX:
        raise ValueError(f"expected at most {RESOURCE_MAX}")
    return int(value) if value == int(value) else value


def _size(fact: Fact, word: Token, unit: Token | None) -> int:
    text = _quantity(fact, word, unit)
    try:
        size = parse_size(text)
    except ValueError:
        raise _expected(fact, word, unit) from None
    if size and _BARE_NUMBER.fullmatch(text):
        # Nobody means bytes, and "memory >= 16" would hold everywhere.
        raise ValueError(f"write its unit, such as '{text} GiB'")
    if size > SIZE_BYTES_MAX:
        raise ValueError("expected at most '1024 PiB'")
    return size


def _duration(fact: Fact, word: Token, unit: Token | None) -> float:
    try:
        seconds = parse_duration(_quantity(fact, word, unit))
    except ValueError:
        raise _expected(fact, word, unit) from None
    if seconds > DURATION_S_MAX:
        raise ValueError("expected at most '366 d'")
    return seconds


def _quantity(fact: Fact, word: Token, unit: Token | None) -> str:
    """A number with its unit: in quotes together, or one after the other."""
    if word.what not in (What.NUMBER, What.TEXT):
        raise _expected(fact, word)
    if unit is None:
        return word.text.strip()
    if word.what is What.TEXT:
        _no_unit(unit)
    return f"{word.text} {unit.text}"


def _version(fact: Fact, word: Token, unit: Token | None) -> Any:
    if word.what not in (What.NUMBER, What.TEXT):
        raise _expected(fact, word)
    if unit is not None:
        raise ValueError(f"write '{word.text}{unit.text}' in quotes")
    key = version_key(word.text)
    if key is None:
        raise _expected(fact, word)
    return key


def _flag(fact: Fact, word: Token, unit: Token | None) -> bool:
    if not word.is_("true", "false"):
        raise _expected(fact, word)
    _no_unit(unit)
    return word.text == "true"


_READERS: dict[Kind, Callable[[Fact, Token, Token | None], Any]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.SIZE: _size,
    Kind.DURATION: _duration,
    Kind.VERSION: _version,
    Kind.NAMES: _text,
    Kind.FLAG: _flag,
}
