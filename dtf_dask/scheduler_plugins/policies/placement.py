"""Which group of workers runs a test fastest, and how sure that is. Pure.

A preference only: what is learned moves a score, and never keeps a task waiting. What
is unsure stays near the middle, so that groups nobody knows are tried before those that
are known to be slow.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from dtf_dask.scheduler_plugins.policies.estimate import Estimate, Estimates

SCORE_NEUTRAL = 50
"""Of a group of which nothing is known."""

_NAMES_MAX = 10_000  # of which it is kept what follows from their runs
_RUNS_HALF_SURE = 2  # so many runs in each group are worth half of what is possible
_BY_SPEED_SURE = 0.5  # at most, by the group's speed with other tests


class Fastest(NamedTuple):
    """The group in which a test is fastest; ``confidence`` from 0 to 1."""

    group: str
    confidence: float


class _Placed(NamedTuple):
    """What follows from the runs of one test: groups that it ran in, and scores."""

    fastest: Fastest | None
    scores: dict[str, int]


_UNKNOWN = _Placed(None, {})


class Placement:
    """Scores of groups, from 0 to 100, by what was learned of durations."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates

    def speed(self, group: str) -> float:
        """How fast a group is, where the fastest is 1."""
        speeds = self._estimates.speeds
        return speeds.fastest / speeds.factor(group)

    def fastest(self, name: str) -> Fastest | None:
        """Where this test is fastest; None if it did not run in two groups."""
        return self._of(name).fastest

    def score(self, name: str, group: str) -> int:
        """100 where it is surely fastest, 50 where nothing is known, 0 if hopeless."""
        score = self._of(name).scores.get(group)
        if score is not None:
            return score
        speeds = self._estimates.speeds
        if group not in speeds.factors:
            return SCORE_NEUTRAL
        sure = _BY_SPEED_SURE * _sure(speeds.known(group))
        return _score(self.speed(group), sure)

    def _of(self, name: str) -> _Placed:
        """What follows from a test's runs, reckoned anew after each of them only."""
        derived = self._estimates.derived
        placed = derived.get(name)
        if placed is None:
            if len(derived) >= _NAMES_MAX:
                derived.clear()
            placed = derived[name] = _placed(self._estimates.groups(name))
        return cast("_Placed", placed)


def _placed(groups: dict[str, Estimate]) -> _Placed:
    if len(groups) < 2:
        return _UNKNOWN
    ordered = sorted(groups.items(), key=lambda one: (one[1].seconds, one[0]))
    (best_group, best), (_, second), *_ = ordered
    confidence = _confidence(best, second)
    most = _score(1.0, confidence)
    scores = {}
    for group, estimate in ordered:
        # How sure it is that the best one is better than this one. It is surer of one
        # far behind than of the next, and that must not lift that one over the best.
        relative = best.seconds / estimate.seconds if estimate.seconds else 1.0
        scores[group] = min(most, _score(relative, _confidence(best, estimate)))
    scores[best_group] = most
    return _Placed(Fastest(best_group, confidence), scores)


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
