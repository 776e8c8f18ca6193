"""Overload: bounded, announced once, ended by itself; shed from the least important."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.policies.overload import (
    Overload,
    OverloadSettings,
    Waiting,
)


def overload(bound: int = 10) -> Overload:
    return Overload(OverloadSettings(bound, slow_share=0.8, calm_share=0.5))


def test_it_is_announced_once_and_ends_by_itself() -> None:
    """Around the bound nothing flaps: it is over well below it, and says so."""
    watch = overload()
    lengths = [5, 10, 11, 12, 10, 11, 6, 11, 5, 10, 11]
    said = [
        (length, notice.message)
        for now, length in enumerate(lengths)
        for notice in watch.update(length, float(now))
    ]
    assert said == [
        (
            11,
            "overloaded: 11 tasks wait, the bound is 10; the newest of the lowest"
            " classes are shed, clients are slowed down",
        ),
        (
            5,
            "the overload is over: it lasted 6 s, up to 12 tasks waited, 0 were shed",
        ),
        (
            11,
            "overloaded: 11 tasks wait, the bound is 10; the newest of the lowest"
            " classes are shed, clients are slowed down",
        ),
    ]


def test_clients_are_slowed_down_little_by_little() -> None:
    """Nothing below the share, all at the bound, and all until an overload is over."""
    watch = overload()
    pressures = [watch.pressure(length) for length in (0, 8, 9, 10, 99)]
    assert pressures == [0.0, 0.0, 0.5, 1.0, 1.0]
    watch.update(11, 0.0)
    assert watch.pressure(6) == 1.0
    watch.update(5, 1.0)
    assert watch.pressure(6) == 0.0


def test_the_newest_of_the_lowest_class_goes_first() -> None:
    """What matters most and has waited longest is kept; each is told why."""
    watch = overload(3)
    waiting = [
        Waiting("old-nightly", 2, 1, "nightly"),
        Waiting("new-nightly", 2, 4, "nightly"),
        Waiting("old-normal", 1, 2, "normal"),
        Waiting("new-normal", 1, 5, "normal"),
        Waiting("interactive", 0, 6, "interactive"),
    ]
    shed = watch.shed(waiting, 5)
    assert [(one.key, one.kind) for one in shed] == [
        ("new-nightly", "shed"),
        ("old-nightly", "shed"),
    ]
    assert shed[0].message == (
        "the scheduler is overloaded: 5 tasks waited, it keeps 3; this one was among"
        " the newest of class 'nightly'. Submit it again later, in smaller portions,"
        " or in a higher class."
    )


def test_the_end_counts_what_was_shed() -> None:
    """Nothing is silent."""
    watch = overload(2)
    watch.update(4, 0.0)
    watch.shed([Waiting(n, 0, n) for n in range(4)], 4)
    watch.update(2, 1.0)
    (notice,) = watch.update(1, 2.0)
    assert notice.message.endswith("up to 4 tasks waited, 2 were shed")


def test_new_work_that_would_only_be_shed_can_be_refused() -> None:
    """During an overload the lowest class is full; the others still come in."""
    watch = overload(2)
    assert not watch.refuse(2, 2)
    watch.update(3, 0.0)
    assert watch.refuse(2, 2)
    assert not watch.refuse(1, 2)


@given(
    st.lists(st.integers(0, 3), max_size=60),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_no_more_than_the_bound_is_left(
    ranks: list[int], bound: int, rng: Random
) -> None:
    """And nothing that is shed matters more, or is older of its class, than what is."""
    watch = overload(bound)
    waiting = [Waiting(seq, rank, seq) for seq, rank in enumerate(ranks)]
    shuffled = list(waiting)
    rng.shuffle(shuffled)
    shed = watch.shed(shuffled, len(waiting))
    assert shed == overload(bound).shed(waiting, len(waiting))
    keys = {one.key for one in shed}
    kept = [one for one in waiting if one.key not in keys]
    assert len(kept) == min(len(waiting), bound)
    gone = [one for one in waiting if one.key in keys]
    for one in gone:
        assert all((one.rank, one.seq) > (other.rank, other.seq) for other in kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_length_max": 0},
        {"calm_share": 0.9},
        {"slow_share": 1.0},
        {"calm_share": -0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """With the number that is wrong."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OverloadSettings(**wrong)  # type: ignore[arg-type]
