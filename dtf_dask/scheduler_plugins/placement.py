"""Which group of workers runs a test fastest, and how sure that is. Pure.

A preference only: what is learned moves a score, and never keeps a task waiting. What
is unsure stays near the middle, so that groups nobody knows are tried before those that
are known to be slow.
"""

from __future__ import annotations

from typing import NamedTuple

from dtf_dask.scheduler_plugins.estimate import Estimate, Estimates

SCORE_NEUTRAL = 50
"""Of a group of which nothing is known."""

_RUNS_HALF_SURE = 2  # so many runs in each group are worth half of what is possible
_BY_SPEED_SURE = 0.5  # at most, by the group's speed with other tests


class Fastest(NamedTuple):
    """The group in which a test is fastest; ``confidence`` from 0 to 1."""

    group: str
    confidence: float


class Placement:
    """Scores of groups, from 0 to 100, by what was learned of durations."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates
        # Of the test asked of last: it is asked of for group after group.
        self._asked: tuple[str, int] = ("", -1)
        self._fastest: Fastest | None = None
        self._scores: dict[str, int] = {}

    def speed(self, group: str) -> float:
        """How fast a group is, where the fastest is 1."""
        speeds = self._estimates.speeds
        return speeds.fastest / speeds.factor(group)

    def fastest(self, name: str) -> Fastest | None:
        """Where this test is fastest; None if it did not run in two groups."""
        self._look_at(name)
        return self._fastest

    def score(self, name: str, group: str) -> int:
        """100 where it is surely fastest, 50 where nothing is known, 0 if hopeless."""
        self._look_at(name)
        score = self._scores.get(group)
        if score is not None:
            return score
        speeds = self._estimates.speeds
        if group not in speeds.factors:
            return SCORE_NEUTRAL
        sure = _BY_SPEED_SURE * _sure(speeds.known(group))
        return _score(self.speed(group), sure)

    def _look_at(self, name: str) -> None:
        asked = (name, self._estimates.version)
        if asked == self._asked:
            return
        self._asked = asked
        groups = self._estimates.groups(name)
        if len(groups) < 2:
            self._fastest, self._scores = None, {}
            return
        ordered = sorted(groups.items(), key=lambda one: (one[1].seconds, one[0]))
        (best_group, best), (_, second), *_ = ordered
        self._fastest = Fastest(best_group, _confidence(best, second))
        self._scores = {}
        for group, estimate in ordered:
            # How sure it is that the best one is better than this one; of the best
            # itself, that it is better than the next.
            other = second if group == best_group else estimate
            relative = best.seconds / estimate.seconds if estimate.seconds else 1.0
            self._scores[group] = _score(relative, _confidence(best, other))


def _sure(runs: int) -> float:
    return runs / (runs + _RUNS_HALF_SURE)


def _confidence(fast: Estimate, slow: Estimate) -> float:
    """By the number of runs, and by how far apart they are against how they scatter."""
    apart_s = slow.seconds - fast.seconds
    scatter_s = fast.spread_s + slow.spread_s
    apart = apart_s / (apart_s + scatter_s) if apart_s > 0 else 0.0
    return _sure(min(fast.count, slow.count)) * apart


def _score(relative: float, sure: float) -> int:
    """``relative`` is 1 for the fastest, 0.5 for one that takes twice as long."""
    return round(SCORE_NEUTRAL + (100 * relative - SCORE_NEUTRAL) * sure)
