"""Circuit breakers: who is blamed, when they open, how they heal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.scheduler_plugins.policies.breaker import Breakers
from dtf_dask.scheduler_plugins.policies.breaker_terms import BreakerSettings


def breakers(**settings: Any) -> Breakers:
    made = Breakers(BreakerSettings(**settings))
    made.workers = 100
    return made


def end(made: Breakers, worker: str, name: str, outcome: Any, now: float) -> None:
    made.started(worker, name, "g", now)
    made.ended(worker, name, "g", outcome, now)


def broken(now: float = 0.0, **settings: Any) -> Breakers:
    """The worker "bad" has failed three tests that pass on "good"."""
    made = breakers(**settings)
    for name in "abc":
        end(made, "good", name, "done", now)
        end(made, "bad", name, "failed", now)
    return made


def messages(made: Breakers) -> list[str]:
    return [notice.message for notice in made.take_notices()]


def test_all_is_closed_at_first() -> None:
    """Nothing is known against anybody."""
    made = breakers()
    assert made.allows("w", "a", "g", 0.0) == ""
    assert (made.state("w", 0.0), made.wake_at, made.rows(0.0)) == ("closed", None, [])


def test_failures_of_what_passes_elsewhere_open_a_worker() -> None:
    """The third one opens it, with a reason that names the tests, and a notice."""
    made = broken()
    assert made.state("bad", 0.0) == "open"
    assert made.allows("bad", "new", "g", 10.0) == (
        "its circuit breaker is open for 20 s more: 3 failures that are its own"
        " (a, b, c)"
    )
    assert made.allows("good", "a", "g", 10.0) == ""
    (notice,) = made.take_notices()
    assert (notice.topic, notice.subject) == ("breaker", "bad")
    assert notice.message == "open for 30 s: 3 failures that are its own (a, b, c)"
    assert made.wake_at == 30.0


def test_the_order_of_failing_and_passing_does_not_matter() -> None:
    """Usually the failure comes first, and the retry passes elsewhere."""
    made = breakers()
    for name in "abc":
        end(made, "bad", name, "failed", 0.0)
        assert made.state("bad", 1.0) == "closed"
    for name in "abc":
        end(made, "good", name, "done", 1.0)
    assert made.state("bad", 1.0) == "open"


def test_what_fails_everywhere_blames_nobody() -> None:
    """A broken test is not the fault of those who ran it."""
    made = breakers()
    for number in range(200):
        end(made, f"w{number % 10}", f"t{number % 5}", "failed", float(number))
    assert made.rows(200.0) == []


@pytest.mark.parametrize("period", [2, 3])
def test_an_unstable_test_blames_nobody(period: int) -> None:
    """A test that fails now and then wherever it runs is not the workers' fault."""
    made = breakers()
    for number in range(300):
        outcome = "failed" if number % period == 0 else "done"
        end(made, f"w{number % 7}", "unstable", outcome, number / 10)
    assert made.rows(30.0) == []


def test_a_worker_that_does_most_well_stays() -> None:
    """A few failures of its own among many that passed do not open it."""
    made = breakers()
    for number in range(100):
        end(made, "w", f"t{number}", "done", 0.0)
    for name in "abc":
        end(made, "other", name, "done", 0.0)
        end(made, "w", name, "failed", 0.0)
    assert made.state("w", 0.0) == "closed"


def test_passing_takes_a_failure_back() -> None:
    """What passes on the worker after all was unstable there."""
    made = breakers()
    for name in "abcdef":
        end(made, "good", name, "done", 0.0)
        end(made, "w", name, "failed", 0.0)
        end(made, "w", name, "done", 0.0)
    assert made.state("w", 0.0) == "closed"


def test_old_failures_do_not_count() -> None:
    """Failures further apart than the window never add up."""
    made = breakers(window_s=100.0)
    for number, name in enumerate("abcdef"):
        now = number * 60.0
        end(made, "good", name, "done", now)
        end(made, "w", name, "failed", now)
    assert made.state("w", 300.0) == "closed"


def test_lost_attempts_count_once_a_death() -> None:
    """A worker that dies with eight tests has died once; three times is too often."""
    made = breakers()
    for death in range(3):
        assert made.state("w", death * 60.0) == "closed"
        for number in range(8):
            end(made, "w", f"t{number}", "lost", death * 60.0)
    assert made.state("w", 120.0) == "open"
    assert messages(made) == ["open for 30 s: 3 failures that are its own (lost)"]


