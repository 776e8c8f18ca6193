"""Numbers that tests recorded, from run to run: pytest's ``record_property``, and what
functions of ``run_cases`` return.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

import sqlalchemy as sa

from dtf_dask.model import Outcome
from dtf_dask.runs.results.schema import attempts, cases, outputs, runs
from dtf_dask.runs.results.trends import Row, last_runs

ROWS_MAX = 10_000
"""Attempts that are looked at, the newest."""
_CHARS_MAX = 16_384
_OF_ATTEMPT_MAX = 32
_NAME_CHARS_MAX = 120
_NUMBER_MAX = 1e300
_OURS = ("dtf", "label.")
"""What names of properties begin with that are not the test's."""

_WHERE = sa.and_(
    *(
        outputs.c[name] == attempts.c[name]
        for name in ("run_key", "case_key", "number", "worker")
    )
)


def figures(
    connection: sa.Connection, suite: str, case_id: str, runs_max: int, limit: int
) -> list[Row]:
    """What passed attempts of the last runs recorded, what changed most first.

    Parameters
    ----------
    case_id
        Only those of this case; empty for all.

    Returns
    -------
    list
        Of each number its name, the last value, the median of those before (None if
        there are none), and the value of each run, the oldest first: the median, if a
        run has several.
    """
    statement = (
        sa.select(
            *(runs.c.id.label("run"), runs.c.started_at.label("at")),
            *(cases.c.id.label("case_id"), outputs.c.properties),
        )
        .join(attempts, _WHERE)
        .join(runs, runs.c.key == attempts.c.run_key)
        .join(cases, cases.c.key == attempts.c.case_key)
        .where(
            attempts.c.run_key.in_(last_runs(suite, runs_max)),
            attempts.c.outcome == Outcome.PASSED.value,
            outputs.c.properties != "",
            sa.func.length(outputs.c.properties) <= _CHARS_MAX,
        )
        .order_by(runs.c.started_at.desc(), runs.c.key.desc(), cases.c.key)
        .limit(ROWS_MAX)
    )
    if case_id:
        statement = statement.where(cases.c.id == case_id)
    found: dict[tuple[str, str], dict[tuple[str, float], list[float]]] = {}
    for row in connection.execute(statement):
        for name, value in numbers_of(row.properties).items():
            by_run = found.setdefault((row.case_id, name), {})
            by_run.setdefault((row.run, row.at), []).append(value)
    rows = [_figure(*key, by_run) for key, by_run in found.items()]
    rows.sort(key=lambda one: (-_change(one), one["case_id"], one["name"]))
    return rows[:limit]


def numbers_of(properties: str) -> dict[str, float]:
    """The numbers among what a test recorded, and within it one level down.

    Examples
    --------
    >>> numbers_of('{"rate": 5, "result": {"mean": 0.5, "by": "x"}, "dtf.size": 3}')
    {'rate': 5.0, 'result.mean': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in _named(json.loads(properties)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Nothing compares with what is no number, and a whole one may be too large.
        if is_number and -_NUMBER_MAX < value < _NUMBER_MAX:
            found[name[:_NAME_CHARS_MAX]] = float(value)
        if len(found) == _OF_ATTEMPT_MAX:
            break
    return found


def _named(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in properties.items():
        if name.startswith(_OURS):
            continue
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _figure(
    case_id: str, name: str, by_run: dict[tuple[str, float], list[float]]
) -> Row:
    points: list[Row] = [
        {"run": run, "at": at, "value": median(values)}
        for (run, at), values in reversed(by_run.items())
    ]
    *before, last = [one["value"] for one in points]
    return {
        "case_id": case_id,
        "name": name,
        "last": last,
        "before": median(before) if before else None,
        "points": points,
    }


def _change(figure: Row) -> float:
    """By what share the last value differs from those before."""
    before, last = figure["before"], figure["last"]
    if before is None or before == last:
        return 0.0
    return float(abs(last - before) / max(abs(before), abs(last)))
