"""Actors: Dask places and keeps them; here it is said which workers may have them.

An actor cannot be held in "no-worker" and granted as a task is, and once it is there it
takes no thread. So of what it asks its hardware is heeded, and what would have to be
accounted for its life is refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from distributed.scheduler import TaskState, WorkerState

from dtf_dask.demand import Expression
from dtf_dask.errors import TaskRefusedError
from dtf_dask.scheduler_plugins.adapter import asks, dask_failures, dask_grants
from dtf_dask.scheduler_plugins.adapter.governed import Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding
from dtf_dask.scheduler_plugins.engine.match import task_facts
from dtf_dask.scheduler_plugins.engine.terms import Ask

ANNOTATION = "dtf"
_REFUSED = (
    *("cpus", "memory", "gpus", "gpu_memory", "resources", "tokens", "exclusive"),
    *("gang", "after", "timeout", "on_upstream_failure"),
)


class _Wish(NamedTuple):
    hardware: Expression | None
    facts: dict[str, Any]  # that it tells to a worker's ``accept``
    refused: TaskRefusedError | None


class Actors:
    """The actors of one scheduler that ask something."""

    def __init__(self, holding: Holding, *, default_class: str) -> None:
        self._holding = holding
        self._default_class = default_class
        self._wishes: dict[Key, _Wish] = {}

    def submitted(self, ts: TaskState) -> None:
        """An actor came that was not moved yet."""
        asked = (ts.annotations or {}).get(ANNOTATION)
        if asked is None:
            return
        error: TaskRefusedError | None = None
        hardware, facts = None, dict[str, Any]()
        try:
            wishes = asks.read(asked, None, self._default_class)
            hardware = wishes.need.hardware
            words = wishes.priority_class, wishes.tenant
            ask = Ask(ts.key, ts.prefix.name, wishes.need, *words)
            facts = task_facts(ask)
            if unheeded := [key for key in _REFUSED if asked.get(key)]:
                error = TaskRefusedError(
                    f"this actor is refused: {', '.join(unheeded)} cannot be accounted "
                    "for an actor's life; it may ask for hardware, and for Dask's own "
                    "resources="
                )
        except TaskRefusedError as bad:
            error = bad
        self._wishes[ts.key] = _Wish(hardware, facts, error)
        if error is not None and not self._holding.recalling:
            self._refuse(ts.key, error)

    def fitting(self, ts: TaskState) -> set[WorkerState] | None:
        """The workers that may have an actor now; None if it asks nothing."""
        wish = self._wishes.get(ts.key)
        if wish is None:
            return None
        if wish.refused is not None:
            return set()
        found = set()
        for post in self._holding.posts.all():
            fits = wish.hardware is None or wish.hardware.evaluate(post.offer.facts)
            accept = post.offer.accept
            if fits and post.runs and (accept is None or accept.evaluate(wish.facts)):
                found.add(post.ws)
        return found

    def needs(self, key: Key) -> str:
        """What an actor asks of its worker, in words."""
        wish = self._wishes.get(key)
        return "" if wish is None or wish.hardware is None else str(wish.hardware)

    def look_again(self) -> None:
        """A worker has other things than before: one that waits may have it now."""
        waiting = [key for key in self._holding.unplaced if key in self._wishes]
        if waiting:
            dask_grants.grant(self._holding.scheduler, waiting)

    def settled(self) -> None:
        """Those of old that were refused are so still."""
        for key, wish in self._wishes.items():
            ts = self._holding.scheduler.tasks.get(key)
            if wish.refused is not None and ts is not None and ts.state != "erred":
                self._refuse(key, wish.refused)

    def _refuse(self, key: Key, why: TaskRefusedError) -> None:
        fail, scheduler = dask_failures.fail, self._holding.scheduler
        self._holding.soon(lambda: fail(scheduler, key, why))

    def forgotten(self, key: Key) -> None:
        """A task is no more."""
        self._wishes.pop(key, None)

    def clear(self) -> None:
        """No task is there any more."""
        self._wishes.clear()
