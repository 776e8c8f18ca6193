"""Forgetting old runs, and the artifacts that nothing refers to any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dtf_dask.runs.results import schema
from dtf_dask.runs.results.verdicts import PruneReport

if TYPE_CHECKING:
    from dtf_dask.runs.artifacts import ArtifactStore

STALE_RUN_S = 7 * 86_400.0
"""A run "running" for longer was killed before it could say how it ended."""

DIGESTS_PER_QUERY = 500


def prune(
    writer: sa.Engine,
    older_than_s: float | None,
    keep_last: int,
    now: float,
    artifact_store: ArtifactStore | None,
    spare: str = "",
    runs_max: int | None = None,
) -> PruneReport:
    """Delete old runs one transaction each, then what they alone referred to."""
    limit = now if older_than_s is None else now - older_than_s
    runs = schema.runs.c
    with writer.begin() as connection:
        spared = connection.scalar(sa.select(runs.key).where(runs.id == spare))
        doomed = [
            row.key
            for row in connection.execute(select_prunable(keep_last))
            if row.started_at <= limit
            and (row.status != "running" or row.started_at < now - STALE_RUN_S)
            and row.key != spared
        ]
    if runs_max is not None:
        doomed = doomed[-runs_max:]  # the oldest
    if not doomed:
        return PruneReport()
    attempts = 0
    digests: dict[str, int] = {}
    for run_key in doomed:
        with writer.begin() as connection:
            attempts += _delete_run(connection, run_key, digests)
    with writer.begin() as connection:
        _delete_orphans(connection)
        unused = dict(_unreferenced(connection, digests)) if artifact_store else {}
    if writer.dialect.name == "sqlite":
        _give_back_space(writer)
    # After the commit: a file too many is a waste, a file too few is a loss.
    deleted = [
        size
        for digest, size in unused.items()
        if artifact_store is not None and artifact_store.delete_old(digest, now)
    ]
    return PruneReport(len(doomed), attempts, len(deleted), sum(deleted))


def select_prunable(keep_last: int) -> sa.Select[tuple[int, float, str]]:
    """All runs but the newest ``keep_last``."""
    runs = schema.runs.c
    return (
        sa.select(runs.key, runs.started_at, runs.status)
        .order_by(runs.started_at.desc(), runs.key.desc())
        .offset(keep_last)
    )


def _delete_run(
    connection: sa.Connection, run_key: int, digests: dict[str, int]
) -> int:
    files = schema.artifacts.c
    for digest, size in connection.execute(
        sa.select(files.digest, files.size_bytes).where(files.run_key == run_key)
    ):
        digests[digest] = size
    attempts = 0
    for table in (
        schema.artifacts,
        schema.outputs,
        schema.attempts,
        schema.planned,
        schema.workers,
    ):
        result = connection.execute(sa.delete(table).where(table.c.run_key == run_key))
        if table is schema.attempts:
            attempts = result.rowcount
    connection.execute(sa.delete(schema.runs).where(schema.runs.c.key == run_key))
    return attempts


def _delete_orphans(connection: sa.Connection) -> None:
    """Delete cases, then suites, that no run knows any more."""
    key = schema.cases.c.key
    unknown = [
        ~sa.select(table.c.case_key).where(table.c.case_key == key).exists()
        for table in (schema.attempts, schema.planned)
    ]
    connection.execute(sa.delete(schema.cases).where(*unknown))
    suite = schema.suites.c.key
    unknown = [
        ~sa.select(table.c.suite_key).where(table.c.suite_key == suite).exists()
        for table in (schema.cases, schema.runs)
    ]
    connection.execute(sa.delete(schema.suites).where(*unknown))


def _unreferenced(
    connection: sa.Connection, digests: dict[str, int]
) -> Iterator[tuple[str, int]]:
    column = schema.artifacts.c.digest
    names = sorted(digests)
    for start in range(0, len(names), DIGESTS_PER_QUERY):
        chunk = names[start : start + DIGESTS_PER_QUERY]
        used = set(
            connection.execute(sa.select(column).where(column.in_(chunk))).scalars()
        )
        yield from ((name, digests[name]) for name in chunk if name not in used)


def _give_back_space(writer: sa.Engine) -> None:
    with writer.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        # Each step of the statement frees one page, and only a script is stepped to
        # its end: `execute` stops at the first step of what returns no columns.
        raw.cursor().executescript("PRAGMA incremental_vacuum")
