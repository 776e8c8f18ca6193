"""Tables: what Qt is told of rows that come, go, change and move is true."""

from __future__ import annotations

import random
from typing import Any

import pytest
from made_cluster import case_rows
from PySide6.QtCore import QPersistentModelIndex, Qt
from pytestqt.modeltest import ModelTester

from monitor_app.models.arranged import DISPLAY, ArrangedModel
from monitor_app.models.cases import ATTEMPTS, CASE, OUTCOME, PAST, TOOK, CasesModel
from monitor_app.models.table import Column, RowsModel
from monitor_app.views.theme import Theme


@pytest.fixture
def rows(theme: Theme, qtmodeltester: ModelTester) -> RowsModel:
    columns = (
        Column("Name", lambda row: row["name"]),
        Column("N", lambda row: str(row["n"]), lambda row: row["n"], right=True),
        Column("State", lambda row: row["state"], mark=lambda row: row["state"]),
    )
    model = RowsModel(columns, theme.brush)
    qtmodeltester.check(model, force_py=True)
    return model


def shown(model: ArrangedModel[Any], column: int) -> list[str]:
    return [
        model.data(model.index(n, column), DISPLAY) for n in range(model.rowCount())
    ]


def test_what_is_not_known_is_last(theme: Theme) -> None:
    """Sorted either way, rows without a value are below those with one."""
    columns = (Column("N", lambda row: str(row["n"]), lambda row: row["n"]),)
    model = RowsModel(columns, theme.brush)
    model.show({str(k): {"n": n} for k, n in enumerate((None, 2, 0, None, 1))})
    assert shown(model, 0) == ["0", "1", "2", "None", "None"]
    model.sort(0, Qt.SortOrder.DescendingOrder)
    assert shown(model, 0) == ["2", "1", "0", "None", "None"]


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_as_they_were_given_whatever_happened_before(
    rows: RowsModel, seed: int
) -> None:
    """After any changes a table shows what a new one would; marks stay on rows."""
    chance = random.Random(seed)
    held: dict[str, QPersistentModelIndex] = {}
    told: dict[str, dict[str, Any]] = {}
    for _ in range(25):
        for _ in range(chance.randrange(4)):
            name = f"w{chance.randrange(30):02}"
            if chance.random() < 0.3:
                told.pop(name, None)
            else:
                state = chance.choice(("passed", "failed"))
                told[name] = {"name": name, "n": chance.randrange(9), "state": state}
        action = chance.random()
        if action < 0.1:
            order = chance.choice([*Qt.SortOrder])
            rows.sort(chance.randrange(3), order)
        elif action < 0.2:
            rows.find(chance.choice(("", "w1", "fail")))
        elif action < 0.3:
            wanted = chance.choice((None, lambda row: row["n"] > 3))
            rows.want(wanted)
        rows.show(told)
        for name, index in held.items():
            if index.isValid():
                assert rows.key(index.row()) == name
        held = {
            rows.key(n): QPersistentModelIndex(rows.index(n, 0))
            for n in range(rows.rowCount())
        }
    fresh = RowsModel(rows.columns, lambda name: None)
    fresh.show(told)
    rows.find("")
    rows.want(None)
    rows.sort(0)
    assert [shown(rows, n) for n in range(3)] == [shown(fresh, n) for n in range(3)]
    assert rows.total == len(told)


def test_only_what_changed_is_told(rows: RowsModel) -> None:
    """A row that is the same object as before costs nothing; others come as ranges."""
    told = {
        f"w{n:02}": {"name": f"w{n:02}", "n": n, "state": "passed"} for n in range(9)
    }
    rows.show(told)
    changed: list[tuple[int, int]] = []
    rows.dataChanged.connect(lambda a, b: changed.append((a.row(), b.row())))
    rows.show(told)
    assert changed == []
    for n in (2, 3, 7):
        told[f"w{n:02}"] = {**told[f"w{n:02}"], "state": "failed"}
    rows.show(told)
    assert changed == [(2, 3), (7, 7)]
    assert rows.data(rows.index(2, 2), DISPLAY) == "✗ failed"


@pytest.fixture
def cases(theme: Theme, qtmodeltester: ModelTester) -> CasesModel:
    model = CasesModel(theme.brush)
    qtmodeltester.check(model, force_py=True)
    return model


def tried(case_id: str, number: int, outcome: str) -> dict[str, Any]:
    return {
        "case_id": case_id,
        "number": number,
        "outcome": outcome,
        "duration_s": 0.5,
    }


