"""Learned durations: robust, quick to follow, sensible about what never ran."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.scheduler_plugins.policies.estimate import Estimates, EstimateSettings
from dtf_dask.scheduler_plugins.policies.group_speed import GroupSpeeds, SpeedSettings
from dtf_dask.scheduler_plugins.policies.learned import (
    SECONDS_MAX,
    Additions,
    sensible,
)

NAME = "tests/test_a.py::TestIt::test_one[x]"


def learned(*durations: float, group: str = "g", name: str = NAME) -> Estimates:
    estimates = Estimates()
    for seconds in durations:
        estimates.learn(name, group, seconds)
    return estimates


def seconds(estimates: Estimates, name: str = NAME, group: str = "g") -> float:
    return estimates.of(name, group, 7.0).seconds


def test_nothing_known_is_the_default() -> None:
    """Of what nobody ran the caller's default is all there is, and it says so."""
    assert Estimates().of(NAME, "g", 7.0) == (7.0, 7.0, 0, "default")


def test_one_run_is_an_estimate_in_doubt() -> None:
    """The first run gives the number, with half of it as doubt."""
    assert learned(4.0).of(NAME, "g", 7.0) == (4.0, 2.0, 1, "runs")


@pytest.mark.parametrize("place", range(1, 9))
def test_a_wild_run_does_not_move_the_estimate(place: int) -> None:
    """One run a thousand times as long, whenever it comes, changes next to nothing."""
    durations = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.1, 1.0]
    durations[place] = 1000.0
    assert seconds(learned(*durations)) == pytest.approx(1.0, rel=0.11)
    assert learned(*durations).of(NAME, "g", 7.0).spread_s < 0.2


@pytest.mark.parametrize("before", [1, 3, 9, 100])
@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_change_for_good_is_followed(before: int, factor: float) -> None:
    """Five runs after a test became ten times as slow, or fast, this is known."""
    estimates = learned(*[2.0] * before, *[2.0 * factor] * 5)
    assert seconds(estimates) == pytest.approx(2.0 * factor)


def test_what_never_ran_here_is_known_from_elsewhere() -> None:
    """The test's own runs in another group come before everything else."""
    estimates = learned(3.0, 3.0, group="other")
    estimates.learn("tests/test_a.py::TestIt::test_one[y]", "g", 100.0)
    guess = estimates.of(NAME, "g", 7.0)
    assert (guess.seconds, guess.count, guess.source) == (3.0, 0, "other groups")


def test_speed_of_groups_scales_what_ran_elsewhere() -> None:
    """Once three tests took twice as long in a group, so will a fourth."""
    estimates = Estimates()
    for number, base_s in enumerate((1.0, 5.0, 0.2)):
        estimates.learn(f"t{number}", "fast", base_s)
        estimates.learn(f"t{number}", "slow", 2 * base_s)
    estimates.learn("new", "fast", 10.0)
    assert seconds(estimates, "new", "slow") == pytest.approx(20.0)
    estimates.learn("newer", "slow", 10.0)
    assert seconds(estimates, "newer", "fast") == pytest.approx(5.0)


def test_one_odd_test_does_not_make_a_group_slow() -> None:
    """A test that is slow in one group only says nothing of the others there."""
    estimates = Estimates()
    for number in range(7):
        estimates.learn(f"t{number}", "a", 1.0)
        estimates.learn(f"t{number}", "b", 500.0 if number == 3 else 1.0)
    estimates.learn("new", "a", 10.0)
    assert seconds(estimates, "new", "b") == pytest.approx(10.0)


@settings(max_examples=30)
@given(st.permutations([(n, g) for n in range(6) for g in range(3)] * 3))
def test_speeds_do_not_depend_on_the_order(runs: list[tuple[int, int]]) -> None:
    """In whatever order tests ran, groups come out with factors of 1 : 2 : 4."""
    estimates = Estimates()
    for number, group in runs:
        estimates.learn(f"t{number}", f"g{group}", (1.0 + number) * 2.0**group)
    estimates.speeds.solve()
    factors = [estimates.speeds.factor(f"g{group}") for group in range(3)]
    assert factors[1] / factors[0] == pytest.approx(2.0)
    assert factors[2] / factors[1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("f.py::T::test[a]", "f.py::T::test[b]"),
        ("f.py::T::test[a-::-]", "f.py::T::test[c::d]"),
        ("f.py::T::test", "f.py::T::other"),
        ("f.py::T::test[a]", "f.py::U::test"),
    ],
)
def test_a_relative_stands_in(known: str, asked: str) -> None:
    """A test's variants, its class, its file, the nearest first."""
    guess = learned(5.0, 5.0, 5.0, name=known).of(asked, "g", 7.0)
    assert (guess.seconds, guess.source) == (5.0, "similar")


