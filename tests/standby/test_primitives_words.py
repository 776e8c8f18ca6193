"""Records and requests: what is written is read again, and nothing else is."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.durable.requests import (
    CALLS,
    DONE_MAX,
    Again,
    Request,
    kind_of,
    read_request,
    request_words,
    with_time_left,
)
from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.standby import primitives_records as records
from dtf_dask.standby.primitives_records import (
    KINDS,
    batches,
    cut,
    decode_record,
    encode_record,
    joined,
    key_of_text,
    part_key,
    record_key,
)
from dtf_dask.standby.primitives_requests import QUIET_S_MAX, Requests

GOOD: dict[str, tuple[Any, ...]] = {
    "variable": ("v", ("Future", ("x", 0))),
    "queue": ("q", 3, 1),
    "queue-item": ("q", 7, ("msgpack", b"packed")),
    "event": (("e", 1),),
    "semaphore": ("s", 2, 30.0),
    "lease": ("s", "lease"),
    "multi-lock": ("user", ("a", "b")),
    "dataset": (("d", 1), ("x", ("y", 0)), b"packed"),
    "worker-plugin": ("w", 1, b"pickled"),
    "nanny-plugin": ("n", 2, b"pickled"),
    "scheduler-plugin": ("s", 3, b"pickled"),
    "metadata": (("a", 1), 4, b"packed"),
    "restrictions": ("x", ("tcp://a:1",)),
    "request": ("requester", 5, b"packed"),
}
WRONG: dict[str, tuple[Any, ...]] = {
    "variable": ("v", ("Future", None)),
    "queue": ("q", -1, 1),
    "queue-item": ("q", True, ("msgpack", b"")),
    "event": (None,),
    "semaphore": ("s", 2, 0.0),
    "lease": ("s", ["lease"]),
    "multi-lock": ("user", ("a", 1)),
    "dataset": ("d", "x", b""),
    "worker-plugin": ("w", 1, "text"),
    "nanny-plugin": (1, 1, b""),
    "scheduler-plugin": ("s", None, b""),
    "metadata": ("a", 4, b""),
    "restrictions": ("x", (1,)),
    "request": ("requester", "5", b""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_read_as_it_was_written(kind: str) -> None:
    """Each kind has an example, is found by its key, and refuses what it is not."""
    key, value = encode_record(kind, *GOOD[kind])
    assert key == record_key(kind, *GOOD[kind][: KINDS[kind].identified_by])
    assert decode_record(key, value) == (kind, GOOD[kind])
    with pytest.raises(UsageError, match=kind):
        encode_record(kind, *WRONG[kind])
    with pytest.raises(ProtocolError):
        decode_record(key, msgpack.packb((records.VERSION, *WRONG[kind])))
    with pytest.raises(UsageError, match="fields"):
        encode_record(kind)


def test_records_of_other_things_are_refused() -> None:
    """Another version, another thing under this key, and what is no record."""
    key, value = encode_record("event", "e")
    for bad in (b"", b"\xc1", value[:-1], msgpack.packb((2, "e")), msgpack.packb(3)):
        with pytest.raises(ProtocolError):
            decode_record(key, bad)
    with pytest.raises(ProtocolError, match="another thing"):
        decode_record(record_key("event", "f"), value)
    with pytest.raises(UsageError, match="scatter"):
        encode_record("request", "r", 1, bytes(records.RECORD_BYTES_MAX))
    with pytest.raises(UsageError, match="the name"):
        key_of_text(["a", None])  # anything a message holds may be called a name
    assert key_of_text(["a", [1]]) == ("a", (1,))


@given(st.integers(0, 4 * records.PART_BYTES_MAX), st.integers(1, 2**40))
def test_a_long_record_is_whole_again_or_not_there(size: int, generation: int) -> None:
    """Its parts come before it; with one missing it is lost, and said to be."""
    value = bytes(size)
    made = cut("x/event/1", value, generation)
    whole = [*made.parts, ("x/event/1", made.head)]
    assert all(len(one) <= records.PART_BYTES_MAX + 32 for _, one in whole)
    found = joined(whole)
    assert found.values == {"x/event/1": value}
    assert not found.lost
    if made.parts:
        assert found.parts == {"x/event/1": (generation, len(made.parts))}
        assert "x/event/1" in joined(whole[1:]).lost
    orphans = joined(made.parts)
    assert not orphans.values
    assert orphans.lost == {
        part_key("x/event/1", generation, number): ""
        for number in range(len(made.parts))
    }


@given(
    st.dictionaries(
        st.text(max_size=9), st.none() | st.integers(0, 700_000).map(bytes), max_size=9
    )
)
def test_batches_are_bounded_and_in_order(changes: dict[str, bytes | None]) -> None:
    """All changes, in their order; more than one in a batch only if there is room."""
    found = batches(changes)
    assert [item for batch in found for item in batch.items()] == list(changes.items())
    for batch in found:
        size = sum(len(value or b"") for value in batch.values())
        assert len(batch) == 1 or size <= records.BATCH_BYTES_MAX


def test_requests_are_named() -> None:
    """A name travels; nothing else passes for one."""
    assert read_request(request_words("w", 3, (1, 2))) == Request("w", 3, (1, 2))
    assert read_request(None) is None
    for bad in (
        3,
        ["w", 3],
        ["", 3, []],
        ["w", 0, []],
        ["w", 3, [0]],
        ["w" * 65, 3, []],
        ["w", 3, [1] * (DONE_MAX + 1)],
        ["w", "3", []],
    ):
        with pytest.raises(ProtocolError):
            read_request(bad)


def test_calls_are_asked_again_as_their_kind_says() -> None:
    """What nobody knows is never asked again; a choice of workers is named or not."""
    assert kind_of("queue_put", {}) is Again.ONCE
    assert kind_of("who_has", {}) is Again.FREELY
    assert kind_of("somebody_s_own", {}) is Again.NEVER
    assert kind_of("restart", {}) is Again.NEVER
    assert kind_of("retire_workers", {"workers": ["a"]}) is Again.FREELY
    assert kind_of("retire_workers", {"n": 1, "workers": None}) is Again.NEVER
    assert kind_of("proxy", {"msg": {"op": "actor_attribute"}}) is Again.FREELY
    assert kind_of("proxy", {"msg": {"op": "actor_execute"}}) is Again.NEVER
    assert "run_function" not in CALLS


def test_time_that_was_spent_is_spent() -> None:
    """A call that is asked again waits as long as it was to in all."""
    assert with_time_left({"timeout": 5}, 9.0) == {"timeout": 0.0}
    for kept in ({"timeout": None}, {}, {"timeout": "5 s"}):
        assert with_time_left(kept, 2.0) == kept


def test_answers_are_forgotten_when_they_are_over() -> None:
    """Said to be over, they are; a request that is over is not done again."""
    requests = Requests()
    for number in (1, 2):
        requests.heard(Request("w", number, ()), 0.0)
        assert requests.answered("w", number, b"%d" % number)
    past, forgotten = requests.heard(Request("w", 3, (1,)), 1.0)
    assert (past, forgotten) == ((False, None), [("w", 1)])
    assert requests.heard(Request("w", 2, ()), 1.0)[0] == (False, b"2")
    assert requests.heard(Request("w", 1, ()), 1.0)[0] == (True, None)
    assert not requests.answered("w", 1, b"late")


def test_those_who_ask_are_bounded() -> None:
    """Who asked longest ago is forgotten, by number and by time."""
    requests = Requests(requesters_max=2)
    for name in ("a", "b"):
        requests.heard(Request(name, 1, ()), 0.0)
        requests.answered(name, 1, b"")
    requests.heard(Request("a", 2, ()), 1.0)
    assert requests.heard(Request("c", 1, ()), 2.0)[1] == [("b", 1)]
    assert not requests.answered("b", 2, b"")
    later = 3.0 + QUIET_S_MAX
    assert requests.heard(Request("d", 1, ()), later)[1] == [("a", 1)]
