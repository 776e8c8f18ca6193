"""The ledger's state machine: each command once, in order, the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.errors import UsageError
from dtf_dask.ha.ledger import entries, kinds, sessions
from dtf_dask.ha.ledger.entries import (
    command_wrong,
    decode_entry,
    encode_command,
    encode_entry,
    fill_entry,
)
from dtf_dask.ha.ledger.history import (
    CHANGE_BYTES,
    ChangeHistory,
    Changes,
    Compacted,
)
from dtf_dask.ha.ledger.kinds import (
    COMPARE_AND_SET,
    DELETE,
    KINDS,
    PUT,
    SESSION_CLOSE,
    SESSION_OPEN,
    SESSION_RENEW,
    VERSION,
    Kind,
)
from dtf_dask.ha.ledger.outcomes import (
    FORGOTTEN,
    NO_SESSION,
    Code,
    Outcome,
    Stopped,
    Unreadable,
)
from dtf_dask.ha.ledger.queries import Get, Scan, query_wrong
from dtf_dask.ha.ledger.records import Change, Record, Records
from dtf_dask.ha.ledger.state_machine import (
    TIME_STEP_MAX_MS,
    Applied,
    StateMachine,
    restored,
)

OK = Code.OK


def apply(state: StateMachine, *commands: bytes, time_ms: int = 0) -> list[Outcome]:
    """Apply commands as one entry."""
    applied = state.apply(state.index + 1, encode_entry(time_ms, commands))
    assert isinstance(applied, Applied), applied
    assert applied.index == state.index
    return applied.outcomes


def put(key: str, value: bytes, **session: Any) -> bytes:
    return encode_command(PUT, "n", key, value, **session)


def opened(state: StateMachine, session: str = "c", ttl_ms: int = 10_000) -> None:
    outcomes = apply(state, encode_command(SESSION_OPEN, ttl_ms, session=session))
    assert outcomes == [Outcome(OK)]


def test_records_are_written_compared_and_deleted() -> None:
    """A revision counts all changes; a comparison that fails changes nothing."""
    state = StateMachine()
    assert apply(state, put("a", b"1"), put("b", b"2"), put("a", b"3")) == [
        Outcome(OK, 1),
        Outcome(OK, 2),
        Outcome(OK, 3),
    ]
    compare = [
        encode_command(COMPARE_AND_SET, "n", "a", 1, b"no"),
        encode_command(COMPARE_AND_SET, "n", "a", 3, b"yes"),
        encode_command(COMPARE_AND_SET, "n", "c", 0, b"new"),
        encode_command(COMPARE_AND_SET, "n", "c", 0, b"no"),
        encode_command(COMPARE_AND_SET, "n", "b", 2, None),
        encode_command(DELETE, "n", "c"),
        encode_command(DELETE, "n", "c"),
    ]
    assert apply(state, *compare) == [
        Outcome(Code.CONFLICT, 3),
        Outcome(OK, 4),
        Outcome(OK, 5),
        Outcome(Code.CONFLICT, 5),
        Outcome(OK, 2),
        Outcome(OK, 5),
        Outcome(OK, 0),
    ]
    answer = state.answer(Scan("n"))
    assert answer.records == (("a", Record(b"yes", 4)),)
    assert (answer.applied, answer.more) == (2, False)
    assert state.answer(Get("n", "b")).records == ()
    assert state.answer(Get("other", "a")).records == ()


def test_a_number_that_comes_again_is_not_done_again() -> None:
    """It is answered with the outcome of the first time, in the same entry or later."""
    state = StateMachine()
    opened(state)
    first = put("a", b"1", session="c", number=1)
    second = encode_command(
        COMPARE_AND_SET, "n", "a", 1, b"2", session="c", number=2, done_below=1
    )
    assert apply(state, first, first, second) == [
        Outcome(OK, 1),
        Outcome(OK, 1),
        Outcome(OK, 2),
    ]
    assert apply(state, second, first) == [Outcome(OK, 2), Outcome(OK, 1)]
    assert state.records.revision == 2


def test_numbers_may_come_in_any_order() -> None:
    """Each is done once, whichever comes first."""
    state = StateMachine()
    opened(state)
    late, early = (put("a", b"%d" % n, session="c", number=n) for n in (9, 4))
    assert apply(state, late, early, late, early) == [
        *(Outcome(OK, n) for n in (1, 2, 1, 2)),
    ]


def test_what_a_client_has_received_is_forgotten() -> None:
    """Outcomes below `done_below` go; such a number is not done again."""
    state = StateMachine()
    opened(state)
    for n in range(1, 6):
        apply(state, put("a", b"", session="c", number=n, done_below=n - 1))
    assert sorted(state.sessions.by_id["c"].outcomes) == [4, 5]
    assert apply(state, put("a", b"", session="c", number=3)) == [FORGOTTEN]
    far = put("a", b"", session="c", number=10**9, done_below=10**9)
    assert apply(state, far) == [Outcome(OK, 6)]
    assert sorted(state.sessions.by_id["c"].outcomes) == [10**9]


def test_outcomes_of_a_session_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that acknowledges nothing is refused, and is done later in full."""
    state = StateMachine()
    opened(state)
    monkeypatch.setattr("dtf_dask.ha.ledger.state_machine.OUTCOMES_MAX", 3)
    refused = apply(state, *(put("a", b"", session="c", number=n) for n in (3, 4)))
    assert [one.code for one in refused] == [OK, Code.REFUSED]
    again = put("a", b"", session="c", number=4, done_below=2)
    assert apply(state, again) == [Outcome(OK, 2)]


