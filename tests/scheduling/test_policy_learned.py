"""What is learned, as rows: checked one by one, added up, bounded."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.terms import Ask, Need, Offer
from dtf_dask.scheduler_plugins.policies.learned import (
    GROUP_LENGTH_MAX,
    NAME_LENGTH_MAX,
    Additions,
    Row,
    sensible,
)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(inner, inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "row",
    [
        (),
        None,
        5,
        "runs!",
        ("runs", "a", "g", (1.0,)),
        ("runs", "a", "g", (), 0.0),
        ("runs", "a", "g", "1", 0.0),
        ("runs", "a", "g", ("x",), 0.0),
        ("runs", "a", "g", (True,), 0.0),
        ("runs", "a", "g", (-1.0,), 0.0),
        ("runs", "a", "g", (math.nan,), 0.0),
        ("runs", "a", "g", (math.inf,), 0.0),
        ("runs", "a", "g", (1.1e7,), 0.0),
        ("runs", "a", "g", (10**400,), 0.0),
        ("runs", "a", "g", (1.0,) * 101, 0.0),
        ("runs", "a", "g", (1.0,), math.nan),
        ("runs", "a", "g", (1.0,), "soon"),
        ("runs", 3, "g", (1.0,), 0.0),
        ("runs", b"a", "g", (1.0,), 0.0),
        ("runs", "a" * (NAME_LENGTH_MAX + 1), "g", (1.0,), 0.0),
        ("runs", "a", "g" * (GROUP_LENGTH_MAX + 1), (1.0,), 0.0),
        ("other", "a", "g", (1.0,), 0.0),
        ([], "a", "g", (1.0,), 0.0),
        ("tenant", "a", "", (1.1e9,), 0.0),
    ],
)
def test_a_damaged_row_is_none(row: object) -> None:
    """What was stored is input like any other."""
    assert sensible(row) is None


@given(JUNK | st.tuples(st.sampled_from(["runs", "tenant"]), JUNK, JUNK, JUNK, JUNK))
def test_any_row_is_sensible_or_none(row: Any) -> None:
    """Nothing is raised, whatever a store holds; what is sensible stays so."""
    found = sensible(row)
    assert found is None or sensible(found) == found


def test_additions_keep_the_last_numbers_of_each() -> None:
    """As many as are of use, and what comes later goes behind what was there."""
    made, later = Additions(), Additions()
    for number in range(5):
        made.note("runs", "a", "g", float(number), 3)
    later.note("runs", "b", "g", 7.0, 3)
    later.note("runs", "a", "g", 8.0, 3)
    made.add(later)
    assert made.first(9) == [
        ("runs", "a", "g", [3.0, 4.0, 8.0], 3),
        ("runs", "b", "g", [7.0], 3),
    ]
    made.drop(1)
    assert (len(made), made.first(1)) == (1, [("runs", "b", "g", [7.0], 3)])


def test_additions_are_bounded() -> None:
    """What cannot be kept for days fills no memory; what is lost is counted."""
    made, later = Additions(rows_max=2), Additions()
    for name in "abc":
        made.note("runs", name, "g", 1.0, 3)
        later.note("runs", name * 2, "g", 1.0, 3)
    made.note("runs", "d", "g" * (GROUP_LENGTH_MAX + 1), 1.0, 3)
    assert [name for _, name, *_ in made.first(9)] == ["b", "c"]
    made.add(later)
    assert [name for _, name, *_ in made.first(9)] == ["bb", "cc"]
    assert made.dropped == 4


def test_the_engine_gives_what_it_learned_and_takes_it() -> None:
    """One engine's additions make another one's estimates, and its tenants' shares."""

    def ran(engine: Engine, tenant: str, name: str, seconds: float, at: float) -> None:
        engine.ready(Ask(name, name, Need(), tenant=tenant), at)
        assert engine.pump(at).grants
        engine.ended(name, "done", seconds, at + seconds)

    first, second = Engine(), Engine()
    for engine in (first, second):
        engine.worker_joined("w", Offer(threads=1), 0.0)
    assert len(first.memory.take(0.0)) == 0
    ran(first, "ada", "f.py::test[a]", 40.0, 1.0)
    taken = first.memory.take(50.0)
    rows = [
        Row(k, n, g, tuple(numbers), 1000.0) for k, n, g, numbers, _ in taken.first(99)
    ]
    assert [row[:2] for row in rows] == [
        ("runs", "f.py::test[a]"),
        ("similar", "f.py::test"),
        ("similar", "f.py"),
        ("class", "normal"),
        ("tenant", "ada"),
    ]
    second.memory.recall(rows, 3.0, 1000.0)
    estimates = second._core.estimates
    assert estimates.of("f.py::test[a]", "1 thread", 1.0).seconds == 40.0
    assert estimates.of("f.py::test[b]", "1 thread", 1.0).source == "similar"
    assert second._core.tenants._tenants["ada"].level.at(3.0, 0.0) > 0
    assert len(first.memory.take(50.0)) == 0
    second.check()


def test_nothing_is_written_down_for_nobody() -> None:
    """An engine that nobody asks keeps no second copy of what it learns."""
    engine = Engine()
    engine.learn("a", "g", [1.0])
    assert engine._core.estimates.note is None
    assert len(engine.memory.take(0.0)) == 0
    engine.learn("a", "g", [2.0])
    assert engine.memory.take(0.0).first(1) == [("runs", "a", "g", [2.0], 9)]


def test_writing_down_and_recalling_are_cheap() -> None:
    """Microseconds for each task, and a page of rows holds no event loop up."""
    made = Additions()

    def note() -> None:
        made.note("runs", "a", "g", 1.0, 9)

    assert cpu_s(note, 20_000) < 5e-6
    engine = Engine()
    page = [
        Row("runs", f"t{n}", f"g{group}", (1.0,) * 9, 0.0)
        for n in range(50)
        for group in range(4)
    ]
    engine.memory.recall(page, 0.0, 0.0)
    assert cpu_s(lambda: engine.memory.recall(page, 0.0, 0.0), 5) < 0.05
