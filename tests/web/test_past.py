"""What is answered of how it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from following import asked
from site_room import SiteRoom, record

from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results.figures import numbers_of
from dtf_dask.runs.results.store import ResultsStore

A, B = CaseId("a"), CaseId("b")


def attempt(
    name: CaseId,
    number: int,
    outcome: Outcome,
    worker: str,
    at: float,
    took_s: float,
    **recorded: Any,
) -> Attempt:
    retried = "retried" if outcome is Outcome.FAILED and number == 1 else ""
    return Attempt(
        *(name, number, outcome),
        worker=worker,
        detail=retried,
        started_at=at,
        duration_s=took_s,
        properties=recorded,
    )


@pytest.fixture
def past(room: SiteRoom, tmp_path: Path) -> SiteRoom:
    """Two runs: in the second, ``a`` fails on one kind of worker and passes on another,
    which the run had another name for, and ``b`` runs for the first time."""
    passed, failed = Outcome.PASSED, Outcome.FAILED
    runs = {
        "r1": (100.0, [attempt(A, 1, passed, "w1", 100, 2, rate=10, unit="MB/s")]),
        "r2": (
            200.0,
            [
                attempt(A, 1, failed, "w1", 200, 1, rate=99),
                replace(
                    attempt(A, 2, passed, "gw7", 202, 4, rate=5.0, ok=True),
                    dask_worker="w2",
                ),
                attempt(B, 1, passed, "w-gone", 210, 9, result={"n": 1, "by": "x"}),
            ],
        ),
    }
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        for name, (at, found) in runs.items():
            names = sorted({one.case_id for one in found})
            run = Run(RunId(name), at, suite="s", cases_planned=len(names))
            store.begin_run(run, names)
            store.add_attempts(name, found)
            ended = {"status": "passed", "exit_code": 0, "finished_at": at + 30}
            store.finish_run(name, **ended)
    room.begin(
        record("worker", "w1", name="w1", kind="small"),
        record("worker", "w2", name="w2", kind="large"),
    )
    return room


def told(room: SiteRoom, path: str) -> Any:
    answer = asked(room.address, path)
    assert answer.status == 200, answer
    return answer.json


def test_what_ran_in_a_time(past: SiteRoom) -> None:
    """By when it began: all that ran then, of runs that began before, too; the latest
    if there is too much, and that there is more is said."""

    def ran(query: str) -> list[tuple[str, int, str]]:
        items = told(past, f"/timeline?{query}")["items"]
        return [(one["case_id"], one["number"], one["where"]) for one in items]

    assert ran("start=1&end=1000") == [
        *(("a", 1, "w1"), ("a", 1, "w1"), ("a", 2, "w2"), ("b", 1, "w-gone")),
    ]
    assert ran("start=203&end=205") == [("a", 2, "w2")]
    assert ran("start=206&end=209") == [("a", 2, "w2")]  # until 206
    assert ran("start=207&end=209") == []
    assert ran("start=1&end=1000&run=r1") == [("a", 1, "w1")]
    assert told(past, "/timeline")["items"] == []
    cut = told(past, "/timeline?start=1&end=1000&limit=2")
    assert [one["number"] for one in cut["items"]] == [2, 1]
    assert (cut["more"], told(past, "/timeline?start=1&limit=4")["more"]) == (True, 0)
    assert asked(past.address, "/timeline?run=none").status == 404


def test_cases_with_what_they_came_to_before(past: SiteRoom) -> None:
    """The run is the last of its runs; where a case was not run there is nothing."""
    grid = told(past, "/runs/r2/grid")
    assert [one["run"] for one in grid["runs"]] == ["r1", "r2"]
    passed = {"outcome": "passed", "duration_s": 2.0, "flaky": False}
    assert {one["case_id"]: one["past"] for one in grid["items"]} == {
        "a": [passed, {"outcome": "passed", "duration_s": 4.0, "flaky": True}],
        "b": [None, {"outcome": "passed", "duration_s": 9.0, "flaky": False}],
    }
    (only,) = told(past, "/runs/r2/grid?outcome=flaky&runs=1")["items"]
    assert (only["case_id"], len(only["past"])) == ("a", 1)
    assert [one["run"] for one in told(past, "/runs/r1/grid")["runs"]] == ["r1"]


def test_numbers_that_tests_recorded(past: SiteRoom) -> None:
    """Of attempts that passed, run by run; what changed most first; of one case, if one
    is named. What is no number, or ours, is none."""
    rate, n = told(past, "/figures?suite=s")["items"]
    assert (rate["case_id"], rate["name"]) == ("a", "rate")
    assert (rate["before"], rate["last"]) == (10.0, 5.0)
    assert rate["points"] == [
        {"run": "r1", "at": 100.0, "value": 10.0},
        {"run": "r2", "at": 200.0, "value": 5.0},
    ]
    assert (n["case_id"], n["name"]) == ("b", "result.n")
    assert (n["last"], n["before"]) == (1.0, None)
    assert told(past, "/figures?suite=s&case=b")["items"] == [n]
    assert told(past, "/figures?suite=s&runs=1&limit=1&case=a")["items"] == [
        {**rate, "before": None, "points": rate["points"][1:]}
    ]
    assert told(past, "/figures?suite=none")["items"] == []
    odd = '{"a": NaN, "b": Infinity, "c": true, "dtf_x": 1, "label.y": 2, "d": 1%s}'
    assert numbers_of(odd % ("0" * 400)) == {}


def test_flaky_and_slow_cases_by_kind_of_worker(past: SiteRoom) -> None:
    """Workers that nobody knows any more are of no kind."""
    (flaky,) = told(past, "/flaky?suite=s")["items"]
    assert (flaky["case_id"], flaky["passed"], flaky["failed"]) == ("a", 1, 1)
    assert flaky["groups"] == [
        {"kind": "large", "passed": 1, "failed": 0, "mean_s": 4.0},
        {"kind": "small", "passed": 1, "failed": 1, "mean_s": 2.0},
    ]
    slow = told(past, "/slowest?suite=s")["items"]
    assert [(one["case_id"], one["mean_s"], one["max_s"]) for one in slow] == [
        ("b", 9.0, 9.0),
        ("a", 3.0, 4.0),
    ]
    assert slow[0]["groups"] == [{"kind": "", "passed": 1, "failed": 0, "mean_s": 9.0}]
    assert told(past, "/slowest?suite=s&runs=1")["items"][1]["mean_s"] == 4.0
    assert told(past, "/flaky?suite=none") == told(past, "/slowest?suite=none")


def test_how_numbers_went(room: SiteRoom) -> None:
    """Since a time: what is before it is left out; CPUs and GPUs are of all workers."""
    room.begin(record("cluster", at=100.0, threads=4, waiting=2))
    loads = [
        record("load", "w1", cpu=1.0, gpus=[{"util": 0.5}]),
        record("load", "w2", cpu=2.0, gpus=[{"util": 1.0}, {"util": None}]),
    ]
    room.change(record("cluster", at=101.0, threads=4, waiting=6, ended=10), *loads)
    room.change(record("run", "r", run="r"))  # says nothing of the numbers
    found = told(room, "/series")
    assert (found["start_s"], found["step_s"]) == (100, 1)
    assert found["values"]["waiting"] == [2.0, 6.0]
    assert found["values"]["ended"] == [10.0, None]
    assert found["values"]["cpu"] == [None, 0.75]
    assert found["values"]["gpu"] == [None, 0.75]
    later = told(room, "/series?since=101")
    assert (later["start_s"], later["values"]["waiting"]) == (101, [6.0])
    assert told(room, "/series?since=500")["values"]["waiting"] == []
    assert told(room, "/series?step=10")["start_s"] == 100
    assert asked(room.address, "/series?step=7").status == 400
