"""Tasks that a shadow forgot and may have to know again.

It acts on a journal from which what is over may be gone, and so forgets some too early
(see `dtf_dask.standby.living`): until it has acted on all, what is mentioned again is
revived as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState

Key = Any
"""Dask's keys are narrower than those of tables."""


@dataclass(frozen=True, slots=True)
class Buried:
    """A task that was forgotten; why it had failed, if it had."""

    run_spec: Any
    annotations: dict[str, Any] | None
    priority: Any
    actor: bool
    needs: tuple[Key, ...]
    erred: Mapping[str, Any] | None


class Graveyard:
    """The tasks that one scheduler forgot.

    Parameters
    ----------
    told
        Told of a task that is known again, and as what it was buried.
    """

    def __init__(
        self, scheduler: Scheduler, told: Callable[[TaskState, Buried], None]
    ) -> None:
        self._scheduler, self._told = scheduler, told
        self._buried: dict[Key, Buried] = {}

    def bury(self, ts: TaskState, erred: Mapping[str, Any] | None) -> None:
        """A task is forgotten."""
        needs = tuple(dts.key for dts in ts.dependencies)
        found = ts.run_spec, ts.annotations, ts.priority, ts.actor, needs, erred
        self._buried[ts.key] = Buried(*found)

    def settle(self) -> None:
        """What is buried is gone for good."""
        self._buried.clear()

    def is_known(self, key: Key) -> bool:
        """Whether a task is known, now that it is mentioned: it may be revived."""
        if key in self._scheduler.tasks:
            return True
        if key not in self._buried:
            return False
        stack = [key]
        while stack:
            one = stack[-1]
            if one in self._scheduler.tasks:
                stack.pop()
                continue
            found = self._buried.get(one)
            if found is None:
                return False
            missing = [dep for dep in found.needs if dep not in self._scheduler.tasks]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self._revive(one, self._buried.pop(one))
        return True

    def _revive(self, key: Key, found: Buried) -> None:
        ts = self._scheduler.new_task(key, found.run_spec, "released")
        ts.annotations, ts.priority = found.annotations, found.priority
        ts.actor = found.actor
        for need in found.needs:
            ts.add_dependency(self._scheduler.tasks[need])
        self._told(ts, found)
