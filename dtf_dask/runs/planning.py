"""Plans a run whose cases ask different things of a worker. Pure.

Each kind of case has a `Planner` of its own over the workers that fit it; what comes
after other cases gets one when these have ended. Here is decided whose turn it is: the
more urgent class first, then the earlier deadline, then what fits the fewest workers,
so that work which fits anywhere does not take them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from dtf_dask.annotation_values import DURATION_S_MAX
from dtf_dask.errors import UsageError
from dtf_dask.runs.batch import Planner
from dtf_dask.runs.batch_estimates import PlannedCase
from dtf_dask.runs.batch_groups import Dist
from dtf_dask.runs.batch_lanes import Batch, Revocation
from dtf_dask.runs.batch_portions import PlannerSettings
from dtf_dask.runs.kinds import Kind
from dtf_dask.scheduler_plugins.adapter.asks import PLAIN
from dtf_dask.scheduler_plugins.engine.terms import Offer

_SHOWN_MAX = 3
_LEAST_S = 0.001


class _Part:
    """Cases of one kind that may run: a planner, and their numbers in the run."""

    def __init__(
        self,
        kind: Kind,
        numbers: Sequence[int],
        cases: Sequence[PlannedCase],
        dist: Dist,
        settings: PlannerSettings,
    ) -> None:
        self.kind = kind
        self.numbers = numbers
        self.places = {number: place for place, number in enumerate(numbers)}
        self.workers: dict[str, int] = {}  # those that fit, with their score
        own = [replace(cases[n], index=place) for place, n in enumerate(numbers)]
        self.planner = Planner(own, dist=dist, settings=settings)

    def outside(self, places: Iterable[int]) -> tuple[int, ...]:
        """Numbers in the run of places in the planner."""
        return tuple(self.numbers[place] for place in places)

    def inside(self, numbers: Iterable[int]) -> list[int]:
        """And the other way."""
        return [self.places[n] for n in numbers if n in self.places]


class RunPlanner:
    """Decide what runs where, in which portions, in which order.

    Parameters
    ----------
    cases
        All cases; a case's ``index`` is its position.
    kinds
        What each asks; see `kinds.kinds_of`.
    after
        By case, those that must have ended before it is planned.
    patience_s
        Of a priority class: classes with less go first.

    Raises
    ------
    UsageError
        If cases wait for each other in a circle.

    Notes
    -----
    The methods are those of `Planner`, and are to be called as there; `settled` must
    be told of each case that will not run again.
    """

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        kinds: Sequence[Kind],
        *,
        after: Mapping[int, Sequence[int]] | None = None,
        dist: Dist = "load",
        settings: PlannerSettings | None = None,
        patience_s: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self._cases, self._kinds, self._dist = cases, kinds, dist
        self._distinct = {id(kind): kind for kind in kinds}.values()
        self._settings = settings or PlannerSettings()
        self._patience_s = patience_s
        self._offers: dict[str, Offer | None] = {}
        self._homes: dict[str, str] = {}
        self._parts: list[_Part] = []
        self._part_of: dict[int, _Part] = {}
        self._turns: dict[str, list[_Part]] = {}
        self._batches: dict[int, tuple[_Part, int]] = {}
        self._ids = itertools.count(1)
        self._learned: dict[int, float] = {}
        self._held: dict[int, set[int]] = {}
        self._holds: dict[int, list[int]] = {}
        for number, others in (after or {}).items():
            self._held[number] = set(others)
            for other in self._held[number]:
                self._holds.setdefault(other, []).append(number)
        self._refuse_circles()
        self._open([case.index for case in cases if case.index not in self._held])

    # -- what the driver tells ------------------------------------------------

    def add_worker(self, name: str, offer: Offer | None = None, home: str = "") -> None:
        """A worker can take batches; ``offer`` is what it has, if that is known.

        Slots of one ``home`` are no other workers for what is retried.
        """
        self._offers[name] = offer
        self._homes[name] = home
        for part in self._parts:
            self._admit(part, name)
        self._take_turns()

    def unfit(self, name: str, offer: Offer) -> list[int]:
        """The batches of a worker that it can no longer run, having this now."""
        return [
            number
            for number, (part, inner) in self._batches.items()
            if name in part.workers
            and inner in part.planner.batches_of(name)
            and part.kind.lacks(offer)
        ]

    def change_worker(self, name: str, offer: Offer) -> None:
        """A worker has other things than before.

        Batches that it can no longer run are over; see `unfit`, to be asked first.
        """
        if name not in self._offers:
            return  # it is yet to be added
        self._offers[name] = offer
        for part in self._parts:
            if name not in part.workers:
                self._admit(part, name)
            elif part.kind.lacks(offer):
                del part.workers[name]
                part.planner.remove_worker(name)
        self._take_turns()

    def remove_worker(self, name: str) -> tuple[int, ...]:
        """A worker is gone; what it had not finished goes back in front."""
        del self._offers[name], self._homes[name]
        lost: tuple[int, ...] = ()
        for part in self._parts:
            if part.workers.pop(name, None) is not None:
                lost += part.outside(part.planner.remove_worker(name))
        self._take_turns()
        return lost

    def learn(self, estimates: Mapping[int, float]) -> None:
        """Take durations of earlier runs, by index."""
        self._learned.update(estimates)
        for part in self._parts:
            self._teach(part)

    def observe_setup(self, key: str, seconds: float) -> None:
        """A shared fixture was set up."""
        for part in self._parts:
            part.planner.observe_setup(key, seconds)

    def finished(
        self, batch_id: int, index: int, seconds: float, now: float | None = None
    ) -> bool:
        """One case ended; False if it was not outstanding in that batch."""
        part, inner = self._batches.get(batch_id, (None, 0))
        if part is None or index not in part.places:
            return False
        return part.planner.finished(inner, part.places[index], seconds, now)

    def settled(self, index: int) -> bool:
        """A case will not run again; whether something waited for just this."""
        free = []
        for number in self._holds.pop(index, ()):
            waits_for = self._held[number]
            waits_for.discard(index)
            if not waits_for:
                del self._held[number]
                free.append(number)
        if free:
            self._open(sorted(free))
            self._take_turns()
        return bool(free)

    def ended(self, batch_id: int, returned: Iterable[int] = ()) -> tuple[int, ...]:
        """A batch is over; whatever of it has not finished goes back in front."""
        part, inner = self._batches.pop(batch_id, (None, 0))
        if part is None:
            return ()
        return part.outside(part.planner.ended(inner, part.inside(returned)))

    def revoked(self, batch_id: int, indices: Iterable[int]) -> tuple[int, ...]:
        """A worker gave these back unrun, as asked; they may be planned again."""
        part, inner = self._batches.get(batch_id, (None, 0))
        if part is None:
            return ()
        return part.outside(part.planner.revoked(inner, part.inside(indices)))

    def requeue(self, index: int, worker: str | None = None) -> None:
        """Run a finished case once more, first on another worker than the last."""
        part = self._part_of[index]
        part.planner.requeue(part.places[index], worker)

    # -- what the driver asks -------------------------------------------------

    @property
    def asks(self) -> bool:
        """Whether any case asks something of its worker."""
        return any(kind.wishes.need != PLAIN.need for kind in self._distinct)

    @property
    def remaining(self) -> int:
        """Cases that have not ended: waiting, held or handed out."""
        return len(self._held) + sum(part.planner.remaining for part in self._parts)

    def estimate_left_s(self) -> float:
        """Seconds of work left, of one worker."""
        return sum(part.planner.estimate_left_s() for part in self._parts)

    def next_batch(self, worker: str, now: float | None = None) -> Batch | None:
        """What the worker is to run next, or None if it has enough for now."""
        for part in self._turns[worker]:
            batch = part.planner.next_batch(worker, now)
            if batch is not None:
                number = next(self._ids)
                self._batches[number] = part, batch.id
                indices = part.outside(batch.indices)
                return replace(batch, id=number, indices=indices)
        return None

    def revocation(
        self, idle_worker: str, now: float | None = None
    ) -> Revocation | None:
        """What to take back from a busy worker, now that this one has nothing to do."""
        for part in self._turns[idle_worker]:
            found = part.planner.revocation(idle_worker, now)
            if found is not None:
                ours = (part, found.batch_id)
                number = next(n for n, b in self._batches.items() if b == ours)
                indices = part.outside(found.indices)
                return replace(found, batch_id=number, indices=indices)
        return None

    def annotation(self, batch: Batch, *, preemptible: bool) -> dict[str, object]:
        """What the scheduler is told of a batch; empty if there is nothing to ask.

        How long it takes, too: all batches have one name, and none is like another.
        """
        asked: dict[str, object] = dict(self._batches[batch.id][0].kind.annotation)
        if preemptible:
            asked["preemptible"] = True
        if asked:
            asked["expected"] = min(max(batch.estimate_s, _LEAST_S), DURATION_S_MAX)
            asked["guessed"] = True
        return asked

    def misfits(self) -> dict[int, str]:
        """The cases that wait and that no worker fits, with the reason, in words."""
        found: dict[int, str] = {}
        for part in self._parts:
            if not part.workers and part.numbers:
                waiting = part.outside(part.planner.waiting_cases())
                found.update(dict.fromkeys(waiting, self._lacks(part.kind)))
        return found

    def give_up(self, indices: Iterable[int]) -> None:
        """These, which no worker fits, are not to be run."""
        hopeless = {id(self._part_of[index]) for index in indices}
        self._parts = [part for part in self._parts if id(part) not in hopeless]

    # -- parts ----------------------------------------------------------------

    def _open(self, numbers: Sequence[int]) -> None:
        """Let cases be planned, those of a kind by one planner."""
        by_kind: dict[int, list[int]] = {}
        for number in numbers:
            by_kind.setdefault(id(self._kinds[number]), []).append(number)
        for own in by_kind.values():
            kind = self._kinds[own[0]]
            part = _Part(kind, own, self._cases, self._dist, self._settings)
            self._parts.append(part)
            self._part_of.update(dict.fromkeys(own, part))
            self._teach(part)
            for worker in self._offers:
                self._admit(part, worker)

    def _teach(self, part: _Part) -> None:
        learned = self._learned
        known = {p: learned[n] for n, p in part.places.items() if n in learned}
        if known:
            part.planner.learn(known)

    def _admit(self, part: _Part, worker: str) -> None:
        offer = self._offers[worker]
        if not part.kind.lacks(offer):
            part.workers[worker] = part.kind.score(offer)
            part.planner.add_worker(worker, self._homes[worker])

    def _take_turns(self) -> None:
        """Order the parts for each worker."""
        self._turns = {
            worker: sorted(
                (part for part in self._parts if worker in part.workers),
                key=lambda part: self._rank(part, worker),
            )
            for worker in self._offers
        }

    def _rank(self, part: _Part, worker: str) -> tuple[float, str, int, int, int]:
        wishes = part.kind.wishes
        return (
            self._patience_s(wishes.priority_class),
            str(wishes.own.deadline or "~"),  # ISO text in UTC; none comes last
            len(part.workers),
            -part.workers[worker],
            part.numbers[0],
        )

    def _lacks(self, kind: Kind) -> str:
        """What workers lack, the most frequent first."""
        if not self._offers:
            return "there is no worker"
        words: Counter[str] = Counter()
        for offer in self._offers.values():
            words["; ".join(kind.lacks(offer))] += 1
        shown = [
            f"{text} ({count} worker{'s' * (count != 1)})"
            for text, count in words.most_common(_SHOWN_MAX)
        ]
        return ", ".join(shown)

    def _refuse_circles(self) -> None:
        left = {number: len(others) for number, others in self._held.items()}
        free = [n for n in self._holds if n not in left]
        while free:
            for number in self._holds.get(free.pop(), ()):
                left[number] -= 1
                if not left[number]:
                    del left[number]
                    free.append(number)
        if left:
            raise UsageError(
                f"{len(left)} cases wait for each other in a circle (after=),"
                f" the case {min(left)} is one of them; take one `after` out"
            )
