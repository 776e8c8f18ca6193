"""The results store: runs, their cases and attempts, in SQLite or PostgreSQL."""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from dtf_dask.errors import UsageError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId, RunStatus
from dtf_dask.runs.results import engine as engines
from dtf_dask.runs.results import learned, queries, retention, schema, writes
from dtf_dask.runs.results.progress import Progress, progress
from dtf_dask.runs.results.verdicts import (
    Comparison,
    FlakyCase,
    HistoryEntry,
    PruneReport,
    SlowCase,
    SpoolIngest,
    TrendPoint,
    Verdict,
    compare_verdicts,
    count_outcomes,
    verdicts,
)

if TYPE_CHECKING:
    from dtf_dask.runs.artifacts import ArtifactStore

RUNS_MAX = 10_000
WINDOW_RUNS = 50


class ResultsStore:
    """Every run of the suites of a project or team; safe to use from many processes.

    Examples
    --------
    >>> import tempfile
    >>> from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ResultsStore.open(f"{folder}/results.sqlite") as store:
    ...         store.begin_run(Run(RunId("r1"), 0.0, suite="demo"), [CaseId("t")])
    ...         store.add_attempts("r1", [Attempt(CaseId("t"), 1, Outcome.PASSED)])
    ...         [attempt.outcome.value for attempt in store.attempts("last")]
    1
    ['passed']
    """

    def __init__(self, engine: sa.Engine, url: sa.URL) -> None:
        self._engine = engine
        self._writer = engines.writing(engine)
        self._url = url

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        create: bool = True,
        busy_timeout_s: float = engines.BUSY_TIMEOUT_S,
    ) -> Self:
        """Open the store at ``url``: a SQLAlchemy URL, or the path of a SQLite file.

        Parameters
        ----------
        create
            Whether to create what is not there yet.
        busy_timeout_s
            How long to wait for another process that writes to the same SQLite file.

        Raises
        ------
        ResultsUnavailableError
            If it cannot be reached, read or written, or a newer dtf wrote it.
        ResultsCorruptError
            If what is there is no results store, or is damaged.
        UsageError
            If ``url`` names no database that dtf uses.
        """
        parsed = engines.database_url(url)
        engine = engines.connect(parsed, create=create, busy_timeout_s=busy_timeout_s)
        return cls(engine, parsed)

    @property
    def location(self) -> str:
        """Where the store is, as people may see it."""
        return engines.shown(self._url)

    def close(self) -> None:
        """Close every connection."""
        with engines.guarded(self._url):
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing -----------------------------------------------------------------

    def begin_run(self, run: Run, case_ids: Iterable[CaseId]) -> None:
        """Record a run and the cases it plans; again, for a run that is resumed."""
        with engines.guarded(self._url), self._writer.begin() as connection:
            writes.begin_run(connection, run, case_ids, reopen=True)

    def add_attempts(self, run_id: str, attempts: Sequence[Attempt]) -> int:
        """Record attempts in one transaction; those already there are left as they are.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        UsageError
            If there is no such run.
        """
        with engines.guarded(self._url), self._writer.begin() as connection:
            return writes.add_attempts(connection, run_id, attempts)

    def finish_run(
        self,
        run_id: str,
        *,
        status: RunStatus,
        exit_code: int | None,
        finished_at: float,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a run ended, and count its cases by outcome.

        ``environment`` is added to that of the run.
        """
        with engines.guarded(self._url), self._writer.begin() as connection:
            writes.finish_run(
                connection, run_id, status, exit_code, finished_at, environment or {}
            )

    def ingest_spool(self, folder: str | Path) -> SpoolIngest:
        """Take in every spool file of ``folder`` that no run is still writing.

        A file is deleted after its attempts are committed. Lines that make no sense
        go to a file of the same name with ``.rejected`` behind it.
        """
        from dtf_dask.runs.results import spool  # reads files; a reader needs it never

        return spool.ingest(self, Path(folder))

    def begin_spooled_run(self, run: Run) -> None:
        """Record a run found in a spool file, unless it is known already."""
        with engines.guarded(self._url), self._writer.begin() as connection:
            writes.begin_run(connection, run, (), reopen=False)

    def plan_cases(self, run_id: str, case_ids: Sequence[CaseId]) -> None:
        """Record more cases that a run plans."""
        with engines.guarded(self._url), self._writer.begin() as connection:
            writes.plan_cases(connection, run_id, case_ids)

    def prune(
        self,
        *,
        older_than_s: float | None = None,
        keep_last: int = 0,
        now: float,
        artifacts: ArtifactStore | None = None,
        spare: str = "",
        runs_max: int | None = None,
    ) -> PruneReport:
        """Delete old runs, and the artifacts that no run that is left refers to.

        Parameters
        ----------
        older_than_s
            Delete runs that started earlier than this many seconds before ``now``;
            None for runs of any age.
        keep_last
            Keep this many of the newest runs, however old they are.
        artifacts
            The store that the runs' artifacts lie in; None to leave them there.
        spare
            Id of a run that stays, however old it is.
        runs_max
            Delete no more than this many, the oldest; at least 1.
        """
        if keep_last < 0 or (older_than_s is None and keep_last == 0):
            raise UsageError("say which runs to prune: an age, or how many to keep")
        with engines.guarded(self._url):
            return retention.prune(
                self._writer,
                older_than_s,
                keep_last,
                now,
                artifacts,
                spare,
                runs_max,
            )

    def remember(self, rows: Iterable[learned.Addition], now: float) -> None:
        """Add to what schedulers remember; what others added meanwhile is kept.

        Parameters
        ----------
        rows
            Of what was learned: its kind, its name, the kind of machine, the new
            numbers, the oldest first, and how many of all that there are stay.
        now
            Seconds of the epoch. Beyond the bound the rows that were added to longest
            ago go.
        """
        with engines.guarded(self._url):
            learned.add(self._writer, rows, now)

    # -- reading -----------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for the questions of `queries` and `pages`."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            yield connection

    def remembered(self) -> Iterator[list[learned.Remembered]]:
        """Yield what schedulers remember in pages, what was added to last at the end.

        Rows are as they were found: whoever uses them checks them.
        """
        with engines.guarded(self._url):
            yield from learned.pages(self._engine)

    def run(self, run_ref: str) -> Run:
        """Return a run by its id, a unique beginning of its id, or ``"last"``.

        Raises
        ------
        UsageError
            If there is no such run, or more than one.
        """
        with engines.guarded(self._url), self._engine.begin() as connection:
            return queries.run_from_row(queries.find_run(connection, run_ref))

    def runs(self, limit: int = WINDOW_RUNS, *, suite: str | None = None) -> list[Run]:
        """Return the newest runs, of all suites or of one."""
        statement = (
            queries.select_runs() if suite is None else queries.select_runs_of(suite)
        )
        with engines.guarded(self._url), self._engine.begin() as connection:
            rows = connection.execute(statement.limit(_bounded(limit))).all()
        return [queries.run_from_row(row) for row in rows]

    def attempts(
        self, run_ref: str, *, case_id: CaseId | None = None
    ) -> Iterator[Attempt]:
        """Yield the attempts of a run, or of one case in it, by case and number.

        A few hundred are in memory at a time, and no transaction is open between.
        """
        with engines.guarded(self._url), self._engine.begin() as connection:
            run = queries.find_run(connection, run_ref)
            case_key = None
            if case_id is not None:
                case_key = writes.case_keys(connection, run.name, [case_id]).get(
                    case_id
                )
                if case_key is None:
                    return
        after = None
        while True:
            with engines.guarded(self._url), self._engine.begin() as connection:
                rows = connection.execute(
                    queries.select_attempts_page(run.key, case_key, after)
                ).all()
                page = queries.attempts_from_rows(connection, rows)
            yield from page
            if len(rows) < queries.PAGE_ATTEMPTS:
                return
            after = (rows[-1].case_key, rows[-1].number, rows[-1].worker)

    def progress(self, run_ref: str) -> Progress:
        """Return how far a run is: how many cases came to which outcome by now."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            return progress(connection, run_ref)

    def missing(self, run_ref: str) -> list[CaseId]:
        """Return the cases a run planned and has no final attempt of."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            run = queries.find_run(connection, run_ref)
            found = connection.execute(queries.select_missing(run.key)).scalars()
            return [CaseId(case_id) for case_id in found]

    def outcomes(self, run_ref: str) -> dict[CaseId, Outcome]:
        """Return what each case of a run came to that has an attempt."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            found = _case_verdicts(connection, queries.find_run(connection, run_ref))
        return {case_id: one.outcome for case_id, one in found.items()}

    def durations(self, suite: str) -> Mapping[CaseId, float]:
        """Return the learned duration of each case in seconds.

        The median of its last passed attempts: one slow machine does not count.
        """
        with engines.guarded(self._url), self._engine.begin() as connection:
            return queries.durations(connection, suite)

    def case_history(
        self, suite: str, case_id: CaseId, limit: int = WINDOW_RUNS
    ) -> list[HistoryEntry]:
        """Return the last attempts of a case, newest first."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            key = writes.case_keys(connection, suite, [case_id]).get(case_id)
            if key is None:
                return []
            statement = queries.select_case_history(key, _bounded(limit))
            rows = connection.execute(statement).all()
            run_keys = {row.run_key for row in rows}
            chosen = queries.select_runs().where(schema.runs.c.key.in_(run_keys))
            runs = {row.key: row for row in connection.execute(chosen)}
            found = queries.attempts_from_rows(connection, rows)
        return [
            HistoryEntry(RunId(run.id), run.started_at, run.snapshot, attempt)
            for attempt, run in zip(
                found, (runs[row.run_key] for row in rows), strict=True
            )
        ]

    def compare(self, run_a: str, run_b: str) -> Comparison:
        """Return what changed from ``run_a`` to ``run_b``, case by case."""
        with engines.guarded(self._url), self._engine.begin() as connection:
            a = queries.find_run(connection, run_a)
            b = queries.find_run(connection, run_b)
            before, after = (_case_verdicts(connection, run) for run in (a, b))
        return compare_verdicts(
            queries.run_from_row(a), queries.run_from_row(b), before, after
        )

    def flaky(self, suite: str, window: int = WINDOW_RUNS) -> list[FlakyCase]:
        """Return cases that passed and failed on the same code, worst first.

        Within one run (by retries), or across runs of one snapshot, among the last
        ``window`` runs of the suite.
        """
        with engines.guarded(self._url), self._engine.begin() as connection:
            return queries.flaky(connection, suite, _bounded(window))

    def slowest(self, suite: str, limit: int = 20) -> list[SlowCase]:
        """Return the cases with the longest learned durations, longest first."""
        learned = self.durations(suite).items()
        chosen = heapq.nlargest(_bounded(limit), learned, key=lambda item: item[1])
        return [SlowCase(case_id, seconds) for case_id, seconds in chosen]

    def trend(self, suite: str, limit: int = WINDOW_RUNS) -> list[TrendPoint]:
        """Return the last runs of a suite, oldest first: outcomes and duration."""
        points = []
        with engines.guarded(self._url), self._engine.begin() as connection:
            statement = queries.select_runs_of(suite).limit(_bounded(limit))
            for row in reversed(connection.execute(statement).all()):
                points.append(_trend_point(connection, row))
        return points


def _trend_point(connection: sa.Connection, row: sa.Row[Any]) -> TrendPoint:
    if row.counts is None:  # still running, or killed before its end
        counts = count_outcomes(verdicts(queries.verdict_rows(connection, row.key)))
    else:
        stored = json.loads(row.counts)
        counts = {outcome: int(stored.get(outcome.value, 0)) for outcome in Outcome}
    finished = row.finished_at
    duration_s = None if finished is None else finished - row.started_at
    return TrendPoint(RunId(row.id), row.started_at, row.status, duration_s, counts)


def _case_verdicts(
    connection: sa.Connection, run: sa.Row[Any]
) -> dict[CaseId, Verdict]:
    """Return a run's verdicts by case id: two suites share no keys."""
    found = verdicts(queries.verdict_rows(connection, run.key))
    ids = connection.execute(queries.select_case_ids(run.key))
    return {CaseId(row.id): found[row.key] for row in ids if row.key in found}


def _bounded(limit: int) -> int:
    if limit < 0:
        raise UsageError(f"a number of results cannot be negative: {limit}")
    return min(limit, RUNS_MAX)
