"""The questions asked of the results store, each a statement that an index answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import sqlalchemy as sa

from dtf_dask.errors import UsageError
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Phase, Run, RunId
from dtf_dask.runs.codec import phases_from_json
from dtf_dask.runs.results.schema import (
    AT_WORKER,
    artifacts,
    attempts,
    cases,
    outputs,
    planned,
    runs,
    suites,
    text_digest,
    workers,
)
from dtf_dask.runs.results.verdicts import (
    FAILING,
    RETRIED,
    AttemptRow,
    FlakyCase,
)

DURATIONS_PER_CASE = 5
PAGE_ATTEMPTS = 200
AMBIGUOUS_SHOWN_MAX = 5

_FAILING = sorted(outcome.value for outcome in FAILING)
_RUN = (
    runs.c.key,
    runs.c.id,
    runs.c.started_at,
    runs.c.status,
    runs.c.finished_at,
    runs.c.exit_code,
    runs.c.command,
    suites.c.name,
    runs.c.rootdir,
    runs.c.snapshot,
    runs.c.cases_planned,
    runs.c.policy,
    runs.c.environment,
    runs.c.counts,
)
_ATTEMPT_KEY = ("run_key", "case_key", "number", "worker")
_Page = tuple[int, int, int]


def suite_key(suite: str) -> sa.ScalarSelect[Any]:
    """The key of a suite, as a part of other statements."""
    return (
        sa.select(suites.c.key)
        .where(suites.c.digest == text_digest(suite))
        .scalar_subquery()
    )


def select_runs() -> sa.Select[Any]:
    """Runs with the name of their suite; newest first."""
    return (
        sa.select(*_RUN)
        .join(suites, suites.c.key == runs.c.suite_key)
        .order_by(runs.c.started_at.desc(), runs.c.key.desc())
    )


def select_runs_of(suite: str) -> sa.Select[Any]:
    """The runs of a suite, newest first."""
    return (
        sa.select(*_RUN)
        .join(suites, suites.c.key == runs.c.suite_key)
        .where(runs.c.suite_key == suite_key(suite))
        .order_by(runs.c.started_at.desc(), runs.c.key.desc())
    )


def select_runs_by_prefix(prefix: str) -> sa.Select[Any]:
    """Runs whose id begins with ``prefix``: a range of the ids' index."""
    return (
        sa.select(*_RUN)
        .join(suites, suites.c.key == runs.c.suite_key)
        .where(runs.c.id >= prefix, runs.c.id < prefix + "\U0010ffff")
        .order_by(runs.c.id)
    )


def select_verdict_rows(run_key: int) -> sa.Select[Any]:
    """The narrow part of every attempt of a run."""
    return sa.select(
        attempts.c.case_key,
        attempts.c.outcome,
        attempts.c.detail,
        attempts.c.duration_s,
    ).where(attempts.c.run_key == run_key)


def select_case_ids(run_key: int) -> sa.Select[Any]:
    """The key and id of every case with an attempt in a run."""
    tried = sa.select(attempts.c.case_key).where(attempts.c.run_key == run_key)
    return sa.select(cases.c.key, cases.c.id).where(cases.c.key.in_(tried))


def select_missing(run_key: int) -> sa.Select[Any]:
    """The cases planned for a run that no final attempt decided."""
    decided = (
        sa.select(sa.literal(1))
        .where(
            attempts.c.run_key == planned.c.run_key,
            attempts.c.case_key == planned.c.case_key,
            attempts.c.outcome != Outcome.LOST.value,
            attempts.c.detail != RETRIED,
        )
        .exists()
    )
    return (
        sa.select(cases.c.id)
        .join(planned, planned.c.case_key == cases.c.key)
        .where(planned.c.run_key == run_key, ~decided)
        .order_by(planned.c.case_key)
    )


def select_durations(suite: str) -> sa.Select[Any]:
    """Each case of a suite and the durations of its last passed attempts, as text.

    A few index entries a case, however long its history is.
    """
    last = (
        sa.select(attempts.c.duration_s)
        .where(
            attempts.c.case_key == cases.c.key,
            attempts.c.outcome == Outcome.PASSED.value,
        )
        .order_by(attempts.c.run_key.desc())
        .limit(DURATIONS_PER_CASE)
        .correlate(cases)
        .subquery()
    )
    joined = sa.select(
        sa.func.aggregate_strings(sa.cast(last.c.duration_s, sa.Text()), ",")
    ).scalar_subquery()
    return sa.select(cases.c.id, joined).where(cases.c.suite_key == suite_key(suite))


