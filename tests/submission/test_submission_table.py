"""Tables of tasks: what is written is read again, and nothing else is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.errors import ProtocolError, TaskRefusedError
from dtf_dask.submission import table as limits
from dtf_dask.submission import table_codec
from dtf_dask.submission.table import Key, Row, Table, key_fault, plain_fault
from dtf_dask.submission.table_codec import decode_table, encode_table

_LEAVES = (
    st.text(max_size=8)
    | st.binary(max_size=8)
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
)
KEYS: st.SearchStrategy[Any] = st.recursive(
    _LEAVES, lambda below: st.lists(below, max_size=3).map(tuple), max_leaves=6
)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    _LEAVES | st.booleans() | st.none(),
    lambda below: (
        st.lists(below, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), below, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    keys: list[Key] = draw(st.lists(KEYS, min_size=1, max_size=8, unique=True))
    others: list[Key] = draw(st.lists(KEYS, max_size=3))
    notes = draw(st.lists(st.dictionaries(st.text(max_size=4), PLAIN, max_size=2)))
    rows = []
    for at, key in enumerate(keys):
        before = [*keys[:at], *(one for one in others if one not in keys)]
        needs = draw(st.lists(st.sampled_from(before), max_size=3)) if before else []
        rows.append(
            Row(
                key,
                tuple(needs),
                draw(st.binary(max_size=20)),
                tuple(sorted(draw(st.sets(st.integers(0, 2))))),
                draw(st.booleans()),
                draw(st.sampled_from(notes)) if notes else {},
            )
        )
    wanted = tuple(draw(st.lists(st.sampled_from(keys), max_size=3)))
    return Table(
        "Client-1",
        draw(st.integers(1, 2**63 - 1)),
        wanted,
        (b"f", b"", b"g"),
        tuple(rows),
    )


def as_sets(found: Table) -> tuple[Any, ...]:
    rows = [replace(row, needs=()) for row in found.rows]
    needs = [frozenset(row.needs) for row in found.rows]
    return found.client, found.seq, frozenset(found.wanted), rows, needs


@given(tables())
def test_what_is_written_is_read(table: Table) -> None:
    """Every value with its type, rows in their order; and again the same bytes."""
    body = encode_table(table)
    found = decode_table(body)
    assert as_sets(found) == as_sets(table)
    assert repr([row.key for row in found.rows]) == repr(
        [row.key for row in table.rows]
    )
    assert encode_table(found) == body


@given(tables(), st.data())
def test_damaged_bytes(table: Table, data: st.DataObject) -> None:
    """Cut off or changed anywhere: a table all the same, or a ProtocolError."""
    body = bytearray(encode_table(table))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    try:
        found = decode_table(bytes(body))
    except ProtocolError:
        return
    assert limits.fault(found) == ""


ROW = Row("a", (), b"x", (), False, {})
CIRCLE = (replace(ROW, needs=("b",)), replace(ROW, key="b", needs=("a",)))
TABLE = Table("Client-1", 1, ("a",), (), (ROW,))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (replace(TABLE, client=""), "a client without a name"),
        (replace(TABLE, client="x" * 201), "too long a one"),
        (replace(TABLE, rows=(replace(ROW, uses=(0,)),)), "function that is not there"),
        (replace(TABLE, seq=0), "has number 0"),
        (replace(TABLE, rows=(ROW, ROW)), "two tasks of the key 'a'"),
        (replace(TABLE, rows=(replace(ROW, needs=("a",)),)), "other, 'a'"),
        (replace(TABLE, rows=CIRCLE), "wait for each other"),
        (replace(TABLE, rows=(replace(ROW, key=None),)), "part of type NoneType"),
        (replace(TABLE, rows=(replace(ROW, key=2**63),)), "more than 63 bits"),
        (replace(TABLE, rows=(replace(ROW, key="x" * 5000),)), "than 4096 bytes"),
        (replace(TABLE, rows=(replace(ROW, key=("x",) * 65),)), "more than 64 parts"),
        (replace(TABLE, rows=(replace(ROW, key="\udc80"),)), "cannot be sent"),
        (replace(TABLE, wanted=([],)), "unhashable"),
        (
            replace(TABLE, rows=(replace(ROW, annotations={"dtf": object()}),)),
            "the annotation 'dtf' of task 'a' has a part of type object: only plain",
        ),
        (
            replace(TABLE, rows=(replace(ROW, annotations={"x": {1: 2}}),)),
            "has a name that is no text",
        ),
        (
            replace(TABLE, rows=(replace(ROW, annotations={"x": "y" * 70_000}),)),
            "is larger than 65536 bytes",
        ),
        (replace(TABLE, rows=(replace(ROW, annotations={"x": "\udc80"}),)), "no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent(table: Any, reason: str) -> None:
    """It is refused before it is sent, with the task named."""
    if reason == "unhashable":
        with pytest.raises(TypeError):
            encode_table(table)
        return
    with pytest.raises(TaskRefusedError) as caught:
        encode_table(table)
    assert reason in str(caught.value)


def test_limits_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many tasks or dependencies, too large a payload or table: each is said."""
    two = replace(TABLE, rows=(ROW, replace(ROW, key="b", needs=("a",))))
    body = encode_table(two)
    for module, name, reason in (
        (limits, "TASKS_MAX", "2 tasks; 1 are"),
        (limits, "PAYLOAD_BYTES_MAX", "scatter what is so large"),
        (limits, "REFERENCES_MAX", "dependencies"),
        (table_codec, "TABLE_BYTES_MAX", "bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 1 if name == "TASKS_MAX" else 0)
            with pytest.raises(TaskRefusedError, match=reason):
                encode_table(two)
            with pytest.raises(ProtocolError):
                decode_table(body)
    with monkeypatch.context() as patch:
        patch.setattr(table_codec, "TASKS_MAX", 1)
        with pytest.raises(ProtocolError, match="a submission of 2 tasks"):
            decode_table(body)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, "x", "this is no submission"),
        (1, 2, "of version 2, and this process reads 1"),
        (2, 5, "client or number"),
        (3, -1, "they count from 1"),
        (3, True, "client or number"),
        (4, 3, "3 tasks with 2 keys"),
        (4, -1, "a submission of -1 tasks"),
        (5, ["a", "a"], "names a key twice"),
        (5, ["a", None], "whose key None has a part of type NoneType"),
        (5, "ab", "keys are no list"),
        (6, [[2]], "dependencies point at nothing"),
        (6, [[True]], "dependencies point at nothing"),
        (6, [[0]], "wait for each other"),
        (6, [], "right length"),
        (7, ["text"], "a payload that is no bytes"),
        (7, 5, "functions are no list"),
        (7, [], "functions point at nothing"),
        (8, ["text"], "a payload that is no bytes"),
        (8, [], "right length"),
        (9, [[1]], "functions point at nothing"),
        (9, [], "right length"),
        (10, [1], "data point at nothing"),
        (11, [[], []], "annotations are no list"),
        (11, [[b"\x80"], [1]], "annotations point at nothing"),
        (11, [[b"\x01"], [0]], "annotations that are not plain"),
        (11, [[5], [0]], "annotations that are not plain"),
        (11, 5, "annotations are none"),
        (12, [9], "wanted keys point at nothing"),
    ],
)
def test_words_that_make_no_sense(column: int, value: object, reason: str) -> None:
    """Each column is checked, and nothing but a ProtocolError comes of it."""
    row = replace(ROW, needs=("b",), uses=(0,))
    table = Table("Client-1", 1, ("a",), (b"f",), (row,))
    columns = list(msgpack.unpackb(encode_table(table)))
    columns[column] = value
    with pytest.raises(ProtocolError) as caught:
        decode_table(msgpack.packb(columns))
    assert reason in str(caught.value)


def test_shared_annotations_travel_once() -> None:
    """A thousand tasks that ask the same do not say it a thousand times."""
    notes = {"dtf": {"hardware": "gpu.count >= 1 and gpu.memory >= '16 GiB'" * 20}}
    rows = tuple(Row(f"x-{at}", (), b"", (), False, notes) for at in range(1_000))
    assert len(encode_table(Table("c", 1, (), (), rows))) < 20_000


@given(KEYS)
def test_keys_of_dask_are_keys(key: Key) -> None:
    """Whatever may be a key of Dask and is not huge."""
    assert key_fault(key) == ""


def test_deep_values_are_refused() -> None:
    """Without recursion."""
    key: Any = "a"
    value: Any = "a"
    for _ in range(5_000):
        key, value = (key,), (value,)
    assert "nested deeper" in key_fault(key)
    assert "nested deeper" in plain_fault(value)
