"""How a table changes: from the rows there were to those there are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def ranges(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rising numbers as ranges, both ends included.

    Examples
    --------
    >>> [*ranges([1, 2, 3, 7, 9, 10])]
    [(1, 3), (7, 7), (9, 10)]
    """
    start = end = None
    for place in places:
        if end is not None and place == end + 1:
            end = place
            continue
        if start is not None and end is not None:
            yield start, end
        start = end = place
    if start is not None and end is not None:
        yield start, end


def order_of(value: Any) -> tuple[int, Any]:
    """So that any two values can be compared: numbers, then texts, then nothing.

    Examples
    --------
    >>> sorted([None, "b", 2, "A", True], key=order_of)
    [True, 2, 'A', 'b', None]
    """
    if value is None:
        return 2, 0
    if isinstance(value, int | float):
        return 0, value
    return 1, str(value).casefold()
