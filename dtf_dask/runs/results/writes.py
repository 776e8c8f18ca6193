"""What is written to the results store, each within a transaction of the caller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dtf_dask.errors import UsageError
from dtf_dask.model import Attempt, CaseId, Run, RunStatus
from dtf_dask.runs.codec import json_line, phases_to_json, plain_value
from dtf_dask.runs.results import queries
from dtf_dask.runs.results.schema import (
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
from dtf_dask.runs.results.verdicts import count_outcomes, verdicts

CHUNK_ROWS = 500
RUN_ID_CHARS_MAX = 200


def begin_run(
    connection: sa.Connection, run: Run, case_ids: Iterable[CaseId], *, reopen: bool
) -> None:
    """Record a run and its plan; one that is known is running again if ``reopen``."""
    run_id = str(run.id)
    if not (run_id and run_id.isprintable() and len(run_id) <= RUN_ID_CHARS_MAX):
        raise UsageError(
            f"a run's id is 1 to {RUN_ID_CHARS_MAX} printable characters, "
            f"not {run_id!r:.100}"
        )
    row = {
        "id": run_id,
        "suite_key": _suite_key(connection, run.suite),
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "status": run.status,
        "exit_code": run.exit_code,
        "cases_planned": run.cases_planned,
        "snapshot": run.snapshot,
        "rootdir": run.rootdir,
        "command": json_line(list(run.command)),
        "policy": json_line(plain_value(run.policy)),
        "environment": json_line(plain_value(run.environment)),
    }
    inserted = _insert_new(connection, runs, [row])
    if not inserted and reopen:
        connection.execute(
            sa.update(runs)
            .where(runs.c.id == run_id)
            .values(status=run.status, finished_at=None, exit_code=None, counts=None)
        )
    plan_cases(connection, run_id, list(case_ids))


def plan_cases(
    connection: sa.Connection, run_id: str, case_ids: Sequence[CaseId]
) -> None:
    """Record that a run plans these cases."""
    if not case_ids:
        return
    run = _locked_run(connection, run_id)
    keys = _case_keys(connection, run.suite_key, case_ids)
    for chunk in _chunks(list(dict.fromkeys(keys.values()))):
        rows = [{"run_key": run.key, "case_key": key} for key in chunk]
        _insert_new(connection, planned, rows)


def add_attempts(
    connection: sa.Connection, run_id: str, batch: Sequence[Attempt]
) -> int:
    """Record attempts that are not there yet; return how many were not."""
    if not batch:
        return 0
    run = _locked_run(connection, run_id)
    keys = _case_keys(connection, run.suite_key, [attempt.case_id for attempt in batch])
    numbers = _worker_numbers(connection, run.key, batch)
    if run.counts is not None:  # they were counted without these attempts
        connection.execute(
            sa.update(runs).where(runs.c.key == run.key).values(counts=None)
        )
    added = 0
    for chunk in _chunks(batch):
        narrow, wide, files = [], [], []
        for attempt in chunk:
            key = {
                "run_key": run.key,
                "case_key": keys[attempt.case_id],
                "number": attempt.number,
                "worker": numbers[attempt.worker],
            }
            narrow.append(key | _narrow(attempt))
            if _has_output(attempt):
                wide.append(key | _wide(attempt))
            for position, ref in enumerate(attempt.artifacts):
                files.append(
                    key
                    | {
                        "position": position,
                        "name": ref.name,
                        "digest": ref.digest,
                        "size_bytes": ref.size_bytes,
                    }
                )
        added += _insert_new(connection, attempts, narrow)
        _insert_new(connection, outputs, wide)
        _insert_new(connection, artifacts, files)
    return added


def finish_run(
    connection: sa.Connection,
    run_id: str,
    status: RunStatus,
    exit_code: int | None,
    finished_at: float,
    environment: Mapping[str, Any],
) -> None:
    """Record a run's end and count its cases by outcome."""
    run = _locked_run(connection, run_id)
    more = {}
    if environment:
        known = sa.select(runs.c.environment).where(runs.c.key == run.key)
        before = json.loads(connection.execute(known).scalar_one())
        more["environment"] = json_line(plain_value({**before, **environment}))
    counts = count_outcomes(verdicts(queries.verdict_rows(connection, run.key)))
    connection.execute(
        sa.update(runs)
        .where(runs.c.key == run.key)
        .values(
            status=status,
            exit_code=exit_code,
            finished_at=finished_at,
            counts=json_line({str(name): count for name, count in counts.items()}),
            **more,
        )
    )


def case_keys(
    connection: sa.Connection, suite: str, case_ids: Sequence[CaseId]
) -> dict[CaseId, int]:
    """Return the keys of those of these cases that the store knows."""
    key = connection.execute(sa.select(queries.suite_key(suite))).scalar()
    return {} if key is None else _known_case_keys(connection, key, case_ids)