def test_sessions_end_by_the_time_of_the_log() -> None:
    """Unused for its time to live, a session ends; each command prolongs it."""
    state = StateMachine()
    opened(state, "idle", 5_000)
    opened(state, "busy", 5_000)
    busy = [put("a", b"", session="busy", number=n) for n in (1, 2)]
    assert apply(state, busy[0], time_ms=3_000) == [Outcome(OK, 1)]
    assert apply(state, time_ms=4_999) == []
    assert set(state.sessions.by_id) == {"idle", "busy"}
    assert apply(state, time_ms=5_000) == []
    assert set(state.sessions.by_id) == {"busy"}
    assert apply(state, put("a", b"", session="idle", number=1)) == [NO_SESSION]
    assert apply(state, busy[1], time_ms=8_000) == [NO_SESSION]
    assert state.records.revision == 1


def test_a_session_is_prolonged_by_renewing_it() -> None:
    """By a number of its own, which says too what the client has received."""
    state = StateMachine()
    opened(state, ttl_ms=5_000)
    apply(state, put("a", b"", session="c", number=1), time_ms=4_000)
    renew = encode_command(SESSION_RENEW, session="c", number=2, done_below=2)
    assert apply(state, renew, time_ms=8_000) == [Outcome(OK)]
    assert apply(state, time_ms=12_999) == []
    assert state.sessions.by_id["c"].outcomes == {2: Outcome(OK)}
    assert apply(state, put("a", b"", session="c", number=1)) == [FORGOTTEN]
    close = encode_command(SESSION_CLOSE, session="c")
    assert apply(state, close, close, renew) == [
        Outcome(OK, True),
        Outcome(OK, False),
        NO_SESSION,
    ]
    assert state.records.revision == 1


def test_a_session_is_opened_once() -> None:
    """A second client, or an opening that comes late, gets nothing and changes it not.

    It would be prolonged, or come back without what had been done in it.
    """
    state = StateMachine()
    opened(state, ttl_ms=5_000)
    apply(state, put("a", b"", session="c", number=1), time_ms=1_000)
    again = encode_command(SESSION_OPEN, 60_000, session="c")
    assert apply(state, again, time_ms=5_000) == [Outcome(Code.CONFLICT)]
    assert apply(state, put("a", b"", session="c", number=1)) == [Outcome(OK, 1)]
    assert state.sessions.by_id["c"].ttl_ms == 5_000


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is refused with the limit's name; those that are there go on."""
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    state = StateMachine()
    opened(state, "a")
    opened(state, "b")
    more = [encode_command(SESSION_OPEN, 5_000, session=s) for s in ("c", "a")]
    refused, taken = apply(state, *more)
    assert refused.code == Code.REFUSED
    assert "sessions" in refused.value
    assert taken == Outcome(Code.CONFLICT)


