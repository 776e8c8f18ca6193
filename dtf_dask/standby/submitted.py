"""A submission as a scheduler takes it in: what is needed of a table. Pure.

Dask's own scheduler finds the same out of each graph; here it can be done in a thread,
once, before the submission's turn has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask.durable import operations
from dtf_dask.durable.operations import Operation
from dtf_dask.errors import ProtocolError
from dtf_dask.quantities import parse_duration
from dtf_dask.submission.table import Key, Plain, Row, Table, key_fault, shown
from dtf_dask.submission.table_codec import decode_table


@dataclass(frozen=True, slots=True)
class Submitted:
    """What is needed to have what a client wants.

    Parameters
    ----------
    rows
        Those that are needed, in their order, each with its place in the table.
    elsewhere
        What they need and the scheduler must have.
    """

    table: Table
    rows: tuple[tuple[int, Row], ...]
    elsewhere: frozenset[Key]
    submitting_task: Key | None
    fifo_timeout: float
    actors: frozenset[Key]
    code: tuple[tuple[Any, ...], ...]
    span: Mapping[str, Plain]


def submitted(table: Table, words: Mapping[str, Any]) -> Submitted:
    """A table with the words that came with it, as `encode_operation` says.

    Raises
    ------
    ProtocolError
        It makes no sense.
    """
    wrong = _words_wrong(words) or _annotations_wrong(table) or _order_wrong(table)
    if wrong:
        raise ProtocolError(f"the submission {wrong}")
    own = {row.key: row for row in table.rows}
    elsewhere: set[Key] = set()
    needed: set[Key] = set()
    stack = list(table.wanted)
    while stack:
        key = stack.pop()
        if key in needed:
            continue
        row = own.get(key)
        if row is None:
            elsewhere.add(key)
        else:
            needed.add(key)
            stack.extend(row.needs)
    actors = words.get("actors") or ()
    return Submitted(
        table,
        tuple((at, row) for at, row in enumerate(table.rows) if row.key in needed),
        frozenset(elsewhere),
        words.get("submitting_task"),
        parse_duration(words.get("fifo_timeout", 0.0)),
        frozenset(table.wanted if actors is True else actors),
        tuple(words.get("code") or ()),
        words.get("span") or {},
    )


def prepare(operation: Operation) -> Submitted | None:
    """Read what of an operation takes long; can be done in a thread.

    Raises
    ------
    ProtocolError
        A table that makes no sense.
    """
    if operation.kind != operations.TABLE:
        return None
    return submitted(decode_table(operation.body[0]), operation.body[1])


def possible(
    rows: tuple[tuple[int, Row], ...],
    lost: Iterable[Key],
    is_there: Callable[[Key], bool],
) -> tuple[tuple[int, Row], ...]:
    """Rows that do without what is lost, and without what cannot be made for that."""
    own = {row.key: row for _, row in rows}
    above: dict[Key, list[Key]] = {}
    for row in own.values():
        for need in row.needs:
            above.setdefault(need, []).append(row.key)
    stack = list(lost)
    while stack:
        for key in above.get(stack.pop(), ()):
            if own.pop(key, None) is not None and not is_there(key):
                stack.append(key)
    return tuple((at, row) for at, row in rows if row.key in own)


def _words_wrong(words: Mapping[str, Any]) -> str:
    actors = words.get("actors")
    if actors not in (None, True, False) and type(actors) is not tuple:
        return "has actors that are no keys"
    if not _is_duration(words.get("fifo_timeout", 0.0)):
        return "has a fifo_timeout that is no time"
    if why := key_fault(words.get("submitting_task") or ""):
        return f"comes of a task whose key {why}"
    for actor in actors if type(actors) is tuple else ():
        if why := key_fault(actor):
            return f"has an actor whose key {why}"
    code = words.get("code") or ()
    if type(code) is not tuple or not all(
        type(one) is tuple and tuple(map(type, one)) == (str, int, int, str)
        for one in code
    ):
        return "has code that is none"
    span = words.get("span") or {}
    if (
        not isinstance(span, Mapping)
        or type(span.get("collections") or ()) is not tuple
    ):
        return "has words on spans that are none"
    return ""


def _is_duration(value: object) -> bool:
    """Whether Dask reads it as one, too."""
    if isinstance(value, int | float):
        return value >= 0
    try:
        return isinstance(value, str) and parse_duration(value) >= 0
    except ValueError:
        return False


def _order_wrong(table: Table) -> str:
    places = {row.key: place for place, row in enumerate(table.rows)}
    for place, row in enumerate(table.rows):
        for need in row.needs:
            if places.get(need, -1) > place:
                return f"has {shown(row.key)} before {shown(need)}, which it needs"
    return ""


def _annotations_wrong(table: Table) -> str:
    """What Dask's scheduler would stumble over when it is too late."""
    seen: set[int] = set()
    for row in table.rows:
        if not row.annotations or id(row.annotations) in seen:
            continue
        seen.add(id(row.annotations))
        for name, value in row.annotations.items():
            if _ANNOTATIONS.get(name, _anything)(value):
                continue
            return f"has a task, {shown(row.key)}, with {name} {shown(value)}"
    return ""


def _anything(_: Plain) -> bool:
    return True


def _number(value: Plain) -> bool:
    return isinstance(value, int | float)


def _whole(value: Plain) -> bool:
    return isinstance(value, int)


def _amounts(value: Plain) -> bool:
    return isinstance(value, Mapping) and all(map(_number, value.values()))


def _names(value: Plain) -> bool:
    names = value if isinstance(value, tuple) else (value,)
    return all(isinstance(name, str) for name in names)


def _span(value: Plain) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(value.get(part), tuple) and value.get(part)
        for part in ("name", "ids")
    )


_ANNOTATIONS = {
    "workers": _names,
    "restrictions": _names,
    "resources": _amounts,
    "priority": _number,
    "retries": _whole,
    "span": _span,
}
