"""Tables of tasks as bytes, and back. Pure.

Columns of msgpack: each key once, with the rows' first and in their order; what a row
needs as numbers of keys; annotations once each, however many tasks share them. Nothing
is read but plain values, and each is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgpack

from dtf_dask.errors import ProtocolError, TaskRefusedError
from dtf_dask.submission.table import (
    TASKS_MAX,
    Key,
    Plain,
    Row,
    Table,
    fault,
    key_fault,
    plain_fault,
    shown,
)

VERSION = 1
TABLE_BYTES_MAX = 512 * 2**20
_MAGIC = "dtf-tasks"
_COLUMNS = 13
_KEYS_MAX = 2 * TASKS_MAX
_NOTHING: bytes = msgpack.packb({})


def encode_table(table: Table) -> bytes:
    """A table as bytes.

    Raises
    ------
    TaskRefusedError
        It is over a limit, or something in it cannot travel; says which task.
    """
    problem = fault(table)
    if problem:
        raise TaskRefusedError(f"the submission {problem}")
    numbers: dict[Key, int] = {row.key: at for at, row in enumerate(table.rows)}
    for key in _all_others(table):
        numbers.setdefault(key, len(numbers))
    if len(numbers) > _KEYS_MAX:
        raise TaskRefusedError(f"the submission names {len(numbers)} keys")
    for key in numbers:
        if why := key_fault(key):
            raise TaskRefusedError(f"the key {shown(key)} {why}")
    palette: dict[bytes, int] = {}
    painted = _painted(table.rows, palette)
    try:
        body: bytes = msgpack.packb(
            (
                _MAGIC,
                VERSION,
                table.client,
                table.seq,
                len(table.rows),
                list(numbers),
                [
                    sorted(numbers[need] for need in set(row.needs))
                    for row in table.rows
                ],
                list(table.functions),
                [row.payload for row in table.rows],
                [sorted(set(row.uses)) for row in table.rows],
                [at for at, row in enumerate(table.rows) if row.produces],
                (list(palette), painted),
                _numbered(table.wanted, numbers),
            )
        )
    except (ValueError, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise TaskRefusedError(f"the submission cannot be sent: {error}") from error
    if len(body) > TABLE_BYTES_MAX:
        raise TaskRefusedError(
            f"the submission is {len(body)} bytes; {TABLE_BYTES_MAX} are the most:"
            " submit less at once, or scatter what is large"
        )
    return body


def decode_table(body: bytes | bytearray | memoryview) -> Table:
    """What `encode_table` wrote. Keys that a row needs come in the order of the table.

    Raises
    ------
    ProtocolError
        It is something else, or over a limit.
    """
    if len(body) > TABLE_BYTES_MAX:
        raise ProtocolError(f"a submission of {len(body)} bytes")
    columns = _unpacked(body)
    if type(columns) is not tuple or len(columns) < 2 or columns[0] != _MAGIC:
        raise ProtocolError("this is no submission")
    if columns[1] != VERSION:
        raise ProtocolError(
            f"a submission of version {shown(columns[1])}, and this process reads"
            f" {VERSION}: run the same version of dtf on both"
        )
    if len(columns) != _COLUMNS:
        raise ProtocolError(f"a submission of {len(columns)} columns")
    _, _, client, seq, count, keys, needs, functions, payloads, *others = columns
    uses, produces, painted, wanted = others
    if type(client) is not str or type(seq) is not int or type(count) is not int:
        raise ProtocolError("a submission whose client or number is none")
    if not 0 <= count <= TASKS_MAX:
        raise ProtocolError(f"a submission of {count} tasks")
    found = _keys(keys, count)
    _list(payloads, "payloads", count)
    shared = _list(functions, "functions", None)
    if any(type(one) is not bytes for one in (*payloads, *shared)):
        raise ProtocolError("a submission with a payload that is no bytes")
    producing = set(_numbers(produces, count, "data"))
    annotations = _annotations(painted, count)
    rows = tuple(
        Row(
            found[at],
            tuple(found[one] for one in _numbers(need, len(found), "dependencies")),
            payload,
            _numbers(use, len(shared), "functions"),
            at in producing,
            annotation,
        )
        for at, (need, payload, use, annotation) in enumerate(
            zip(
                _list(needs, "dependencies", count),
                payloads,
                _list(uses, "functions", count),
                annotations,
                strict=True,
            )
        )
    )
    held = tuple(found[one] for one in _numbers(wanted, len(found), "wanted keys"))
    table = Table(client, seq, held, shared, rows)
    problem = fault(table)
    if problem:
        raise ProtocolError(f"the submission {problem}")
    return table


def _all_others(table: Table) -> Iterable[Key]:
    for row in table.rows:
        yield from row.needs
    yield from table.wanted


def _numbered(keys: Iterable[Key], numbers: Mapping[Key, int]) -> list[int]:
    return sorted({numbers[key] for key in keys})


def _painted(rows: Iterable[Row], palette: dict[bytes, int]) -> list[int]:
    """What is annotated for each row, as a number; most rows share one mapping."""
    painted: list[int] = []
    last: Mapping[str, Plain] | None = None
    number = 0
    for row in rows:
        if row.annotations is not last:
            last = row.annotations
            number = palette.setdefault(_packed_annotations(row), len(palette))
        painted.append(number)
    return painted


def _packed_annotations(row: Row) -> bytes:
    if not row.annotations:
        return _NOTHING
    for name, value in row.annotations.items():
        if why := plain_fault({name: value}):
            raise TaskRefusedError(
                f"the annotation {shown(name)} of task {shown(row.key)} {why}: only"
                " plain values travel"
            )
    if why := plain_fault(row.annotations):
        raise TaskRefusedError(f"what is annotated for task {shown(row.key)} {why}")
    try:
        packed: bytes = msgpack.packb(dict(row.annotations), default=_as_dict)
    except UnicodeEncodeError as error:
        raise TaskRefusedError(
            f"what is annotated for task {shown(row.key)} is no text: {error}"
        ) from error
    return packed


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _keys(keys: object, count: int) -> Sequence[Key]:
    """The column of keys: no two are equal, so that a number means one."""
    listed = _list(keys, "keys", None)
    if not count <= len(listed) <= _KEYS_MAX:
        raise ProtocolError(f"a submission of {count} tasks with {len(listed)} keys")
    for key in listed:
        if why := key_fault(key):
            raise ProtocolError(f"a submission whose key {shown(key)} {why}")
    if len(set(listed)) != len(listed):
        raise ProtocolError("a submission that names a key twice")
    return cast(Sequence[Key], listed)


def _annotations(column: object, count: int) -> list[Mapping[str, Plain]]:
    if type(column) is not tuple or len(column) != 2:
        raise ProtocolError("a submission whose annotations are none")
    colours: list[Mapping[str, Plain]] = []
    for packed in _list(column[0], "annotations", None):
        found = _unpacked(packed) if type(packed) is bytes else None
        if not isinstance(found, dict) or plain_fault(found):
            raise ProtocolError("a submission with annotations that are not plain")
        colours.append(found)
    painted = _numbers(column[1], len(colours), "annotations")
    _list(painted, "annotations", count)
    return [colours[one] for one in painted]


def _numbers(column: object, below: int, of: str) -> tuple[int, ...]:
    listed = _list(column, of, None)
    for one in listed:
        if type(one) is not int or not 0 <= one < below:
            raise ProtocolError(f"a submission whose {of} point at nothing")
    return cast("tuple[int, ...]", listed)


def _list(column: object, of: str, length: int | None) -> tuple[Any, ...]:
    if type(column) is not tuple or length not in (None, len(column)):
        raise ProtocolError(f"a submission whose {of} are no list of the right length")
    return column


def _unpacked(body: bytes | bytearray | memoryview) -> Any:
    try:
        return msgpack.unpackb(
            body,
            use_list=False,
            strict_map_key=True,
            max_ext_len=0,
            max_bin_len=TABLE_BYTES_MAX,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a submission that cannot be read: {error}") from error