def test_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full ledger refuses what makes it larger, and does what makes it smaller."""
    monkeypatch.setattr("dtf_dask.ha.ledger.records.RECORDS_BYTES_MAX", 300)
    state = StateMachine()
    full = apply(state, put("a", bytes(100)), put("b", bytes(100)))
    assert [one.code for one in full] == [OK, Code.REFUSED]
    assert state.answer(Scan("n")).records[0][0] == "a"
    outcomes = apply(
        state,
        put("a", bytes(300)),
        put("a", b""),
        put("b", bytes(100)),
        encode_command(DELETE, "n", "b"),
        put("c", bytes(100)),
    )
    assert [one.code for one in outcomes] == [Code.REFUSED, OK, OK, OK, OK]


def test_time_never_goes_back_and_never_leaps() -> None:
    """A leader whose clock is mad ends no sessions, whichever way it is mad."""
    state = StateMachine()
    opened(state, ttl_ms=TIME_STEP_MAX_MS + 1)
    apply(state, time_ms=2**62)
    assert state.time_ms == TIME_STEP_MAX_MS
    apply(state, time_ms=5)
    assert state.time_ms == TIME_STEP_MAX_MS
    assert "c" in state.sessions.by_id


def test_entries_come_in_order() -> None:
    """A gap or a repetition is a fault of the caller, and changes nothing."""
    state = StateMachine()
    assert isinstance(state.apply(1, b""), Applied)
    for index in (1, 3, 0):
        with pytest.raises(ValueError, match=f"entry {index} after entry 1"):
            state.apply(index, b"")
    assert state.index == 1


FUTURE: dict[int, Kind] = {
    **KINDS,
    99: Kind("leap", lambda _: None, lambda *_: Outcome(OK)),
}


def future_command() -> bytes:
    packed: bytes = msgpack.packb((99, "", 0, 0, "what"))
    return packed


STOPPING: dict[str, Callable[[], bytes]] = {
    "kind": lambda: encode_entry(0, [put("b", b""), future_command()]),
    "version": lambda: bytes((VERSION + 1,)) + encode_entry(0, [])[1:],
    "no_version": lambda: bytes((0,)) + encode_entry(0, [])[1:],
    "cut": lambda: encode_entry(0, [put("b", b"12345")])[:-1],
    "longer": lambda: encode_entry(0, [put("b", b"")]) + b"\0",
    "no_array": lambda: bytes((VERSION,)) + msgpack.packb({"a": 1}),
    "time": lambda: bytes((VERSION,)) + msgpack.packb((-1, ())),
    "arguments": lambda: encode_entry(0, [msgpack.packb((PUT, "", 0, 0, "n", "b"))]),
    "deep": lambda: bytes((VERSION,)) + b"\x91" * 5_000,
}


@pytest.mark.parametrize("what", STOPPING)
def test_what_it_does_not_know_stops_it(what: str) -> None:
    """It says so, applies nothing of that entry and nothing after it."""
    state = StateMachine()
    apply(state, put("a", b"1"))
    before = state.state_hash()
    stopped = state.apply(2, STOPPING[what]())
    assert isinstance(stopped, Stopped)
    assert stopped.index == 2
    assert stopped.reason
    assert state.apply(2, encode_entry(0, [put("c", b"")])) is stopped
    assert state.apply(3, b"") is stopped
    assert (state.index, state.state_hash(), state.stopped) == (1, before, stopped)


def test_an_older_node_goes_on_after_an_upgrade() -> None:
    """Where the older one stopped, one that knows more takes up its snapshot."""
    older = StateMachine()
    apply(older, put("a", b"1"))
    entry = encode_entry(0, [future_command()])
    assert isinstance(older.apply(2, entry), Stopped)
    newer = restored(older.snapshot(), FUTURE)
    assert isinstance(newer, StateMachine)
    assert newer.apply(2, entry) == Applied(2, [Outcome(OK)])


def test_scans_go_page_by_page() -> None:
    """Each page ends where the next begins; a prefix bounds them."""
    state = StateMachine()
    apply(state, *(put(f"k{n:03}", b"%d" % n) for n in range(25)), put("j", b""))
    found: list[str] = []
    after = None
    while True:
        answer = state.answer(Scan("n", "k", after, 10))
        found += [key for key, _ in answer.records]
        if not answer.more:
            break
        after = found[-1]
    assert found == [f"k{n:03}" for n in range(25)]
    assert state.answer(Scan("n", "k02", None, 5)).more is False


def test_an_answer_is_never_huge() -> None:
    """Megabytes of records come in several answers, each of one record at least."""
    state = StateMachine()
    for n in range(6):
        apply(state, put(f"k{n}", bytes(2**20)))
    answer = state.answer(Scan("n"))
    assert answer.more
    assert 1 <= len(answer.records) < 6


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        (Get("n", "k"), False),
        (Get("n", b"k"), True),  # type: ignore[arg-type]
        (Get(None, "k"), True),  # type: ignore[arg-type]
        (Scan("n"), False),
        (Scan("n", "p", "a", 0), True),
        (Scan("n", "p", "a", 10**6), True),
        (Scan("n", "p", 5, 1), True),  # type: ignore[arg-type]
        (Scan("n", None, None, 1), True),  # type: ignore[arg-type]
    ],
)
def test_queries_from_outside_are_checked(query: Get | Scan, wrong: bool) -> None:
    """What is no query is said to be none before anything is read."""
    assert (query_wrong(query) is not None) is wrong


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ((PUT, "", 0, 0, "n", "k", "text"), "value"),
        ((PUT, "", 0, 0, "n", "k", bytes(2**20 + 1)), "value"),
        ((PUT, "", 0, 0, "n", "", b""), "key"),
        ((PUT, "", 0, 0, "n", "k" * 2_000, b""), "key"),
        ((PUT, "", 0, 0, "", "k", b""), "namespace"),
        ((PUT, "", 0, 0, "n" * 200, "k", b""), "namespace"),
        ((PUT, "", 0, 0, "n", "k"), "put takes"),
        ((PUT, "c", 0, 0, "n", "k", b""), "go together"),
        ((PUT, "", 3, 0, "n", "k", b""), "go together"),
        ((PUT, "c", 3, 4, "n", "k", b""), "done_below"),
        ((PUT, "c", True, 0, "n", "k", b""), "number"),
        ((PUT, "c", 2**63, 0, "n", "k", b""), "number"),
        ((PUT, "c", -1, 0, "n", "k", b""), "number"),
        ((PUT, "c" * 65, 1, 0, "n", "k", b""), "session"),
        ((PUT, 7, 1, 0, "n", "k", b""), "session"),
        ((DELETE, "", 0, 0, "n"), "delete takes"),
        ((COMPARE_AND_SET, "", 0, 0, "n", "k", -1, b""), "revision"),
        ((COMPARE_AND_SET, "", 0, 0, "n", "k", 0), "compare_and_set takes"),
        ((SESSION_OPEN, "c", 0, 0, 10), "lives"),
        ((SESSION_OPEN, "", 0, 0, 10_000), "takes a session"),
        ((SESSION_OPEN, "c", 1, 0, 10_000), "no number"),
        ((SESSION_CLOSE, "c", 0, 0, 1), "takes nothing"),
        ((99, "", 0, 0), "does not know: 99"),
        ((True, "", 0, 0), "does not know"),
        ((PUT, "", 0), "no array"),
        ("text", "no array"),
        (5, "no array"),
    ],
)
def test_commands_from_outside_are_checked(command: Any, says: str) -> None:
    """What is no command never gets into the log: the leader says what is wrong."""
    wrong = command_wrong(msgpack.packb(command))
    assert wrong is not None
    assert says in wrong
    if isinstance(command, tuple) and len(command) >= 4:
        kind, session, number, done_below, *arguments = command
        with pytest.raises(UsageError, match=says):
            encode_command(
                kind,
                *arguments,
                session=session,
                number=number,
                done_below=done_below,
            )
    entry = encode_entry(0, [msgpack.packb(command)])
    assert isinstance(decode_entry(entry), Unreadable)


def test_text_that_is_none_is_refused() -> None:
    """A lone surrogate has no UTF-8, so it never leaves the client."""
    with pytest.raises(UsageError, match="UTF-8"):
        encode_command(PUT, "n", "\ud800", b"")
    bad = put("k", b"").replace(b"\xa1k", b"\xa1\xff")
    assert "msgpack" in (command_wrong(bad) or "")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_is_never_a_command_or_entry(garbage: bytes) -> None:
    """Whatever arrives, the answer is a value that says what is wrong."""
    assert command_wrong(garbage) is not None
    read = decode_entry(garbage)
    assert isinstance(read, Unreadable) or not read.commands


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_entry_is_read_as_another_or_refused(data: st.DataObject) -> None:
    """No flip of bits makes the reader raise."""
    entry = bytearray(encode_entry(7, [put("key", b"value", session="c", number=3)]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(entry) - 1))
        entry[at] ^= 1 << data.draw(st.integers(0, 7))
    decode_entry(bytes(entry))


def test_entries_are_filled_up_to_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit go in, one at least; what is filled can be read."""
    one = put("k", bytes(1_000))
    assert fill_entry([]) == 0
    assert fill_entry([one] * 10, bytes_max=3 * len(one) + 32) == 3
    assert fill_entry([one] * 10, bytes_max=10) == 1
    assert fill_entry([b""] * 20_000) == entries.ENTRY_COMMANDS_MAX
    largest = [put("k", bytes(kinds.VALUE_BYTES_MAX))] * 9
    count = fill_entry(largest)
    assert count == 3
    assert not isinstance(decode_entry(encode_entry(0, largest[:count])), Unreadable)
    assert isinstance(decode_entry(encode_entry(0, largest)), Unreadable)
    monkeypatch.setattr(entries, "ENTRY_COMMANDS_MAX", 2)
    assert isinstance(decode_entry(encode_entry(0, [one] * 3)), Unreadable)


