"""Alerts: each rule holds when it should, and is silent when it should not."""

from __future__ import annotations

from typing import Any

import pytest

from dtf_dask.view.alerts import ALERTS_MAX, alerts
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import PREFIX, encoded, formed, record_key

NOW = 1e9


def seen(*records: tuple[str, dict[str, Any]]) -> ReadModel:
    model = ReadModel()
    for number, (kind, fields) in enumerate(records):
        name = fields.get("name", fields.get("run", number))
        value = encoded(formed(kind, fields))
        model.apply([(PREFIX + record_key(kind, name), value)], 1, number + 1, at=NOW)
    assert model.refused == 0
    return model


def told(*records: tuple[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one.level, one.rule, one.subject) for one in alerts(seen(*records), NOW)]


def queue(state: str) -> dict[str, Any]:
    return {"pressure": {"state": state, "waiting": 9, "bound": 10, "pressed_at": 8}}


def disk(free: object, total: object) -> tuple[str, dict[str, Any]]:
    facts = {"disk.free": free, "disk.total": total}
    return "worker", {"name": "w", "status": "running", "facts": facts}


GIB = 2**30


@pytest.mark.parametrize(
    ("kind", "fields", "found"),
    [
        ("class", {"name": "c", "latest": NOW + 61}, None),
        ("class", {"name": "c", "latest": NOW + 59}, ("warning", "deadline", "c")),
        ("class", {"name": "c", "latest": NOW - 1}, ("critical", "deadline", "c")),
        ("class", {"name": "c"}, None),
        ("worker", {"name": "w", "status": "running"}, None),
        ("worker", {"name": "w", "status": "left", "shut": "x"}, None),
        ("worker", {"name": "w", "status": "lost"}, ("warning", "worker-lost", "w")),
        ("worker", {"name": "w", "shut": "bad"}, ("warning", "worker-shut", "w")),
        (*disk(GIB, 100 * GIB), ("warning", "disk", "w")),
        (*disk(GIB, 2 * GIB), None),
        (*disk(20 * GIB, 1000 * GIB), None),
        (*disk("much", 7), None),
        (*disk(True, True), None),
        ("cluster", {"workers": 1, "waiting": 5}, None),
        ("cluster", {"waiting": 5}, ("critical", "no-workers", "")),
        ("cluster", queue("calm"), None),
        ("cluster", queue("pressed"), ("warning", "queue", "")),
        ("cluster", queue("shedding"), ("critical", "queue", "")),
        ("cluster", queue("odd"), None),
        ("cluster", {"problem": "it failed"}, ("critical", "scheduling", "")),
        (
            *("cluster", {"policies_disabled": {"p": "raised"}}),
            ("warning", "policy", "p"),
        ),
        (
            *("run", {"run": "r", "status": "running", "flaky": 5}),
            ("warning", "flaky", "r"),
        ),
        ("run", {"run": "r", "status": "running", "flaky": 4}, None),
        ("run", {"run": "r", "status": "passed", "flaky": 50}, None),
        (
            "run",
            {"run": "r", "status": "running", "flaky": 5, "counts": {"passed": 100}},
            None,
        ),
    ],
)
def test_each_rule(
    kind: str, fields: dict[str, Any], found: tuple[str, str, str] | None
) -> None:
    """At its bound, beyond it, and with what a hostile worker may have said."""
    assert told((kind, fields)) == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("told_of", "count"),
    [
        ({"quorum_left": None}, 0),
        ({"quorum_left": 1, "voters": [1, 2, 3]}, 0),
        ({"quorum_left": 0, "voters": [1, 2, 3]}, 1),
        ({"quorum_left": 0, "voters": [1]}, 0),
        ({"quorum_left": -1, "voters": [1]}, 1),
        ({}, 0),
    ],
)
def test_a_quorum_at_risk(told_of: dict[str, Any], count: int) -> None:
    """One coordinator alone has no spare; of several the last spare one counts."""
    found = alerts(ReadModel(), NOW, coordinators=[told_of])
    assert [one.rule for one in found] == ["quorum"] * count


def test_what_a_coordinator_says_is_wrong_with_it() -> None:
    """Each by itself, with its name; nobody who leads is the cluster's."""
    told_of = {
        "name": "b",
        "leader": 0,
        "failure": "it fell",
        "disk_full": "no room",
        "web": {"alarm": "3 in a row"},
        "scheduler": {"alarm": ""},
    }
    found = alerts(ReadModel(), NOW, coordinators=[told_of])
    assert [(one.id, one.words) for one in found] == [
        ("coordinator-disk/b", "coordinator b: no room"),
        ("coordinator-failed/b", "coordinator b: it fell"),
        ("coordinator-web/b", "coordinator b: 3 in a row"),
        ("no-leader/", "no coordinator leads: what is submitted waits"),
    ]


def test_the_worst_comes_first_and_there_are_not_too_many() -> None:
    """A thousand lost workers hide no deadline, and the list has an end."""
    lost = [
        ("worker", {"name": f"w{n}", "status": "lost", "left_at": NOW - n})
        for n in range(ALERTS_MAX + 50)
    ]
    found = alerts(seen(*lost, ("class", {"name": "c", "latest": NOW - 5})), NOW)
    assert found[0].rule == "deadline"
    assert found[1].subject == "w0"
    assert len(found) == ALERTS_MAX
    assert len({one.id for one in found}) == ALERTS_MAX


def test_nothing_seen_is_no_alert() -> None:
    """An empty model says nothing: the face says that it has seen nothing."""
    assert alerts(ReadModel(), NOW) == []
