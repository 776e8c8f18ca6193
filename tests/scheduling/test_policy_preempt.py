"""Preemption: the cheapest victims, on one worker, of lower classes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.policies.preempt import (
    Fits,
    Preemption,
    PreemptSettings,
    Running,
)

ONE = (("cpu", 1.0),)
NOW = 100.0


def running(key: str, worker: str = "w", ran_s: float = 10.0, **more: Any) -> Running:
    fields = {"rank": 2, "preemptible": True, "amounts": ONE, **more}
    return Running(key, worker, started=NOW - ran_s, **fields)


def fits_amounts(
    wanted: tuple[tuple[str, float], ...],
    free: Mapping[str, Mapping[str, float]],
) -> Fits:
    """`Fits` by plain sums: ``free`` is what each worker has left of each thing."""

    def fits(worker: str, without: Sequence[Running]) -> bool:
        left = dict(free.get(worker, {}))
        for task in without:
            for name, amount in task.amounts:
                left[name] = left.get(name, 0.0) + amount
        return all(left.get(name, 0.0) + 1e-9 >= amount for name, amount in wanted)

    return fits


def chosen(
    tasks: list[Running],
    wanted: tuple[tuple[str, float], ...] = ONE,
    free: dict[str, dict[str, float]] | None = None,
    **settings: Any,
) -> list[Any]:
    preemption = Preemption(PreemptSettings(**settings))
    found = preemption.choose("t", 0, tasks, fits_amounts(wanted, free or {}), NOW)
    return [] if found is None else [victim.key for victim in found.victims]


def test_the_one_that_loses_least_gives_way() -> None:
    """What has just begun is cheaper than what has run for long."""
    assert chosen([running("old", ran_s=50.0), running("young", ran_s=1.0)]) == [
        "young"
    ]


def test_the_cost_and_the_reason_are_said() -> None:
    """For the log, for `dtf explain`, for the task that is killed."""
    found = Preemption().choose(
        "t", 0, [running("a", ran_s=7.0)], fits_amounts(ONE, {}), NOW
    )
    assert found is not None
    assert (found.worker, found.cost_s) == ("w", 8.0)
    assert found.reason == "gives way to 't', which is more urgent and would be late"


def test_a_checkpoint_bounds_what_is_lost() -> None:
    """A task that can save its work in time loses only what that takes."""
    tasks = [running("saves", ran_s=90.0, checkpoint_s=2.0), running("not", ran_s=5.0)]
    assert chosen(tasks) == ["saves"]


def test_a_class_further_below_is_cheaper() -> None:
    """Nightly work gives way before normal work that has run a little less."""
    tasks = [running("normal", ran_s=8.0, rank=1), running("nightly", rank=3)]
    assert chosen(tasks) == ["nightly"]


@pytest.mark.parametrize(
    "protected",
    [
        {"rank": 0},
        {"preemptible": False},
        {"kills": 2},
        {"kills": 5},
    ],
)
def test_some_never_give_way(protected: dict[str, Any]) -> None:
    """Equal and higher classes, threads, and what gave way often enough."""
    assert chosen([running("a", **protected)]) == []


def test_victims_are_on_one_worker_and_none_is_in_vain() -> None:
    """Room on two workers is no room; what is not needed in the end stays."""
    two = (("cpu", 2.0),)
    spread = [running("a", "w1"), running("b", "w2")]
    assert chosen(spread, two) == []
    assert chosen([*spread, running("c", "w2", 99.0)], two) == ["b", "c"]
    big = running("big", "w2", 12.0, amounts=two)
    assert chosen([*spread, running("c", "w2", 11.0), big], two) == ["big"]


def test_where_there_is_room_nobody_gives_way() -> None:
    """Nor while those die already that make enough room."""
    assert chosen([running("a")], free={"w": {"cpu": 1.0}}) == []
    assert chosen([running("a"), running("b", dying=True)]) == []


def test_so_many_give_way_at_most() -> None:
    """One task never clears a big machine."""
    tasks = [running(f"t{number}") for number in range(10)]
    assert chosen(tasks, (("cpu", 4.0),), victims_max=3) == []
    assert len(chosen(tasks, (("cpu", 3.0),), victims_max=3)) == 3


TASKS = st.lists(
    st.builds(
        running,
        st.integers(0, 10**6).map(str),
        st.sampled_from(["w1", "w2"]),
        st.floats(0, 100),
        rank=st.integers(0, 3),
        preemptible=st.booleans(),
        amounts=st.tuples(
            st.tuples(st.just("cpu"), st.integers(1, 4)),
            st.tuples(st.just("gpu"), st.integers(0, 2)),
        ),
        kills=st.integers(0, 3),
    ),
    max_size=10,
)


@given(TASKS, st.integers(0, 3), st.integers(1, 6), st.integers(0, 2))
def test_a_choice_is_enough_and_not_too_much(
    tasks: list[Running], rank: int, cpu: int, gpu: int
) -> None:
    """It makes room on one worker, of those allowed, and none of it can be spared.

    There is a choice exactly if there is one at all; no single victim is cheaper.
    """
    wanted = (("cpu", float(cpu)), ("gpu", float(gpu)))
    fits = fits_amounts(wanted, {})
    preemption = Preemption()
    found = preemption.choose("t", rank, tasks, fits, NOW)
    assert found == preemption.choose("t", rank, tasks, fits, NOW)
    allowed = [t for t in tasks if t.preemptible and t.rank > rank and t.kills < 2]
    if found is None:
        for worker in ("w1", "w2"):
            here = [task for task in allowed if task.worker == worker]
            assert len(here) > 8 or not fits(worker, here)
        return
    assert all(victim in allowed for victim in found.victims)
    assert {victim.worker for victim in found.victims} == {found.worker}
    assert fits(found.worker, found.victims)
    for fewer in combinations(found.victims, len(found.victims) - 1):
        assert not fits(found.worker, fewer)
    cost_s = preemption._cost_s(found.victims, rank, NOW)
    for task in allowed:
        if fits(task.worker, [task]):
            assert preemption._cost_s([task], rank, NOW) >= cost_s - 1e-9