# Random games: what is applied, and where it is cut.

NAMES = st.sampled_from(["a", "b", "ab"])
SESSION_IDS = st.sampled_from(["s", "t"])
TEXT = st.sampled_from([b"", b"1", b"22"])


@st.composite
def a_command(draw: st.DrawFn) -> bytes:
    kind = draw(
        st.sampled_from(
            [SESSION_OPEN, SESSION_CLOSE, PUT, PUT, DELETE, COMPARE_AND_SET]
        )
    )
    if kind == SESSION_OPEN:
        ttl_ms = draw(st.sampled_from([1_000, 5_000, 100_000]))
        return encode_command(kind, ttl_ms, session=draw(SESSION_IDS))
    if kind == SESSION_CLOSE:
        return encode_command(kind, session=draw(SESSION_IDS))
    arguments: list[Any] = [draw(NAMES), draw(NAMES)]
    if kind == PUT:
        arguments += [draw(TEXT)]
    elif kind == COMPARE_AND_SET:
        arguments += [draw(st.integers(0, 6)), draw(st.none() | TEXT)]
    if draw(st.booleans()):
        return encode_command(kind, *arguments)
    number = draw(st.integers(1, 6))
    below = draw(st.integers(0, number))
    session = draw(SESSION_IDS)
    return encode_command(
        kind, *arguments, session=session, number=number, done_below=below
    )


