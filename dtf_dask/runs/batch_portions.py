"""How much of what waits makes one batch.

Pure. A batch is a worker's fair share of what is left, never less than some ten
times what the batch costs in itself, cut where the fewest shared fixtures have to
be set up twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dtf_dask.runs.batch_estimates import Estimates, SharedFixtures
from dtf_dask.runs.batch_groups import Group, Pool


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """What the policy is tuned by; times in seconds.

    Parameters
    ----------
    target_s, max_s
        The shortest batch worth its while; the longest, unless set-up asks for more.
    overhead_s
        What a batch costs besides its cases (Dask task, pipe, taking it up).
    overhead_factor
        A batch lasts at least so many times its overhead and shared set-up.
    share
        The part of a worker's fair share that one batch takes (0 to 1).
    default_s
        What a case is thought to take before anything has been seen.
    dear_s
        A shared fixture whose set-up costs so much keeps its users together.
    lead_s
        A worker with less than this left to do is given its next batch already.
    single_share
        A case known to take this part of a worker's fair share is planned alone.
    workers_expected
        Workers that will come; before they do, their share is kept for them.
    batches_per_worker_max
        Batches a worker holds at once, the running one included.
    """

    target_s: float = 0.1
    max_s: float = 30.0
    overhead_s: float = 0.008
    overhead_factor: float = 10.0
    share: float = 1.0
    default_s: float = 0.02
    dear_s: float = 0.02
    lead_s: float = 0.05
    single_share: float = 0.05
    workers_expected: int = 0
    batches_per_worker_max: int = 2


@dataclass(frozen=True, slots=True)
class Loads:
    """What the workers have left to do, in seconds.

    ``own`` is that of the worker that asks; ``all_s`` has every worker, those that
    are expected but not there yet with 0. ``shunned`` are the workers of which it
    leaves what is to be retried to others.
    """

    own: float
    all_s: Sequence[float]
    shunned: Collection[str] = ()

    def level_s(self, work: float) -> float:
        """When all end together: the work poured over what each has left to do.

        A worker with more than that is left out, as it gets nothing anyway.
        """
        loads = sorted(self.all_s, reverse=True)
        total = sum(loads) + work
        count = len(loads)
        for load in loads:
            if count == 1 or load * count <= total:
                break
            total -= load
            count -= 1
        return total / count


class Portions:
    """Take the cases for one batch out of the pool."""

    def __init__(
        self,
        pool: Pool,
        estimates: Estimates,
        fixtures: SharedFixtures,
        settings: PlannerSettings,
        total: int,
    ) -> None:
        self._pool = pool
        self._estimates = estimates
        self._fixtures = fixtures
        self._settings = settings
        self._total = total
        self._singled = False  # the long ones stand alone, by what is known now

    def durations_changed(self) -> None:
        """Durations were learned: look anew for cases to be planned alone."""
        self._singled = False

    def compose(self, loads: Loads) -> list[int]:
        """Cases for one batch."""
        workers = len(loads.all_s)
        if not self._singled:
            fair = self._estimates.waiting_s / workers
            alone = max(self._settings.target_s, self._settings.single_share * fair)
            self._single_out(alone)
        pool, settings = self._pool, self._settings
        first = self._first_group()
        chosen = self._take_retries(loads, self._total)
        if first is None:
            return chosen
        setup = pool.fixtures.cost_s(self._head(first))
        setups = 0.0 if pool.atomic else sum(g.cost_s for g in pool.heavy)
        level = loads.level_s(self._estimates.waiting_s + setups)
        # Where all is over within a moment, a worker's fair share may be that short.
        want = max(level - loads.own, 2 * settings.overhead_s)
        least = settings.overhead_factor * (settings.overhead_s + setup)
        if self._eager(workers):
            budget = want
        else:
            budget = max(settings.share * want, min(least, want))
            budget = min(budget, max(settings.max_s, least))
        budget = max(budget, min(want, settings.target_s))
        if setup and least > settings.share * want:
            budget = self._even_part(first, setup, want, loads)
        self._fill(chosen, budget)
        return chosen

    def one(self, loads: Loads) -> list[int]:
        """One case, the longest known first."""
        if not self._singled:
            self._single_out(0.0)
        if chosen := self._take_retries(loads, 1):
            return chosen
        group = self._first_group()
        chosen = [] if group is None else self._head(group)
        self._pool.take(chosen)
        return chosen

    def _single_out(self, seconds: float) -> None:
        """Let the long ones stand alone, after durations were learned."""
        self._singled = True
        if self._pool.atomic:
            self._pool.sort()
        self._pool.single_out(seconds)

    def _eager(self, workers: int) -> bool:
        """Whether a fixture whose cost is unknown is shared by much of what waits.

        Then a worker is given all of its share at once: were the set-up dear, then
        every further batch would pay it again, and a tail is cheap to take back.
        """
        users = self._fixtures.users
        floor = self._total / (2 * workers)
        return any(len(users[key]) >= floor for key in self._fixtures.unsettled)

    def _even_part(
        self, group: Group, setup: float, want: float, loads: Loads
    ) -> float:
        """Seconds of one part of a group whose set-up is dear, cut as often as pays.

        As many workers share it as lets the last of them end first: each pays the
        set-up, after what it has left to do.
        """
        work = self._pool.seconds(group)
        whole = setup + work
        rest = min(self._settings.share * want, self._settings.max_s)
        if whole <= want * 1.05:
            return max(whole, rest)
        best, total = loads.own + whole, work
        for count, load in enumerate(sorted(loads.all_s), 1):
            total += load + setup
            if total / count < load + setup:
                break
            if total / count < best - 2 * self._settings.overhead_s:
                best = total / count
        return max(best - loads.own, rest)

    def _first_group(self) -> Group | None:
        """Where the next batch begins: what came back, what is heavy, the rest."""
        pool = self._pool
        while pool.front and not pool.front[0].size:
            pool.front.popleft()
        while pool.heavy and not pool.heavy[-1].size:
            pool.heavy.pop()
        if pool.front:
            return pool.front[0]
        if pool.heavy:
            return pool.heavy[-1]
        return pool.loose if pool.loose.size else None

    def _head(self, group: Group) -> list[int]:
        """The first waiting member, to see what its set-up costs."""
        return [next(self._pool.live(group))]

    def _fill(self, chosen: list[int], budget: float) -> None:
        """Add groups, the first ones first, until the budget is used."""
        pool = self._pool
        spent = sum(self._estimates.of(i) for i in chosen)
        while (group := self._first_group()) is not None:
            room = budget - spent
            if chosen and room < 0.2 * budget:
                return
            if group.atomic or (group.size == 1 and group is not pool.loose):
                taken = list(pool.live(group))
                cost = pool.seconds(group)
                if chosen and cost > room * 1.1:
                    return
            else:
                least = group.cost_s + self._estimates.of(self._head(group)[0])
                if chosen and least > room * 1.1:
                    return
                taken, cost = self._cut(group, room)
                cost -= group.cost_s
            spent += cost + group.cost_s
            chosen += taken
            pool.take(taken)
            if group.size and pool.heavy and group is pool.heavy[-1]:
                pool.push(pool.heavy.pop())

    def _cut(self, group: Group, budget: float) -> tuple[list[int], float]:
        """The head of a group that fits, cut where it costs no second set-up.

        That place may lie a little before or behind the exact one.
        """
        of, joined = self._estimates.of, self._fixtures.joined
        taken: list[int] = []
        spent = group.cost_s
        slack = 0.2 * max(0.0, budget - spent)
        exact = clean = -1
        spent_at: dict[int, float] = {}
        for index in self._pool.live(group):
            seconds = of(index)
            if taken and (spent >= budget - slack or spent + seconds > budget):
                bound = not joined(taken[-1], index)
                if bound:
                    clean = len(taken)
                    spent_at[clean] = spent
                if spent + seconds / 2 > budget and exact < 0:
                    exact = len(taken)
                    spent_at[exact] = spent
                if exact >= 0 and (clean >= 0 or spent + seconds > budget + slack):
                    break
            taken.append(index)
            spent += seconds
        else:
            if exact < 0 or spent <= budget + slack:
                return taken, spent
        place = clean if clean >= 0 else exact
        if group.cost_s and (group.size - place) * 10 <= place:
            rest = list(self._pool.live(group))  # not the set-up for a few crumbs
            return rest, group.cost_s + sum(of(index) for index in rest)
        return taken[:place], spent_at[place]

    def _take_retries(self, loads: Loads, most: int) -> list[int]:
        """Retries that this worker may run, about as many as a short batch holds."""
        pool = self._pool
        chosen: list[int] = []
        spent = 0.0
        for avoid in list(pool.retries):
            if avoid in loads.shunned:
                continue
            queue = pool.retries[avoid]
            while queue and len(chosen) < most:
                if chosen and spent >= self._settings.target_s:
                    break
                index = queue.popleft()
                chosen.append(index)
                spent += self._estimates.of(index)
            if not queue:
                del pool.retries[avoid]
        pool.take(chosen)
        return chosen