def _locked_run(connection: sa.Connection, run_id: str) -> Any:
    """Return a run's row, locked: two writers of one run take turns."""
    row = connection.execute(
        sa.select(runs.c.key, runs.c.suite_key, runs.c.counts)
        .where(runs.c.id == str(run_id))
        .with_for_update(key_share=True)
    ).first()
    if row is None:
        raise UsageError(f"there is no run {run_id!r:.100} to add results to")
    return row


def _suite_key(connection: sa.Connection, suite: str) -> int:
    row = {"digest": text_digest(suite), "name": suite}
    statement = sa.select(suites.c.key).where(suites.c.digest == row["digest"])
    key = connection.execute(statement).scalar()
    if key is None:
        _insert_new(connection, suites, [row])
        key = connection.execute(statement).scalar_one()
    return int(key)


def _known_case_keys(
    connection: sa.Connection, suite_key: int, case_ids: Sequence[CaseId]
) -> dict[CaseId, int]:
    known: dict[CaseId, int] = {}
    by_digest = {text_digest(case_id): case_id for case_id in case_ids}
    for chunk in _chunks(list(by_digest)):
        found = connection.execute(
            sa.select(cases.c.digest, cases.c.key).where(
                cases.c.suite_key == suite_key, cases.c.digest.in_(chunk)
            )
        )
        for digest, key in found:
            known[by_digest[bytes(digest)]] = key
    return known


def _case_keys(
    connection: sa.Connection, suite_key: int, case_ids: Sequence[CaseId]
) -> dict[CaseId, int]:
    """Return the key of every one of these cases, new ones recorded first."""
    known = _known_case_keys(connection, suite_key, case_ids)
    if all(case_id in known for case_id in case_ids):
        return known
    # One writer at a time adds cases to a suite, or two that add the same ones in
    # different orders would wait for each other (PostgreSQL; SQLite has one writer).
    connection.execute(
        sa.select(suites.c.key)
        .where(suites.c.key == suite_key)
        .with_for_update(key_share=True)
    )
    unknown = [c for c in dict.fromkeys(case_ids) if c not in known]
    for chunk in _chunks(unknown):
        _insert_new(
            connection,
            cases,
            [
                {"suite_key": suite_key, "digest": text_digest(c), "id": c}
                for c in chunk
            ],
        )
    return known | _known_case_keys(connection, suite_key, unknown)


def _worker_numbers(
    connection: sa.Connection, run_key: int, batch: Sequence[Attempt]
) -> dict[str, int]:
    """Return the number within the run of every worker named by ``batch``."""
    found = connection.execute(
        sa.select(workers.c.name, workers.c.number).where(workers.c.run_key == run_key)
    )
    known: dict[str, int] = {row.name: row.number for row in found}
    new = [name for name in dict.fromkeys(a.worker for a in batch) if name not in known]
    if new:
        first = max(known.values(), default=-1) + 1
        added = dict(zip(new, range(first, first + len(new)), strict=True))
        rows = [
            {"run_key": run_key, "number": number, "name": name}
            for name, number in added.items()
        ]
        connection.execute(sa.insert(workers), rows)
        known |= added
    return known


def _narrow(attempt: Attempt) -> dict[str, Any]:
    return {
        "outcome": attempt.outcome.value,
        "detail": attempt.detail,
        "host": attempt.host,
        "started_at": attempt.started_at,
        "duration_s": attempt.duration_s,
        "phases": json_line(phases_to_json(attempt.phases)) if attempt.phases else "",
        "cpu_s": attempt.cpu_s,
        "memory": attempt.memory,
        "gpu_memory": attempt.gpu_memory,
        "dask_worker": attempt.dask_worker or None,
    }


def _has_output(attempt: Attempt) -> bool:
    return bool(
        attempt.stdout
        or attempt.stderr
        or attempt.log
        or attempt.traceback
        or attempt.exception
        or attempt.properties
    )


def _wide(attempt: Attempt) -> dict[str, Any]:
    properties = attempt.properties
    return {
        "exception": attempt.exception,
        "traceback": attempt.traceback,
        "stdout": attempt.stdout,
        "stderr": attempt.stderr,
        "log": attempt.log,
        "properties": json_line(plain_value(properties)) if properties else "",
    }


def _insert_new(
    connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]
) -> int:
    """Insert the rows that are not there yet; return how many were not."""
    if not rows:
        return 0
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    result = connection.execute(
        dialect.insert(table).on_conflict_do_nothing(),
        rows,
        execution_options={"preserve_rowcount": True},
    )
    return max(result.rowcount, 0)


def _chunks(items: Sequence[Any]) -> Iterable[Any]:
    return (
        items[start : start + CHUNK_ROWS] for start in range(0, len(items), CHUNK_ROWS)
    )