def test_half_open_tries_exactly_one() -> None:
    """After the rest one task is let in, and none beside it; it passes: closed."""
    made = broken()
    made.take_notices()
    assert made.state("bad", 29.9) == "open"
    assert made.allows("bad", "a", "g", 30.0) == ""
    assert made.state("bad", 30.0) == "half-open"
    made.started("bad", "a", "g", 30.0)
    assert made.allows("bad", "b", "g", 30.0) == (
        "its circuit breaker is half-open (a is tried): 3 failures that are its own"
        " (a, b, c)"
    )
    made.ended("bad", "a", "g", "done", 31.0)
    assert made.allows("bad", "b", "g", 31.0) == ""
    assert messages(made) == [
        "half-open: one task is tried",
        "closed: what was tried passed",
    ]


def test_rests_double_up_to_a_bound() -> None:
    """Each failed trial doubles the rest."""
    made = broken(open_max_s=200.0)
    now, rests = 0.0, []
    for _ in range(6):
        assert made.wake_at is not None
        rests.append(made.wake_at - now)
        now = made.wake_at
        assert made.allows("bad", "a", "g", now) == ""
        end(made, "good", "a", "done", now)
        end(made, "bad", "a", "failed", now)
    assert rests == [30.0, 60.0, 120.0, 200.0, 200.0, 200.0]


def test_who_breaks_again_soon_rests_longer() -> None:
    """The rest is 30 s anew only after the window has passed in good order."""
    for later_s, rest_s in ((100.0, 60.0), (1000.0, 30.0)):
        made = broken()
        assert made.allows("bad", "a", "g", 30.0) == ""
        end(made, "bad", "a", "done", 30.0)
        now = 30.0 + later_s
        for name in "def":
            end(made, "good", name, "done", now)
            end(made, "bad", name, "failed", now)
        assert made.wake_at == now + rest_s


def test_a_trial_that_proves_nothing_is_followed_by_another() -> None:
    """A test that was called off, or that never passed anywhere, is no evidence."""
    made = broken()
    assert made.allows("bad", "x", "g", 30.0) == ""
    for outcome in ("released", "killed", "failed"):
        end(made, "bad", f"x-{outcome}", outcome, 31.0)
        assert made.state("bad", 31.0) == "half-open"
        assert made.allows("bad", "y", "g", 31.0) == ""
    end(made, "good", "x-failed", "done", 32.0)  # so it was the worker's fault
    assert made.state("bad", 32.0) == "open"


def test_failures_from_before_do_not_reopen() -> None:
    """What failed before the rest, and passes elsewhere only now, is old news."""
    made = breakers()
    end(made, "bad", "late", "failed", 0.0)
    for name in "abc":
        end(made, "good", name, "done", 0.0)
        end(made, "bad", name, "failed", 0.0)
    assert made.state("bad", 31.0) == "half-open"
    end(made, "good", "late", "done", 31.0)
    assert made.state("bad", 31.0) == "half-open"


def test_most_workers_are_never_the_culprits() -> None:
    """No more than half of the workers are open at once, and that is said."""
    made = breakers()
    made.workers = 4
    for worker in ("w1", "w2", "w3"):
        for number in range(3):
            end(made, "w4", f"{worker}-{number}", "done", 0.0)
            end(made, worker, f"{worker}-{number}", "failed", 0.0)
    assert [made.state(f"w{number}", 0.0) for number in range(1, 5)] == [
        *("open", "open", "closed", "closed")
    ]
    assert "not quarantined: 2 of 4 workers are already" in messages(made)[-1]


def test_a_test_that_fails_on_one_kind_only_rests_there() -> None:
    """Always failing in one group and passing in another: only these two part."""
    made = breakers()
    made.ended("v1", "t", "cpu", "done", 0.0)
    for number in range(3):
        assert made.allows(f"w{number}", "t", "gpu", 1.0) == ""
        made.ended(f"w{number}", "t", "gpu", "failed", 1.0)
    assert made.allows("w9", "t", "gpu", 1.0) == (
        "its circuit breaker is open for 30 s more: failed 3 times in a row and"
        " passes on cpu"
    )
    assert made.allows("w9", "other", "gpu", 1.0) == ""
    assert made.allows("v1", "t", "cpu", 1.0) == ""
    (notice,) = made.take_notices()
    assert notice.subject == "t on gpu"
    assert made.allows("w1", "t", "gpu", 31.0) == ""
    made.started("w1", "t", "gpu", 31.0)
    assert "t is tried" in made.allows("w2", "t", "gpu", 31.0)
    made.ended("w1", "t", "gpu", "failed", 32.0)
    assert made.wake_at == 32.0 + 60.0
    assert made.allows("w1", "t", "gpu", 92.0) == ""
    made.started("w1", "t", "gpu", 92.0)
    made.ended("w1", "t", "gpu", "done", 93.0)
    assert made.allows("w2", "t", "gpu", 93.0) == ""


def test_a_test_that_passed_here_lately_does_not_rest() -> None:
    """Not always failing is not what this breaker is for."""
    made = breakers()
    made.ended("v", "t", "cpu", "done", 0.0)
    made.ended("w", "t", "gpu", "done", 0.0)
    for number in range(10):
        made.ended(f"w{number}", "t", "gpu", "failed", 1.0)
    assert made.allows("x", "t", "gpu", 1.0) == ""


