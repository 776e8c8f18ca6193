"""The JSON that ``dtf results --json`` prints: the same names as in the values."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import click

from dtf_dask.model import Run
from dtf_dask.runs import codec
from dtf_dask.runs.reports.summary import CaseResult, Summary, failures
from dtf_dask.runs.results.verdicts import Comparison, HistoryEntry, TrendPoint


def print_json(value: Any) -> None:
    """Print one object."""
    # ASCII, so that neither a terminal nor a locale can be hurt by a name.
    click.echo(json.dumps(codec.plain_value(value), indent=2, allow_nan=False))


def run_summary(run: Run, figures: Summary, cases: list[CaseResult]) -> dict[str, Any]:
    """A run, its figures and its failures."""
    return {
        "run": codec.run_to_json(run),
        "counts": {outcome.value: n for outcome, n in figures.counts.items()},
        "cases": figures.cases,
        "attempts": figures.attempts,
        "flaky": [case_result(case) for case in cases if case.flaky],
        "xfailed": figures.xfailed,
        "xpassed": figures.xpassed,
        "not_run": figures.missing,
        "wall_s": figures.wall_s,
        "test_s": figures.test_s,
        "failures": [
            {
                **case_result(case),
                "exception": case.last.exception,
                "traceback": case.last.traceback,
            }
            for case in failures(cases)
        ],
    }


def case_result(case: CaseResult) -> dict[str, Any]:
    """What one case came to."""
    return {
        "case_id": case.case_id,
        "outcome": case.outcome.value,
        "detail": case.detail,
        "flaky": case.flaky,
        "attempts": len(case.attempts),
        "duration_s": case.duration_s,
        "worker": case.last.worker,
    }


def case_attempts(
    run: Run, case: CaseResult, history: list[HistoryEntry]
) -> dict[str, Any]:
    """All attempts of one case with everything they left."""
    return {
        "run": codec.run_to_json(run),
        "case": case_result(case),
        "attempts": [codec.attempt_to_json(attempt) for attempt in case.attempts],
        "history": [
            {
                "run": entry.run_id,
                "started_at": entry.run_started_at,
                "number": entry.attempt.number,
                "outcome": entry.attempt.outcome,
            }
            for entry in history
        ],
    }


def comparison(found: Comparison) -> dict[str, Any]:
    """What changed from one run to another."""
    parts = {field.name: getattr(found, field.name) for field in fields(found)}
    return {
        name: codec.run_to_json(part)
        if isinstance(part, Run)
        else [plain(change) for change in part]
        for name, part in parts.items()
    }


def trend(points: list[TrendPoint]) -> list[dict[str, Any]]:
    """Runs of a suite, oldest first."""
    return [plain(point) for point in points]


def plain(value: Any) -> dict[str, Any]:
    """The fields of a frozen value."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