def test_cases_are_found_sorted_and_filtered(cases: CasesModel) -> None:
    """The table shows what a plain list, searched and sorted, would hold."""
    told = case_rows(200)
    for start in range(0, 200, 50):
        cases.read(told[start : start + 50])
    assert shown(cases, CASE) == [one["case_id"] for one in told]
    cases.find("TEST_7.PY")
    found = [one for one in told if "test_7.py" in one["case_id"]]
    assert shown(cases, CASE) == [one["case_id"] for one in found]
    cases.want(["failed", "flaky"])
    found = [one for one in found if one["flaky"] or one["outcome"] == "failed"]
    assert shown(cases, CASE) == [one["case_id"] for one in found]
    cases.sort(TOOK, Qt.SortOrder.DescendingOrder)
    found.sort(key=lambda one: -one["duration_s"])
    assert shown(cases, CASE) == [one["case_id"] for one in found]
    cases.find("")
    cases.want([])
    cases.sort(-1)
    assert shown(cases, CASE) == [one["case_id"] for one in told]


def test_attempts_change_cases_in_place(cases: CasesModel) -> None:
    """What passes when tried again is flaky; to hear of it twice is as once."""
    cases.read(case_rows(10))
    name = cases.case(3)
    cases.tried([tried(name, 2, "failed"), tried("new", 1, "passed")])
    assert (cases.outcome(3), cases.outcome(10)) == ("failed", "passed")
    for _ in range(2):
        cases.tried([tried(name, 3, "passed"), tried(name, 2, "failed")])
        assert cases.outcome(3) == "flaky"
        assert cases.data(cases.index(3, ATTEMPTS), DISPLAY) == "3"
    assert cases.data(cases.index(3, OUTCOME), DISPLAY) == "~ flaky"


def test_what_runs_is_there_before_it_has_ended(cases: CasesModel) -> None:
    """With how long it runs; what it came to takes its place, and nothing is counted
    as ended before."""
    cases.read(case_rows(2))
    cases.run({"now": 3.0, cases.case(0): 1.0})
    assert [cases.outcome(n) for n in (0, 2)] == [case_rows(1)[0]["outcome"], "running"]
    assert (cases.ended, cases.total, cases.counts()["running"]) == (2, 3, 1)
    cases.want(["running"])
    assert (shown(cases, CASE), cases.question()) == (["now"], None)
    cases.want([])
    cases.run({"now": 4.0, "next": 0.5})
    assert cases.data(cases.index(2, TOOK), DISPLAY) == "4.0 s"
    cases.tried([tried("now", 1, "failed")])
    cases.run({"next": 2.0})
    assert [cases.outcome(n) for n in (2, 3)] == ["failed", "running"]
    cases.run({})
    assert (cases.outcome(3), cases.ended) == ("unknown", 3)


def test_how_it_went_before_is_asked_for_as_it_is_shown(cases: CasesModel) -> None:
    """What is shown is put in a coordinator's words; what he says stays with rows."""
    cases.read(case_rows(50))
    assert cases.question() == {"q": "", "outcome": "", "sort": "order"}
    cases.sort(TOOK, Qt.SortOrder.DescendingOrder)
    cases.find("TEST_4")
    cases.want(["failed"])
    assert cases.question() == {
        "q": "test_4",
        "outcome": "failed",
        "sort": "-duration_s",
    }
    cases.want(["failed", "lost"])
    assert cases.question() is None
    cases.want([])
    assert cases.lacks_past(0, 3) >= 0
    failed = {"outcome": "failed", "duration_s": 1.0, "flaky": False}
    for one in range(cases.rowCount()):
        cases.learn_past([{"case_id": cases.case(one), "past": [None, failed]}])
    cases.learn_past([{"case_id": "not here", "past": []}])
    assert cases.lacks_past(0, cases.rowCount()) == -1
    assert set(shown(cases, PAST)) == {" ✗"}


def test_a_hostile_name_stays_in_its_cell(cases: CasesModel) -> None:
    """Line ends, and what turns the direction of text, are shown and do nothing."""
    cases.read(
        [
            {
                "case_id": "a\n\u202eb\x00<b>",
                "outcome": "of a later version",
                "duration_s": 1.0,
                "attempts": 1,
                "flaky": False,
            }
        ]
    )
    assert shown(cases, CASE) == ["a⏎\\x202eb\\x0<b>"]
    assert shown(cases, OUTCOME) == ["? unknown"]