def test_the_class_comes_last() -> None:
    """Nothing like it is known: what tasks of its class take, in the mean."""
    estimates = Estimates()
    for duration in (1.0, 1.0, 1.0, 21.0, 1.0, 1e6):
        estimates.learn(f"k{duration}", "g", duration, "nightly")
    guess = estimates.of("unlike", "g", 7.0, "nightly")
    assert guess.source == "class"
    assert guess.seconds == pytest.approx(6.0)
    assert estimates.of("unlike", "g", 7.0, "release").source == "default"


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, -math.inf])
def test_what_is_no_duration_is_ignored(wrong: float) -> None:
    """Clocks go wrong; estimates do not."""
    estimates = learned(1.0, wrong)
    assert estimates.of(NAME, "g", 7.0).count == 1
    assert seconds(learned(1e300)) == SECONDS_MAX


def test_what_is_remembered_is_bounded() -> None:
    """Names, groups, families and classes: the one unused for longest is forgotten."""
    bounds = EstimateSettings(names_max=5, groups_max=2, similar_max=3, classes_max=2)
    estimates = Estimates(bounds)
    for number in range(50):
        name = f"f{number}.py::test"
        for group in range(4):
            estimates.learn(name, f"g{group}", 1.0, f"c{number}")
            estimates.learn("kept", "g", 1.0)
    assert (len(estimates._similar), len(estimates._classes)) == (3, 2)
    assert sum(map(len, estimates._names.values())) == 4 * 2 + 1
    assert estimates.of("kept", "g", 7.0).source == "runs"
    assert estimates.of("f49.py::test", "g3", 7.0).source == "runs"


def test_speeds_are_bounded() -> None:
    """So many tests, of so many groups each; a forgotten group has no factor."""
    speeds = GroupSpeeds(SpeedSettings(names_max=4, names_min=1, groups_max=3))
    for number in range(20):
        for name in range(10):
            speeds.learn(f"t{name}", "base", 1.0)
            speeds.learn(f"t{name}", f"g{number}", 2.0)
    speeds.solve()
    assert sum(map(len, speeds._tests.values())) <= 12
    assert len(speeds.factors) <= 12
    assert speeds.factor("g0") == 1.0
    assert speeds.factor("g19") / speeds.factor("base") == pytest.approx(2.0)


def test_speeds_do_not_drift() -> None:
    """However much durations scatter and however long it goes on, factors stay."""
    rng = Random(5)
    estimates = Estimates()
    for _ in range(20_000):
        name, group = rng.randrange(100), rng.randrange(4)
        seconds_ = rng.expovariate(1.0) * 2.0**group * (1 + name)
        estimates.learn(f"t{name}", f"g{group}", seconds_)
    factors = [estimates.speeds.factor(f"g{group}") for group in range(4)]
    for slow, fast in pairwise(reversed(factors)):
        assert slow / fast == pytest.approx(2.0, rel=0.3)
    assert 0.1 < min(factors) < max(factors) < 10


def test_reckoning_speeds_is_bounded() -> None:
    """It happens within an event now and then: that event waits milliseconds."""
    speeds = GroupSpeeds()
    rng = Random(1)
    for name in range(128):
        for group in range(20):
            speeds.learn(f"t{name}", f"g{group}", rng.expovariate(1.0))
    assert cpu_s(speeds.solve, 1) < 0.2


RUNS = st.lists(
    st.tuples(
        st.sampled_from(["a.py::t[1]", "a.py::t[2]", "a.py::u", "b", "c", "d"]),
        st.sampled_from(["g", "h", ""]),
        st.floats(0, 1e9),
        st.sampled_from(["", "normal"]),
    ),
    max_size=60,
)


