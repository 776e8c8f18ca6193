"""History: bounded for ever, and what is counted is neither lost nor doubled."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.view.series import (
    CLASSES_MAX,
    GAP_S,
    LEVELS,
    MEMORY_BYTES_MAX,
    Series,
)

START = 1_000_000.0


def cluster(at: float, **fields: Any) -> dict[str, Any]:
    return {"at": at, "threads": 4, "memory": 100} | fields


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "waiting": 0, "ended": 0, "latest": None} | fields


steps = st.lists(
    st.tuples(st.floats(0.1, GAP_S), st.integers(0, 50), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=50)
@given(steps)
def test_what_is_counted_is_neither_lost_nor_doubled(
    looks: list[tuple[float, int, int]],
) -> None:
    """At every level points add up to what has ended; what waits is in its range."""
    series, at, ended = Series(), START, 100
    series.take(cluster(at, ended=ended, waiting=5), [])
    for pause_s, more, waiting in looks:
        at += pause_s
        ended += more
        series.take(cluster(at, ended=ended, waiting=waiting), [])
    for level in LEVELS:
        found = series.points(level.step_s)
        total = sum(one or 0.0 for one in found.values["ended"]) * level.step_s
        assert math.isclose(total, ended - 100, abs_tol=1e-6)
        waits = [one for one in found.values["waiting"] if one is not None]
        assert len(waits) == len(found.values["waiting"]), "there is no gap"
        values = [5, *(waiting for _, _, waiting in looks)]
        assert min(values) - 1e-9 <= min(waits) <= max(waits) <= max(values) + 1e-9
        assert (
            found.start_s <= START < found.start_s + level.step_s or level.step_s == 1
        )


def test_what_holds_is_the_mean_over_time() -> None:
    """Three seconds of 2 and one of 10 are 4 on the average."""
    series = Series()
    for after, waiting in ((0, 2), (3, 10), (4, 0)):
        series.take(cluster(START + after, waiting=waiting), [])
    (point,) = series.points(10).values["waiting"]
    assert point == pytest.approx(4.0, abs=0.01)
    assert series.points(1).values["waiting"][:4] == [2.0, 2.0, 2.0, 10.0]


def test_where_nobody_looked_is_a_gap() -> None:
    """Nothing is made up, and what was counted meanwhile is where it was heard of."""
    series = Series()
    series.take(cluster(START, ended=0, waiting=1), [])
    series.take(cluster(START + 60, ended=600, waiting=2), [])
    found = series.points(1)
    assert found.values["waiting"][:2] == [1.0, None]
    assert found.values["waiting"][30] is None
    assert found.values["waiting"][60] == 2.0
    assert found.values["ended"][60] == 600.0


def test_old_points_go() -> None:
    """After a turn of the ring its places are other times; coarser levels remember."""
    series = Series()
    for second in range(0, 1300, 5):
        series.take(cluster(START + second, ended=second, waiting=second), [])
    fine, coarse = series.points(1), series.points(10)
    assert len(fine.values["waiting"]) == LEVELS[0].count
    assert fine.start_s == START + 1295 - LEVELS[0].count + 1
    assert fine.values["waiting"][0] == pytest.approx(fine.start_s - START, abs=5)
    assert coarse.start_s == START
    assert coarse.values["ended"][50] == pytest.approx(1.0)


def test_memory_is_bounded() -> None:
    """Any number of classes, for any time, takes no more than is said."""
    series = Series()
    for look in range(60):
        rows = [row(f"c{look}-{n}", latest=START + 9) for n in range(30)]
        series.take(cluster(START + look * 400, ended=look), rows)
    assert series.size_bytes <= MEMORY_BYTES_MAX < 4 * 2**20
    names = {name.split("/")[1] for name in series.points(1).values if "/" in name}
    assert len(names) == CLASSES_MAX


@pytest.mark.parametrize("jump_s", [-10_000.0, 1e8, -1e9])
def test_a_clock_that_jumps_begins_anew(jump_s: float) -> None:
    """A leader whose clock is far off does not stop history, nor fill it with gaps."""
    series = Series()
    series.take(cluster(START, ended=5), [])
    at = max(0.0, START + jump_s)
    series.take(cluster(at, ended=9), [])
    series.take(cluster(at + 1, ended=12), [])
    found = series.points(1)
    assert found.start_s == int(at)
    assert found.values["ended"][0] == pytest.approx(3.0)


def test_a_clock_that_is_a_little_behind_is_passed_over() -> None:
    """The next leader's may be: nothing is counted twice."""
    series = Series()
    for at, ended in ((0, 0), (5, 5), (3, 7), (6, 8)):
        series.take(cluster(START + at, ended=ended), [])
    assert sum(one or 0.0 for one in series.points(1).values["ended"]) == 8


def test_a_counter_that_begins_anew_is_no_negative_rate() -> None:
    """A scheduler without a ledger was started again."""
    series = Series()
    for at, ended in ((0, 90), (1, 3), (2, 5)):
        series.take(cluster(START + at, ended=ended), [])
    assert series.points(1).values["ended"][:2] == [0.0, 2.0]


def test_the_least_time_left_is_kept() -> None:
    """Of a class and of all: a coarse point shows how near it was."""
    series = Series()
    for at, left in ((0, 50), (1, 4), (2, 90)):
        rows = [row("a", latest=START + at + left), row("b")]
        series.take(cluster(START + at), rows)
    found = series.points(10).values
    assert found["slack"] == found["class/a/slack"] == [4.0]
    assert "class/b/slack" not in found


def test_what_is_asked_must_be_there() -> None:
    """An empty history has no points; other levels and names are refused."""
    assert Series().points(1).values == {}
    with pytest.raises(KeyError):
        Series().points(7)
    with pytest.raises(KeyError):
        Series().points(1, ["odd"])


def test_tests_are_counted_over_all_runs() -> None:
    """With those that did not pass; where nobody runs tests there is no such number."""
    series = Series()
    series.take(cluster(START), [])
    assert "tests" not in series.points(1).values
    first, second = {"passed": 5, "failed": 1}, {"timeout": 1, "lost": 1, "error": 1}
    for at, runs in ((1, [first]), (2, [first, second]), (3, [first, second])):
        series.take(cluster(START + at), [], runs=[{"counts": one} for one in runs])
    found = series.points(1).values
    assert found["tests"][1:3] == [3.0, 0.0]
    assert found["tests_failed"][1:3] == [3.0, 0.0]