def select_flaky(run_keys: Sequence[int]) -> sa.Select[Any]:
    """Cases with passes and failures on the same code, among these runs.

    The same code is the same snapshot, or the same run where none was taken.
    """
    passes = sa.func.sum(sa.case((attempts.c.outcome == "passed", 1), else_=0))
    failures = sa.func.sum(sa.case((attempts.c.outcome.in_(_FAILING), 1), else_=0))
    code = sa.case(
        (runs.c.snapshot == "", sa.cast(runs.c.key, sa.Text())), else_=runs.c.snapshot
    )
    grouped = (
        sa.select(
            attempts.c.case_key.label("case_key"),
            passes.label("passes"),
            failures.label("failures"),
            sa.func.count(attempts.c.run_key.distinct()).label("run_count"),
            sa.func.max(attempts.c.started_at).label("last_seen"),
        )
        .join(runs, runs.c.key == attempts.c.run_key)
        .where(attempts.c.run_key.in_(list(run_keys)))
        .group_by(attempts.c.case_key, code)
        .having(passes > 0, failures > 0)
        .subquery()
    )
    return sa.select(
        cases.c.id,
        grouped.c.passes,
        grouped.c.failures,
        grouped.c.run_count,
        grouped.c.last_seen,
    ).join(grouped, grouped.c.case_key == cases.c.key)


def _select_attempts() -> sa.Select[Any]:
    same_attempt = [outputs.c[name] == attempts.c[name] for name in _ATTEMPT_KEY]
    return (
        sa.select(
            *(attempts.c[name] for name in _ATTEMPT_KEY),
            cases.c.id,
            workers.c.name,
            attempts.c.outcome,
            attempts.c.detail,
            attempts.c.host,
            attempts.c.started_at,
            attempts.c.duration_s,
            attempts.c.phases,
            attempts.c.cpu_s,
            attempts.c.memory,
            attempts.c.gpu_memory,
            attempts.c.dask_worker,
            outputs.c.exception,
            outputs.c.traceback,
            outputs.c.stdout,
            outputs.c.stderr,
            outputs.c.log,
            outputs.c.properties,
        )
        .join(cases, cases.c.key == attempts.c.case_key)
        .join(workers, AT_WORKER)
        .outerjoin(outputs, sa.and_(*same_attempt))
    )


def select_attempts_page(
    run_key: int, case_key: int | None, after: _Page | None
) -> sa.Select[Any]:
    """The next attempts of a run, or of one case in it, in the order of their key."""
    table = attempts.c
    position = (table.case_key, table.number, table.worker)
    statement = _select_attempts().where(table.run_key == run_key)
    if case_key is not None:
        statement = statement.where(table.case_key == case_key)
    if after is not None:
        statement = statement.where(sa.tuple_(*position) > sa.tuple_(*after))
    return statement.order_by(*position).limit(PAGE_ATTEMPTS)


def select_case_history(case_key: int, limit: int) -> sa.Select[Any]:
    """The last attempts of a case over all runs, newest run first."""
    return (
        _select_attempts()
        .where(attempts.c.case_key == case_key)
        .order_by(
            attempts.c.run_key.desc(),
            attempts.c.number.desc(),
            attempts.c.worker.desc(),
        )
        .limit(limit)
    )


def select_artifacts(run_key: int, case_keys: Sequence[int]) -> sa.Select[Any]:
    """The artifacts of some cases in a run."""
    return (
        sa.select(artifacts)
        .where(
            artifacts.c.run_key == run_key,
            artifacts.c.case_key.in_(sorted(set(case_keys))),
        )
        .order_by(*artifacts.primary_key)
    )


