"""What a scheduler makes of what workers bring: who has it, and who goes on. Pure.

A worker's word is the truth for what it has and runs, and not for what is wanted: that
the scheduler knows. Where several workers speak of one task:

=========================  ===========================================================
the scheduler has it       what is brought
=========================  ===========================================================
not at all                 is freed
in memory                  a copy is one more copy; attempts are freed
erred                      is freed; who failed keeps that, as in Dask
in processing, there       done, failed or going on is taken so; if it is neither, the
                           task never came there, or was dropped: it is sent again
in processing, elsewhere   is freed: it was begun again, and only one may count
open                       memory wins; else the latest attempt, if it goes on and its
                           inputs are there, or if it failed and nobody counted that
=========================  ===========================================================

What is of another making of the key (see `dtf_dask.durable.makings`) is freed, and is
else as if it had not been brought. Nobody can make a scattered value again: a worker
that has not heard of which making it is, is believed, and told. The latest attempt is
the one with the highest run id: schedulers count on, over terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running
from dtf_dask.durable.makings import NONE
from dtf_dask.submission.table import Key

Standing = Literal["open", "processing", "memory", "erred"]


@dataclass(frozen=True, slots=True)
class Known:
    """A task, as a scheduler has it.

    Parameters
    ----------
    standing
        "open" is whatever is neither of the others: nobody has it or is at it.
    worker
        Who is at it, by the scheduler's word.
    run_id
        Of its last attempt that the scheduler knows of: it has counted the failures of
        all up to that, unless it still waits for that one.
    made
        The mark of its making.
    value
        Whether it was scattered, and nobody can make it.
    """

    standing: Standing
    worker: str = ""
    run_id: int = -1
    made: int = NONE
    value: bool = False


class View(Protocol):
    """What a scheduler knows, for a moment."""

    def known(self, key: Key) -> Known | None:
        """A task, or None if nobody wants it any more."""

    def needs(self, key: Key) -> Iterable[Key]:
        """The inputs of a task."""

    def has(self, worker: str, key: Key) -> bool:
        """Whether a worker is known to have a result."""

    def held_by(self, worker: str) -> Iterable[Key]:
        """All results that a worker is known to have."""

    def processing_on(self, worker: str) -> Iterable[Key]:
        """All tasks that were sent to a worker."""


@dataclass(slots=True)
class Result:
    """A result that the scheduler did not know of, with all that have it.

    Of an actor one has it, ``actor_at``, and others what they reach it by.
    """

    nbytes: int
    typename: str
    run_id: int
    workers: list[str]
    actor_at: str = ""


@dataclass(slots=True)
class Plan:
    """What is to be done; each task is in one of these, but for frees.

    Parameters
    ----------
    memory
        Open tasks that are done.
    copies, lost
        Of results in memory: who has them, too, and who has them no more.
    running
        Open tasks that somebody is at.
    kept
        Tasks in processing whose worker is at them, as the scheduler has it.
    finished, failed
        Tasks in processing whose worker is done with them.
    erred
        Open tasks of which the latest attempt failed.
    known_erred
        Erred tasks, with workers that remember it.
    again
        Tasks in processing whose worker has nothing of them.
    free
        By worker, what it is to forget.
    freed
        Attempts among those, which may go on for a while: a thread cannot be ended.
    untold
        By worker, the values that it has not heard the marks of.
    """

    memory: dict[Key, Result] = field(default_factory=dict)
    copies: list[tuple[str, Key]] = field(default_factory=list)
    lost: list[tuple[str, Key]] = field(default_factory=list)
    running: dict[Key, tuple[str, Running]] = field(default_factory=dict)
    kept: list[tuple[str, Running]] = field(default_factory=list)
    finished: list[tuple[str, Held]] = field(default_factory=list)
    failed: list[tuple[str, Erred]] = field(default_factory=list)
    erred: dict[Key, tuple[str, Erred]] = field(default_factory=dict)
    known_erred: list[tuple[str, Key]] = field(default_factory=list)
    again: list[tuple[str, Key]] = field(default_factory=list)
    free: dict[str, list[Key]] = field(default_factory=dict)
    freed: list[tuple[str, Running]] = field(default_factory=list)
    untold: dict[str, list[Key]] = field(default_factory=dict)


def plan(brought: Mapping[str, Inventory], view: View) -> Plan:
    """What to make of the inventories of workers, by their addresses.

    Of workers that are not among them nothing is concluded.
    """
    made = _Planning(view)
    for worker, inventory in brought.items():
        made.results(worker, inventory)
    for worker, inventory in brought.items():
        made.attempts(worker, inventory)
    made.choose()
    for worker, inventory in brought.items():
        made.silence(worker, inventory)
    return made.plan


class _Planning:
    def __init__(self, view: View) -> None:
        self.plan = Plan()
        self._view = view
        self._claims: dict[Key, list[tuple[str, Running | Erred]]] = {}
        self._heard: set[tuple[str, Key]] = set()

    def results(self, worker: str, inventory: Inventory) -> None:
        made = self.plan
        actors = set(inventory.actors)
        for held in inventory.memory:
            key = held.key
            known = self._known(held)
            if known is not None and known.made != held.made:
                made.untold.setdefault(worker, []).append(key)
            if known is None or known.standing == "erred":
                self._free(worker, key)
            elif known.standing == "open":
                self._result(worker, held, key in actors)
            elif known.standing == "memory":
                if not self._view.has(worker, key):
                    made.copies.append((worker, key))
            elif known.worker == worker:
                self._heard.add((worker, key))
                made.finished.append((worker, held))
            else:
                self._free(worker, key)

    def _known(self, brought: Held | Running | Erred) -> Known | None:
        """The task that something is of, if that is wanted still."""
        known = self._view.known(brought.key)
        if known is None or known.made == brought.made:
            return known
        return known if known.value and brought.made == NONE else None

    def _result(self, worker: str, held: Held, actor: bool) -> None:
        found = self.plan.memory.get(held.key)
        if found is None:
            found = self.plan.memory[held.key] = Result(
                held.nbytes, held.typename, held.run_id, []
            )
        found.workers.append(worker)
        if actor:
            found.actor_at = worker
        if held.run_id > found.run_id:  # who made it knows its size best
            found.nbytes, found.typename = held.nbytes, held.typename
            found.run_id = held.run_id

    def attempts(self, worker: str, inventory: Inventory) -> None:
        for running in inventory.running:
            known = self._known(running)
            if known is not None and known.standing == "open":
                self._claim(worker, running)
            elif known is not None and known.worker == worker:
                self._heard.add((worker, running.key))
                self.plan.kept.append((worker, running))
            else:
                self._free_attempt(worker, running)
        for erred in inventory.erred:
            known = self._known(erred)
            if known is None:
                self._free(worker, erred.key)
            elif known.standing == "erred":
                self.plan.known_erred.append((worker, erred.key))
            elif known.standing == "open" and erred.run_id > known.run_id:
                self._claim(worker, erred)
            elif known.worker == worker and erred.run_id >= known.run_id:
                self._heard.add((worker, erred.key))
                self.plan.failed.append((worker, erred))
            elif known.worker != worker:
                self._free(worker, erred.key)

    def _claim(self, worker: str, attempt: Running | Erred) -> None:
        if attempt.key in self.plan.memory:
            self._drop(worker, attempt)
        else:
            self._claims.setdefault(attempt.key, []).append((worker, attempt))

    def choose(self) -> None:
        for key, claims in self._claims.items():
            # By address at last, so that all who look at it choose the same.
            claims.sort(key=lambda one: (-one[1].run_id, one[0]))
            chosen = False
            for worker, attempt in claims:
                if chosen or not self._possible(key, attempt):
                    self._drop(worker, attempt)
                    continue
                chosen = True
                if isinstance(attempt, Running):
                    self.plan.running[key] = (worker, attempt)
                else:
                    self.plan.erred[key] = (worker, attempt)

    def _possible(self, key: Key, attempt: Running | Erred) -> bool:
        if isinstance(attempt, Erred):
            return True
        for need in self._view.needs(key):
            if need not in self.plan.memory:
                known = self._view.known(need)
                if known is None or known.standing != "memory":
                    return False  # Dask takes such an attempt back, too
        return True

    def silence(self, worker: str, inventory: Inventory) -> None:
        """What a worker should have spoken of, and did not."""
        held: set[Key] | None = None
        for key in self._view.held_by(worker):
            if held is None:
                held = {
                    one.key for one in inventory.memory if self._known(one) is not None
                }
            if key not in held:
                self.plan.lost.append((worker, key))
        for key in self._view.processing_on(worker):
            if (worker, key) not in self._heard:
                self.plan.again.append((worker, key))

    def _drop(self, worker: str, attempt: Running | Erred) -> None:
        if isinstance(attempt, Running):
            self._free_attempt(worker, attempt)
        else:
            self._free(worker, attempt.key)

    def _free_attempt(self, worker: str, running: Running) -> None:
        self._free(worker, running.key)
        self.plan.freed.append((worker, running))

    def _free(self, worker: str, key: Key) -> None:
        self.plan.free.setdefault(worker, []).append(key)
