"""The verdict on a case, the counts of a run, and text made fit to be shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_samples import RUN, attempt, attempts

from dtf_dask.model import Outcome
from dtf_dask.runs.reports.summary import (
    fold,
    headline,
    slowest,
    summarize,
    why,
    without_texts,
)
from dtf_dask.runs.reports.text import bounded, one_line, output, seconds, visible


def test_counts_every_case_once_whatever_its_attempts() -> None:
    """A case counts by its deciding attempt; what was planned and not run is told."""
    found = summarize(RUN, fold(attempts()))
    assert found.counts == {
        Outcome.PASSED: 2,
        Outcome.FAILED: 2,
        Outcome.ERROR: 1,
        Outcome.TIMEOUT: 1,
        Outcome.LOST: 1,
        Outcome.SKIPPED: 1,
    }
    assert (found.cases, found.attempts, found.flaky, found.missing) == (8, 9, 1, 1)
    assert found.wall_s == 12.5
    assert headline(found) == (
        "2 failed, 1 in error, 1 timed out, 1 lost, 2 passed, 1 skipped, 1 flaky,"
        " 1 not run in 12.5 s"
    )


@pytest.mark.parametrize(
    ("outcomes", "verdict", "flaky"),
    [
        ("failed passed", "passed", True),
        ("timeout failed passed", "passed", True),
        ("failed failed", "failed", False),
        ("lost passed", "passed", False),
        ("lost", "lost", False),
        ("failed skipped", "skipped", False),
    ],
)
def test_last_attempt_decides(outcomes: str, verdict: str, flaky: bool) -> None:
    """The last attempt by number decides; only the test's own failure is flaky."""
    tried = [
        attempt("t", Outcome(word), number, detail="retried", worker=f"w{number}")
        for number, word in enumerate(outcomes.split(), start=1)
    ]
    for order in (tried, tried[::-1]):
        (case,) = fold(order)
        assert (case.outcome, case.flaky) == (verdict, flaky)


def test_on_every_worker_the_worst_decides() -> None:
    """A case that ran on several workers at once fails if it failed on one of them."""
    each = [
        attempt("t", Outcome.PASSED, worker="a"),
        attempt("t", Outcome.FAILED, worker="b"),
        attempt("t", Outcome.LOST, worker="c"),
    ]
    (case,) = fold(each)
    assert (case.outcome, case.last.worker, case.flaky) == ("failed", "b", False)


def test_an_attempt_that_comes_twice_counts_once() -> None:
    """A spool taken in again, or a batch sent again, changes no count."""
    once = attempts()
    assert fold(once + once) == fold(once)


def test_a_run_without_an_end_lasts_until_its_last_attempt() -> None:
    """The duration of a running or killed run is what is known, never negative."""
    running = replace(RUN, status="running", finished_at=None)
    assert summarize(running, fold(attempts())).wall_s == 31.0
    skewed = [attempt("t", Outcome.PASSED, started_at=0.0)]
    assert summarize(running, fold(skewed)).wall_s == 0.0
    assert headline(summarize(running, [])) == "9 not run in 0 ms"


def test_texts_of_good_attempts_can_be_dropped() -> None:
    """What passed keeps no output in memory; what failed keeps all of it."""
    good, bad = attempts()[:2]
    assert without_texts(good).stdout == ""
    assert without_texts(bad) is bad


def test_slowest_and_why() -> None:
    """Slowest first, ties by id; the reason is the exception, else the last line."""
    assert slowest(fold(attempts()), 1)[0].case_id == "tests/test_a.py::test_hang"
    bad = attempt("t", Outcome.FAILED, exception="\n E: x\nmore", traceback="a\nb")
    assert why(bad) == "E: x"
    assert why(attempt("t", Outcome.FAILED, traceback="a\nb\n")) == "b"
    assert why(attempt("t", Outcome.LOST)) == "lost"


def test_nothing_shown_acts_on_a_terminal() -> None:
    """No control, bidirectional or surrogate character is left; ordinary text is."""
    odd = "".join(map(chr, range(0xA0))) + "\u202e\u2066\u2028\ud800\ufeff"
    assert all(c.isprintable() or c in "\n\t" for c in visible(odd))
    assert one_line(odd).isprintable()
    assert visible("naïve 日本 🙂 e\u0301\t\n") == "naïve 日本 🙂 e\u0301\t\n"
    assert output("\x1b[1;31mred\x1b[0m\x1b[2J") == "red\\x1b[2J"


def test_bounded_keeps_both_ends() -> None:
    """A long text keeps its beginning and its end, and says how much is missing."""
    assert bounded("abc", 3) == "abc"
    cut = bounded("a" * 500 + "b" * 500, 30)
    assert cut == f"{'a' * 10}\n[... 970 characters left out ...]\n{'b' * 20}"


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [(59.96, "1 min 00 s"), (0.9996, "1.0 s"), (float("nan"), "0 ms"), (-1, "0 ms")],
)
def test_durations_round_to_what_exists(duration_s: float, shown: str) -> None:
    """There is no 60.0 s and no 1000 ms, and no clock can break a report."""
    assert seconds(duration_s) == shown
