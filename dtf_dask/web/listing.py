"""Lists of records: filtered, sorted, and a page of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtf_dask.web.parameters import Choice, Parameter, Text, Whole

Row = Mapping[str, Any]

LIMIT_MAX = 500
OFFSET_MAX = 1_000_000
_LIMIT = Whole("limit", "How many at most.", 1, LIMIT_MAX, 100)
_OFFSET = Whole("offset", "How many to pass over.", 0, OFFSET_MAX, 0)
_QUERY = Text("q", "Only what holds this in one of its texts, in any case.")

PAGE: tuple[Parameter, ...] = (_LIMIT, _OFFSET)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list may be asked for.

    Parameters
    ----------
    sorts
        The fields by which it is sorted, the first if nothing is said; ``-`` before one
        is said for the other way.
    filters
        Fields that are texts, of which a value may be asked for.
    """

    sorts: Sequence[str]
    filters: Sequence[str] = ()

    def parameters(self) -> tuple[Parameter, ...]:
        """What may be said in the query."""
        choices = [word for name in self.sorts for word in (name, f"-{name}")]
        sort = Choice(
            "sort",
            "By which field; '-' before it turns the order.",
            choices,
            self.sorts[0],
        )
        filters = (Text(name, f"Only those of this {name}.") for name in self.filters)
        return (*PAGE, sort, _QUERY, *filters)

    def chosen(
        self,
        entries: Iterable[tuple[str, Row]],
        query: Mapping[str, Any],
        value: Callable[[str, Row, str], Any] = lambda key, row, name: row.get(name),
    ) -> list[tuple[str, Row]]:
        """All records that are asked for, in order, with their keys.

        Parameters
        ----------
        value
            What a record is sorted by, given its key and the name of the field.
        """
        for name in self.filters:
            if query[name]:
                entries = [one for one in entries if one[1].get(name) == query[name]]
        if query["q"]:
            part = query["q"].casefold()
            entries = [one for one in entries if _holds(one[1], part)]
        name = query["sort"].removeprefix("-")
        return sorted(
            entries,
            key=lambda one: _order(value(one[0], one[1], name)),
            reverse=query["sort"].startswith("-"),
        )


def paged(rows: Sequence[Any], total: int, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of what is sorted already; past the end there is nothing, and no error."""
    start = query["offset"]
    return page_of(rows[start : start + query["limit"]], total, query)


def page_of(
    items: Sequence[Any], total: int, query: Mapping[str, Any]
) -> dict[str, Any]:
    """A page that was cut by others."""
    return {
        "total": total,
        "offset": query["offset"],
        "limit": query["limit"],
        "items": list(items),
    }


def _holds(row: Row, part: str) -> bool:
    return any(
        isinstance(value, str) and part in value.casefold() for value in row.values()
    )


def _order(value: Any) -> tuple[int, Any]:
    """Numbers before texts, what is not there last, so that any two can be compared."""
    if value is None or isinstance(value, list | dict):
        return 2, 0
    if isinstance(value, str):
        return 1, value
    return 0, value
