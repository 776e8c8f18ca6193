"""The questions asked of a results store, and that an index answers each."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dtf_dask.errors import UsageError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results import queries, retention
from dtf_dask.runs.results.store import ResultsStore


def fill(
    store: ResultsStore,
    run_id: str,
    attempts: list[tuple[Any, ...]],
    *,
    at: float = 0.0,
    snapshot: str = "",
    planned: tuple[str, ...] = (),
    end: bool = True,
) -> None:
    """Record a run of (case, outcome, detail, seconds[, worker]) in this order."""
    run = Run(RunId(run_id), at, suite="suite", snapshot=snapshot)
    store.begin_run(run, [CaseId(name) for name in planned])
    numbers: dict[str, int] = {}
    for case, outcome, detail, seconds, *worker in attempts:
        if not worker:
            numbers[case] = numbers.get(case, 0) + 1
        attempt = Attempt(
            CaseId(case),
            numbers.get(case, 1),
            Outcome(outcome),
            detail=detail,
            duration_s=seconds,
            started_at=at,
            worker=worker[0] if worker else "",
        )
        assert store.add_attempts(run_id, [attempt]) == 1
    if end:
        store.finish_run(run_id, status="passed", exit_code=0, finished_at=at + 10)


def test_missing_are_the_undecided_cases(store: ResultsStore) -> None:
    """A lost or retried attempt decides nothing; any other does."""
    fill(
        store,
        "r",
        [
            ("lost", "lost", "", 1),
            ("retried", "failed", "retried", 1),
            ("again", "failed", "retried", 1),
            ("again", "passed", "", 1),
            ("found", "lost", "", 1),
            ("found", "failed", "", 1),
            ("skipped", "skipped", "xfailed", 1),
        ],
        planned=("lost", "retried", "again", "found", "skipped", "never"),
    )
    assert store.missing("r") == ["lost", "retried", "never"]


def test_durations_are_the_median_of_the_last_passes(store: ResultsStore) -> None:
    """Failures do not count, nor old passes, and one slow pass changes nothing."""
    for number, seconds in enumerate([90, 90, 90, 1, 2, 3, 4, 500]):
        fill(store, f"r{number}", [("a", "passed", "", seconds)], at=number)
    fill(store, "failed", [("a", "failed", "", 70), ("b", "failed", "", 70)], at=99)
    assert store.durations("suite") == {"a": 3.0}
    assert store.durations("another") == {}
    [slow] = store.slowest("suite")
    assert (slow.case_id, slow.duration_s) == ("a", 3.0)
    assert store.slowest("suite", 0) == []


def test_case_history_is_newest_first(store: ResultsStore) -> None:
    """Each attempt comes with its run; the limit holds."""
    fill(store, "r1", [("a", "failed", "retried", 1), ("a", "passed", "", 2)], at=1)
    fill(store, "r2", [("a", "lost", "", 3), ("b", "passed", "", 3)], at=2)
    history = store.case_history("suite", CaseId("a"))
    assert [(entry.run_id, entry.attempt.number) for entry in history] == [
        ("r2", 1),
        ("r1", 2),
        ("r1", 1),
    ]
    assert len(store.case_history("suite", CaseId("a"), 2)) == 2
    assert store.case_history("suite", CaseId("unknown")) == []
    with pytest.raises(UsageError):
        store.case_history("suite", CaseId("a"), -1)


def test_compare_names_what_changed(store: ResultsStore) -> None:
    """Each case is in the part of the comparison that its two verdicts say."""
    before = [
        ("breaks", "passed", "", 1),
        ("mended", "failed", "", 1),
        ("broken", "error", "", 1),
        ("gone", "passed", "", 1),
        ("slow", "passed", "", 1),
        ("fast", "passed", "", 1),
        ("same", "passed", "", 1),
        ("tiny", "passed", "", 0.001),
        ("lost", "passed", "", 1),
        ("retried", "passed", "", 1),
        ("each", "passed", "", 1, "w1"),
    ]
    after = [
        ("breaks", "timeout", "", 1),
        ("mended", "passed", "", 1),
        ("broken", "failed", "", 1),
        ("new", "failed", "", 1),
        ("slow", "passed", "", 2),
        ("fast", "passed", "", 0.2),
        ("same", "passed", "", 1.1),
        ("tiny", "passed", "", 0.005),
        ("lost", "lost", "", 1),
        ("retried", "failed", "retried", 1),
        ("retried", "passed", "", 1),
        ("each", "failed", "", 1, "w1"),
        ("each", "passed", "", 1, "w2"),
    ]
    fill(store, "a", before, at=1)
    fill(store, "b", after, at=2)
    found = store.compare("a", "b")
    assert (found.before.id, found.after.id) == ("a", "b")
    names = {
        field.name: [change.case_id for change in getattr(found, field.name)]
        for field in dataclasses.fields(found)[2:]
    }
    assert names == {
        "newly_failing": ["breaks", "each", "new"],
        "fixed": ["mended"],
        "still_failing": ["broken"],
        "added": ["new"],
        "removed": ["gone"],
        "slower": ["slow"],
        "faster": ["fast"],
        "lost": ["lost"],
    }
    same = store.compare("a", "a")
    assert [change.case_id for change in same.still_failing] == ["broken", "mended"]
    assert same.newly_failing == same.fixed == same.added == same.slower == ()


def test_flaky_needs_the_same_code(store: ResultsStore) -> None:
    """Pass and failure count within a run, or across runs of one snapshot only."""
    retry = [("retry", "failed", "retried", 1), ("retry", "passed", "", 1)]
    fill(store, "r1", [("code", "passed", "", 1), ("bare", "passed", "", 1)], at=1)
    fill(store, "r2", [("code", "failed", "", 1), ("bare", "failed", "", 1)], at=2)
    fill(store, "r3", [("snap", "passed", "", 1), *retry], at=3, snapshot="s1")
    fill(store, "r4", [("snap", "timeout", "", 1)], at=4, snapshot="s1")
    fill(store, "r5", [("other", "passed", "", 1)], at=5, snapshot="s1")
    fill(store, "r6", [("other", "failed", "", 1), ("x", "lost", "", 1)], at=6,
         snapshot="s2")  # fmt: skip
    flaky = {case.case_id: case for case in store.flaky("suite")}
    assert set(flaky) == {"retry", "snap"}
    assert (flaky[CaseId("snap")].passed, flaky[CaseId("snap")].failed) == (1, 1)
    assert flaky[CaseId("snap")].runs == 2
    assert flaky[CaseId("snap")].last_seen_at == 4
    assert [case.case_id for case in store.flaky("suite", window=3)] == []


def test_trend_counts_cases_by_outcome(store: ResultsStore) -> None:
    """Oldest first; a retried case counts once; late attempts are counted too."""
    fill(store, "r1", [("a", "failed", "retried", 1), ("a", "passed", "", 1)], at=1)
    fill(store, "r2", [("a", "failed", "", 1), ("b", "lost", "", 1)], at=2, end=False)
    one, two = store.trend("suite")
    assert (one.run_id, one.duration_s, one.status) == ("r1", 10.0, "passed")
    assert {k: n for k, n in one.counts.items() if n} == {Outcome.PASSED: 1}
    assert (two.run_id, two.duration_s, two.status) == ("r2", None, "running")
    assert {k: n for k, n in two.counts.items() if n} == {"failed": 1, "lost": 1}
    store.add_attempts("r1", [Attempt(CaseId("late"), 1, Outcome.ERROR)])
    assert store.trend("suite", 9)[0].counts[Outcome.ERROR] == 1
    assert [point.run_id for point in store.trend("suite", 1)] == ["r2"]


STATEMENTS = {
    "last": queries.select_runs().limit(1),
    "runs of a suite": queries.select_runs_of("suite").limit(10),
    "by prefix": queries.select_runs_by_prefix("ab").limit(5),
    "verdicts": queries.select_verdict_rows(1),
    "case ids": queries.select_case_ids(1),
    "missing": queries.select_missing(1),
    "durations": queries.select_durations("suite"),
    "flaky": queries.select_flaky([1, 2]),
    "attempts": queries.select_attempts_page(1, None, (1, 1, 0)),
    "attempts of a case": queries.select_attempts_page(1, 1, (1, 1, 0)),
    "history": queries.select_case_history(1, 10),
    "artifacts": queries.select_artifacts(1, [1, 2]),
    "prunable": retention.select_prunable(3),
}
SCANNED = {
    "prunable": {"dtf_runs"},  # every run, by the index of their times
    "last": {"dtf_runs"},  # the first entry of that index
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_an_index_answers_each_query(name: str, tmp_path: Path) -> None:
    """No query walks over a table or sorts it, however large the store gets."""
    path = tmp_path / "results.sqlite"
    ResultsStore.open(path).close()
    dialect = sa.create_engine("sqlite://").dialect
    compiled = STATEMENTS[name].compile(
        dialect=dialect, compile_kwargs={"render_postcompile": True}
    )
    values = [compiled.params[key] for key in compiled.positiontup or ()]
    connection = sqlite3.connect(path)
    try:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", values).fetchall()
    finally:
        connection.close()
    lines = [row[3] for row in plan]
    scans = {line.split()[1] for line in lines if line.startswith("SCAN")}
    tables = {scanned for scanned in scans if scanned.startswith("dtf_")}
    assert tables <= SCANNED.get(name, set()), lines
    assert name != "durations" or any("COVERING" in line for line in lines), lines
    sorts = [line for line in lines if "TEMP B-TREE FOR ORDER BY" in line]
    assert not sorts, lines
