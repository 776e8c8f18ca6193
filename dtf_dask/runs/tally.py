"""Counts attempts, and decides which of them settle a case. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dtf_dask.errors import DtfError
from dtf_dask.model import Attempt, CaseId, Outcome
from dtf_dask.runs.attempts import attempt_of_case, attempt_of_crash

LOSSES_MAX = 2  # attempts of one case that may die with their runner or worker

Fate = Literal["settled", "retry", "lost", "late"]


@dataclass(slots=True)
class RunEnd:
    """How a run ended: cases by outcome, and the error that broke it, if any.

    ``leaders`` are the schedulers that took over while it went on.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    flaky: list[CaseId] = field(default_factory=list)
    interrupted: bool = False
    error: DtfError | None = None
    leaders: list[dict[str, Any]] = field(default_factory=list)


class Tally:
    """What has been tried of each case.

    Parameters
    ----------
    ids
        The cases by number.
    retries
        How often a case that failed is tried again.
    own_retries
        By number, of cases that say it themselves.
    """

    def __init__(
        self,
        ids: Sequence[CaseId],
        retries: int,
        own_retries: Mapping[int, int] | None = None,
    ) -> None:
        self._ids = ids
        self._retries = retries
        self._own_retries = own_retries or {}
        self._attempts: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()
        self.end = RunEnd()

    def judge(
        self,
        frame: Mapping[str, Any],
        slot: str,
        host: str = "",
        dask_worker: str = "",
    ) -> tuple[Attempt, Fate]:
        """The attempt that a ``case`` or ``crash`` frame tells of, and what follows.

        "retry" and "lost" are to be run again; "settled" is the end of the case;
        "late" adds to one that was settled (a fixture that failed when the batch was
        torn down).
        """
        number = frame["i"]
        self._attempts[number] += 1
        fold = attempt_of_crash if frame["op"] == "crash" else attempt_of_case
        told = fold(frame, self._ids[number], self._attempts[number], slot, host)
        attempt = replace(told, dask_worker=dask_worker)
        if frame.get("late"):
            return attempt, "late"
        if attempt.outcome is Outcome.LOST:
            self._losses[number] += 1
            if self._losses[number] <= LOSSES_MAX and not frame.get("hopeless"):
                return attempt, "lost"
        elif not attempt.outcome.is_good:
            self._failures[number] += 1
            allowed = self._own_retries.get(number, self._retries)
            if self._failures[number] <= allowed:
                return replace(attempt, detail="retried"), "retry"
        self.end.outcomes[attempt.outcome.value] += 1
        if self._failures[number] and attempt.outcome is Outcome.PASSED:
            self.end.flaky.append(attempt.case_id)
        return attempt, "settled"
