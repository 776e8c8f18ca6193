"""A submission as flat values: a table of tasks, whose insides nobody looks at. Pure.

What a client asks for is a row for each task: its key, the keys it needs, and a payload
that only the worker opens which runs it. Rows stand in the order in which they had
better run, so that the scheduler need not find one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

Key: TypeAlias = "str | bytes | int | float | tuple[Key, ...]"
Plain: TypeAlias = (
    "bool | int | float | str | bytes | tuple[Plain, ...] | Mapping[str, Plain] | None"
)

TASKS_MAX = 2_000_000
REFERENCES_MAX = 20_000_000
"""All dependencies of all tasks of one table."""
KEY_PARTS_MAX = 64
KEY_DEPTH_MAX = 8
KEY_BYTES_MAX = 4_096
PAYLOAD_BYTES_MAX = 64 * 2**20
ANNOTATION_BYTES_MAX = 64 * 1024
ANNOTATION_DEPTH_MAX = 16
CLIENT_LENGTH_MAX = 200
SEQ_MAX = 2**63 - 1
_INTEGER_BITS_MAX = 63
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Row:
    """One task.

    Parameters
    ----------
    needs
        Keys of what it takes: of other rows, or of tasks that the scheduler has.
    payload
        What the worker runs, as bytes.
    uses
        Numbers of the table's functions that the payload refers to.
    produces
        Whether it makes data out of nothing, which Dask schedules otherwise.
    annotations
        What was annotated, for this task.
    """

    key: Key
    needs: tuple[Key, ...]
    payload: bytes
    uses: tuple[int, ...]
    produces: bool
    annotations: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Table:
    """One submission: the ``seq``-th of a client, which counts them from 1.

    Parameters
    ----------
    wanted
        Keys of which the client holds futures.
    functions
        What payloads share, as bytes that only workers open, too.
    """

    client: str
    seq: int
    wanted: tuple[Key, ...]
    functions: tuple[bytes, ...]
    rows: tuple[Row, ...]


def shown(key: object) -> str:
    """A key for people, however long it is."""
    text = repr(key)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def key_fault(key: object) -> str:
    """Why something is no key; empty if it is one."""
    if type(key) is str and len(key) <= KEY_BYTES_MAX:
        return ""  # nearly all are
    parts = 0
    size = 0
    stack: list[tuple[object, int]] = [(key, 0)]
    while stack:
        part, depth = stack.pop()
        parts += 1
        if isinstance(part, tuple):
            if depth == KEY_DEPTH_MAX:
                return f"is nested deeper than {KEY_DEPTH_MAX}"
            if len(part) > KEY_PARTS_MAX:
                return f"has more than {KEY_PARTS_MAX} parts"
            stack.extend((one, depth + 1) for one in part)
        elif isinstance(part, str | bytes):
            size += len(part)
        elif isinstance(part, int):
            if part.bit_length() > _INTEGER_BITS_MAX:
                return f"has a number of more than {_INTEGER_BITS_MAX} bits"
        elif not isinstance(part, float):
            return f"has a part of type {type(part).__name__}"
        if parts > KEY_PARTS_MAX:
            return f"has more than {KEY_PARTS_MAX} parts"
        if size > KEY_BYTES_MAX:
            return f"is longer than {KEY_BYTES_MAX} bytes"
    return ""


def plain_fault(value: object) -> str:
    """Why a value is none that can travel as it is; empty if it can."""
    size = 0
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        part, depth = stack.pop()
        size += 8
        if isinstance(part, str | bytes):
            size += len(part)
        elif isinstance(part, bool | float) or part is None:
            pass
        elif isinstance(part, int):
            if part.bit_length() > _INTEGER_BITS_MAX:
                return f"has a number of more than {_INTEGER_BITS_MAX} bits"
        elif isinstance(part, tuple | Mapping):
            if depth == ANNOTATION_DEPTH_MAX:
                return f"is nested deeper than {ANNOTATION_DEPTH_MAX}"
            below = part
            if isinstance(part, Mapping):
                if not all(isinstance(name, str) for name in part):
                    return "has a name that is no text"
                size += sum(len(name) for name in part)
                below = tuple(part.values())
            stack.extend((one, depth + 1) for one in below)
        else:
            return f"has a part of type {type(part).__name__}"
        if size > ANNOTATION_BYTES_MAX:
            return f"is larger than {ANNOTATION_BYTES_MAX} bytes"
    return ""


def fault(table: Table) -> str:
    """Why a table makes no sense, in words that follow "the submission"; or empty."""
    if not 1 <= len(table.client) <= CLIENT_LENGTH_MAX:
        name = shown(table.client)
        return f"comes from a client without a name, or with too long a one: {name}"
    if not 1 <= table.seq <= SEQ_MAX:
        return f"has number {shown(table.seq)}: they count from 1"
    if len(table.rows) > TASKS_MAX:
        return f"has {len(table.rows)} tasks; {TASKS_MAX} are the most"
    references = sum(len(row.needs) for row in table.rows)
    if references > REFERENCES_MAX:
        return f"has {references} dependencies; {REFERENCES_MAX} are the most"
    for function in table.functions:
        if len(function) > PAYLOAD_BYTES_MAX:
            return (
                f"has a function of {len(function)} bytes, with what it refers to;"
                f" {PAYLOAD_BYTES_MAX} are the most: scatter what is so large"
            )
    seen: set[Key] = set()
    for row in table.rows:
        if row.key in seen:
            return f"has two tasks of the key {shown(row.key)}"
        seen.add(row.key)
        if any(not 0 <= one < len(table.functions) for one in row.uses):
            return f"has a task, {shown(row.key)}, of a function that is not there"
        if len(row.payload) > PAYLOAD_BYTES_MAX:
            return (
                f"has a task, {shown(row.key)}, of {len(row.payload)} bytes;"
                f" {PAYLOAD_BYTES_MAX} are the most: scatter what is so large, or have"
                " a task load it"
            )
    return _circle(table.rows)


def _circle(rows: Iterable[Row]) -> str:
    """Name a task that waits for itself, over others or not; empty if there is none."""
    rows = tuple(rows)
    own = {row.key for row in rows}
    if _is_sorted(rows, own):
        return ""
    open_needs: dict[Key, int] = {}
    waiting: dict[Key, list[Key]] = {}
    for row in rows:
        needs = [need for need in set(row.needs) if need in own]
        open_needs[row.key] = len(needs)
        for need in needs:
            waiting.setdefault(need, []).append(row.key)
    ready = [key for key, count in open_needs.items() if not count]
    while ready:
        key = ready.pop()
        del open_needs[key]
        for waits in waiting.pop(key, ()):
            open_needs[waits] -= 1
            if not open_needs[waits]:
                ready.append(waits)
    if not open_needs:
        return ""
    one = shown(next(iter(open_needs)))
    return f"has tasks that wait for each other, {one} among them"


def _is_sorted(rows: Iterable[Row], own: Set[Key]) -> bool:
    """Whether each row stands behind all that it needs: then none waits in a circle."""
    seen: set[Key] = set()
    for row in rows:
        for need in row.needs:
            if need not in seen and need in own:
                return False
        seen.add(row.key)
    return True