@st.composite
def a_log(draw: st.DrawFn) -> list[bytes]:
    payloads, time_ms = [], 0
    for commands in draw(st.lists(st.lists(a_command(), max_size=4), max_size=12)):
        time_ms += draw(st.sampled_from([0, 10, 700, 4_000]))
        payloads.append(encode_entry(time_ms, commands) if commands else b"")
    return payloads


@settings(max_examples=200)
@given(a_log(), st.data())
def test_from_a_snapshot_as_from_the_start(
    log: list[bytes], data: st.DataObject
) -> None:
    """Restored anywhere, the rest of the log gives the same outcomes and state."""
    cut = data.draw(st.integers(0, len(log)))
    whole = StateMachine()
    outcomes = [whole.apply(n, payload) for n, payload in enumerate(log, 1)]
    part = StateMachine()
    for n, payload in enumerate(log[:cut], 1):
        part.apply(n, payload)
    stream = b"".join(part.snapshot())
    piece = data.draw(st.integers(1, 40))
    pieces = (stream[n : n + piece] for n in range(0, len(stream), piece))
    again = restored(pieces)
    assert isinstance(again, StateMachine), again
    assert b"".join(again.snapshot()) == stream
    rest = [again.apply(n, log[n - 1]) for n in range(cut + 1, len(log) + 1)]
    assert rest == outcomes[cut:]
    assert again.state_hash() == whole.state_hash()
    assert again.records.held_bytes == whole.records.held_bytes


