"""Pages of the results store: a few narrow rows each, however much there is.

Texts of attempts are read of one attempt at a time, cut to a length in the database,
which is the SQLite file of a node.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from dtf_dask.model import CaseId, Outcome
from dtf_dask.runs.results import queries, writes
from dtf_dask.runs.results.schema import (
    AT_WORKER,
    WHERE,
    ExactText,
    artifacts,
    attempts,
    cases,
    outputs,
    runs,
    workers,
)
from dtf_dask.runs.results.verdicts import (
    FAILING,
    Verdict,
    count_outcomes,
    verdicts,
)

TEXTS = ("exception", "traceback", "stdout", "stderr", "log")
_EXCEPTION_CHARS = 2_000
_VERDICTS_KEPT = 4
_COUNTS_KEPT = 500
_LONG_S = 0.02
_SHARE = 0.05
"""Of the time, for counting anew what a run that goes on has come to."""

Row = dict[str, Any]


class CasesQuery(NamedTuple):
    """Which cases of a run are asked for.

    Parameters
    ----------
    outcome
        What they came to; empty for any, ``"flaky"`` for those that passed at last.
    part
        What their id holds, in any case.
    sort
        ``order``, that of the plan; ``case_id``, ``duration_s``, ``attempts``.
    """

    outcome: str
    part: str
    sort: str
    descending: bool
    offset: int
    limit: int

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> CasesQuery:
        """As it is asked: ``-`` before ``sort`` turns the order."""
        sort = query["sort"]
        return cls(
            *(query["outcome"], query["q"], sort.removeprefix("-")),
            *(sort.startswith("-"), query["offset"], query["limit"]),
        )


class _Case(NamedTuple):
    verdict: Verdict
    attempts: int
    flaky: bool


class _Counts(NamedTuple):
    attempts: int
    named: dict[str, int]
    until: float
    """So long they stand for what has come meanwhile."""


class Pages:
    """Answers from a store; what a run came to is kept until it has more attempts."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[int, dict[int, _Case]]] = OrderedDict()
        self._counts: OrderedDict[int, _Counts] = OrderedDict()
        self._mutex = threading.Lock()

    def runs(
        self,
        connection: sa.Connection,
        suite: str,
        status: str,
        offset: int,
        limit: int,
    ) -> tuple[int, list[Row]]:
        """How many runs there are, and a page of them, newest first.

        What one that goes on has come to may be a little old, where that takes long.
        """
        statement = queries.select_runs_of(suite) if suite else queries.select_runs()
        if status:
            statement = statement.where(runs.c.status == status)
        counted = sa.select(sa.func.count()).select_from(
            statement.order_by(None).subquery()
        )
        total = connection.execute(counted).scalar_one()
        found = connection.execute(statement.limit(limit).offset(offset)).all()
        return total, [self._run(connection, row, exact=False) for row in found]

    def run(self, connection: sa.Connection, run_ref: str) -> Row:
        """One run, with its policy and environment.

        Raises
        ------
        UsageError
            There is none of that id, or more than one.
        """
        row = queries.find_run(connection, run_ref)
        return {
            **self._run(connection, row, exact=True),
            "command": json.loads(row.command),
            "rootdir": row.rootdir,
            "snapshot": row.snapshot,
            "policy": json.loads(row.policy),
            "environment": json.loads(row.environment),
        }

    def _run(self, connection: sa.Connection, row: sa.Row[Any], *, exact: bool) -> Row:
        if row.counts is None:  # it runs, or was killed before its end
            with self._mutex:
                named = self._counted(connection, row.key, exact=exact)
        else:
            stored = json.loads(row.counts)
            named = {one.value: int(stored.get(one.value, 0)) for one in Outcome}
        return {
            "run": row.id,
            "suite": row.name,
            "status": row.status,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "exit_code": row.exit_code,
            "planned": row.cases_planned,
            "counts": named,
        }

    def cases(
        self, connection: sa.Connection, run_ref: str, query: CasesQuery
    ) -> tuple[int, list[Row]]:
        """How many cases of a run are asked for, and a page of them."""
        run = queries.find_run(connection, run_ref)
        found = self._cases(connection, run.key)
        keys = [key for key, one in found.items() if _is(one, query.outcome)]
        names: dict[int, str] = {}
        if query.part or query.sort == "case_id":
            names = dict(map(tuple, connection.execute(_names(run.key)).all()))
            part = query.part.casefold()
            keys = [key for key in keys if part in names[key].casefold()]
        orders = {
            "case_id": lambda key: names[key],
            "duration_s": lambda key: found[key].verdict.duration_s,
            "attempts": lambda key: found[key].attempts,
            "order": lambda key: key,
        }
        keys.sort(key=orders[query.sort], reverse=query.descending)
        page = keys[query.offset : query.offset + query.limit]
        if not names:
            chosen = sa.select(cases.c.key, cases.c.id).where(cases.c.key.in_(page))
            names = dict(map(tuple, connection.execute(chosen).all()))
        return len(keys), [
            {
                "case_id": names[key],
                "outcome": found[key].verdict.outcome.value,
                "duration_s": found[key].verdict.duration_s,
                "attempts": found[key].attempts,
                "flaky": found[key].flaky,
            }
            for key in page
        ]

    def _cases(self, connection: sa.Connection, run_key: int) -> dict[int, _Case]:
        """What each case of a run came to; attempts are only ever added to a run."""
        with self._mutex:
            return self._known_cases(connection, run_key)

    def _counted(
        self, connection: sa.Connection, run_key: int, *, exact: bool
    ) -> dict[str, int]:
        count, kept = _attempt_count(connection, run_key), self._counts.get(run_key)
        if kept is not None and (
            kept.attempts == count or (not exact and time.monotonic() < kept.until)
        ):
            self._counts.move_to_end(run_key)
            return kept.named
        began = time.monotonic()
        found = self._known_cases(connection, run_key)
        counts = count_outcomes({key: one.verdict for key, one in found.items()})
        named = {outcome.value: n for outcome, n in counts.items()}
        now = time.monotonic()
        rest_s = (now - began) / _SHARE if now - began > _LONG_S else 0.0
        self._counts[run_key] = _Counts(count, named, now + rest_s)
        while len(self._counts) > _COUNTS_KEPT:
            self._counts.popitem(last=False)
        return named

    def _known_cases(self, connection: sa.Connection, run_key: int) -> dict[int, _Case]:
        count = _attempt_count(connection, run_key)
        kept = self._kept.get(run_key)
        if kept is not None and kept[0] == count:
            self._kept.move_to_end(run_key)
            return kept[1]
        rows = [*queries.verdict_rows(connection, run_key)]
        tried = Counter(row.case_key for row in rows)
        failed = {row.case_key for row in rows if row.outcome in FAILING}
        found = {
            key: _Case(
                verdict,
                tried[key],
                verdict.outcome is Outcome.PASSED and key in failed,
            )
            for key, verdict in verdicts(rows).items()
        }
        self._kept[run_key] = (len(rows), found)
        while len(self._kept) > _VERDICTS_KEPT:
            self._kept.popitem(last=False)
        return found


