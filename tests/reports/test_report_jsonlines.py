"""JSON lines: what readers of pytest-reportlog files expect, one line a phase."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.reports import TestReport
from report_samples import HOSTILE_ID, RUN, attempt, attempts

from dtf_dask.model import Attempt, Outcome
from dtf_dask.runs.reports import jsonlines


def _lines(found: list[Attempt]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in jsonlines.render(RUN, found)]


def _reports(name: str) -> list[dict[str, Any]]:
    return [
        line for line in _lines(attempts()) if line.get("nodeid", "").endswith(name)
    ]


def test_session_frames_the_reports() -> None:
    """The first line starts the session, the last ends it with pytest's exit code."""
    first, *middle, last = _lines(attempts())
    assert first["$report_type"] == "SessionStart"
    assert first["pytest_version"] == "9.2"
    assert {line["$report_type"] for line in middle} == {"TestReport"}
    assert (last["$report_type"], last["exitstatus"]) == ("SessionFinish", 1)


def test_pytest_reads_every_report_back() -> None:
    """Each report makes a `TestReport` by pytest's own function."""
    for line in _lines(attempts())[1:-1]:
        report = TestReport._from_json(dict(line))
        assert report.nodeid == line["nodeid"]
        assert report.when in ("setup", "call", "teardown")


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("test_ok[1]", ["setup passed", "call passed", "teardown passed"]),
        ("test_bad", ["setup passed", "call failed", "teardown passed"]),
        ("test_set_up", ["setup failed"]),
        ("test_skip", ["setup skipped"]),
        # Neither phase of these was reported: a made-up one carries the outcome.
        ("test_hang", ["call failed"]),
        ("test_gone", ["call failed"]),
    ],
)
def test_some_phase_tells_the_outcome(name: str, phases: list[str]) -> None:
    """A reader that knows phases only comes to the right outcome."""
    assert [f"{r['when']} {r['outcome']}" for r in _reports(name)] == phases


def test_the_telling_phase_carries_text_and_output() -> None:
    """The failure's text and the captured output are on the phase that failed, once."""
    setup, call, teardown = _reports("test_bad")
    assert setup["longrepr"] is None
    assert teardown["sections"] == []
    assert "assert 1 == 2" in call["longrepr"]
    assert call["sections"] == [
        ["Captured stdout call", "out\n"],
        ["Captured stderr call", "err\n"],
        ["Captured log call", "WARNING log\n"],
    ]
    (skipped,) = _reports("test_skip")
    assert skipped["longrepr"][2] == "Skipped: needs a GPU"


def test_attempts_of_a_case_are_told_apart() -> None:
    """A retried failure is a rerun, as in pytest-rerunfailures; the last one counts."""
    found = _reports("test_flaky")
    assert [r["outcome"] for r in found if r["when"] == "call"] == ["rerun", "passed"]
    assert [r["$dtf"]["attempt"] for r in found] == [1, 1, 2, 2, 2]


def test_lines_are_lines_whatever_they_hold() -> None:
    """No text can break a line, and every text comes back as it was."""
    lines = list(jsonlines.render(RUN, attempts()))
    assert all(line.isascii() and line.count("\n") == 1 for line in lines)
    assert any(json.loads(line).get("nodeid") == HOSTILE_ID for line in lines)
    assert not any("NaN" in line for line in lines)


def test_nothing_is_held_back() -> None:
    """Lines come as attempts do: a report of any size needs no memory."""
    asked = 0

    def endless() -> Iterator[Attempt]:
        nonlocal asked
        while True:
            asked += 1
            yield attempt(f"t{asked}", Outcome.PASSED)

    lines = jsonlines.render(RUN, endless())
    for _ in range(3):
        next(lines)
    assert asked == 2
