"""What a client holds until the ledger has it: numbers, order, marks, room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.durable import outbox
from dtf_dask.durable.client_standing import ClientStanding
from dtf_dask.durable.outbox import Outbox
from dtf_dask.errors import ProtocolError


@given(st.lists(st.integers(0, 12) | st.none(), max_size=40))
def test_each_operation_is_held_until_it_is_acknowledged(
    steps: list[int | None],
) -> None:
    """Numbers count from 1 without a gap; what is held is what the ledger may lack."""
    box, given_, known = Outbox(), 0, 0
    for step in steps:
        if step is None:
            given_ += 1
            assert box.add(b"%d" % given_, (f"k{given_}",)).seq == given_
        elif step > given_:
            with pytest.raises(ProtocolError):
                box.acknowledge(step)
        else:
            done = [one.seq for one in box.acknowledge(step)]
            assert done == list(range(known + 1, step + 1))
            known = max(known, step)
        assert [one.seq for one in box.held()] == list(range(known + 1, given_ + 1))
        assert box.pending == given_ - known
        assert box.settled(known)
        assert box.settled(given_) == (known == given_)


def test_a_key_is_marked_from_before_it_is_sent_until_the_ledger_has_it() -> None:
    """Twice submitted, it is known when both are; a refused one is known, too."""
    box = Outbox()
    box.begin(["x", "y"])
    box.begin(["x"])
    assert box.begun("x")
    assert box.begun("y")
    assert not box.begun("z")
    box.add(b"1", ("x", "y"))
    box.add(b"2", ("x",))
    box.acknowledge(1)
    assert box.begun("x")
    assert not box.begun("y")
    refused = box.refuse(2)
    assert refused is not None
    assert refused.keys == ("x",)
    assert not box.begun("x")
    assert box.refuse(2) is None
    assert box.held() == []


def test_room_is_bounded_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One always has room, however large; where nobody can wait there is some more."""
    monkeypatch.setattr(outbox, "OPERATIONS_MAX", 2)
    monkeypatch.setattr(outbox, "BYTES_MAX", 10)
    box = Outbox()
    assert box.has_room(1000)
    box.charge(8)
    assert box.has_room(2)
    assert not box.has_room(3)
    assert box.has_room(3, hard=True)
    box.charge(1)
    assert not box.has_room(1)
    assert box.has_room(1, hard=True)
    box.add(b"", charged=8)
    box.acknowledge(1)
    assert box.charged_count == 1
    assert box.has_room(9)


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (ClientStanding(False, False, "", 0, 0, ""), "keeps no ledger"),
        (
            ClientStanding(True, True, "lab", 2, 0, ""),
            "is in the ledger of lab (term 2)",
        ),
        (
            ClientStanding(True, True, "lab", 2, 1, ""),
            "1 operation is not in the ledger",
        ),
        (ClientStanding(True, True, "lab", 2, 9, "no quorum"), "yet: no quorum"),
        (ClientStanding(True, False, "lab", 2, 9, ""), "yet: no scheduler leads"),
    ],
)
def test_it_is_said_in_a_line(standing: ClientStanding, text: str) -> None:
    """What waits, and why."""
    assert text in str(standing)
