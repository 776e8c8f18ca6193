"""What outlives a scheduler, as bytes and plain values, is read as it was written."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.durable import inventory, operations
from dtf_dask.durable.inventory import Erred, Held, Inventory, Running, read_inventory
from dtf_dask.durable.operations import decode_operation, encode_operation
from dtf_dask.errors import ProtocolError, UsageError

KEYS = st.recursive(
    st.text(max_size=8).filter(str.isascii)
    | st.integers(-5, 2**40)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
GOOD: dict[int, tuple[Any, ...]] = {
    operations.TABLE: (b"table", {"fifo_timeout": 0.1}),
    operations.DESIRE: (("x", ("y", 0)),),
    operations.RELEASE: (("x",),),
    operations.CANCEL: (("x",), True, "cancelled"),
    operations.RETRY: (("x",),),
    operations.SCATTER: (("x", "y"), (8, 0)),
    operations.CLIENT_GONE: (),
    operations.RESTART: (),
    operations.ERRED: ("x", {"text": "no"}),
    operations.COUNTS: (("x",), (2,), (0,), (7,), (2**40,)),
    operations.VOID: (("x", ("y", 1)), 1.5e9),
    operations.KEEPS: (("x", ("y", 1)), (7, 2**40), 1.5e9),
}
BAD: dict[int, tuple[Any, ...]] = {
    operations.TABLE: ("no bytes", {}),
    operations.DESIRE: ("x",),
    operations.RELEASE: (),
    operations.CANCEL: (("x",), 1, "cancelled"),
    operations.RETRY: ((None,),),
    operations.SCATTER: (("x", "y"), (8,)),
    operations.CLIENT_GONE: ("x",),
    operations.RESTART: ("x",),
    operations.ERRED: ("x", "no"),
    operations.COUNTS: (("x",), (2,), (0,), (7,), (1, 2)),
    operations.VOID: (("x",), 1),
    operations.KEEPS: (("x",), (7, 8), 1.5e9),
}


@pytest.mark.parametrize("kind", operations.KINDS)
def test_operations_are_read_as_written(kind: int) -> None:
    """Each kind survives its travel, and is refused with a body that is not its own."""
    read = decode_operation(encode_operation(kind, "c-1", *GOOD[kind]))
    assert read == (kind, "c-1", GOOD[kind])
    with pytest.raises(UsageError):
        encode_operation(kind, "c-1", *BAD[kind])
    with pytest.raises(ProtocolError):
        decode_operation(msgpack.packb((kind, "c-1", *BAD[kind])))


@given(st.lists(KEYS, max_size=5).map(tuple))
def test_keys_survive(keys: tuple[Any, ...]) -> None:
    """A key is the same key afterwards, whatever it is made of."""
    assert decode_operation(encode_operation(operations.RELEASE, "c", keys)).body == (
        keys,
    )


@given(st.binary(max_size=60))
def test_no_bytes_do_harm(packed: bytes) -> None:
    """Whatever comes is an operation, or refused by name."""
    try:
        found = decode_operation(packed)
    except ProtocolError:
        return
    assert found.kind in operations.KINDS


def test_an_inventory_is_read_as_it_was_written() -> None:
    """After msgpack, whose lists were tuples, too."""
    said = Inventory(
        "worker-1",
        7,
        (Held(("x", 1), 8, "int", 5, 7), Held("y", 0, "NoneType", -1)),
        (
            Running("r", 7 << 32, 1.5, True),
            Running("g", 3, 0.5, False, ("G", 0), made=8),
        ),
        (Erred("e", 9, b"exception", b"traceback", "ValueError('x')", "line 1"),),
        ("y",),
        (Running("p", 4, 9.0, True),),
    )
    for use_list in (True, False):
        travelled = msgpack.unpackb(msgpack.packb(said.words()), use_list=use_list)
        assert read_inventory(travelled) == said


@pytest.mark.parametrize(
    "change",
    [
        {"version": inventory.VERSION + 1},
        {"term": -1},
        {"term": True},
        {"server_id": 3},
        {"memory": "x"},
        {"memory": [("x", 1)]},
        {"running": [("x", 1, "soon", False, ())]},
        {"running": [("x", inventory.NUMBER_MAX + 1, 0.0, False, ())]},
        {"running": [("x", 1, 0.0, False)]},
        {"running": [("x", 1, float("nan"), False, ())]},
        {"parting": [("x", 1, 0.0, False, (None,))]},
        {"actors": [None]},
        {"made": [[1], [], []]},
        {"made": [["x"], [], []], "memory": [("x", 8, "int", 1)]},
        {"made": [[]]},
        {"made": 3},
    ],
)
def test_an_inventory_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    """Each field is looked at."""
    words = {**Inventory("w", 0, (), (), ()).words(), **change}
    with pytest.raises(ProtocolError):
        read_inventory(words)
