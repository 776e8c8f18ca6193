"""Custom policies: bounded in what they do, and harmless when they break."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.scheduler_plugins.engine.terms import Ask, Need
from dtf_dask.scheduler_plugins.policies.custom import (
    Policies,
    PolicySettings,
    WorkerView,
)

ASK = Ask("key", "name", Need())
WORKER = WorkerView("w", "g", {"cpu.count": 4}, threads=4, free={"cpu": 2.0})


class Answering:
    """A policy of all kinds that answers what it was told to."""

    def __init__(self, filter: Any = (), score: Any = 50, order: Any = 0.0) -> None:
        self.answers = {"filter": filter, "score": score, "order": order}

    def _answer(self, kind: str) -> Any:
        answer = self.answers[kind]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def filter(self, ask: Ask, worker: WorkerView) -> Any:
        return self._answer("filter")

    def score(self, ask: Ask, worker: WorkerView) -> Any:
        return self._answer("score")

    def order(self, ask: Ask, now: float) -> Any:
        return self._answer("order")


class SpeechlessError(Exception):
    """An error that cannot even be said."""

    def __str__(self) -> str:
        raise RuntimeError


class OnlyScore:
    """Prefers workers with room."""

    def score(self, ask: Ask, worker: WorkerView) -> int:
        return round(100 * worker.free["cpu"] / worker.threads)


def test_without_policies_nothing_is_asked() -> None:
    """And everything is neutral."""
    policies = Policies()
    assert not policies
    assert [policies.filters, policies.scores, policies.orders] == [False] * 3
    assert policies.filter(ASK, WORKER) == ()
    assert policies.score(ASK, WORKER) == 50
    assert policies.order(ASK, 0.0) == 0.0


def test_a_policy_is_what_it_has_methods_for() -> None:
    """An object with one method is asked for that only."""
    policies = Policies({"room": OnlyScore()})
    assert (policies.filters, policies.scores, policies.orders) == (False, True, False)
    assert policies.score(ASK, WORKER) == 50


def test_answers_are_put_together() -> None:
    """All reasons with their origin, the mean of scores, the sum of offsets."""
    policies = Policies(
        {
            "b": Answering(("no licence",), 100, 30.0),
            "a": Answering(["too hot"], 40, -10),
            "c": Answering((), 10, 5.0),
        }
    )
    assert policies.filter(ASK, WORKER) == ("too hot (a)", "no licence (b)")
    assert policies.score(ASK, WORKER) == 50
    assert policies.order(ASK, 0.0) == 25.0


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("filter", ZeroDivisionError("oops"), "it raised ZeroDivisionError: oops"),
        ("filter", "no", "filter() is to give a tuple of reasons, not str 'no'"),
        ("filter", None, "filter() is to give a tuple of reasons, not NoneType None"),
        ("filter", (1,), "filter() is to give a tuple of reasons, not tuple (1,)"),
        ("score", 101, "score() is to give 0 to 100, not int 101"),
        ("score", -1, "score() is to give 0 to 100, not int -1"),
        ("score", math.nan, "score() is to give 0 to 100, not float nan"),
        ("score", True, "score() is to give a number, not bool True"),
        ("order", "soon", "order() is to give a number of seconds, not str 'soon'"),
        ("order", math.inf, "order() is to give a finite number, not float inf"),
        ("order", KeyError("k"), "it raised KeyError: 'k'"),
        ("order", SpeechlessError(), "it raised SpeechlessError: (no words)"),
    ],
)
def test_a_broken_policy_is_switched_off(kind: str, answer: Any, words: str) -> None:
    """Wholly and for good, with one notice; the others go on."""
    broken = Answering(**{"filter": ("no",), "score": 90, "order": 7, kind: answer})
    policies = Policies({"broken": broken, "good": Answering(("hot",), 20, 3.0)})
    for _ in range(3):
        if kind == "filter":
            policies.filter(ASK, WORKER)
        elif kind == "score":
            policies.score(ASK, WORKER)
        else:
            policies.order(ASK, 0.0)
    (notice,) = policies.take_notices()
    assert (notice.topic, notice.subject) == ("policy", "broken")
    assert notice.message == f"switched off: {words}. Scheduling goes on."
    assert policies.disabled == {"broken": words}
    assert policies.filter(ASK, WORKER) == ("hot (good)",)
    assert policies.score(ASK, WORKER) == 20
    assert policies.order(ASK, 0.0) == 3.0
    assert policies.take_notices() == []


def test_orders_are_capped() -> None:
    """No policy makes a task wait for ever, or go before everything."""
    for wished_s, given_s in ((1e12, 60.0), (-1e12, -60.0), (1.0, 1.0)):
        policies = Policies({"p": Answering(order=wished_s)}, PolicySettings(60.0))
        assert policies.order(ASK, 0.0) == given_s


def test_reasons_are_cut() -> None:
    """A filter that says too much is not let fill memory."""
    (policy,) = (Answering(tuple(["x" * 10_000] * 100)),)
    reasons = Policies({"p": policy}).filter(ASK, WORKER)
    assert len(reasons) == 8
    assert all(len(reason) <= 304 for reason in reasons)


@pytest.mark.parametrize(
    ("policy", "words"),
    [(object(), "has no method"), (OnlyScore, "is a class"), (None, "has no method")],
)
def test_what_is_no_policy_fails_the_start(policy: Any, words: str) -> None:
    """Not the first task."""
    with pytest.raises(ValueError, match=words):
        Policies({"p": policy})


def test_policies_are_bounded() -> None:
    """Each costs a call for every task and worker."""
    with pytest.raises(ValueError, match="33 policies"):
        Policies({str(number): OnlyScore() for number in range(33)})


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.tuples(st.text()),
)


@given(st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING), max_size=5))
def test_answers_are_within_bounds_whatever_policies_say(
    answers: list[tuple[Any, Any, Any]],
) -> None:
    """Reasons are words, scores 0 to 100, offsets within the cap."""
    policies = Policies({str(n): Answering(*one) for n, one in enumerate(answers)})
    assert all(isinstance(one, str) for one in policies.filter(ASK, WORKER))
    assert 0 <= policies.score(ASK, WORKER) <= 100
    assert -3600 <= policies.order(ASK, 0.0) <= 3600
    assert len(policies.take_notices()) == len(policies.disabled)