def _attempt_count(connection: sa.Connection, run_key: int) -> int:
    counted = sa.select(sa.func.count()).where(attempts.c.run_key == run_key)
    return int(connection.execute(counted).scalar_one())


def attempts_of(
    connection: sa.Connection, run_ref: str, case_id: str, limit: int
) -> list[Row]:
    """The attempts of a case in a run, without their texts."""
    run = queries.find_run(connection, run_ref)
    key = _case_key(connection, run.name, case_id)
    if key is None:
        return []
    statement = (
        _narrow()
        .where(attempts.c.run_key == run.key, attempts.c.case_key == key)
        .order_by(attempts.c.number, attempts.c.worker)
        .limit(limit)
    )
    return [_attempt(row) for row in connection.execute(statement)]


def artifacts_of(connection: sa.Connection, run_ref: str, case_id: str) -> list[Row]:
    """The files that the attempts of a case in a run left: names, digests, sizes."""
    run = queries.find_run(connection, run_ref)
    key = _case_key(connection, run.name, case_id)
    of, by = artifacts.c, workers.c
    found = (of.number, by.name.label("worker"), of.name, of.digest, of.size_bytes)
    statement = (
        sa.select(*found)
        .join(workers, sa.and_(by.run_key == of.run_key, by.number == of.worker))
        .where(of.run_key == run.key, of.case_key == key)
        .order_by(of.number, by.name, of.position)
    )
    return [dict(row._mapping) for row in connection.execute(statement)]


