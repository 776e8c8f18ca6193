"""Which worker a task goes to: filter, then score. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.stall import Bars
from dtf_dask.scheduler_plugins.engine.terms import Ask
from dtf_dask.scheduler_plugins.engine.unit import Unit

_SCARCE = 3.0
"""How much more a second on the scarcest workers counts than one on the others."""

_Rank = tuple[bool, int, float, str]


class Chooser:
    """Finds the best of the workers that have room."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # What was asked last, for it is asked twice in a row.
        self._judged: tuple[Task, str] | None = None
        self._judged_short = False

    def begin(self) -> None:
        """Decide anew: what was learned meanwhile counts."""
        self._judged = None

    def choose(self, task: Task, lane: Lane, count: int, now: float) -> Place | None:
        """The best worker of the first ``count`` groups that the lane can have.

        A free thread is better than any other; then the score counts, then the load.
        """
        bars = self.bars(task, lane, now)
        if task.want.workers is not None:
            return self._among(task, lane, task.want.workers, count, bars)
        if self._core.policies.scores:
            names = [name for group, _ in lane.offers[:count] for name in group.members]
            return self._among(task, lane, names, count, bars)
        core, shape = self._core, task.shape
        best: Place | None = None
        best_rank: _Rank | None = None
        short: bool | None = None  # whether it may wait behind what a worker runs
        learned = core.settings.weight_learned if len(lane.offers) > 1 else 0
        for group, score in lane.offers[:count]:
            if not group.free and (short is False or not shape.plain):
                continue
            stall = group.stalls.get(shape)
            if stall is None:
                stall = group.stall(shape)
            place = stall.best(bars)
            if place is None:
                continue
            queued = shape.plain and place.cpu + place.foreign >= place.threads
            if queued:
                # By the first kind of machine: they do not differ that much.
                if short is None:
                    short = self._short(task, place.kind)
                if not short or not self._spare(task, place):
                    continue
            if learned:
                score += learned * core.placement.score(task.ask.name, group.kind)
            rank = (queued, -score, place.load, place.name)
            if best_rank is None or rank < best_rank:
                best, best_rank = place, rank
        if best is not None and best_rank is not None and count < len(lane.offers):
            best, best_rank = self._faster(task, lane, count, bars, best, best_rank)
        if task.ask.near:
            best, best_rank = self._nearer(task, lane, count, bars, best, best_rank)
        return self._chosen(task, best, best_rank)

    def short(self, task: Task, lane: Lane) -> bool:
        """Whether it may be held behind others on the first workers of a lane."""
        return self._short(task, lane.offers[0][0].kind)

    def bars(
        self,
        task: Task,
        lane: Lane,
        now: float,
        *,
        kept_too: bool = False,
        avoided_too: bool = False,
    ) -> Bars | None:
        """What rules workers out for this one task; None if nothing does."""
        core = self._core
        bars: list[Bars] = []
        avoid = task.ask.avoid
        if avoid and not avoided_too and self._others(lane, avoid):
            bars.append(lambda place: place.name in avoid)
        if core.keeping.units and not kept_too:
            bars.append(lambda place: self._kept_from(place, task, now))
        if not core.breakers.quiet:
            name, allows = task.ask.name, core.breakers.allows
            bars.append(lambda place: bool(allows(place.name, name, place.kind, now)))
        if core.policies.filters:
            filters = core.policies.filter
            bars.append(lambda place: bool(filters(task.ask, place.view())))
        if not bars:
            return None
        if len(bars) == 1:
            return bars[0]
        return lambda place: any(bar(place) for bar in bars)

    def _kept_from(self, place: Place, task: Task, now: float) -> bool:
        """Whether a worker is kept for others, and the task would be in their way."""
        for unit, kept in self.kept(place, task):
            if task.unit is None and (task.due, task.seq) < (unit.due, unit.seq):
                continue
            ask = task.ask
            estimate = self._core.estimate(ask, place.kind)
            end = now + estimate.seconds + estimate.spread_s
            if estimate.source != "default" and end <= unit.start_at:
                continue
            shape = unit.tasks[unit.kept.index(kept)].shape
            if not kept.fits_both(task.shape, shape):
                return True
        return False

    def kept(self, place: Place, task: Task) -> Iterator[tuple[Unit, Place]]:
        """The units whose workers a task would run on here, or on devices of theirs."""
        own = place.reserved
        if own is not None and own is not task.unit:
            yield own, place
        if not task.shape.devices:
            return
        for unit in self._core.keeping.units:
            if unit is task.unit:
                continue
            for other, waiting in zip(unit.kept, unit.tasks, strict=True):
                if other is not place and waiting.shape.devices and other.shares(place):
                    yield unit, other

    def _others(self, lane: Lane, avoid: frozenset[str]) -> bool:
        """Whether there is a worker for the lane that is not to be avoided."""
        wanted = lane.want.workers
        for group in lane.groups:
            for name, place in group.members.items():
                if name in avoid or place.barred:
                    continue
                if wanted is None or name in wanted:
                    return True
        return False

    def _among(
        self,
        task: Task,
        lane: Lane,
        names: Iterable[str],
        count: int,
        bars: Bars | None,
    ) -> Place | None:
        """The best of these workers, each with a score of its own."""
        core, ask = self._core, task.ask
        best: Place | None = None
        best_rank: _Rank | None = None
        within = dict(lane.offers[:count])
        for name in names:
            place = core.places.workers.get(name)
            if place is None or place.group not in within:
                continue
            if bars is not None and bars(place):
                continue
            score = within[place.group]
            score += core.settings.weight_learned * core.placement.score(
                ask.name, place.kind
            )
            queued = not place.fits(task.shape)
            if queued and not self._may_queue(task, place):
                continue
            if core.policies.scores:
                custom = core.policies.score(ask, place.view())
                score += core.settings.weight_custom * custom
            rank = (queued, -score, place.load, name)
            if best_rank is None or rank < best_rank:
                best, best_rank = place, rank
        return self._chosen(task, best, best_rank)

    def _nearer(
        self,
        task: Task,
        lane: Lane,
        count: int,
        bars: Bars | None,
        best: Place | None,
        best_rank: _Rank | None,
    ) -> tuple[Place | None, _Rank | None]:
        """Look at the workers that hold its inputs too, with their score for that."""
        core = self._core
        near = task.ask.near
        total = sum(near.values())
        if total <= 0:
            return best, best_rank
        within = dict(lane.offers[:count])
        ordered = sorted(near.items(), key=lambda one: (-one[1], one[0]))
        for name, size in ordered[: core.settings.near_max]:
            place = core.places.workers.get(name)
            if place is None or place.group not in within:
                continue
            if not place.fits(task.shape) or (bars is not None and bars(place)):
                continue
            bonus = round(core.settings.weight_near * 100 * size / total)
            rank = (False, -within[place.group] - bonus, place.load, name)
            if best_rank is None or rank < best_rank:
                best, best_rank = place, rank
        return best, best_rank

    def _faster(
        self,
        task: Task,
        lane: Lane,
        count: int,
        bars: Bars | None,
        best: Place,
        best_rank: _Rank,
    ) -> tuple[Place, _Rank]:
        """Do not protect scarce workers at any price.

        A task that would take much longer on the best of those that it is to take
        first may have a free one of the others. Its time there counts more, the
        scarcer they are.
        """
        core, ask = self._core, task.ask
        if best_rank[0]:
            return best, best_rank
        least_s = self._takes_s(ask, best.kind) - core.settings.detour_s
        if least_s <= 0:
            return best, best_rank
        takes: dict[str, float] = {}  # by kind of machine: groups have few
        for group, score in lane.offers[count:]:
            if not group.free:
                continue
            kind, excess = group.kind, lane.offsets[group] / core.settings.scarcity_s
            if kind not in takes:
                takes[kind] = self._takes_s(ask, kind)
            takes_s = takes[kind] * (1 + _SCARCE * excess)
            if not 0 < takes_s < least_s:
                continue
            place = group.stall(task.shape).best(bars)
            if place is not None and place.fits(task.shape):
                least_s = takes_s
                best, best_rank = place, (False, -score, place.load, place.name)
        return best, best_rank

    def _takes_s(self, ask: Ask, kind: str) -> float:
        """How long it will take there; 0 if nobody knows."""
        estimate = self._core.estimate(ask, kind)
        return 0.0 if estimate.source == "default" else estimate.seconds

    def _chosen(
        self, task: Task, best: Place | None, rank: _Rank | None
    ) -> Place | None:
        if best is None or rank is None:
            return None
        task.queued = rank[0]
        if task.estimate_s == math.inf:
            task.estimate_s = self._core.settings.prefetch_s
        task.score = -rank[1]
        return best

    def _may_queue(self, task: Task, place: Place) -> bool:
        if not (task.shape.plain and place.may_queue()):
            return False
        return self._short(task, place.kind) and self._spare(task, place)

    def _short(self, task: Task, kind: str) -> bool:
        """Whether a task may be held behind others; sets what it is reckoned at."""
        judged = self._judged
        if judged is not None and judged[0] is task and judged[1] == kind:
            return self._judged_short
        prefetch_s = self._core.settings.prefetch_s
        estimate = self._core.estimate(task.ask, kind)
        known = estimate.source != "default"
        task.estimate_s = estimate.seconds if known else math.inf
        short = estimate.seconds <= prefetch_s if known else prefetch_s > 0
        self._judged, self._judged_short = (task, kind), short
        return short

    def _spare(self, task: Task, place: Place) -> bool:
        """Whether this worker may hold it behind others.

        Of what nothing is known, a thread that is free soon holds one, and no more.
        """
        if task.estimate_s < math.inf:
            return True
        return len(place.queue) < place.brisk
