"""Records that refer to contents: counted, in snapshots, in answers, bounded."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.ha.ledger import kinds
from dtf_dask.ha.ledger.entries import (
    command_wrong,
    decode_entry,
    encode_command,
    encode_entry,
    references_in,
    references_of,
)
from dtf_dask.ha.ledger.kinds import (
    COMPARE_AND_SET_CONTENT,
    DELETE,
    KINDS,
    PUT,
    PUT_CONTENT,
    VERSION,
)
from dtf_dask.ha.ledger.outcomes import Code, Outcome, Stopped
from dtf_dask.ha.ledger.queries import Get, Scan
from dtf_dask.ha.ledger.records import Change, Record
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.ledger.state_machine import Applied, StateMachine, restored
from dtf_dask.ha.service_words import (
    decode_answer,
    decode_answered,
    decode_changes,
    encode_answer,
    plain_changes,
)

OK = Code.OK


def reference(n: int) -> Reference:
    """A content of that number."""
    return Reference(sha256(b"%d" % n).digest(), 2_000_000 + n)


def put(key: str, n: int) -> bytes:
    """A command that has a record refer to a content."""
    return encode_command(PUT_CONTENT, "n", key, *reference(n))


def apply(state: StateMachine, *commands: bytes) -> list[Outcome]:
    """Apply commands as one entry."""
    applied = state.apply(state.index + 1, encode_entry(0, commands))
    assert isinstance(applied, Applied), applied
    return applied.outcomes


def test_records_refer_to_contents() -> None:
    """They are read, compared and followed as others are."""
    state = StateMachine()
    assert apply(state, put("a", 1)) == [Outcome(OK, 1)]
    assert state.answer(Get("n", "a")).records == (("a", Record(reference(1), 1)),)
    swap = (COMPARE_AND_SET_CONTENT, "n", "a")
    assert apply(
        state,
        encode_command(*swap, 7, *reference(2)),
        encode_command(*swap, 1, *reference(2)),
    ) == [Outcome(Code.CONFLICT, 1), Outcome(OK, 2)]
    assert state.answer(Scan("n")).records == (("a", Record(reference(2), 2)),)
    found = state.history.after(0, "n", "", state.index)
    assert found[0] == (
        Change("n", "a", reference(1), 1),
        Change("n", "a", reference(2), 2),
    )


def test_references_are_counted() -> None:
    """A content is referred to as long as one record does; what is new is told once."""
    state = StateMachine()
    apply(state, put("a", 1), put("b", 1), put("b", 1))
    references = state.records.references
    assert references.counts == {reference(1): 2}
    assert references.appeared == [reference(1)]
    apply(state, put("a", 2), encode_command(DELETE, "n", "b"))
    assert references.counts == {reference(2): 1}
    apply(state, encode_command(PUT, "n", "a", b"small"))
    assert references.counts == {}
    assert references.appeared == [reference(1), reference(2)]


OTHERS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.builds(put, OTHERS, st.integers(0, 3)),
        st.builds(lambda key: encode_command(PUT, "n", key, b"x"), OTHERS),
        st.builds(lambda key: encode_command(DELETE, "n", key), OTHERS),
        st.builds(
            lambda key, revision, n: encode_command(
                COMPARE_AND_SET_CONTENT, "n", key, revision, *reference(n)
            ),
            *(OTHERS, st.integers(0, 9), st.integers(0, 3)),
        ),
    ),
    max_size=20,
)


@given(STEPS)
def test_counts_are_those_of_the_records(steps: list[bytes]) -> None:
    """Whatever was done, and after a snapshot too, which has equal bytes."""
    state = StateMachine()
    apply(state, *steps)
    again = restored(state.snapshot())
    assert isinstance(again, StateMachine)
    assert again.state_hash() == state.state_hash()
    for one in (state, again):
        counts: dict[Reference, int] = {}
        for _, record in one.records.walk("n", ""):
            if isinstance(record.value, Reference):
                counts[record.value] = counts.get(record.value, 0) + 1
        assert one.records.references.counts == counts
    assert again.records.held_bytes == state.records.held_bytes


def test_answers_and_changes_carry_references() -> None:
    """A client of another process is told the same."""
    state = StateMachine()
    apply(state, put("a", 1), encode_command(DELETE, "n", "a"), put("b", 2))
    answer, changes = state.answer(Scan("n")), state.history.after(0, "n", "", 1)
    body = encode_answer(1, 0, answer, plain_changes(changes))  # type: ignore[arg-type]
    _, _, (plain_answer, plain) = decode_answer(body)
    assert decode_answered(plain_answer) == answer
    assert decode_changes(plain) == changes


def test_an_older_node_stops_at_a_reference() -> None:
    """It says which version it knows, and applies nothing more."""
    older = {n: kind for n, kind in KINDS.items() if n < PUT_CONTENT}
    state = StateMachine(older, version=1)
    stopped = state.apply(1, encode_entry(0, [put("a", 1)]))
    assert isinstance(stopped, Stopped)
    assert f"version {VERSION}" in stopped.reason


WRONG: dict[str, tuple[Any, ...]] = {
    "short_digest": (PUT_CONTENT, "", 0, 0, "n", "a", b"1" * 31, 5),
    "text": (PUT_CONTENT, "", 0, 0, "n", "a", "1" * 32, 5),
    "no_size": (PUT_CONTENT, "", 0, 0, "n", "a", b"1" * 32),
    "empty": (PUT_CONTENT, "", 0, 0, "n", "a", b"1" * 32, 0),
    "huge": (PUT_CONTENT, "", 0, 0, "n", "a", b"1" * 32, 2**40),
    "no_key": (PUT_CONTENT, "", 0, 0, "n", "", b"1" * 32, 5),
    "revision": (COMPARE_AND_SET_CONTENT, "", 0, 0, "n", "a", -1, b"1" * 32, 5),
    "no_revision": (COMPARE_AND_SET_CONTENT, "", 0, 0, "n", "a", b"1" * 32, 5),
    "in_a_put": (PUT, "", 0, 0, "n", "a", (b"1" * 32, 5)),
}


@pytest.mark.parametrize("what", WRONG)
def test_references_from_outside_are_checked(what: str) -> None:
    """None that makes no sense gets into the log."""
    wrong = command_wrong(msgpack.packb(WRONG[what]))
    assert wrong
    assert kinds.KINDS[WRONG[what][0]].name in wrong


def test_no_reference_hides_from_the_leader() -> None:
    """It finds all that commands name; what is packed to hide from it is refused."""
    commands = [encode_command(PUT, "n", "a", b""), put("a", 1), put("b", 2)]
    assert references_in(commands) == [reference(1), reference(2)]
    entry = decode_entry(encode_entry(0, commands))
    assert references_of(entry) == [reference(1), reference(2)]  # type: ignore[arg-type]
    packed = put("a", 1)
    assert packed[0] == 0x98
    long_head = b"\xdc\x00\x08" + packed[1:]
    long_kind = packed[:1] + b"\xcc" + packed[1:]
    for hidden in (long_head, long_kind):
        assert msgpack.unpackb(hidden) == msgpack.unpackb(packed)
        assert command_wrong(hidden) == "a command that is packed in an uncommon way"
    assert command_wrong(packed) is None