def test_health_opens_until_it_is_good_again() -> None:
    """A worker's own check opens it; when it passes again one task is tried."""
    made = breakers()
    made.health("w", False, "disk full")
    made.health("w", False, "disk still full")
    assert made.allows("w", "a", "g", 1e6) == "it is not fit for work: disk still full"
    assert made.state("w", 1e6) == "open"
    assert made.rows(0.0)[0][:2] == (("", "w"), "open")
    made.health("w", True, "")
    assert made.state("w", 1e6) == "half-open"
    assert made.allows("w", "a", "g", 1e6) == ""
    made.started("w", "a", "g", 1e6)
    assert "a is tried" in made.allows("w", "b", "g", 1e6)
    made.ended("w", "a", "g", "done", 1e6)
    assert made.state("w", 1e6) == "closed"
    assert messages(made) == [
        "open: disk full",
        "half-open: its checks pass again, one task is tried",
        "closed: what was tried passed",
    ]


def test_health_does_not_close_what_failures_opened() -> None:
    """A breaker that is open for failures stays so, whatever the checks say."""
    made = broken()
    made.health("bad", False, "disk full")
    made.health("bad", True, "")
    assert made.state("bad", 0.0) == "open"
    assert "failures that are its own" in made.allows("bad", "a", "g", 0.0)


def test_a_worker_that_comes_back_is_as_bad_as_it_was() -> None:
    """Leaving ends a trial, not a quarantine."""
    made = broken()
    made.worker_left("bad")
    assert made.state("bad", 1.0) == "open"
    assert made.allows("bad", "a", "g", 30.0) == ""
    made.started("bad", "a", "g", 30.0)
    made.worker_left("bad")
    assert made.allows("bad", "a", "g", 30.0) == ""


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["w1", "w2", "w3"]),
        st.sampled_from(["a", "b", "c", ""]),
        st.sampled_from(["g", "h"]),
        st.sampled_from(["done", "failed", "failed", "lost", "released", "killed"]),
        st.sampled_from([0.0, 0.5, 20.0, 40.0, 700.0]),
        st.booleans(),
    ),
    max_size=120,
)


@given(EVENTS)
def test_trials_are_single_whatever_happens(events: list[Any]) -> None:
    """With `allows` obeyed, what is half-open runs one task; every rest has an end."""
    made, now = breakers(), 0.0
    made.workers = 3
    running: list[tuple[str, str, str]] = []
    tried: list[tuple[str, str, str]] = []
    for worker, name, group, outcome, passed_s, starts in events:
        now += passed_s
        before = made.state(worker, now)
        allowed = made.allows(worker, name, group, now)
        assert allowed == made.allows(worker, name, group, now)
        if before == "open":
            assert allowed
        if starts and not allowed:
            made.started(worker, name, group, now)
            running.append((worker, name, group))
            if before == "half-open":
                assert worker not in [other for other, *_ in tried]
                tried.append((worker, name, group))
        elif running:
            ended = running.pop(0)
            if ended in tried:
                tried.remove(ended)
            made.ended(*ended, outcome, now)
            if made.state(ended[0], now) != "half-open":
                tried = [one for one in tried if one[0] != ended[0]]
        assert sum(made.state(w, now) == "open" for w in ("w1", "w2", "w3")) <= 1
    for ended in running:
        made.ended(*ended, "released", now)
    for worker in ("w1", "w2", "w3"):
        assert made.allows(worker, "new", "g", now + 1800.0) == ""


@given(EVENTS)
def test_the_same_events_have_the_same_answers(events: list[Any]) -> None:
    """Nothing but events and times decides."""

    def trace() -> list[Any]:
        made, now, said = breakers(), 0.0, []
        for worker, name, group, outcome, passed_s, _ in events:
            now += passed_s
            made.started(worker, name, group, now)
            made.ended(worker, name, group, outcome, now)
            said.append((made.rows(now), made.wake_at, messages(made)))
        return said

    assert trace() == trace()


def test_what_is_remembered_is_bounded() -> None:
    """Workers, tests, breakers and notices: all have an end."""
    made = breakers(workers_max=10, names_max=10, open_share_max=1.0)
    for number in range(2000):
        for name in "abc":
            end(made, f"good{number}", f"{name}{number}", "done", 0.0)
            end(made, f"bad{number}", f"{name}{number}", "failed", 0.0)
    assert len(made.rows(0.0)) == 10
    assert len(made.take_notices()) == 1000


def test_asking_is_cheap() -> None:
    """Every candidate of every decision is asked about."""
    made = broken()
    each_s = cpu_s(lambda: made.allows("w", "a", "g", 1.0), 20_000)
    assert each_s < 10e-6
