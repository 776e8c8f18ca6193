"""What a run's cases ask decides where, in which order and whether they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.annotations import validate
from dtf_dask.errors import ClusterUnreachableError, UsageError
from dtf_dask.runs import kinds as kinds_module
from dtf_dask.runs.batch_estimates import PlannedCase
from dtf_dask.runs.kinds import Kind, orders, together, with_moments
from dtf_dask.runs.misfits import NO_WORKERS_S, Misfits
from dtf_dask.runs.planning import RunPlanner
from dtf_dask.scheduler_plugins.engine.terms import Gpu, Offer

CLASSES = {"interactive": 0.0, "normal": 600.0, "nightly": 3600.0}
PLAIN = Offer(threads=1, memory=2**34, facts={"cpu.arch": "x86_64"})
GPU = Offer(
    threads=1,
    memory=2**34,
    facts={"gpu.count": 1, "gpu.memory": 2**34},
    gpus=(Gpu("u0", 0, 2**34),),
)


def kinds_of(
    asked: Sequence[Mapping[str, Any]], groups: Mapping[int, str] | None = None
) -> list[Kind]:
    return kinds_module.kinds_of(asked, groups, tuple(CLASSES))


def planner_of(
    asked: Sequence[Mapping[str, Any]],
    after: Mapping[int, Sequence[int]] | None = None,
    **options: Any,
) -> RunPlanner:
    cases = [PlannedCase(n, "test_a.py", "test_a.py") for n in range(len(asked))]
    kinds = kinds_of([validate(one) for one in asked])
    return RunPlanner(
        cases, kinds, after=after, patience_s=CLASSES.__getitem__, **options
    )


def run_all(planner: RunPlanner, workers: Sequence[str]) -> list[tuple[str, int]]:
    """Let each worker run what it is given, in turn; which case ran where."""
    ran: list[tuple[str, int]] = []
    while True:
        before = len(ran)
        for worker in workers:
            batch = planner.next_batch(worker)
            for index in () if batch is None else batch.indices:
                assert batch is not None
                assert planner.finished(batch.id, index, 0.01)
                ran.append((worker, index))
                planner.settled(index)
            if batch is not None:
                planner.ended(batch.id)
        if len(ran) == before:
            return ran


def test_a_case_runs_only_where_it_fits() -> None:
    """What asks for a GPU goes to the worker that has one; the rest anywhere."""
    planner = planner_of([{"gpus": 1}, {}, {"hardware": "gpu.count >= 1"}, {}])
    planner.add_worker("plain", PLAIN)
    planner.add_worker("gpu", GPU)
    ran = run_all(planner, ["plain", "gpu"])
    assert sorted(index for _, index in ran) == [0, 1, 2, 3]
    assert {worker for worker, index in ran if index in (0, 2)} == {"gpu"}
    assert planner.remaining == 0


def test_only_needs_ask_something_of_workers() -> None:
    """A class or a deadline does not: no worker has to say what it has for it."""
    assert not planner_of([{}, {"class": "nightly", "deadline": "1 h"}]).asks
    assert planner_of([{}, {"memory": "1 GiB"}]).asks


def test_scarce_work_goes_first_where_it_fits() -> None:
    """A worker that few cases fit is not taken by those that fit anywhere."""
    planner = planner_of([{}, {}, {"gpus": 1}])
    planner.add_worker("gpu", GPU)
    planner.add_worker("plain", PLAIN)
    batch = planner.next_batch("gpu")
    assert batch is not None
    assert batch.indices == (2,)
    asked = planner.annotation(batch, preemptible=True)
    guess = {"expected": batch.estimate_s, "guessed": True}
    assert asked == {"gpus": 1, "preemptible": True, **guess}
    batch = planner.next_batch("plain")
    assert batch is not None
    assert planner.annotation(batch, preemptible=False) == {}


def test_the_more_urgent_class_goes_first_then_the_deadline() -> None:
    """Classes by their patience, within one the earliest deadline, none at the end."""
    asked = [
        {"class": "nightly"},
        {},
        {"deadline": "2031-01-01T00:00:00+00:00"},
        {"deadline": "2030-01-01T00:00:00+00:00"},
        {"class": "interactive"},
    ]
    planner = planner_of(asked)
    planner.add_worker("w", PLAIN)
    assert [index for _, index in run_all(planner, ["w"])] == [4, 3, 2, 1, 0]


def test_what_comes_after_others_waits_until_they_are_settled() -> None:
    """Also over several steps; a case that is tried again is not settled."""
    planner = planner_of([{}, {}, {}], after={0: [1], 1: [2]})
    planner.add_worker("w", PLAIN)
    batch = planner.next_batch("w")
    assert batch is not None
    assert batch.indices == (2,)
    planner.finished(batch.id, 2, 0.01)
    planner.ended(batch.id)
    assert planner.next_batch("w") is None
    planner.requeue(2, "w")
    assert planner.remaining == 3
    assert [index for _, index in run_all(planner, ["w"])] == [2, 1, 0]


def test_a_circle_is_refused() -> None:
    """Cases that wait for each other would wait for ever."""
    with pytest.raises(UsageError, match="circle"):
        planner_of([{}, {}, {}], after={0: [1], 1: [0]})
    with pytest.raises(UsageError, match="circle"):
        planner_of([{}], after={0: [0]})


def test_what_no_worker_fits_is_given_up_with_the_reason() -> None:
    """After the patience, not before; what waited for it goes on."""
    planner = planner_of([{"gpus": 1}, {}, {}], after={2: [0]})
    planner.add_worker("w", PLAIN)
    misfits = Misfits(planner, patience_s=10.0)
    due, told = misfits.look(0.0, alone=False)
    assert due == {}
    assert told == [
        "1 case waits for a worker that fits: needs gpu 1; has 0 usable (1 worker)"
    ]
    assert misfits.look(9.0, alone=False) == ({}, [])
    due, told = misfits.look(10.0, alone=False)
    assert (list(due), told) == ([0], [])
    assert due[0].startswith("no worker fits: needs gpu 1")
    planner.settled(0)
    assert sorted(index for _, index in run_all(planner, ["w"])) == [1, 2]
    assert planner.remaining == 0


def test_a_run_without_workers_waits_a_minute() -> None:
    """And then says how to start some."""
    misfits = Misfits(planner_of([{}]), patience_s=0.0)
    assert misfits.look(5.0, alone=True) == ({}, [])
    assert misfits.look(5.0 + NO_WORKERS_S, alone=True) == ({}, [])
    with pytest.raises(ClusterUnreachableError, match="dtf worker"):
        misfits.look(5.1 + NO_WORKERS_S, alone=True)


def test_a_worker_that_loses_its_gpu_loses_what_it_cannot_run() -> None:
    """The batch is planned again, and goes to a worker that still fits."""
    planner = planner_of([{"gpus": 1}, {}])
    planner.add_worker("a", GPU)
    batch = planner.next_batch("a")
    assert batch is not None
    assert batch.indices == (0,)
    assert planner.unfit("a", GPU) == []
    assert planner.unfit("a", PLAIN) == [batch.id]
    planner.change_worker("unknown", PLAIN)
    planner.change_worker("a", PLAIN)
    assert planner.misfits().keys() == {0}
    planner.add_worker("b", GPU)
    assert planner.misfits() == {}
    ran = run_all(planner, ["a", "b"])
    assert ("b", 0) in ran
    assert sorted(index for _, index in ran) == [0, 1]


def test_a_worker_that_accepts_only_some_work_gets_no_other() -> None:
    """Also of cases that ask for nothing."""
    from dtf_dask.demand import parse
    from dtf_dask.facts import TASK_FACTS

    picky = Offer(threads=1, accept=parse("class == 'nightly'", TASK_FACTS))
    planner = planner_of([{}, {"class": "nightly"}])
    planner.add_worker("w", picky)
    assert run_all(planner, ["w"]) == [("w", 1)]
    assert list(planner.misfits()) == [0]


def test_a_group_asks_what_its_cases_ask_together() -> None:
    """Demands are joined, amounts are the largest; contradictions are refused."""
    asked = [{"hardware": "gpu.count >= 1", "cpus": 1}, {"cpus": 4}, {}]
    kinds = kinds_of([validate(one) for one in asked], {0: "g", 1: "g", 2: "g"})
    assert len({id(kind) for kind in kinds}) == 1
    assert kinds[0].annotation == {"hardware": "gpu.count >= 1", "cpus": 4}
    with pytest.raises(UsageError, match="give them one"):
        together([{"priority_class": "nightly"}, {"priority_class": "normal"}], "g")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gang": {"name": "g", "size": 2}}, "gang is for tasks"),
        ({"name": "train"}, "name is for tasks"),
        ({"class": "nihgtly"}, "did you mean 'nightly'"),
    ],
)
def test_what_cases_cannot_ask_is_refused(asked: dict[str, Any], words: str) -> None:
    """With a word on what to do."""
    with pytest.raises(UsageError, match=words):
        kinds_of([validate(asked)])


def test_after_names_a_case() -> None:
    """A name that no case has is refused, the nearest one is named."""
    assert orders([{"after": ["b"]}, {}], ["a", "b"]) == {0: [1]}
    with pytest.raises(UsageError, match="did you mean 'beta'"):
        orders([{"after": ["bata"]}, {}], ["alpha", "beta"])


def test_relative_deadlines_count_from_the_start_of_the_run() -> None:
    """What is a point in time already stays."""
    moment = "2030-01-01T00:00:00+00:00"
    asked = [{"deadline": 1.5}, {"deadline": moment}, {}]
    found = with_moments(asked, 1_000_000_000.0)
    assert found[0] == {"deadline": "2001-09-09T01:46:41.500000+00:00"}
    assert found[1:] == asked[1:]


_ASKED = st.sampled_from(
    [{}, {"gpus": 1}, {"class": "nightly"}, {"hardware": "cpu.arch == 'x86_64'"}]
)


@given(
    asked=st.lists(_ASKED, min_size=1, max_size=12),
    links=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8),
    dist=st.sampled_from(["load", "loadfile", "one-per-process"]),
)
def test_every_case_that_fits_runs_once(
    asked: list[dict[str, Any]], links: list[tuple[int, int]], dist: str
) -> None:
    """Whatever is asked and in whatever order; an order given by after= is kept."""
    count = len(asked)
    after: dict[int, list[int]] = {}
    for later, earlier in links:
        if earlier < later < count:
            after.setdefault(later, []).append(earlier)
    planner = planner_of(asked, after, dist=dist)
    planner.add_worker("gpu", GPU)
    planner.add_worker("plain", PLAIN)
    ran = [index for _, index in run_all(planner, ["plain", "gpu"])]
    assert sorted(ran) == list(range(count)) or planner.misfits()
    assert len(set(ran)) == len(ran)
    for later, earliers in after.items():
        if later in ran:
            assert all(ran.index(one) < ran.index(later) for one in earliers)
