"""What becomes of tasks when they are submitted: taken, warned of, or refused. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dtf_dask.hints import nearest
from dtf_dask.scheduler_plugins.engine.after import Afters
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.forecast import Forecast
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.match import needs_text
from dtf_dask.scheduler_plugins.engine.terms import Admission, Ask, Key, Reject
from dtf_dask.scheduler_plugins.policies.admission import (
    Answer,
    Backlog,
    answer,
    outlook,
)

TAKEN = Admission()


class Admitting:
    """Answers submissions, in a time that does not grow with what waits."""

    def __init__(self, core: Core, afters: Afters, forecast: Forecast) -> None:
        self._core = core
        self._afters = afters
        self._forecast = forecast

    def admit(
        self, asks: Sequence[Ask], known: Callable[[Key], bool], now: float
    ) -> list[Admission]:
        """The answers, in order."""
        refused = self._afters.register(asks, known)
        gangs: dict[str, int] = {}
        for ask in asks:
            if ask.gang is not None:
                gangs[ask.gang.name] = gangs.get(ask.gang.name, 0) + 1
        batch: dict[Lane, Backlog] = {}
        return [
            Admission(refused[ask.key])
            if ask.key in refused
            else self._answer(ask, gangs, batch, now)
            for ask in asks
        ]

    def _answer(
        self, ask: Ask, gangs: dict[str, int], batch: dict[Lane, Backlog], now: float
    ) -> Admission:
        core = self._core
        wrong = self._wrong(ask, gangs)
        if wrong:
            return Admission(Reject(ask.key, "impossible", wrong))
        if core.overload.degraded and core.overload.refuse(
            core.rank[ask.priority_class], core.lowest_rank()
        ):
            return Admission(
                Reject(
                    ask.key,
                    "shed",
                    "the scheduler is overloaded and takes no more of class "
                    f"{ask.priority_class!r} for now; submit it again later",
                )
            )
        try:
            task = Task(ask, core.want(ask), 0, now)
        except ValueError as error:
            return Admission(Reject(ask.key, "impossible", str(error)))
        core.set_due(task, now)
        lane = core.lane_of(task)
        warning = self._nobody(lane, ask)
        if ask.deadline is not None:
            late, seen = self._late(task, lane, batch, now)
            if seen == "refuse":
                return Admission(Reject(ask.key, "deadline", late))
            warning = warning or late
        return Admission(None, warning) if warning else TAKEN

    def _wrong(self, ask: Ask, gangs: dict[str, int]) -> str:
        """What can never be carried out, in words."""
        core, settings = self._core, self._core.settings
        if ask.priority_class not in core.rank:
            hint = nearest(ask.priority_class, list(core.rank))
            return f"there is no priority class {ask.priority_class!r}{hint}"
        if not math.isfinite(ask.priority):
            return f"priority is {ask.priority}; it must be a finite number"
        gang = ask.gang
        if gang is not None:
            if not 1 <= gang.size <= settings.gang_size_max:
                return (
                    f"gang {gang.name!r} has size {gang.size}; it may be 1 to "
                    f"{settings.gang_size_max}"
                )
            if gangs[gang.name] > gang.size:
                return (
                    f"gang {gang.name!r} has size {gang.size} and got "
                    f"{gangs[gang.name]} members"
                )
        return ""

    def _nobody(self, lane: Lane, ask: Ask) -> str:
        """That no worker there is can run it, in words; "" if one can."""
        core = self._core
        never = core.tokens.never(lane.want.tokens)
        if never:
            return f"{'; '.join(never)}; it waits for more"
        if not lane.groups:
            return f"no worker has {needs_text(lane.want)}; it waits for one"
        if ask.gang is not None:
            able = lane.able
            if able < ask.gang.size:
                return (
                    f"gang {ask.gang.name!r} needs {ask.gang.size} workers with "
                    f"{needs_text(lane.want)}; there are {able}"
                )
        return ""

    def _late(
        self, task: Task, lane: Lane, batch: dict[Lane, Backlog], now: float
    ) -> tuple[str, Answer]:
        """That its deadline cannot be met, in words, and what follows from it.

        What came with it counts as if it were ready now.
        """
        core, ask = self._core, task.ask
        kind = lane.groups[0].kind if lane.groups else ""
        estimate = core.estimate(ask, kind)
        backlog = batch.setdefault(lane, Backlog())
        together_s = backlog.ahead_s(task.due + 1.0)  # with all that is due as early
        backlog.add(task.due, estimate.seconds)
        ahead_s = self._forecast.ahead_s(lane, task.due, now)
        if not ahead_s and together_s < estimate.seconds * lane.threads:
            together_s = 0.0  # there are free threads: the first of the batch have them
        seen = outlook(ask.deadline, ahead_s + together_s, lane.threads, estimate, now)
        return seen.words, answer(ask.on_late, seen)
