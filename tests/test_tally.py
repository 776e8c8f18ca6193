"""Which attempt settles a case, and what an attempt is made of: no clock, no Dask."""

from __future__ import annotations

from typing import Any

import pytest

from dtf_dask.model import CaseId, Outcome
from dtf_dask.runs.attempts import crash_message
from dtf_dask.runs.tally import LOSSES_MAX, Tally
from dtf_dask.runs.verdict import exit_code, run_status

IDS = [CaseId("t.py::a"), CaseId("t.py::b")]


def report(when: str, outcome: str, **more: Any) -> dict[str, Any]:
    base = {"$report_type": "TestReport", "when": when, "outcome": outcome}
    return base | {"duration": 0.25, "sections": [], "user_properties": []} | more


def case(number: int, *reports: dict[str, Any], **more: Any) -> dict[str, Any]:
    frame = {"op": "case", "i": number, "start": 100.0, "wall": 1.0}
    return frame | {"reports": list(reports)} | more


def passing(number: int) -> dict[str, Any]:
    phases = ("setup", "call", "teardown")
    return case(number, *(report(when, "passed") for when in phases))


def failing(number: int) -> dict[str, Any]:
    return case(
        number,
        report("setup", "passed"),
        report("call", "failed"),
        report("teardown", "passed"),
        text="the traceback",
        exception="assert 1 == 2",
    )


def crash(number: int, cause: str, **more: Any) -> dict[str, Any]:
    return {"op": "crash", "i": number, "cause": cause} | more


@pytest.mark.parametrize(
    ("reports", "outcome", "detail"),
    [
        ([report("setup", "failed")], Outcome.ERROR, ""),
        ([report("setup", "skipped")], Outcome.SKIPPED, ""),
        (
            [report("setup", "passed"), report("call", "skipped", wasxfail="why")],
            Outcome.SKIPPED,
            "xfailed",
        ),
        (
            [report("setup", "passed"), report("call", "passed", wasxfail="why")],
            Outcome.PASSED,
            "xpassed",
        ),
        (
            [
                report("setup", "passed"),
                report("call", "passed"),
                report("teardown", "failed"),
            ],
            Outcome.ERROR,
            "",
        ),
        (
            [
                report("setup", "passed"),
                report("call", "failed"),
                report("teardown", "failed"),
            ],
            Outcome.FAILED,
            "",
        ),
        # A rerun plugin's discarded tries come before the one that counts.
        (
            [
                report("setup", "passed"),
                report("call", "rerun"),
                report("setup", "passed"),
                report("call", "passed"),
            ],
            Outcome.PASSED,
            "",
        ),
        ([], Outcome.ERROR, "unreported"),
    ],
)
def test_the_outcome_is_what_pytest_counts(
    reports: list[dict[str, Any]], outcome: Outcome, detail: str
) -> None:
    """Outcomes come from the reports of the phases as pytest's own summary does."""
    attempt, fate = Tally(IDS, retries=0).judge(case(0, *reports), "gw0", "host")
    assert (attempt.outcome, attempt.detail, fate) == (outcome, detail, "settled")


def test_duration_leaves_out_what_others_share() -> None:
    """The set-up of a shared fixture is in the phases, and not in the duration."""
    frame = passing(0) | {"wall": 5.0, "setups": [["session:::db", 4.5]]}
    attempt, _ = Tally(IDS, retries=0).judge(frame, "gw0", "host")
    assert attempt.duration_s == pytest.approx(0.5)
    assert [phase.duration_s for phase in attempt.phases] == [0.25, 0.25, 0.25]


def test_output_is_kept_once() -> None:
    """pytest repeats a phase's sections in later reports; an attempt does not."""
    said = [["Captured stdout call", "hello\n"], ["Captured log call", "INFO x"]]
    frame = case(
        0,
        report("call", "failed", sections=said),
        report("teardown", "passed", sections=said),
    )
    attempt, _ = Tally(IDS, retries=0).judge(frame, "gw0", "host")
    assert (attempt.stdout, attempt.log) == ("hello\n", "INFO x")


def test_a_failure_is_retried_and_then_flaky() -> None:
    """A failed attempt with retries left is replaced; passing afterwards is flaky."""
    tally = Tally(IDS, retries=2)
    first, fate = tally.judge(failing(0), "gw0", "host")
    assert (first.detail, fate, first.number) == ("retried", "retry", 1)
    second, fate = tally.judge(passing(0), "gw1", "host")
    assert (second.outcome, fate, second.number) == (Outcome.PASSED, "settled", 2)
    assert tally.end.flaky == [IDS[0]]
    assert dict(tally.end.outcomes) == {"passed": 1}


def test_retries_end() -> None:
    """After its retries a failure is settled, and no case borrows another's."""
    tally = Tally(IDS, retries=1)
    fates = [tally.judge(failing(0), "gw0", "host")[1] for _ in range(2)]
    assert fates == ["retry", "settled"]
    assert tally.judge(failing(1), "gw0", "host")[1] == "retry"


def test_losses_are_not_the_tests_failures() -> None:
    """A case whose worker dies is run again, uses up no retry, and not for ever."""
    tally = Tally(IDS, retries=1)
    lost = crash(0, "worker gone", lost=True)
    fates = [tally.judge(lost, "gw0", "host")[1] for _ in range(LOSSES_MAX + 1)]
    assert fates == ["lost"] * LOSSES_MAX + ["settled"]
    assert dict(tally.end.outcomes) == {"lost": 1}


def test_a_late_failure_adds_an_error() -> None:
    """A shared fixture that fails in the end adds an attempt in error."""
    tally = Tally(IDS, retries=1)
    tally.judge(passing(0), "gw0", "host")
    late = case(0, report("teardown", "failed"), late=True)
    attempt, fate = tally.judge(late, "gw0", "host")
    assert (attempt.outcome, attempt.number, fate) == (Outcome.ERROR, 2, "late")


def test_crashes_and_hangs_say_what_happened() -> None:
    """The one line of a crash names signal, exit code or time."""
    assert crash_message({"cause": "exit 3"}).endswith("it left with exit 3")
    assert "memory" in crash_message({"cause": "signal SIGKILL"})
    attempt, _ = Tally(IDS, retries=0).judge(
        crash(0, "timeout", timeout_s=2.0, stacks="Thread 1", after_s=2.2), "gw0", "h"
    )
    assert attempt.outcome is Outcome.TIMEOUT
    assert "Thread 1" in attempt.traceback


def test_the_status_of_a_run() -> None:
    """A run passes only with passed and skipped cases; an interruption is exit 2."""
    tally = Tally(IDS, retries=0)
    tally.judge(passing(0), "gw0", "host")
    assert (run_status(tally.end), exit_code(tally.end)) == ("passed", 0)
    tally.judge(crash(1, "signal SIGSEGV"), "gw0", "host")
    assert (run_status(tally.end), exit_code(tally.end)) == ("failed", 1)
    tally.end.interrupted = True
    assert (run_status(tally.end), exit_code(tally.end)) == ("interrupted", 2)
