"""Learned placement: a preference for what is fastest, as sure as it is known."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.scheduler_plugins.policies.estimate import Estimates
from dtf_dask.scheduler_plugins.policies.placement import SCORE_NEUTRAL, Placement


def learned(runs: int = 9, **seconds: float) -> Placement:
    """A test that ran so often, so long in each group, with little scatter."""
    estimates = Estimates()
    for number in range(runs):
        for group, duration in seconds.items():
            estimates.learn("t", group, duration * (1 + number % 3 / 100))
    return Placement(estimates)


def test_of_nothing_known_all_is_alike() -> None:
    """No runs, or runs in one group only, prefer nothing."""
    for placement in (learned(), learned(g=1.0)):
        assert placement.fastest("t") is None
        assert placement.score("t", "g") == placement.score("t", "h") == SCORE_NEUTRAL
        assert placement.speed("g") == 1.0


def test_the_fastest_group_is_preferred() -> None:
    """By how much faster it is; what is unknown lies between the fast and the slow."""
    placement = learned(fast=1.0, slow=10.0, slower=100.0)
    fastest = placement.fastest("t")
    assert fastest is not None
    assert fastest.group == "fast"
    assert 0.6 < fastest.confidence <= 1.0
    scores = [placement.score("t", g) for g in ("fast", "unknown", "slow", "slower")]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_confidence_grows_with_runs() -> None:
    """One run is a hint; nine are knowledge."""
    confidences = []
    for runs in (1, 3, 9):
        fastest = learned(runs, a=1.0, b=3.0).fastest("t")
        assert fastest is not None
        confidences.append(fastest.confidence)
    assert confidences == sorted(confidences)
    assert confidences[0] < 0.3 < 0.6 < confidences[-1]


def test_a_difference_within_the_scatter_is_none() -> None:
    """Groups that take about the same are about the same."""
    placement = learned(a=1.0, b=1.01)
    fastest = placement.fastest("t")
    assert fastest is not None
    assert fastest.confidence < 0.1
    assert abs(placement.score("t", "a") - placement.score("t", "b")) <= 5


def test_other_tests_tell_which_group_is_fast() -> None:
    """A test that never ran there is placed by the groups' speeds, less surely."""
    estimates = Estimates()
    for number in range(9):
        for _ in range(3):
            estimates.learn(f"t{number}", "fast", 1.0)
            estimates.learn(f"t{number}", "slow", 5.0)
    placement = Placement(estimates)
    assert placement.speed("fast") == 1.0
    assert 0.15 < placement.speed("slow") < 0.25
    assert placement.score("new", "fast") > SCORE_NEUTRAL
    assert placement.score("new", "slow") < SCORE_NEUTRAL
    assert placement.score("new", "fast") < placement.score("t0", "fast")


def test_what_is_learned_counts_at_once() -> None:
    """An answer is not older than what was learned."""
    estimates = Estimates()
    placement = Placement(estimates)
    assert placement.score("t", "a") == SCORE_NEUTRAL
    for _ in range(5):
        estimates.learn("t", "a", 1.0)
        estimates.learn("t", "b", 9.0)
    assert placement.score("t", "a") > SCORE_NEUTRAL > placement.score("t", "b")


@given(
    st.lists(
        st.tuples(st.sampled_from("tuvw"), st.sampled_from("abc"), st.floats(0, 1e7)),
        max_size=60,
    )
)
@example([("t", "a", 3_601_594.0), ("t", "b", 3_714_702.0), ("t", "c", 3_960_577.0)])
def test_bounds_hold_whatever_was_learned(runs: list[tuple[str, str, float]]) -> None:
    """Scores are 0 to 100, confidences and speeds 0 to 1; the fastest scores best."""
    estimates = Estimates()
    placement = Placement(estimates)
    for run in runs:
        estimates.learn(*run)
        for name in "tx":
            scores = {group: placement.score(name, group) for group in "abcd"}
            assert all(0 <= score <= 100 for score in scores.values())
            assert all(0 <= placement.speed(group) <= 1 for group in "abcd")
            fastest = placement.fastest(name)
            if fastest is not None:
                assert 0 <= fastest.confidence <= 1
                ran = estimates.groups(name)
                assert scores[fastest.group] == max(scores[group] for group in ran)


def test_asking_is_cheap() -> None:
    """A test is asked of for every group."""
    placement = learned(a=1.0, b=2.0)
    each_s = cpu_s(lambda: placement.score("t", "a"), 20_000)
    assert each_s < 10e-6