@settings(max_examples=200)
@given(a_log())
def test_each_number_is_done_once(log: list[bytes]) -> None:
    """Sent again in a later entry, all commands of living sessions change nothing. What
    they are answered is the same ever after, but for those that a later one forgets."""
    state = StateMachine()
    for n, payload in enumerate(log, 1):
        state.apply(n, payload)
    before = state.answer(Scan("a")), state.records.revision
    numbered = [
        msgpack.packb(command)
        for payload in log
        for command in _commands(payload)
        if command[2] in state.sessions.by_id.get(command[1], NOBODY).outcomes
    ]
    payload = encode_entry(0, numbered)
    applied = state.apply(state.index + 1, payload)
    assert isinstance(applied, Applied)
    assert state.records.revision == before[1]
    assert state.answer(Scan("a")).records == before[0].records
    again = state.apply(state.index + 1, payload)
    assert isinstance(again, Applied)
    for first, second in zip(applied.outcomes, again.outcomes, strict=True):
        assert second == first or second.code is Code.FORGOTTEN
    assert state.apply(state.index + 1, payload) == Applied(state.index, again.outcomes)
    assert state.records.revision == before[1]


NOBODY = sessions.Session(0, 0)


def _commands(payload: bytes) -> list[tuple[Any, ...]]:
    contents = decode_entry(payload)
    assert not isinstance(contents, Unreadable)
    return list(contents.commands)


