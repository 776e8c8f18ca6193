"""What went on over time: which test ran where, and how cases did from run to run.

Each question reads the attempts of some runs or of some cases, never all there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dtf_dask.model import CaseId, Outcome
from dtf_dask.runs.results import queries, writes
from dtf_dask.runs.results.schema import (
    AT_WORKER,
    WHERE,
    attempts,
    cases,
    runs,
    workers,
)
from dtf_dask.runs.results.verdicts import FAILING, AttemptRow, verdicts

Row = dict[str, Any]


def timeline(
    connection: sa.Connection, start: float, end: float, run_ref: str, limit: int
) -> tuple[list[Row], bool]:
    """The attempts that ran between two times, the latest, by when they began.

    Parameters
    ----------
    run_ref
        Only those of this run; empty for all.

    Returns
    -------
    tuple
        The attempts, and whether there were more than ``limit``.
    """
    ends = attempts.c.started_at + attempts.c.duration_s
    statement = (
        sa.select(
            runs.c.id.label("run"),
            cases.c.id.label("case_id"),
            attempts.c.number,
            workers.c.name.label("worker"),
            WHERE.label("where"),
            attempts.c.outcome,
            attempts.c.detail,
            attempts.c.started_at,
            attempts.c.duration_s,
        )
        .join(runs, runs.c.key == attempts.c.run_key)
        .join(cases, cases.c.key == attempts.c.case_key)
        .join(workers, AT_WORKER)
        .where(attempts.c.started_at <= end, ends >= start)
        .order_by(attempts.c.started_at.desc())
        .limit(limit + 1)
    )
    if run_ref:
        run = queries.find_run(connection, run_ref)
        statement = statement.where(attempts.c.run_key == run.key)
    else:
        # Of runs of that time only: their attempts lie together.
        ran = sa.or_(runs.c.finished_at.is_(None), runs.c.finished_at >= start)
        statement = statement.where(runs.c.started_at <= end, ran)
    rows = [row._asdict() for row in connection.execute(statement)]
    return rows[limit - 1 :: -1], len(rows) > limit


def past(
    connection: sa.Connection, run_ref: str, case_ids: Sequence[str], runs_max: int
) -> tuple[list[Row], dict[str, list[Row | None]]]:
    """What some cases came to in a run and in those of its suite before it.

    Returns
    -------
    tuple
        The runs, the oldest first; and of each case what it came to in each of them,
        None where it was not run.
    """
    run = queries.find_run(connection, run_ref)
    before = (
        queries.select_runs_of(run.name)
        .where(runs.c.started_at <= run.started_at)
        .limit(runs_max)
    )
    shown = [*reversed(connection.execute(before).all())]
    keys = writes.case_keys(connection, run.name, [CaseId(one) for one in case_ids])
    statement = sa.select(
        attempts.c.run_key,
        attempts.c.case_key,
        attempts.c.outcome,
        attempts.c.detail,
        attempts.c.duration_s,
    ).where(
        attempts.c.case_key.in_(sorted(keys.values())),
        attempts.c.run_key.in_([one.key for one in shown]),
    )
    by_run: dict[int, list[AttemptRow]] = {one.key: [] for one in shown}
    for key, case_key, outcome, detail, duration_s in connection.execute(statement):
        by_run[key].append(AttemptRow(case_key, Outcome(outcome), detail, duration_s))
    results = [_came_to(by_run[one.key]) for one in shown]
    return (
        [
            {"run": one.id, "started_at": one.started_at, "status": one.status}
            for one in shown
        ],
        {
            name: [found.get(keys.get(CaseId(name), -1)) for found in results]
            for name in case_ids
        },
    )


def _came_to(rows: Sequence[AttemptRow]) -> dict[int, Row]:
    failed = {row.case_key for row in rows if row.outcome in FAILING}
    return {
        key: {
            "outcome": verdict.outcome.value,
            "duration_s": verdict.duration_s,
            "flaky": verdict.outcome is Outcome.PASSED and key in failed,
        }
        for key, verdict in verdicts(rows).items()
    }


def flaky(
    connection: sa.Connection,
    suite: str,
    runs_max: int,
    kinds: Mapping[str, str],
    limit: int,
) -> list[Row]:
    """The flaky cases of the last runs, those that failed most often first.

    Parameters
    ----------
    kinds
        What workers are alike in, by their names.
    """
    found = queries.flaky(connection, suite, runs_max)[:limit]
    keys = writes.case_keys(connection, suite, [one.case_id for one in found])
    groups = _groups(connection, suite, runs_max, sorted(keys.values()), kinds)
    return [
        {
            "case_id": one.case_id,
            "passed": one.passed,
            "failed": one.failed,
            "runs": one.runs,
            "last_seen_at": one.last_seen_at,
            "groups": groups.get(keys[one.case_id], []),
        }
        for one in found
    ]


def slowest(
    connection: sa.Connection,
    suite: str,
    runs_max: int,
    kinds: Mapping[str, str],
    limit: int,
) -> list[Row]:
    """The cases that took longest to pass in the last runs, the slowest first."""
    passed = attempts.c.outcome == Outcome.PASSED.value
    mean = sa.func.avg(attempts.c.duration_s)
    statement = (
        sa.select(
            attempts.c.case_key,
            cases.c.id,
            sa.func.count().label("passed"),
            mean.label("mean_s"),
            sa.func.max(attempts.c.duration_s).label("max_s"),
        )
        .join(cases, cases.c.key == attempts.c.case_key)
        .where(passed, attempts.c.run_key.in_(last_runs(suite, runs_max)))
        .group_by(attempts.c.case_key, cases.c.id)
        .order_by(mean.desc(), attempts.c.case_key)
        .limit(limit)
    )
    found = connection.execute(statement).all()
    keys = [row.case_key for row in found]
    groups = _groups(connection, suite, runs_max, keys, kinds)
    return [
        {
            "case_id": row.id,
            "passed": row.passed,
            "mean_s": row.mean_s,
            "max_s": row.max_s,
            "groups": groups.get(row.case_key, []),
        }
        for row in found
    ]


def _groups(
    connection: sa.Connection,
    suite: str,
    runs_max: int,
    keys: Sequence[int],
    kinds: Mapping[str, str],
) -> dict[int, list[Row]]:
    """How some cases did on each kind of worker, by the key of the case."""
    passed = sa.case((attempts.c.outcome == Outcome.PASSED.value, 1), else_=0)
    failing = [one.value for one in FAILING]
    failed = sa.case((attempts.c.outcome.in_(failing), 1), else_=0)
    statement = (
        sa.select(
            attempts.c.case_key,
            WHERE,
            sa.func.sum(passed),
            sa.func.sum(failed),
            sa.func.sum(passed * attempts.c.duration_s),
        )
        .join(workers, AT_WORKER)
        .where(
            attempts.c.case_key.in_(keys),
            attempts.c.run_key.in_(last_runs(suite, runs_max)),
        )
        .group_by(attempts.c.case_key, WHERE)
    )
    sums: dict[int, dict[str, list[float]]] = {}
    for key, worker, passes, failures, took_s in connection.execute(statement):
        kind = kinds.get(worker, "")
        one = sums.setdefault(key, {}).setdefault(kind, [0, 0, 0.0])
        for at, more in enumerate((passes, failures, took_s)):
            one[at] += more
    return {
        key: [
            {
                "kind": kind,
                "passed": int(passes),
                "failed": int(failures),
                "mean_s": took_s / passes if passes else None,
            }
            for kind, (passes, failures, took_s) in sorted(found.items())
        ]
        for key, found in sums.items()
    }


def last_runs(suite: str, runs_max: int) -> sa.ScalarSelect[Any]:
    """The keys of the last runs of a suite."""
    last = (
        sa.select(runs.c.key)
        .where(runs.c.suite_key == queries.suite_key(suite))
        .order_by(runs.c.started_at.desc(), runs.c.key.desc())
        .limit(runs_max)
        .subquery()
    )
    return sa.select(last.c.key).scalar_subquery()
