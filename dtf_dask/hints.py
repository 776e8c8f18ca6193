"""How a message shows a wrong value, and which word it suggests instead. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

SHOWN_LENGTH_MAX = 80
_HINTS_MAX = 24


def nearest(word: object, known: Sequence[str]) -> str:
    """A hint that ends a message about an unknown word.

    Examples
    --------
    >>> nearest("timout", ("timeout", "tenant"))
    "; did you mean 'timeout'?"
    >>> nearest("x", ("timeout", "tenant"))
    '; known are timeout, tenant'
    """
    near = difflib.get_close_matches(str(word)[:SHOWN_LENGTH_MAX], known, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    more = ", ..." if len(known) > _HINTS_MAX else ""
    return f"; known are {', '.join(known[:_HINTS_MAX])}{more}"


def shown(value: object) -> str:
    """A value in a message, never longer than a line of it.

    Examples
    --------
    >>> shown("x"), shown(10**5000), len(shown("x" * 1000)) < 100
    ("'x'", 'a huge number', True)
    """
    if isinstance(value, str | bytes):
        value = value[: SHOWN_LENGTH_MAX + 1]
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than 4,300 digits
        return "a huge number"
    if len(text) > SHOWN_LENGTH_MAX:
        return f"{text[:SHOWN_LENGTH_MAX]}..."
    return text