@settings(max_examples=100)
@given(a_log(), st.data())
def test_a_damaged_snapshot_is_refused_or_another(
    log: list[bytes], data: st.DataObject
) -> None:
    """No damage makes the reader raise; what is cut or goes on is always refused."""
    state = StateMachine()
    for n, payload in enumerate(log, 1):
        state.apply(n, payload)
    stream = b"".join(state.snapshot())
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert isinstance(restored([stream[:cut]]), Unreadable)
    assert isinstance(restored([stream, b"\0"]), Unreadable)
    damaged = bytearray(stream)
    damaged[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    restored([bytes(damaged)])


def test_a_snapshot_of_a_newer_version_is_refused() -> None:
    """It says which version it is of and which are known."""
    stream = b"".join(StateMachine().snapshot())
    wrong = restored([stream], version=1)
    assert isinstance(wrong, Unreadable)
    words = f"version {VERSION}; this node knows versions up to 1"
    assert words in wrong.reason
    other = restored([msgpack.packb(("something", 1))])
    assert other == Unreadable("no snapshot of a ledger")


def test_a_snapshot_is_of_the_moment_it_was_frozen() -> None:
    """It may be written while the state goes on."""
    state = StateMachine()
    opened(state)
    apply(state, put("a", b"1", session="c", number=1))
    expected = b"".join(state.snapshot())
    frozen = state.freeze()
    apply(state, put("a", b"2", session="c", number=2), put("b", b""), time_ms=500)
    assert b"".join(frozen.chunks()) == expected
    assert b"".join(state.snapshot()) != expected


def test_large_states_come_in_pieces() -> None:
    """A snapshot is never held in one piece, and any cut of it is the same state."""
    state = StateMachine()
    for n in range(30):
        apply(state, *(put(f"{n}-{m}", bytes(100)) for m in range(300)))
    chunks = list(state.snapshot())
    assert len(chunks) > 3
    assert max(map(len, chunks)) < 300_000
    again = restored([b"".join(chunks)])
    assert isinstance(again, StateMachine)
    assert again.state_hash() == state.state_hash()


GAME = """
import random
from dtf_dask.ha.ledger.entries import encode_command, encode_entry
from dtf_dask.ha.ledger.state_machine import StateMachine
rng = random.Random(5)
state = StateMachine()
for index in range(1, 400):
    commands = []
    for _ in range(5):
        session = f"s{rng.randrange(40)}"
        commands.append(encode_command(1, 1_000, session=session))
        key, number = f"k{rng.randrange(50)}", rng.randrange(1, 50)
        commands.append(encode_command(16, "n", key, b"v", session=session,
                                       number=number))
        commands.append(encode_command(17, "n", f"k{rng.randrange(50)}"))
    state.apply(index, encode_entry(index * 150, commands))
print(state.state_hash(), len(state.sessions.by_id))
"""


def test_the_state_does_not_depend_on_the_hash_seed() -> None:
    """Two processes with other orders of sets come to the same hash."""
    said = {
        subprocess.run(
            [sys.executable, "-c", GAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    _, sessions_left = said.pop().split()
    assert 0 < int(sessions_left) < 40


# Ordered keys.


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from("pdw"), st.text("ab", min_size=1, max_size=3)),
        max_size=40,
    )
)
def test_records_are_walked_in_order(steps: list[tuple[str, str]]) -> None:
    """Whatever was put and deleted in between, a walk is in order and complete."""
    records = Records()
    expected: dict[str, Record] = {}
    for what, key in steps:
        if what == "p":
            records.put("n", key, b"v")
            expected[key] = Record(b"v", records.revision)
        elif what == "d":
            records.delete("n", key)
            expected.pop(key, None)
        else:
            found = list(records.walk("n", key[0], key))
            assert found == sorted(
                (k, one)
                for k, one in expected.items()
                if k.startswith(key[0]) and k > key
            )
    assert list(records.walk("n", "")) == sorted(expected.items())


def test_deleted_keys_do_not_pile_up() -> None:
    """Keys that come and go leave nothing behind in the order."""
    records = Records()
    records.put("n", "stays", b"")
    for n in range(5_000):
        records.put("n", f"k{n}", b"")
        list(records.walk("n", "k")) if n % 100 == 0 else None
        records.delete("n", f"k{n}")
    list(records.walk("n", ""))
    (namespace,) = records._namespaces.values()
    assert len(namespace.order._sorted) <= 2_500
    assert [key for key, _ in records.walk("n", "")] == ["stays"]


# Following changes.


def follow(state: StateMachine, after: int, prefix: str = "") -> Changes | Compacted:
    return state.history.after(after, "n", prefix, state.index)


def test_changes_can_be_followed_from_any_index() -> None:
    """All that came after, in order, of the keys that were asked for."""
    state = StateMachine()
    apply(state, put("a", b"1"), put("b", b"2"))
    apply(state)
    apply(state, encode_command(DELETE, "n", "a"), put("a", b"3"))
    apply(state, encode_command(PUT, "other", "a", b"4"))
    changes = [
        Change("n", "a", b"1", 1),
        Change("n", "b", b"2", 2),
        Change("n", "a", None, 3),
        Change("n", "a", b"3", 4),
    ]
    assert follow(state, 0) == Changes(tuple(changes), 4)
    assert follow(state, 1) == Changes(tuple(changes[2:]), 4)
    assert follow(state, 0, "b") == Changes((changes[1],), 4)
    assert follow(state, 4) == Changes((), 4)
    assert follow(state, 9) == Changes((), 9)


def test_a_follower_that_asks_again_misses_nothing() -> None:
    """Answers end with an entry, however small they are, and together they are all."""
    history = ChangeHistory()
    for index in range(1, 30):
        history.add(index, [Change("n", "k", b"", n) for n in range(index % 4)])
    got: list[Change] = []
    at = 0
    while at < 29:
        answer = history.after(at, "n", "", 29, limit=2)
        assert isinstance(answer, Changes)
        assert answer.upto > at
        got += answer.changes
        at = answer.upto
    assert len(got) == sum(n % 4 for n in range(1, 30)) == len(history)


@pytest.mark.parametrize("bounds", [(50, 10**9), (10**9, 50 * (CHANGE_BYTES + 11))])
def test_changes_are_bounded_and_what_is_gone_is_said(bounds: tuple[int, int]) -> None:
    """The oldest go by whole entries; who asks for them is told where to begin anew."""
    history = ChangeHistory(0, *bounds)
    for index in range(1, 5_001):
        history.add(index, [Change("n", "k", bytes(10), index)] * 3)
        assert len(history) <= 50
        assert len(history) % 3 == 0
        assert len(history._changes) < 50 + 1_100
    assert history.floor == 5_000 - len(history) // 3
    gone = history.after(history.floor - 1, "n", "", 5_000)
    assert gone == Compacted(restart_at=5_000)
    rest = history.after(history.floor, "n", "", 5_000)
    assert isinstance(rest, Changes)
    assert len(rest.changes) == len(history)


def test_one_entry_larger_than_the_history_is_gone_at_once() -> None:
    """Who follows is told so rather than given a part of it."""
    history = ChangeHistory(0, 2, 10**9)
    history.add(1, [Change("n", "k", b"", n) for n in range(3)])
    assert len(history) == 0
    assert history.after(0, "n", "", 1) == Compacted(1)


def test_after_a_snapshot_changes_begin_there() -> None:
    """A restored node knows no earlier change, and says so."""
    state = StateMachine()
    apply(state, put("a", b"1"))
    apply(state, put("a", b"2"))
    again = restored(state.snapshot())
    assert isinstance(again, StateMachine)
    assert follow(again, 1) == Compacted(2)
    assert follow(again, 2) == Changes((), 2)
    apply(again, put("a", b"3"))
    assert follow(again, 2) == Changes((Change("n", "a", b"3", 3),), 3)