@given(RUNS)
def test_estimates_are_within_what_was_seen(
    runs: list[tuple[str, str, float, str]],
) -> None:
    """Of what ran there, an estimate is a duration that was seen there, of the last."""
    estimates = Estimates()
    seen: dict[tuple[str, str], list[float]] = {}
    for name, group, duration, priority_class in runs:
        estimates.learn(name, group, duration, priority_class)
        seen.setdefault((name, group), []).append(min(duration, SECONDS_MAX))
    for (name, group), durations in seen.items():
        answer = estimates.of(name, group, 1.0)
        assert answer.seconds in durations[-9:]
        assert answer.count == min(len(durations), 9)
    for name in ("a.py::t[1]", "a.py::x", "b", "z"):
        answer = estimates.of(name, "new", 1.0, "normal")
        assert 0 <= answer.seconds < math.inf
        assert 0 <= answer.spread_s < math.inf


def noted(estimates: Estimates) -> Additions:
    """Where what is learned from now on is written down."""
    additions = Additions()
    estimates.note = additions.note
    return additions


def recalled(additions: Additions, estimates: Estimates) -> Estimates:
    """The same estimates, told what was written down, by way of JSON."""
    for line in json.loads(json.dumps(additions.first(len(additions)))):
        row = sensible([*line[:4], 0.0])
        assert row is not None
        estimates.recall(*row[:4])
    estimates.speeds.solve()
    return estimates


@given(RUNS)
def test_what_was_written_down_comes_back(
    runs: list[tuple[str, str, float, str]],
) -> None:
    """What a next scheduler is told makes it answer as the last one did."""
    estimates = Estimates()
    additions = noted(estimates)
    for run in runs:
        estimates.learn(*run)
    estimates.speeds.solve()
    again = recalled(additions, Estimates())
    for name, group, _, priority_class in runs:
        for there in (group, "new"):
            asked = (name, there, 1.0, priority_class)
            assert again.of(*asked) == estimates.of(*asked)


@given(RUNS, RUNS)
def test_what_is_recalled_is_older_than_what_was_learned_since(
    before: list[tuple[str, str, float, str]], since: list[tuple[str, str, float, str]]
) -> None:
    """However late it comes: the window holds the last, and those are of this time."""
    first, late, early = Estimates(), Estimates(), Estimates()
    additions = noted(first)
    for run in before:
        first.learn(*run)
    recalled(additions, early)
    for run in since:
        late.learn(*run)
        early.learn(*run)
    recalled(additions, late)
    for name, group, _, _ in (*before, *since):
        assert late._names[name][group].durations == early._names[name][group].durations


def test_what_there_is_no_room_for_is_not_recalled() -> None:
    """What was learned since stays; of what was learned before as much as fits."""
    bounds = EstimateSettings(names_max=2, groups_max=2, similar_max=1, classes_max=1)
    estimates = Estimates(bounds)
    estimates.learn("since", "g", 5.0)
    for name in ("a", "b", "since"):
        for group in ("g", "h", "i"):
            estimates.recall("runs", name, group, (1.0,))
        estimates.recall("similar", name, "", (1.0,))
        estimates.recall("class", name, "", (1.0,))
    assert {name: list(groups) for name, groups in estimates._names.items()} == {
        "since": ["g", "h"],
        "a": ["g", "h"],
    }
    assert (list(estimates._similar), list(estimates._classes)) == (["a"], [""])
    assert estimates._names["since"]["g"].durations == [1.0, 5.0]


def test_an_answer_given_before_is_not_given_again_after_recalling() -> None:
    """What was guessed of a name is thought of anew once more is known of it."""
    estimates = learned(4.0, group="g")
    assert seconds(estimates, group="h") == 4.0
    estimates.recall("runs", NAME, "h", (9.0,))
    assert seconds(estimates, group="h") == 9.0
    estimates.recall("runs", NAME, "g", (1.0, 1.0, 1.0))
    assert seconds(estimates, group="g") == 1.0


def test_asking_is_cheap() -> None:
    """Estimates are asked for several times a task: microseconds, not more."""
    estimates = learned(*[1.0] * 9)
    each_s = cpu_s(lambda: estimates.of(NAME, "g", 1.0), 20_000)
    assert each_s < 10e-6
    each_s = cpu_s(lambda: estimates.learn(NAME, "g", 1.0), 20_000)
    assert each_s < 40e-6
