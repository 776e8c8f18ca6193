"""The board: only what changed is told, and who asks since when hears all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.errors import ProtocolError
from dtf_dask.view.board import GONE_MAX, Board
from dtf_dask.view.records import COUNT_MAX, PREFIX, decoded, encoded, formed

steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "drop", "only"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 2),
    ),
    max_size=30,
)


@given(steps, st.data())
def test_what_changed_since_makes_what_is_there(
    done: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    """A reader that asks now and then, and the ledger, have what was put last."""
    board, reader, since = Board(), dict[str, bytes](), 0
    ledger: dict[str, bytes] = {}
    wanted: dict[str, int] = {}
    for what, name, number in done:
        if what == "put":
            board.put("class", name, {"name": name, "waiting": number}, 0.0)
            wanted[name] = number
        elif what == "drop":
            board.drop("class", name)
            wanted.pop(name, None)
        else:
            board.keep_only("class", [name])
            wanted = {one: wanted[one] for one in wanted if one == name}
        if data.draw(st.booleans()):
            changes = board.since(since)
            assert changes is not None
            assert len(dict(changes)) == len(changes)
            since = board.number
            for key, value in changes:
                apply(reader, key, value)
        if data.draw(st.booleans()):
            for key, value in board.take().items():
                apply(ledger, key, value)
    for key, value in board.since(since) or ():
        apply(reader, key, value)
    for key, value in board.take().items():
        apply(ledger, key, value)
    assert reader == ledger == dict(board.all())
    assert {
        record["name"]: record["waiting"]
        for record in (decoded("class", value) for value in reader.values())
    } == wanted
    assert board.count("class") == len(wanted)


def apply(records: dict[str, bytes], key: str, value: bytes | None) -> None:
    if value is None:
        records.pop(key, None)
    else:
        records[key] = value


def test_what_changes_all_the_time_rests() -> None:
    """A record is told again when its rest is over, and if it differs by enough."""
    board = Board()

    def put(number: int, now: float, **how: float) -> bool:
        return board.put("class", "a", {"waiting": number}, now, **how)  # type: ignore[arg-type]

    assert put(1, 10.0)
    assert not put(1, 20.0)
    assert not put(2, 10.5, rest_s=1.0)
    assert put(2, 11.0, rest_s=1.0)
    little = board.put(
        *("class", "a", {"waiting": 3}, 20.0),
        differs=lambda told, new: abs(told["waiting"] - new["waiting"]) > 1,
    )
    assert not little
    assert board.get("class", "a") == formed("class", {"waiting": 2})


def test_a_successor_goes_on_from_what_is_there() -> None:
    """What is as before is not written again; what nobody can read is removed."""
    same = encoded(formed("class", {"name": "a", "waiting": 1}))
    board = Board([(f"{PREFIX}class/a", same), (f"{PREFIX}odd/x", b"?")])
    assert not board.put("class", "a", {"name": "a", "waiting": 1}, 1.0)
    assert board.put("class", "b", {"name": "b"}, 1.0)
    assert board.take() == {
        f"{PREFIX}odd/x": None,
        f"{PREFIX}class/b": encoded(formed("class", {"name": "b"})),
    }
    assert board.take() == {}


def test_what_is_not_written_is_taken_later() -> None:
    """What a full ledger did not take comes again, unless it changed meanwhile."""
    board = Board()
    board.put("class", "a", {"waiting": 1}, 0.0)
    board.put("class", "b", {"waiting": 1}, 0.0)
    old = board.take()
    board.put("class", "b", {"waiting": 2}, 0.0)
    board.untake(old)
    assert board.take() == dict(board.all())


@pytest.mark.parametrize(("kind", "stays"), [("run", False), ("worker", True)])
def test_there_are_not_more_than_there_may_be(kind: str, stays: bool) -> None:
    """Runs make room for new ones; workers beyond the bound are left out."""
    board, most = Board(), COUNT_MAX[kind]
    for number in range(most + 1):
        board.put(kind, number, {"at": number, "since": number}, 0.0)
    assert board.count(kind) == most
    assert (board.get(kind, 0) is not None) is stays
    assert (board.get(kind, most) is None) is stays


def test_what_is_gone_is_forgotten_some_time() -> None:
    """Names come and go for ever: who was away for long reads all anew."""
    board = Board()
    board.put("class", "stays", {}, 0.0)
    early = board.number
    for number in range(GONE_MAX + 10):
        board.put("kind", number, {}, 0.0)
        board.drop("kind", number)
    assert board.since(early) is None
    assert len(board.since(board.number - 100) or ()) == 50
    assert len(board.all()) == 1
    assert board.since(board.number + 1) is None


def test_nonsense_is_refused() -> None:
    """What cannot be a record raises, and changes nothing."""
    board = Board()
    with pytest.raises(ProtocolError, match="waiting"):
        board.put("class", "a", {"waiting": "many"}, 0.0)
    assert board.all() == []
