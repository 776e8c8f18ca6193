"""What tasks ask and workers offer, read by the scheduler, which believes neither."""

from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.config import load
from dtf_dask.errors import ConfigurationError, DeadlineError, TaskRefusedError
from dtf_dask.scheduler_plugins.adapter import composed
from dtf_dask.scheduler_plugins.adapter.asks import (
    NESTED_BONUS,
    PLAIN,
    Wishes,
    ask,
    read,
)
from dtf_dask.scheduler_plugins.adapter.farewells import (
    LONGEST_S,
    SILENCE_MAX_S,
    Farewells,
)
from dtf_dask.scheduler_plugins.adapter.offers import offer

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
WISHED = st.sampled_from(
    ["hardware", "memory", "gpus", "resources", "gang", "after", "deadline", "x"]
)


@given(JUNK | st.dictionaries(WISHED, JUNK, max_size=4), JUNK)
def test_any_annotation_is_read_or_refused(annotation: Any, resources: Any) -> None:
    """Nothing else is raised, and an error names its fault and travels."""
    refused: TaskRefusedError | None = None
    try:
        assert isinstance(read(annotation, resources), Wishes)
    except TaskRefusedError as error:
        refused = error
    if refused is not None:
        assert str(refused).startswith("this task is refused: ")
        assert str(pickle.loads(pickle.dumps(refused))) == str(refused)


def test_dasks_resources_are_amounts_and_never_ours() -> None:
    """A resource that is called as one of dtf's own is another thing."""
    need = read({"memory": "1 GiB", "cpus": 2}, {"memory": 5, "GPU": 1}).need
    assert need.amounts == (
        ("GPU", 1.0),
        ("cpu", 2),
        ("dask.memory", 5.0),
        ("memory", 2**30),
    )
    made, _ = offer(None, threads=1, resources={"memory": 9, "GPU": 1})
    assert made.resources == {"GPU": 1.0, "dask.memory": 9.0}


def test_one_resource_with_two_amounts_is_refused() -> None:
    """The annotation and Dask's resources may say the same, not two things."""
    assert read({"resources": {"A": 1}}, {"A": 1}).need.amounts == (("A", 1.0),)
    with pytest.raises(TaskRefusedError, match="A is 2 in the annotation"):
        read({"resources": {"A": 2}}, {"A": 1})


def test_deadlines_are_points_of_the_engines_clock() -> None:
    """Relative ones count from submission; one that has passed may be refused."""

    def deadline(**annotation: Any) -> float | None:
        wishes = read(annotation)
        return ask("k", "k", wishes, now=100.0, wall_now=1_000_000.0).deadline

    assert deadline(deadline="10 s") == 110.0
    iso = "1970-01-12T13:47:00+00:00"  # 1,000,020
    assert deadline(deadline=iso) == 120.0
    past = "1970-01-01T00:00:00+00:00"
    assert deadline(deadline=past) == 100.0 - 1_000_000.0
    with pytest.raises(DeadlineError, match="has passed"):
        deadline(deadline=past, on_late="refuse")


def test_what_a_task_submits_comes_before_others() -> None:
    """The task that waits for it holds a thread."""
    made = ask("k", "k", PLAIN, now=0, wall_now=0, priority=3, nested=True)
    assert made.priority == 3 + NESTED_BONUS


@given(
    JUNK | st.fixed_dictionaries({"version": st.just(1), "gpus": JUNK, "facts": JUNK})
)
def test_any_advert_is_an_offer(advert: Any) -> None:
    """What cannot be true is left out and said; nothing is ever raised."""
    made, problems = offer(advert, threads=3, memory=5)
    assert (made.threads, made.memory) == (3, 5)
    assert all(isinstance(problem, str) for problem in problems)


def test_a_worker_with_a_billion_gpus_has_none() -> None:
    """Neither by its facts nor by its list."""
    devices = [
        {"id": str(n), "index": n, "memory": 1, "state": "ok"} for n in range(2000)
    ]
    made, problems = offer(
        {"version": 1, "facts": {"gpu.count": 10**9}, "gpus": devices}, threads=1
    )
    assert "gpu.count" not in made.facts
    assert made.gpus == ()
    assert len(problems) == 2


