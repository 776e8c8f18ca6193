"""How far a run is, counted by the database: a run of many cases costs it a look."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from dtf_dask.model import Outcome, Run
from dtf_dask.runs.results import queries
from dtf_dask.runs.results.schema import attempts
from dtf_dask.runs.results.verdicts import GRAVITY, RETRIED

_UNDECIDED = -1


@dataclass(frozen=True, slots=True)
class Progress:
    """A run as it is now.

    Parameters
    ----------
    counts
        How many cases came to which outcome, as `verdicts` has it. Cases of which all
        attempts were lost or are tried again are "lost" when the run is over, and not
        counted before.
    flaky
        How many passed only when they were tried again.
    """

    run: Run
    counts: dict[str, int]
    flaky: int


def progress(connection: sa.Connection, run_ref: str) -> Progress:
    """Return how far a run is.

    Raises
    ------
    UsageError
        If there is no such run, or more than one.
    """
    row = queries.find_run(connection, run_ref)
    run = queries.run_from_row(row)
    final = (attempts.c.outcome != Outcome.LOST.value) & (attempts.c.detail != RETRIED)
    gravity = sa.case(
        {outcome.value: rank for outcome, rank in GRAVITY.items()},
        value=attempts.c.outcome,
    )
    retried = sa.case((attempts.c.detail == RETRIED, 1), else_=0)
    cases = (
        sa.select(
            sa.func.max(sa.case((final, gravity), else_=_UNDECIDED)).label("worst"),
            sa.func.max(retried).label("retried"),
        )
        .where(attempts.c.run_key == row.key)
        .group_by(attempts.c.case_key)
        .subquery()
    )
    found = connection.execute(
        sa.select(cases.c.worst, cases.c.retried, sa.func.count()).group_by(
            cases.c.worst, cases.c.retried
        )
    )
    outcomes = {rank: outcome for outcome, rank in GRAVITY.items()}
    counts: dict[str, int] = {}
    flaky = 0
    for worst, again, count in found:
        if worst == _UNDECIDED and run.status == "running":
            continue
        outcome = Outcome.LOST if worst == _UNDECIDED else outcomes[worst]
        counts[outcome.value] = counts.get(outcome.value, 0) + count
        if again and outcome is Outcome.PASSED:
            flaky += count
    return Progress(run, dict(sorted(counts.items())), flaky)
