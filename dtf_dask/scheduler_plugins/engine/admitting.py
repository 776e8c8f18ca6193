"""What becomes of tasks when they are submitted: taken, warned of, or refused. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dtf_dask.hints import nearest
from dtf_dask.scheduler_plugins.engine.after import Afters
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.forecast import Forecast
from dtf_dask.scheduler_plugins.engine.lanes import Lane
from dtf_dask.scheduler_plugins.engine.match import needs_text
from dtf_dask.scheduler_plugins.engine.terms import Admission, Ask, Key, Reject
from dtf_dask.scheduler_plugins.policies.admission import (
    Backlog,
    answer,
    finish_s,
    outlook,
)

TAKEN = Admission()


class _Batch:
    """What came together and wants the same workers: it goes in turn, too.

    Parameters
    ----------
    ahead_s_max
        Seconds of work that goes before any of it, at most.
    """

    __slots__ = ("_backlog", "_counted", "_works", "ahead_s_max", "total_s")

    def __init__(self, ahead_s_max: float) -> None:
        self.ahead_s_max = ahead_s_max
        self.total_s = 0.0
        self._works: list[tuple[float, float]] = []
        self._backlog = Backlog()
        self._counted = 0

    def add(self, due: float, seconds: float) -> None:
        """One more of it."""
        self.total_s += seconds
        self._works.append((due, seconds))

    def ahead_s(self, due: float) -> float:
        """Seconds of it that are due earlier. Few ask: it is sorted only for them."""
        for work in self._works[self._counted :]:
            self._backlog.add(*work)
        self._counted = len(self._works)
        return self._backlog.ahead_s(due)


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
        core = self._core
        self._forecast.begin()
        refused = self._afters.register(asks, known)
        gangs: dict[str, int] = {}
        for ask in asks:
            if ask.gang is not None:
                gangs[ask.gang.name] = gangs.get(ask.gang.name, 0) + 1
        batches: dict[Lane, _Batch] = {}
        # Tasks that are alike get one answer, as far as their deadlines allow.
        seen: dict[tuple[Any, ...], tuple[Lane, Admission]] = {}
        answers = []
        for ask in asks:
            if ask.key in refused:
                answers.append(Admission(refused[ask.key]))
                continue
            kind = (id(ask.need), ask.priority_class, ask.tenant)
            found = seen.get(kind)
            if found is None or ask.gang is not None or ask.priority:
                looked = self._look(ask, gangs)
                if isinstance(looked, Reject):
                    answers.append(Admission(looked))
                    continue
                found = looked
                if ask.gang is None and not core.accept_names:
                    seen[kind] = found
            lane, taken = found
            if ask.deadline is not None:
                taken = self._in_time(ask, lane, batches, taken, now)
            answers.append(taken)
        return answers

    def _look(self, ask: Ask, gangs: dict[str, int]) -> tuple[Lane, Admission] | Reject:
        """Where a task will wait, and what is to be said of it; or why it will not."""
        core = self._core
        wrong = self._wrong(ask, gangs)
        if wrong:
            return Reject(ask.key, "impossible", wrong)
        if core.overload.degraded and core.overload.refuse(
            core.rank[ask.priority_class], core.lowest_rank()
        ):
            return Reject(
                ask.key,
                "shed",
                "the scheduler is overloaded and takes no more of class "
                f"{ask.priority_class!r} for now; submit it again later",
            )
        try:
            lane = core.lane_for(ask, core.want(ask))
        except ValueError as error:
            return Reject(ask.key, "impossible", str(error))
        warning = self._nobody(lane, ask)
        return lane, Admission(None, warning) if warning else TAKEN

    def _in_time(
        self,
        ask: Ask,
        lane: Lane,
        batches: dict[Lane, _Batch],
        taken: Admission,
        now: float,
    ) -> Admission:
        """The same answer, or that its deadline cannot be met.

        What came with it counts as if it were ready now.
        """
        core, deadline = self._core, ask.deadline
        assert deadline is not None
        kind = lane.groups[0].kind if lane.groups else ""
        estimate = core.estimate(ask, kind)
        batch = batches.get(lane)
        if batch is None:
            batch = batches[lane] = _Batch(self._forecast.ahead_s_max(lane, now))
        due, _ = core.due(ask, now, now)
        most_s, _ = finish_s(batch.ahead_s_max + batch.total_s, lane.threads, estimate)
        if now + most_s + estimate.seconds <= deadline:
            batch.add(due, estimate.seconds)
            return taken
        together_s = batch.ahead_s(due + 1.0)  # with all that is due as early
        batch.add(due, estimate.seconds)
        ahead_s = self._forecast.ahead_s(lane, due, now)
        if not ahead_s and together_s < estimate.seconds * lane.threads:
            together_s = 0.0  # there are free threads: the first of the batch have them
        seen = outlook(deadline, ahead_s + together_s, lane.threads, estimate, now)
        words = seen.words
        if answer(ask.on_late, seen) == "refuse":
            return Admission(Reject(ask.key, "deadline", words))
        return taken if taken.warning or not words else Admission(None, words)

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