def find_run(connection: sa.Connection, run_ref: str) -> sa.Row[Any]:
    """Return the row of the run meant by an id, a unique beginning of one, or "last".

    Raises
    ------
    UsageError
        If there is none, or more than one.
    """
    if run_ref == "last":
        row = connection.execute(select_runs().limit(1)).first()
        if row is None:
            raise UsageError("there are no runs yet: run a suite first (dtf run)")
        return row
    if not run_ref or "\0" in run_ref or not run_ref.isprintable():
        raise UsageError(f"no run can be called {run_ref!r:.100}")
    statement = select_runs_by_prefix(run_ref).limit(AMBIGUOUS_SHOWN_MAX)
    rows = connection.execute(statement).all()
    if not rows:
        raise UsageError(
            f"there is no run {run_ref!r:.100}: give an id, its beginning, or 'last'"
        )
    # In the order of ids, so that an id that begins others comes first.
    if len(rows) > 1 and rows[0].id != run_ref:
        ids = ", ".join(row.id for row in rows)
        raise UsageError(f"several runs begin with {run_ref!r:.100}: {ids}")
    return rows[0]


def run_from_row(row: sa.Row[Any]) -> Run:
    """Return the value of a row of `select_runs`."""
    return Run(
        id=RunId(row.id),
        started_at=row.started_at,
        status=row.status,
        finished_at=row.finished_at,
        exit_code=row.exit_code,
        command=tuple(json.loads(row.command)),
        suite=row.name,
        rootdir=row.rootdir,
        snapshot=row.snapshot,
        cases_planned=row.cases_planned,
        policy=json.loads(row.policy),
        environment=json.loads(row.environment),
    )


def verdict_rows(connection: sa.Connection, run_key: int) -> Iterator[AttemptRow]:
    """Yield what verdicts about a run are made from."""
    outcomes = {outcome.value: outcome for outcome in Outcome}
    for row in connection.execute(select_verdict_rows(run_key)):
        yield AttemptRow(row[0], outcomes[row[1]], row[2], row[3])


def durations(connection: sa.Connection, suite: str) -> dict[CaseId, float]:
    """Return the median of the last passed durations of each case, in seconds."""
    found = {}
    for case_id, joined in connection.execute(select_durations(suite)):
        if joined:
            seconds = median(float(part) for part in joined.split(","))
            found[CaseId(case_id)] = seconds
    return found


def flaky(connection: sa.Connection, suite: str, window: int) -> list[FlakyCase]:
    """Return the flaky cases of the last ``window`` runs, most failures first."""
    recent = select_runs_of(suite).limit(window)
    run_keys = [row.key for row in connection.execute(recent)]
    merged: dict[CaseId, FlakyCase] = {}
    for name, passed, failed, run_count, seen in connection.execute(
        select_flaky(run_keys)
    ):
        case_id = CaseId(name)
        if known := merged.get(case_id):  # flaky on more than one snapshot
            passed, failed = passed + known.passed, failed + known.failed
            run_count, seen = run_count + known.runs, max(seen, known.last_seen_at)
        merged[case_id] = FlakyCase(case_id, int(passed), int(failed), run_count, seen)
    return sorted(merged.values(), key=lambda case: (-case.failed, case.case_id))


def attempts_from_rows(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]]
) -> list[Attempt]:
    """Return the values of rows of attempts, with their artifacts."""
    refs: dict[tuple[int, ...], list[ArtifactRef]] = {}
    by_run: dict[int, list[int]] = {}
    for row in rows:
        by_run.setdefault(row.run_key, []).append(row.case_key)
    for run_key, case_keys in by_run.items():
        for ref in connection.execute(select_artifacts(run_key, case_keys)):
            key = (ref.run_key, ref.case_key, ref.number, ref.worker)
            found = ArtifactRef(ref.name, ref.digest, ref.size_bytes)
            refs.setdefault(key, []).append(found)
    return [_attempt(row, tuple(refs.get(tuple(row[:4]), ()))) for row in rows]


def _attempt(row: sa.Row[Any], refs: tuple[ArtifactRef, ...]) -> Attempt:
    return Attempt(
        case_id=CaseId(row.id),
        number=row.number,
        outcome=Outcome(row.outcome),
        worker=row.name,
        host=row.host,
        detail=row.detail,
        started_at=row.started_at,
        duration_s=row.duration_s,
        phases=_phases(row.phases),
        exception=row.exception or "",
        traceback=row.traceback or "",
        stdout=row.stdout or "",
        stderr=row.stderr or "",
        log=row.log or "",
        properties=json.loads(row.properties) if row.properties else {},
        artifacts=refs,
        cpu_s=row.cpu_s,
        memory=row.memory,
        gpu_memory=row.gpu_memory,
        dask_worker=row.dask_worker or "",
    )


def _phases(text: str) -> tuple[Phase, ...]:
    return phases_from_json(json.loads(text)) if text else ()
