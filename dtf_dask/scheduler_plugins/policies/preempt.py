"""Which running tasks give way to one that would miss its deadline. Pure.

Only tasks of a lower class that run in a process which may be killed, and not one that
has given way often enough. All victims are on one worker, and none of them in vain. The
cheapest are taken: what is lost is the time they have run since their last checkpoint
(they are asked to write one before they go), and the lower the class the less it costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dtf_dask.scheduler_plugins.engine.terms import Key

Fits = Callable[[str, Sequence["Running"]], bool]
"""Whether the task would fit on this worker without these."""


@dataclass(frozen=True, slots=True)
class PreemptSettings:
    """Bounds of preemption.

    Parameters
    ----------
    kills_max
        How often one task gives way at most; then it runs to its end.
    victims_max
        How many give way to one task.
    candidates_max
        How many of a worker's tasks are looked at, the cheapest first.
    restart_s
        What it costs to start a killed task again, beside the work that is lost.
    """

    kills_max: int = 2
    victims_max: int = 8
    candidates_max: int = 32
    restart_s: float = 1.0


class Running(NamedTuple):
    """A task that runs, as far as preemption looks at it.

    Parameters
    ----------
    rank
        Of its class: 0 for the most important.
    started
        When it began, or when it last wrote a checkpoint, on the engine's clock.
    checkpoint_s
        What a checkpoint costs if it can write one when it is told to go; None if
        it cannot. Then only this is lost.
    kills
        How often it gave way before.
    dying
        It is being killed already: its place will be free without more.
    """

    key: Key
    worker: str
    rank: int
    started: float
    preemptible: bool = False
    amounts: tuple[tuple[str, float], ...] = ()
    checkpoint_s: float | None = None
    kills: int = 0
    dying: bool = False


@dataclass(frozen=True, slots=True)
class Eviction:
    """Who gives way, where, and at what cost in seconds of work."""

    worker: str
    victims: tuple[Running, ...]
    cost_s: float
    reason: str


class Preemption:
    """Chooses victims."""

    def __init__(self, settings: PreemptSettings | None = None) -> None:
        self._settings = settings or PreemptSettings()

    def choose(
        self, name: str, rank: int, running: Iterable[Running], fits: Fits, now: float
    ) -> Eviction | None:
        """The cheapest tasks that make room for one of this class, or None.

        Parameters
        ----------
        name, rank
            Of the task that would be late.
        running
            All that runs where it may run.
        fits
            Whether it would fit on a worker without some of its tasks. Where it fits
            without any, or once those end that are being killed, nothing is chosen.

        Returns
        -------
        Eviction or None
            Of equal costs the fewest victims, then the first worker by name.
        """
        workers: dict[str, list[Running]] = {}
        dying: dict[str, list[Running]] = {}
        for task in running:
            if task.dying:
                dying.setdefault(task.worker, []).append(task)
            elif self._may_go(task, rank):
                workers.setdefault(task.worker, []).append(task)
        for worker, leaving in dying.items():
            if fits(worker, leaving):
                return None  # that is being done already
        best: tuple[tuple[float, int, str], tuple[Running, ...]] | None = None
        for worker, tasks in workers.items():
            victims = self._on_one(
                worker, tasks, dying.get(worker, []), rank, fits, now
            )
            if victims is None:
                continue
            if not victims:
                return None  # there is room
            order = (self._cost_s(victims, rank, now), len(victims), worker)
            if best is None or order < best[0]:
                best = (order, victims)
        if best is None:
            return None
        (_, _, worker), victims = best
        lost_s = sum(self._lost_s(victim, now) for victim in victims)
        reason = f"gives way to {name!r}, which is more urgent and would be late"
        return Eviction(worker, victims, lost_s, reason)

    def _may_go(self, task: Running, rank: int) -> bool:
        return (
            task.preemptible
            and task.rank > rank
            and task.kills < self._settings.kills_max
        )

    def _on_one(
        self,
        worker: str,
        tasks: list[Running],
        leaving: list[Running],
        rank: int,
        fits: Fits,
        now: float,
    ) -> tuple[Running, ...] | None:
        """Victims on this worker, none of them in vain; None if there are not enough.

        The cheapest are added until there is room; then those that turn out not to be
        needed stay, the dearest first. One alone that makes room may be cheaper.
        """
        settings = self._settings
        # What is equally dear stays in the order it was given in: no key is compared.
        ordered = sorted(tasks, key=lambda task: self._cost_s((task,), rank, now))
        chosen: list[Running] = []
        for task in ordered[: settings.candidates_max]:
            if fits(worker, [*leaving, *chosen]):
                break
            chosen.append(task)
        if not fits(worker, [*leaving, *chosen]):
            return None
        for task in reversed(chosen.copy()):
            without = [other for other in chosen if other is not task]
            if fits(worker, [*leaving, *without]):
                chosen = without
        if len(chosen) > 1:
            most_s = self._cost_s(chosen, rank, now)
            for task in ordered[: settings.candidates_max]:
                if self._cost_s((task,), rank, now) > most_s:
                    break
                if fits(worker, [*leaving, task]):
                    chosen = [task]
                    break
        return tuple(chosen) if len(chosen) <= settings.victims_max else None

    def _cost_s(self, victims: Sequence[Running], rank: int, now: float) -> float:
        """What is lost; half as much for a class that is twice as far below."""
        return math.fsum(
            self._lost_s(task, now) / max(1, task.rank - rank) for task in victims
        )

    def _lost_s(self, task: Running, now: float) -> float:
        lost_s = max(0.0, now - task.started)
        if task.checkpoint_s is not None:
            lost_s = min(lost_s, task.checkpoint_s)
        return lost_s + self._settings.restart_s
