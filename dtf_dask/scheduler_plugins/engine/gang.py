"""Gangs, and tasks too large to find room by themselves. Pure.

What cannot start at once gets workers that are kept for it: those that will be free
first, by estimates. On these only work runs that is more urgent, or will have ended by
then, or leaves enough room: backfill. Only if every more urgent unit has its workers
may another one have some, so that small gangs never starve a large one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from dtf_dask.scheduler_plugins.engine.choose import Chooser
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.devices import clashes
from dtf_dask.scheduler_plugins.engine.free_at import free_at
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.terms import Ask, Grant, Key, Plan
from dtf_dask.scheduler_plugins.engine.unit import Unit

_REMEMBERED_MAX = 10_000
_LOOKED_AT_MAX = 4
_SAMPLE_MAX = 64
_TRIES_MAX = 100


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A worker for a member: when it is free, and how good it is."""

    at: float
    score: int
    place: Place


class Gangs:
    """All units: those that form, those that wait for workers, those that have some."""

    def __init__(self, core: Core, chooser: Chooser) -> None:
        self._core = core
        self._chooser = chooser
        self._by_name: dict[str, Unit] = {}
        self._by_key: dict[Key, Unit] = {}
        self._waiting: dict[Unit, None] = {}  # complete ones and large tasks
        self._went: dict[Unit, None] = {}  # had started when this engine began
        self.stirred = False  # something has changed since they were looked at
        self.look_at = -math.inf
        self._freed_count = 0

    def member_ready(self, task: Task) -> bool:
        """A member of a gang has its inputs; the last one lets the gang race.

        False if it would wait in vain, for others will not run.
        """
        unit = self.expect(task.ask)
        if unit.broken:
            return False
        if unit.kept:  # for those that came back before this one
            self.dissolve(unit)
        unit.add(task)
        if unit.complete:
            self._waiting[unit] = None
            self.stirred = True
        return True

    def expect(self, ask: Ask) -> Unit:
        """A member was submitted; its gang, which begins anew if it was full."""
        gang = ask.gang
        assert gang is not None
        unit = self._by_key.get(ask.key)
        if unit is None:
            unit = self._by_name.get(gang.name)
            if unit is None or len(unit.members) >= unit.size:
                unit = self._by_name[gang.name] = Unit(gang.name, gang.size)
                self._forget()
            unit.members[ask.key] = None
            self._by_key[ask.key] = unit
        return unit

    def went(self, ask: Ask, *, over: bool = False) -> None:
        """A member has started, in the time of another engine; perhaps it ended."""
        if ask.gang is None or ask.gang.size < 2:
            return
        unit = self.expect(ask)
        unit.started[ask.key] = None
        self._went[unit] = None
        if over:
            self._by_key.pop(ask.key, None)

    def marks(self) -> dict[Key, bool]:
        """Tasks that are not over, of gangs that are broken, or have started."""
        return {
            key: unit.broken
            for key, unit in self._by_key.items()
            if unit.broken or unit.started
        }

    def complete(self) -> None:
        """A gang that has started once is whole: some of it may be forgotten by now."""
        went, self._went = self._went, {}
        for unit in went:
            unit.size = min(unit.size, len(unit.members))
            if unit.complete:
                self._waiting[unit] = None
                self.stirred = True

    def add_large(self, task: Task) -> None:
        """A task has waited long enough for room: workers are kept for it."""
        if task.unit is None:
            unit = Unit("", 1, large=True)
            unit.add(task)
            self._waiting[unit] = None
            self.stirred = True

    def keep_at(self, task: Task, now: float) -> float:
        """When to keep a worker free for a task that finds no room by itself.

        When it is due; if that is for a deadline, so long before as a worker needs to
        become free.
        """
        if task.ask.deadline is None:
            return task.due
        lane, wanted = self._core.lane_of(task), task.want.workers
        places = (
            place
            for group in lane.groups
            for name, place in group.members.items()
            if (wanted is None or name in wanted) and not place.barred
            if not self._core.capacity_lacks(place, task.shape)
        )
        some = islice(places, _SAMPLE_MAX)
        soonest = min(
            (free_at(self._core, p, task.shape, now) for p in some), default=now
        )
        return task.due - max(0.0, soonest - now)

    def keep_for(self, task: Task, place: Place, now: float) -> None:
        """A worker is kept for a task that others on it give way to."""
        self.add_large(task)
        unit = task.unit
        assert unit is not None
        self._core.keeping.keep(unit, [place], now)

    def left(self, task: Task) -> None:
        """A task waits no longer, for whatever reason."""
        unit = task.unit
        assert unit is not None
        unit.remove(task)
        self.dissolve(unit)

    def dissolve(self, unit: Unit) -> None:
        """Nobody is kept for it now; it may try again when it is complete."""
        for place in self._core.keeping.release(unit):
            self._core.freed(place)
        if unit.large or not unit.complete:
            self._waiting.pop(unit, None)
        self.stirred = True

    def place_left(self, place: Place) -> None:
        """A worker is gone, or gets nothing: whoever counted on it looks anew."""
        if place.reserved is not None:
            self.dissolve(place.reserved)

    def over(self, key: Key) -> list[Task]:
        """A task is never ready again; returns members that wait for it in vain."""
        unit = self._by_key.pop(key, None) if self._by_key else None
        if unit is None or key in unit.started:
            return []
        unit.broken = True
        return list(unit.tasks)

    def waiting(self) -> list[Unit]:
        """Those that want workers, the most urgent first."""
        return sorted(self._waiting, key=lambda unit: (unit.due, unit.seq))

    def run(self, plan: Plan, now: float, before: float = math.inf) -> None:
        """Start what can start; keep workers for the most urgent of the others.

        Only what is due before then, as far as no workers are kept for it yet. All are
        looked at only now and then: that takes time for each worker.
        """
        if not self._waiting:
            return
        for unit in list(self._core.keeping.units):
            fits = [p.fits(t.shape) for p, t in zip(unit.kept, unit.tasks, strict=True)]
            starting = list(zip(unit.tasks, unit.kept, strict=True))
            if all(fits) and not clashes(starting):
                self._start(unit, unit.kept, plan, now)
        if not (self.stirred or now >= self.look_at or self._enough()):
            return
        jammed = False
        for unit in self.waiting():
            if unit.due > before:
                return
            found = self._match(unit, now, begun=True)
            if found is not None:
                self._start(unit, [one.place for one in found], plan, now)
            elif not unit.kept and not jammed:
                jammed = not self._keep(unit, now)
        self.stirred = False
        self.look_at = now + self._core.settings.refresh_s

    def _enough(self) -> bool:
        """Whether more workers have become free, so that one of the first may start."""
        core = self._core
        if core.freed_count == self._freed_count:
            return False
        self._freed_count = core.freed_count
        for unit in self.waiting()[:_LOOKED_AT_MAX]:
            want = unit.tasks[0].want
            needed = sum(task.want is want for task in unit.tasks)
            free = sum(group.free for group in core.lane_of(unit.tasks[0]).groups)
            others = [other for other in core.keeping.units if other is not unit]
            free -= sum(place.free for other in others for place in other.kept)
            if free >= needed:
                return True
        return False

    @property
    def wake_at(self) -> float | None:
        """When to look at those that wait though nothing seems to have changed."""
        return self.look_at if self._waiting else None

    def _keep(self, unit: Unit, now: float) -> bool:
        """Keep workers for it; False if it must wait for those of others."""
        keeping = self._core.keeping
        if len(keeping.units) >= self._core.settings.reservations_max:
            return False
        found = self._match(unit, now, begun=False)
        if found is None:
            # It does not hold up others if the whole cluster would not do for it.
            return self._match(unit, now, begun=False, kept_too=True) is None
        start_at = max(one.at for one in found)
        keeping.keep(unit, [one.place for one in found], start_at)
        return True

    def _start(self, unit: Unit, places: list[Place], plan: Plan, now: float) -> None:
        core = self._core
        tasks, places = list(unit.tasks), list(places)
        if not all(core.may_start(task) for task in tasks) or not core.tokens.fit(
            tuple(pair for task in tasks for pair in task.want.tokens)
        ):
            return
        started = {**unit.started, **{task.key: None for task in tasks}}
        kept = core.keeping.release(unit)
        for task, place in zip(tasks, places, strict=True):
            task.queued = False
            core.grant(task, place, now)
            plan.grants.append(Grant(task.key, place.name, task.gpus))
        self._waiting.pop(unit, None)
        unit.started = started
        self.stirred = True  # those behind it may have workers kept for them now
        for place in (*places, *kept):  # what was kept need not be where it starts
            core.freed(place)

    def _match(
        self, unit: Unit, now: float, *, begun: bool, kept_too: bool = False
    ) -> list[_Candidate] | None:
        """A worker of its own for each task, in order; None if they do not suffice.

        Parameters
        ----------
        begun
            Whether they must be free now, not some time.
        kept_too
            Whether workers that are kept for others are taken for free.
        """
        lists: dict[tuple[Lane, frozenset[str]], list[_Candidate]] = {}
        wanted = []
        for task in unit.tasks:
            lane = self._core.lane_of(task)
            key = (lane, task.ask.avoid)
            if key not in lists:
                lists[key] = self._candidates(unit, task, lane, now, begun, kept_too)
            wanted.append(lists[key])
        for _ in range(_TRIES_MAX):
            found = _assigned(wanted)
            if found is None:
                return None
            places = [one.place for one in found]
            starting = list(zip(unit.tasks, places, strict=True))
            left = clashes(starting, idle=not begun)
            if not left:
                return found
            wanted = [[c for c in some if c.place not in left] for some in wanted]
        return None

    def _candidates(
        self, unit: Unit, task: Task, lane: Lane, now: float, begun: bool, kept: bool
    ) -> list[_Candidate]:
        """The best workers for a task; no more than all of the unit could use."""
        # Whom a member avoids may be just whom the gang needs: they come last.
        bars = self._chooser.bars(task, lane, now, kept_too=kept, avoided_too=True)
        wanted, avoid = task.want.workers, task.ask.avoid
        shape = task.shape
        found = []
        for group, score in lane.offers:
            for name, place in group.members.items():
                if (wanted is not None and name not in wanted) or place.barred:
                    continue
                if bars is not None and bars(place):
                    continue
                # What is kept for one unit is never kept for another too.
                if not begun and not kept and place.reserved not in (None, unit):
                    continue
                if place.fits(shape):
                    found.append(_Candidate(now, score, place))
                elif not begun and not self._core.capacity_lacks(place, shape):
                    at = free_at(self._core, place, shape, now)
                    found.append(_Candidate(at, score, place))
        found.sort(
            key=lambda one: (
                *(one.at, one.place.name in avoid, -one.score),
                *(one.place.load, one.place.name),
            )
        )
        if shape.devices and len(unit.tasks) > 1:
            return found  # some may have their devices in common
        return found[: len(unit.tasks)]

    def _forget(self) -> None:
        """Drop the oldest gang that is over: it was kept in case some come back."""
        if len(self._by_name) <= _REMEMBERED_MAX:
            return
        for name, unit in self._by_name.items():
            if not unit.tasks and not any(
                k in self._core.running for k in unit.members
            ):
                del self._by_name[name]
                for key in unit.members:
                    self._by_key.pop(key, None)
                return


def _assigned(wanted: list[list[_Candidate]]) -> list[_Candidate] | None:
    """One candidate for each, no worker twice, by augmenting paths."""
    taken: dict[Place, int] = {}
    chosen: dict[int, _Candidate] = {}

    def assign(number: int, seen: set[Place]) -> bool:
        for one in wanted[number]:
            if one.place in seen:
                continue
            seen.add(one.place)
            if one.place not in taken or assign(taken[one.place], seen):
                taken[one.place] = number
                chosen[number] = one
                return True
        return False

    for number in sorted(range(len(wanted)), key=lambda n: (len(wanted[n]), n)):
        if not assign(number, set()):
            return None
    return [chosen[number] for number in range(len(wanted))]