def test_what_a_worker_accepts_unreadably_is_nothing() -> None:
    """A typing error must not let everything in."""
    made, (problem,) = offer({"version": 1, "accept": "clas == 'x'"}, threads=1)
    assert made.accept is not None
    assert not made.accept.evaluate({"class": "x", "tenant": "x"})
    assert "it is given nothing" in problem


# Attempts that may still run.


def test_a_worker_is_asked_until_it_no_longer_knows_the_task() -> None:
    """Ever less often; an old answer, or "cancelled", is not the end."""
    farewells = Farewells()
    farewells.add("k", "w", "tcp://w", "killed", 0.0)
    now, numbers, pauses = 0.0, [], []
    for _ in range(20):
        wake_at = farewells.wake_at()
        assert wake_at is not None
        pauses.append(wake_at - now)
        now = wake_at
        (one,), silent = farewells.due(now)
        assert silent == []
        numbers.append(one.number)
        assert farewells.answered("k", one.number, "cancelled", now) is None
    assert sorted(round(pause, 6) for pause in pauses) == [
        round(pause, 6) for pause in pauses
    ]
    assert pauses[-1] == pytest.approx(LONGEST_S)
    assert farewells.answered("k", numbers[0], None, now) is None
    over = farewells.answered("k", numbers[-1], None, now)
    assert over is not None
    assert over.ending == "killed"
    assert len(farewells) == 0


def test_a_worker_that_answers_nothing_is_not_waited_for_for_ever() -> None:
    """Its place is given back at last."""
    farewells = Farewells()
    farewells.add("k", "w", "tcp://w", "released", 0.0)
    now, silent = 0.0, []
    while not silent:
        now = farewells.wake_at() or 0.0
        _, silent = farewells.due(now)
    assert SILENCE_MAX_S < now < SILENCE_MAX_S + 2 * LONGEST_S
    assert len(farewells) == 0


# As configured.


def test_the_configuration_makes_the_engine() -> None:
    """Classes in the order of their patience, shares, bounds; or no plugin at all."""
    settings = load(
        {
            "scheduling.classes": {"slow": "1 h", "fast": 0},
            "scheduling.tenants": {"ada": {"weight": 2, "max": 0.5}},
            "scheduling.queue-length-max": 7,
        }
    ).scheduling
    made = composed.engine_settings(settings)
    assert [one.name for one in made.classes] == ["fast", "slow"]
    assert made.tenants.quotas["ada"].weight == 2
    assert made.overload.queue_length_max == 7
    with pytest.raises(ConfigurationError, match=r"default-class is 'normal'"):
        composed.scheduling_plugin(settings)
    off = load({"scheduling.enabled": False}).scheduling
    assert composed.scheduling_plugin(off) is None
    assert composed.scheduling_plugin(load().scheduling) is not None


class Racks:
    """A policy."""

    def score(self, ask: Any, worker: Any) -> int:
        return 70


class Broken:
    def __init__(self) -> None:
        raise OSError("no licence")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rack", "no policy 'rack' is installed.*did you mean 'racks'"),
        ("broken", "OSError: no licence"),
        ("nothing", "has no method filter"),
        ("gone", "cannot be used: AttributeError"),
    ],
)
def test_a_broken_policy_fails_the_start(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is sound is loaded."""
    here = __name__
    found = [
        EntryPoint(one, f"{here}:{value}", composed.POLICY_GROUP)
        for one, value in (
            ("racks", "Racks"),
            ("broken", "Broken"),
            ("nothing", "object"),
            ("gone", "Gone"),
        )
    ]
    monkeypatch.setattr(composed, "entry_points", lambda group: found)
    monkeypatch.setattr(f"{here}.object", object, raising=False)
    assert isinstance(composed.load_policies(("racks",))["racks"], Racks)
    with pytest.raises(ConfigurationError, match=words):
        composed.load_policies((name,))
