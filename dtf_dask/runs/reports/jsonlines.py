"""JSON lines in the shape of pytest-reportlog: a line a phase, written as it is read.

Its documentation asks readers to ignore keys that they do not know, so what pytest
has no word for (worker, attempt, outcome, artifacts) is in one extra key, ``"$dtf"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dtf_dask.model import Attempt, Outcome, Phase, Run
from dtf_dask.runs.reports.summary import why
from dtf_dask.runs.reports.text import json_text

_EXIT_CODES = {"passed": 0, "failed": 1, "interrupted": 2, "error": 3}
_PHASE_NAMES = ("setup", "call", "teardown")


def render(run: Run, attempts: Iterable[Attempt]) -> Iterator[str]:
    """Yield one line of JSON (with its newline) after the other, holding none."""
    yield _line(
        {
            "pytest_version": str(run.environment.get("pytest", "")),
            "$report_type": "SessionStart",
            "$dtf": {
                "run": run.id,
                "suite": run.suite,
                "command": list(run.command),
                "started_at": run.started_at,
                "snapshot": run.snapshot,
                "environment": dict(run.environment),
                "policy": dict(run.policy),
            },
        }
    )
    for attempt in attempts:
        for report in reports(attempt):
            yield _line(report)
    exit_code = run.exit_code
    if exit_code is None:
        exit_code = _EXIT_CODES.get(run.status)  # None while it runs
    yield _line(
        {
            "exitstatus": exit_code,
            "$report_type": "SessionFinish",
            "$dtf": {"status": run.status, "finished_at": run.finished_at},
        }
    )


def reports(attempt: Attempt) -> Iterator[dict[str, Any]]:
    """The test reports of one attempt, one for each phase that was known to run."""
    path, _, domain = attempt.case_id.partition("::")
    phases = _phases(attempt)
    telling = _telling_phase(phases)
    start = attempt.started_at
    for phase in phases:
        told = phase is telling
        outcome: str = phase.outcome
        if attempt.detail == "retried" and outcome == "failed":
            outcome = "rerun"  # the word of pytest-rerunfailures
        report: dict[str, Any] = {
            "nodeid": attempt.case_id,
            "location": [path, None, domain.replace("::", ".") or path],
            "keywords": {},
            "outcome": outcome,
            "longrepr": _longrepr(attempt, path) if told else None,
            "when": phase.name,
            "user_properties": [list(pair) for pair in attempt.properties.items()],
            "sections": _sections(attempt, phase) if told else [],
            "duration": phase.duration_s,
            "start": start,
            "stop": start + phase.duration_s,
            "$report_type": "TestReport",
            "$dtf": _extra(attempt),
        }
        if attempt.detail in ("xfailed", "xpassed") and told:
            report["wasxfail"] = attempt.exception
        yield report
        start += phase.duration_s


def _phases(attempt: Attempt) -> tuple[Phase, ...]:
    """The phases, with one made up if none of them tells the attempt's outcome.

    A crash or a timeout ends a test within a phase that never reported, and a callable
    has no phases at all.
    """
    phases = attempt.phases
    wanted = {Outcome.PASSED: "passed", Outcome.SKIPPED: "skipped"}.get(
        attempt.outcome, "failed"
    )
    if any(phase.outcome == wanted for phase in phases):
        return phases
    seen = {phase.name for phase in phases}
    name = next((n for n in _PHASE_NAMES if n not in seen), "teardown")
    if not phases:
        name = "call"
    spent = sum(phase.duration_s for phase in phases)
    rest = max(0.0, attempt.duration_s - spent)
    made_up = Phase(name, wanted, rest)  # type: ignore[arg-type]
    return (*(phase for phase in phases if phase.name != name), made_up)


def _telling_phase(phases: tuple[Phase, ...]) -> Phase:
    for phase in phases:
        if phase.outcome != "passed":
            return phase
    return next((phase for phase in phases if phase.name == "call"), phases[-1])


def _longrepr(attempt: Attempt, path: str) -> Any:
    if attempt.outcome is Outcome.PASSED:
        return None
    if attempt.outcome is Outcome.SKIPPED and attempt.detail != "xfailed":
        return [path, None, why(attempt)]
    return attempt.traceback or attempt.exception or attempt.outcome.value


def _sections(attempt: Attempt, phase: Phase) -> list[list[str]]:
    captured = {"stdout": attempt.stdout, "stderr": attempt.stderr, "log": attempt.log}
    return [
        [f"Captured {name} {phase.name}", text]
        for name, text in captured.items()
        if text
    ]


def _extra(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "outcome": attempt.outcome.value,
        "detail": attempt.detail,
        "worker": attempt.worker,
        "host": attempt.host,
        "exception": attempt.exception,
        "artifacts": [
            {"name": a.name, "digest": a.digest, "size_bytes": a.size_bytes}
            for a in attempt.artifacts
        ],
    }


def _line(value: dict[str, Any]) -> str:
    # ASCII only: lone surrogates survive, and U+2028 cannot split a line.
    return json_text(value) + "\n"
