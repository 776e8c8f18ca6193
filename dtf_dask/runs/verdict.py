"""What a run's end means as a status and as an exit code. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from dtf_dask.errors import DtfError
from dtf_dask.model import Outcome, RunStatus


class Ended(Protocol):
    """How a run ended, as `runs.driver.RunEnd` tells it."""

    outcomes: Counter[str]
    interrupted: bool
    error: DtfError | None


def run_status(end: Ended) -> RunStatus:
    """The status under which the run is kept."""
    if end.error is not None:
        return "error"
    if end.interrupted:
        return "interrupted"
    bad = any(n for name, n in end.outcomes.items() if not Outcome(name).is_good)
    return "failed" if bad else "passed"


def exit_code(end: Ended) -> int:
    """pytest's exit codes, and our own for a run that broke."""
    if end.error is not None:
        return end.error.exit_code
    status = run_status(end)
    return 2 if status == "interrupted" else int(status == "failed")
