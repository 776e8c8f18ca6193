"""Retries wait longer each time, within a bound, at random."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.policies.backoff import Backoff, BackoffSettings


def test_bounds_double_up_to_the_longest() -> None:
    """1, 2, 4 ... seconds at most, and never more than a minute."""
    backoff = Backoff(BackoffSettings(), Random(1))
    bounds = [backoff.bound_s(attempt) for attempt in (1, 2, 3, 6, 7, 10_000)]
    assert bounds == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]


def test_delays_use_all_of_the_bound() -> None:
    """Full jitter: those that failed together are spread evenly."""
    backoff = Backoff(BackoffSettings(), Random(1))
    delays = [backoff.delay_s(4) for _ in range(1000)]
    assert min(delays) < 0.2
    assert max(delays) > 7.8
    assert sum(delays) / 1000 == pytest.approx(4.0, rel=0.1)


@given(st.integers(-5, 10**9), st.floats(0, 1e300), st.floats(1, 1e300), st.integers())
def test_delays_are_within_bounds(
    attempt: int, base_s: float, factor: float, seed: int
) -> None:
    """Whatever the attempt and the settings; and the seed alone decides."""
    settings = BackoffSettings(base_s, factor, 60.0)
    first = Backoff(settings, Random(seed)).delay_s(attempt)
    assert 0 <= first <= 60.0
    assert first == Backoff(settings, Random(seed)).delay_s(attempt)


@pytest.mark.parametrize(
    "wrong",
    [{"base_s": -1.0}, {"factor": 0.5}, {"delay_max_s": float("inf")}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """With the number that is wrong."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BackoffSettings(**wrong)
