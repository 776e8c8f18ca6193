"""The client's side of the ledger, and the leader's time."""

from __future__ import annotations

import doctest
import random

import pytest

from dtf_dask.ha.ledger import entries, log_clock, state_machine
from dtf_dask.ha.ledger.entries import encode_command, encode_entry
from dtf_dask.ha.ledger.kinds import PUT, SESSION_OPEN
from dtf_dask.ha.ledger.log_clock import LogClock
from dtf_dask.ha.ledger.numbering import Numbering
from dtf_dask.ha.ledger.outcomes import (
    FORGOTTEN,
    NO_SESSION,
    UNKNOWN,
    Code,
    Outcome,
)
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.ledger.sessions import OUTCOMES_MAX
from dtf_dask.ha.ledger.state_machine import Applied, StateMachine


@pytest.mark.parametrize("module", [entries, state_machine, log_clock])
def test_the_examples_are_true(module: object) -> None:
    """What documentation shows is what happens."""
    names = {
        "Get": Get,
        "PUT": PUT,
        "encode_command": encode_command,
        "encode_entry": encode_entry,
    }
    ran = doctest.testmod(module, extraglobs=names)  # type: ignore[arg-type]
    assert (ran.failed, ran.attempted > 0) == (0, True)


def test_time_goes_on_from_the_log_and_never_back() -> None:
    """It is as fast as the monotonic clock, and stands still without a leader."""
    clock = LogClock(1_000, now_s=50.0)
    assert [clock.stamp(50.0), clock.stamp(50.5), clock.stamp(49.0)] == [
        1_000,
        1_500,
        1_500,
    ]
    assert LogClock(1_500, now_s=9_000.0).stamp(9_000.1) == 1_600


def test_what_may_be_forgotten_is_what_has_an_outcome() -> None:
    """`done_below` is the lowest number that waits, whatever came after it."""
    numbering = Numbering("c")
    numbers = [numbering.number(PUT, "n", "k", b"").number for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert numbering.done_below == 1
    numbering.settle(2, Outcome(Code.OK))
    assert numbering.done_below == 1
    numbering.settle(1, Outcome(Code.OK))
    assert numbering.done_below == 3
    numbering.settle(3, Outcome(Code.OK))
    assert numbering.done_below == 4


def test_no_more_is_numbered_than_the_ledger_keeps() -> None:
    """One old command that waits holds up the numbers, so that none is refused."""
    numbering = Numbering("c", outstanding_max=4)
    for _ in range(4):
        assert not numbering.full
        numbering.number(PUT, "n", "k", b"")
    assert numbering.full
    for number in (2, 3, 4):
        numbering.settle(number, Outcome(Code.OK))
    assert numbering.full
    with pytest.raises(ValueError, match="4 commands wait"):
        numbering.number(PUT, "n", "k", b"")
    numbering.settle(1, Outcome(Code.OK))
    assert not numbering.full
    assert Numbering("c", 10**9)._outstanding_max == OUTCOMES_MAX


@pytest.mark.parametrize("outcome", [NO_SESSION, FORGOTTEN])
def test_an_expired_session_leaves_an_unanswered_command_unknown(
    outcome: Outcome,
) -> None:
    """Only what was never sent before is known not to have been done."""
    numbering = Numbering("c")
    first, second = (numbering.number(PUT, "n", "k", b"") for _ in range(2))
    numbering.unanswered(first.number)
    assert numbering.settle(first.number, outcome) == UNKNOWN
    assert numbering.settle(second.number, outcome) == outcome
    third = numbering.number(PUT, "n", "k", b"")
    numbering.unanswered(third.number)
    assert numbering.settle(third.number, Outcome(Code.OK, 7)) == Outcome(Code.OK, 7)
    numbering.unanswered(99)
    assert numbering.settle(99, outcome) == outcome


@pytest.mark.parametrize("seed", range(20))
def test_over_a_network_that_loses_and_repeats_each_is_done_once(seed: int) -> None:
    """A client that sends again until it is answered has each done just once."""
    rng = random.Random(seed)
    state, numbering = StateMachine(), Numbering("c", outstanding_max=5)
    state.apply(1, encode_entry(0, [encode_command(SESSION_OPEN, 60_000, session="c")]))
    waiting: dict[int, bytes] = {}
    under_way: list[tuple[int, bytes]] = []
    revisions = []
    sent = 0
    while sent < 60 or waiting:
        if sent < 60 and not numbering.full and rng.random() < 0.5:
            number, packed = numbering.number(PUT, "n", f"k{sent}", b"")
            waiting[number] = packed
            sent += 1
        under_way += [one for one in waiting.items() if rng.random() < 0.5]
        rng.shuffle(under_way)
        batch = under_way[: rng.randrange(4)]
        payload = encode_entry(state.time_ms + 10, [packed for _, packed in batch])
        applied = state.apply(state.index + 1, payload)
        assert isinstance(applied, Applied)
        if rng.random() < 0.7:  # else it stays under way, and comes again
            del under_way[: len(batch)]
        for (number, _), outcome in zip(batch, applied.outcomes, strict=True):
            if rng.random() < 0.6 and number in waiting:  # else the answer is lost
                assert outcome.code == Code.OK
                revisions.append(numbering.settle(number, outcome).value)
                del waiting[number]
    assert sorted(revisions) == list(range(1, 61))
    assert state.records.revision == 60
