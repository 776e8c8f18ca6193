"""Tasks that a shadow forgot and may have to know again.

It acts on a journal from which what is over may be gone, and so forgets some too early
(see `dtf_dask.standby.living`): until it has acted on all, what is mentioned again is
revived as it was. What is asked for again is made anew all the same: the leader had
forgotten it, or it would have been kept (see `dtf_dask.standby.asked_again`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
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
        self._buried: dict[Key, tuple[int, Buried]] = {}
        """In the order in which they were buried, each with the day on which it was."""
        self._day = 0
        self._revived: dict[Key, None] = {}
        self._just_revived: list[TaskState] = []

    def bury(self, ts: TaskState, erred: Mapping[str, Any] | None) -> None:
        """A task is forgotten."""
        needs = tuple(dts.key for dts in ts.dependencies)
        found = ts.run_spec, ts.annotations, ts.priority, ts.actor, needs, erred
        self._revived.pop(ts.key, None)
        self._buried.pop(ts.key, None)
        self._buried[ts.key] = self._day, Buried(*found)

    def settle(self) -> None:
        """What is buried is gone for good."""
        self._buried.clear()
        self._revived.clear()

    def next_day(self) -> list[Key]:
        """What was buried before this day is gone for good; answers which that is."""
        gone = list(
            takewhile(lambda key: self._buried[key][0] < self._day, self._buried)
        )
        for key in gone:
            del self._buried[key]
        self._day += 1
        return gone

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
            needs = found[1].needs
            missing = [dep for dep in needs if dep not in self._scheduler.tasks]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self._revive(one, self._buried.pop(one)[1])
        return True

    def is_certain(self, key: Key) -> bool:
        """Whether a task is known that was not revived."""
        return key in self._scheduler.tasks and key not in self._revived

    def anew(self, keys: Iterable[Key]) -> dict[Key, None]:
        """Those of some keys that are to be made anew, as they were only revived."""
        if not self._revived:
            return {}
        found = dict.fromkeys(key for key in keys if key in self._revived)
        for key in found:
            del self._revived[key]
        return found

    def confirm(self, kept: Iterable[TaskState]) -> None:
        """These are what the leader knows, and so is all that they need."""
        stack = list(kept) if self._revived else []
        seen = set(stack)
        while stack:
            ts = stack.pop()
            self._revived.pop(ts.key, None)
            needs = ts.dependencies - seen
            seen |= needs
            stack.extend(needs)

    def just_revived(self) -> list[TaskState]:
        """What was revived since this was asked last; it may be needed by nobody."""
        found, self._just_revived = self._just_revived, []
        return found

    def _revive(self, key: Key, found: Buried) -> None:
        ts = self._scheduler.new_task(key, found.run_spec, "released")
        ts.annotations, ts.priority = found.annotations, found.priority
        ts.actor = found.actor
        for need in found.needs:
            ts.add_dependency(self._scheduler.tasks[need])
        self._revived[key] = None
        self._just_revived.append(ts)
        self._told(ts, found)
