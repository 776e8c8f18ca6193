"""Deadlines of waiting tasks: when one cannot be met any more, and what then. Pure."""

from __future__ import annotations

from dtf_dask.quantities import format_duration
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.terms import Notice, Reject
from dtf_dask.scheduler_plugins.policies.admission import hopeless_at

_NOTICES_MAX = 1000


class Deadlines:
    """Watches deadlines, and counts those that were met and missed."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def watch(self, task: Task) -> None:
        """Look at it when it is hopeless if it has not begun, where that matters."""
        deadline = task.ask.deadline
        assert deadline is not None
        if task.ask.on_late == "cancel":
            at = hopeless_at(deadline, self._core.estimate(task.ask, ""))
            self._core.timers.add(at, "late", (task, task.ask), task)

    def due(self, subject: tuple[Task, object], now: float) -> None:
        """It should have begun by now; if it has not, it is hopeless."""
        task, ask = subject
        core = self._core
        if core.lanes.tasks.get(task.key) is not task or task.ask is not ask:
            return
        deadline = task.ask.deadline
        assert deadline is not None
        estimate = core.estimate(task.ask, "")
        at = hopeless_at(deadline, estimate)
        if at > now:  # it has become faster meanwhile
            core.timers.add(at, "late", subject, task)
            return
        left = format_duration(round(max(0.0, deadline - now), 3))
        needs = format_duration(round(estimate.seconds, 3))
        message = (
            f"cannot meet its deadline: no worker had room for it in time; needs "
            f"about {needs}, the deadline is in {left}"
        )
        core.take(task, now)
        core.rejects.append(Reject(task.key, "deadline", message))

    def ended(self, task: Task, now: float) -> None:
        """It is done: in time, or not."""
        core = self._core
        deadline = task.ask.deadline
        assert deadline is not None
        task.late_s = now - deadline
        if now <= deadline:
            core.met += 1
            return
        core.missed += 1
        core.tallies.of[task.ask.priority_class].missed += 1
        core.misses.append((task.key, task.late_s, now))
        if len(core.notices) < _NOTICES_MAX:
            late = format_duration(round(now - deadline, 3))
            core.notices.append(
                Notice("deadline", str(task.key), f"ended {late} after its deadline")
            )
