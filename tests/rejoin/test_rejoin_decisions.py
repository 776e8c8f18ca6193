"""Whom a worker serves, and what it still has to say: no clock, no Dask."""

from __future__ import annotations

from typing import Any

import pytest

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running
from dtf_dask.worker_plugins import rejoin_unsaid
from dtf_dask.worker_plugins.rejoin_standing import Standing
from dtf_dask.worker_plugins.rejoin_unsaid import Unsaid, not_yet_ended


def ended(key: str, run_id: int, op: str = "task-finished") -> dict[str, Any]:
    return {"op": op, "key": key, "run_id": run_id}


def event(number: int) -> dict[str, Any]:
    return {"op": "log-event", "msg": number}


def test_nobody_serves_a_leader_of_old() -> None:
    """The newest term that was heard of counts, whether or not it was joined."""
    standing = Standing(patience_s=10)
    assert not standing.away
    standing.joined(3)
    assert standing.called(2) == "stale"
    assert standing.called(3) == "known"
    assert standing.called(5) == "newer"
    assert standing.called(5) == "known"
    assert [standing.may_join(term) for term in (3, 4, 5, 6)] == [
        *(False, False, True, True)
    ]
    standing.joined(6)
    assert (standing.term, standing.newest) == (6, 6)
    assert not standing.may_join(5)


def test_patience_counts_from_the_first_loss() -> None:
    """To lose a leader that is lost already changes nothing; joining starts it anew."""
    standing = Standing(patience_s=10)
    standing.joined(1)
    standing.lost(now=100)
    standing.lost(now=105)
    assert standing.away
    assert (standing.away_s(108), standing.waits_s(108)) == (8, 2)
    assert standing.waits_s(111) < 0
    standing.joined(1)
    assert not standing.away
    assert standing.waits_s(500) == 10


def test_what_an_inventory_tells_is_not_said_again() -> None:
    """Events stay, and ends of tasks whose state is that end; order is kept."""
    unsaid = Unsaid()
    for message in (
        {"op": "long-running", "key": "a", "run_id": 1},
        event(1),
        ended("gone", 2),
        ended("again", 3, "task-erred"),
        event(2),
        ended("again", 4),
        {"op": "add-keys", "keys": ["b"]},
        ended("bad", 5, "task-erred"),
        {"op": "of-a-plugin"},
        event(3),
    ):
        unsaid.add(message)
    states = {"again": "memory", "bad": "error", "a": "executing"}
    assert unsaid.settle(states.get) == {"again": 4, "bad": 5}
    kept = [
        *(event(1), event(2), ended("again", 4), ended("bad", 5, "task-erred")),
        *({"op": "of-a-plugin"}, event(3)),
    ]
    assert unsaid.settle(states.get) == {"again": 4, "bad": 5}  # as often as one likes
    assert unsaid.take() == kept
    assert len(unsaid) == 0


def test_what_the_broken_stream_still_held_comes_first() -> None:
    """It was said before what could not be given to the stream any more."""
    unsaid = Unsaid()
    unsaid.add(event(3))
    unsaid.put_before([event(1), event(2)])
    assert unsaid.take() == [event(1), event(2), event(3)]


def test_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go; ends of tasks never do."""
    monkeypatch.setattr(rejoin_unsaid, "EVENTS_MAX", 2)
    unsaid = Unsaid()
    for message in (ended("x", 1), event(1), event(2), event(3), event(4)):
        unsaid.add(message)
    assert unsaid.dropped == 2
    assert unsaid.take() == [ended("x", 1), event(3), event(4)]


def test_an_inventory_before_some_ends() -> None:
    """Who is said to have ended later is said to run now, and nowhere else."""
    found = Inventory(
        "w",
        3,
        (Held("a", 8, "int", 1), Held("b", 8, "int", 2)),
        (Running("c", 3, 1.0, False),),
        (Erred("d", 4, b"", b"", "", ""), Erred("e", 5, b"", b"", "", "")),
        ("a", "b"),
        (Running("p", 6, 2.0, True),),
    )
    before = not_yet_ended(found, {"a": 1, "e": 5})
    assert [one.key for one in before.memory] == ["b"]
    assert [(one.key, one.run_id) for one in before.running] == [
        *(("c", 3), ("a", 1), ("e", 5))
    ]
    assert [one.key for one in before.erred] == ["d"]
    assert before.actors == ("b",)
    assert before.parting == found.parting
