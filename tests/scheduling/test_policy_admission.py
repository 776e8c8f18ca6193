"""Admission: deadlines that cannot be met are said at once, in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.policies.admission import (
    Backlog,
    answer,
    finish_s,
    hopeless_at,
    outlook,
)
from dtf_dask.scheduler_plugins.policies.estimate import Estimate, told

MIN = 60.0


def known(seconds: float, spread_s: float = 0.0) -> Estimate:
    return Estimate(seconds, spread_s, 9, "runs")


def test_a_deadline_that_cannot_be_met_is_said() -> None:
    """In the words of people: how long it needs, how long there is."""
    seen = outlook(10 * MIN, 0.0, 4, known(40 * MIN + 13.3), 0.0)
    assert seen.words == "cannot meet: needs about 40 min, the deadline is in 10 min"


def test_waiting_is_told_from_running() -> None:
    """When the queue is the reason, that is said."""
    seen = outlook(1010 * MIN, 120 * MIN, 4, known(10 * MIN), 1000 * MIN)
    assert seen.words == (
        "cannot meet: needs about 40 min (30 min of waiting, 10 min of running),"
        " the deadline is in 10 min"
    )


def test_a_deadline_in_the_past_is_said() -> None:
    """Whatever is known of the task."""
    seen = outlook(95.0, 0.0, 1, Estimate(1.0, 1.0, 0, "default"), 100.0)
    assert seen.words == "cannot meet: the deadline was 5 s ago"
    assert answer("refuse", seen) == "refuse"


def test_what_can_be_met_is_not_talked_about() -> None:
    """Nor is a task without a deadline, or one for which there is no worker yet."""
    for deadline, slots in ((41 * MIN, 4), (None, 4), (1.0, 0)):
        seen = outlook(deadline, 0.0, slots, known(40 * MIN), 0.0)
        assert (seen.late, seen.words, answer("refuse", seen)) == (False, "", "take")


@pytest.mark.parametrize(
    ("source", "on_late", "expected"),
    [
        ("runs", "run", "warn"),
        ("runs", "refuse", "refuse"),
        ("runs", "cancel", "refuse"),
        ("other groups", "refuse", "refuse"),
        ("asked", "refuse", "refuse"),
        ("guessed", "refuse", "warn"),
        ("similar", "refuse", "warn"),
        ("class", "cancel", "warn"),
        ("default", "refuse", "take"),
    ],
)
def test_refused_only_on_request_and_on_good_grounds(
    source: str, on_late: str, expected: str
) -> None:
    """What was guessed warns, also by who asks; what is the default says nothing."""
    estimate = Estimate(100.0, 0.0, 0, source)  # type: ignore[arg-type]
    seen = outlook(10.0, 0.0, 1, estimate, 0.0)
    assert answer(on_late, seen) == expected  # type: ignore[arg-type]


def test_hopeless_is_late_if_it_starts_now() -> None:
    """By what is known of itself; nothing is given up on a guess."""
    assert hopeless_at(100.0, known(60.0, 20.0)) == 40.0
    assert hopeless_at(100.0, told(60.0, guessed=False)) == 40.0
    for estimate in (Estimate(60.0, 9.0, 0, "default"), told(60.0, guessed=True)):
        assert hopeless_at(100.0, estimate) == 100.0


def test_no_slot_is_no_forecast() -> None:
    """Where nothing can run it, nobody can tell."""
    assert finish_s(5.0, 0, known(1.0)) == (math.inf, math.inf)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e5), st.floats(0, 1e7))
def test_words_always_come_out(
    deadline: float, ahead_s: float, slots: float, seconds: float
) -> None:
    """There are words exactly if it is late; more work ahead never helps."""
    seen = outlook(deadline, ahead_s, slots, known(seconds), 0.0)
    assert bool(seen.words) == seen.late
    later = outlook(deadline, 2 * ahead_s, slots, known(seconds), 0.0)
    assert later.finish_s >= seen.finish_s


TASKS = st.lists(
    st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 1000)), max_size=60
)


@given(TASKS, st.integers(-(10**6), 10**6))
def test_the_backlog_is_the_sum_of_what_is_due_earlier(
    tasks: list[tuple[int, int]], due: int
) -> None:
    """To half a bucket; and what was removed does not count."""
    backlog = Backlog(width_s=1.0)
    for number, (at, seconds) in enumerate(tasks):
        backlog.add(at, seconds)
        if number % 3 == 0:
            backlog.remove(at, seconds)
    kept = [one for number, one in enumerate(tasks) if number % 3]
    earlier = sum(seconds for at, seconds in kept if at < due)
    same = sum(seconds for at, seconds in kept if at == due)
    assert backlog.ahead_s(due) == pytest.approx(earlier + same / 2)
    assert backlog.total_s == pytest.approx(sum(seconds for _, seconds in kept))


def test_the_backlog_is_bounded() -> None:
    """A hundred thousand due times are a thousand buckets; sums are about right."""
    backlog = Backlog(width_s=0.001)
    for number in range(100_000):
        backlog.add(number * 1.0, 2.0)
    assert len(backlog._buckets) <= 1024
    assert backlog.ahead_s(50_000.0) == pytest.approx(100_000.0, rel=0.01)
    for number in range(100_000):
        backlog.remove(number * 1.0, 2.0)
    assert (backlog.total_s, backlog.ahead_s(1e9)) == (0.0, 0.0)