def history(
    connection: sa.Connection, suite: str, case_id: str, limit: int
) -> list[Row]:
    """The last attempts of a case over all runs, the newest run first."""
    key = _case_key(connection, suite, case_id)
    if key is None:
        return []
    position = (attempts.c.run_key, attempts.c.number, attempts.c.worker)
    statement = (
        _narrow()
        .where(attempts.c.case_key == key)
        .order_by(*(column.desc() for column in position))
        .limit(limit)
    )
    return [_attempt(row) for row in connection.execute(statement)]


def texts(
    connection: sa.Connection,
    run_ref: str,
    case_id: str,
    number: int,
    worker: str,
    chars: int,
) -> Row | None:
    """What an attempt left, of each text its end; None if there is no such attempt.

    Parameters
    ----------
    worker
        Which one it ran on; empty for any.
    chars
        Of each text.
    """
    run = queries.find_run(connection, run_ref)
    key = _case_key(connection, run.name, case_id)
    cut = [
        sa.func.substr(outputs.c[name], -chars, type_=ExactText()).label(name)
        for name in TEXTS
    ]
    lengths = [sa.func.length(outputs.c[name]).label(f"{name}_chars") for name in TEXTS]
    statement = (
        _narrow(*cut, *lengths)
        .where(attempts.c.run_key == run.key, attempts.c.case_key == key)
        .where(attempts.c.number == number)
        .order_by(attempts.c.worker)
        .limit(1)
    )
    if worker:
        statement = statement.where(workers.c.name == worker)
    row = connection.execute(statement).first()
    if row is None or key is None:
        return None
    return {
        **_attempt(row),
        **{
            name: {
                "text": getattr(row, name) or "",
                "chars": getattr(row, f"{name}_chars") or 0,
                "cut": (getattr(row, f"{name}_chars") or 0) > chars,
            }
            for name in TEXTS
        },
    }


def _is(case: _Case, outcome: str) -> bool:
    if outcome == "flaky":
        return case.flaky
    return not outcome or case.verdict.outcome.value == outcome


def _names(run_key: int) -> sa.Select[Any]:
    return queries.select_case_ids(run_key)


def _case_key(connection: sa.Connection, suite: str, case_id: str) -> int | None:
    return writes.case_keys(connection, suite, [CaseId(case_id)]).get(CaseId(case_id))


def _narrow(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Attempts with what stands in small columns."""
    key = ("run_key", "case_key", "number", "worker")
    same = sa.and_(*(outputs.c[name] == attempts.c[name] for name in key))
    head = sa.func.substr(outputs.c.exception, 1, _EXCEPTION_CHARS, type_=ExactText())
    return (
        sa.select(
            runs.c.id.label("run"),
            runs.c.started_at.label("run_started_at"),
            cases.c.id.label("case_id"),
            attempts.c.number,
            workers.c.name.label("worker"),
            WHERE.label("where"),
            attempts.c.host,
            attempts.c.outcome,
            attempts.c.detail,
            attempts.c.started_at,
            attempts.c.duration_s,
            attempts.c.cpu_s,
            attempts.c.memory,
            attempts.c.gpu_memory,
            head.label("why"),
            *more,
        )
        .join(runs, runs.c.key == attempts.c.run_key)
        .join(cases, cases.c.key == attempts.c.case_key)
        .join(workers, AT_WORKER)
        .outerjoin(outputs, same)
    )


_FIELDS: Sequence[str] = (
    *("run", "run_started_at", "case_id", "number", "worker", "where", "host"),
    *("outcome", "detail", "started_at", "duration_s", "cpu_s", "memory"),
    "gpu_memory",
)


def _attempt(row: sa.Row[Any]) -> Row:
    return {name: getattr(row, name) for name in _FIELDS} | {"why": row.why or ""}
