"""How long a run waits for workers: for any at all, and for some that fit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtf_dask.errors import ClusterUnreachableError

if TYPE_CHECKING:
    from dtf_dask.runs.planning import RunPlanner

NO_WORKERS_S = 60.0


class Misfits:
    """Finds the cases that no worker fits, and gives them up in the end.

    Parameters
    ----------
    patience_s
        How long a worker that fits may be in coming; 0 where none can come.
    """

    def __init__(self, planner: RunPlanner, patience_s: float) -> None:
        self._planner, self._patience_s = planner, patience_s
        self._since: dict[int, float] = {}
        self._told: set[str] = set()
        self._alone_since: float | None = None

    def look(self, now: float, *, alone: bool) -> tuple[dict[int, str], list[str]]:
        """The cases given up just now, with the reason; what to tell of the others.

        Parameters
        ----------
        alone
            Whether there is no worker at all.

        Raises
        ------
        ClusterUnreachableError
            If that has been so for too long.
        """
        self._alone_since = (self._alone_since or now) if alone else None
        if self._alone_since and now - self._alone_since > NO_WORKERS_S:
            raise ClusterUnreachableError(
                f"no worker for {NO_WORKERS_S:g} s: start some with"
                " `dtf worker ADDRESS`; `dtf resume` runs what is missing"
            )
        if alone:
            return {}, []
        reasons = self._planner.misfits()
        self._since = {n: self._since.get(n, now) for n in reasons}
        due = {
            number: f"no worker fits: {reasons[number]}"
            for number, since in self._since.items()
            if now - since >= self._patience_s
        }
        self._planner.give_up(due)
        waiting: dict[str, int] = {}
        for number, reason in reasons.items():
            if number not in due and reason not in self._told:
                waiting[reason] = waiting.get(reason, 0) + 1
        self._told.update(waiting)
        return due, [
            f"{count} case{'s wait' if count > 1 else ' waits'} for a worker that fits:"
            f" {reason}"
            for reason, count in waiting.items()
        ]
