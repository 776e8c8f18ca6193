"""Pruning forgets old runs and what only they referred to, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtf_dask.errors import UsageError
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.results.retention import STALE_RUN_S
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.runs.results.verdicts import PruneReport

DAY_S = 86_400.0
NOW = 2e9


def fill(
    store: ResultsStore, name: str, age_s: float, digests: tuple[str, ...] = ()
) -> None:
    """Record a run of this age with a case of its own and one that all share."""
    refs = tuple(ArtifactRef(f"a{n}", d, 3) for n, d in enumerate(digests))
    run = Run(RunId(name), NOW - age_s, suite=f"suite-{name[0]}")
    cases = [CaseId(f"only-{name}"), CaseId("shared")]
    store.begin_run(run, cases)
    for case in cases:
        attempt = Attempt(case, 1, Outcome.PASSED, stdout="out", artifacts=refs)
        store.add_attempts(name, [attempt])
    store.finish_run(name, status="passed", exit_code=0, finished_at=NOW)


def test_old_runs_go_and_new_ones_stay(store: ResultsStore) -> None:
    """By age, but never the newest so many; their cases and suites go with them."""
    for number, name in enumerate(["x4", "a3", "a2", "a1", "a0"]):
        fill(store, name, (4 - number) * DAY_S)
    assert store.prune(older_than_s=3.5 * DAY_S, keep_last=5, now=NOW).runs == 0
    assert store.prune(older_than_s=2.5 * DAY_S, keep_last=1, now=NOW) == PruneReport(
        2, 4
    )
    assert [run.id for run in store.runs()] == ["a0", "a1", "a2"]
    assert set(store.durations("suite-a")) == {
        "only-a0",
        "only-a1",
        "only-a2",
        "shared",
    }
    assert store.durations("suite-x") == {}
    assert store.prune(keep_last=1, now=NOW).runs == 2
    assert [run.id for run in store.runs()] == ["a0"]
    fill(store, "x4", 0)  # a name that was forgotten can come again
    assert len(list(store.attempts("x4"))) == 2


def test_a_run_that_goes_on_stays(store: ResultsStore) -> None:
    """A running run is not pruned, unless it runs for longer than any run does."""
    for name, age_s in (("dead", STALE_RUN_S + 1), ("alive", STALE_RUN_S - 1)):
        store.begin_run(Run(RunId(name), NOW - age_s), [CaseId("c")])
    assert store.prune(older_than_s=0.0, now=NOW).runs == 1
    assert [run.id for run in store.runs()] == ["alive"]


def test_a_spared_run_stays_however_old(store: ResultsStore) -> None:
    """By its id, whatever its age; an id that nobody has spares nothing."""
    for name, age_s in (("ended", 9 * DAY_S), ("old", 8 * DAY_S), ("new", 0.0)):
        fill(store, name, age_s)
    assert store.prune(older_than_s=DAY_S, now=NOW, spare="ended").runs == 1
    assert [run.id for run in store.runs()] == ["new", "ended"]
    assert store.prune(older_than_s=DAY_S, now=NOW, spare="nobody").runs == 1
    assert [run.id for run in store.runs()] == ["new"]


def test_no_more_runs_go_than_are_said_and_the_oldest_first(
    store: ResultsStore,
) -> None:
    """What takes long can be done in portions."""
    for days in range(5):
        fill(store, f"a{days}", days * DAY_S)
    assert store.prune(older_than_s=DAY_S / 2, now=NOW, runs_max=3).runs == 3
    assert [run.id for run in store.runs()] == ["a0", "a1"]
    assert store.prune(older_than_s=DAY_S / 2, now=NOW, runs_max=3).runs == 1


def test_artifacts_go_when_nothing_refers_to_them(
    store: ResultsStore, tmp_path: Path
) -> None:
    """What another run refers to, what is new and what nobody pruned stays."""
    kept = ArtifactStore(tmp_path / "artifacts")
    file = tmp_path / "file"

    def put(n: int) -> str:
        file.write_text(str(n))
        return kept.put_file(file)

    alone, shared, fresh, other = map(put, range(4))
    for digest in (alone, shared, other):
        os.utime(kept.url(digest), (NOW - DAY_S, NOW - DAY_S))
    os.utime(kept.url(fresh), (NOW, NOW))
    fill(store, "old", 9 * DAY_S, (alone, shared, fresh, "no digest", "ab" * 32))
    fill(store, "new", 0, (shared,))
    found = store.prune(older_than_s=DAY_S, now=NOW, artifacts=kept)
    assert found == PruneReport(runs=1, attempts=2, artifacts=1, artifact_bytes=3)
    assert [kept.exists(d) for d in (alone, shared, fresh, other)] == [
        False,
        True,
        True,
        True,
    ]


def test_pruning_gives_space_back(tmp_path: Path) -> None:
    """A SQLite file gets smaller, not only emptier."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        for name, age_s in (("old", DAY_S), ("new", 0.0)):
            store.begin_run(Run(RunId(name), NOW - age_s, "passed"), [])
            store.add_attempts(
                name,
                [
                    Attempt(CaseId(f"c{n}"), 1, Outcome.FAILED, stdout="x" * 20_000)
                    for n in range(100)
                ],
            )
        store.prune(keep_last=1, now=NOW)
        assert len(list(store.attempts("new"))) == 100
    assert path.stat().st_size < 3_000_000


def test_pruning_everything_must_be_said(store: ResultsStore) -> None:
    """Neither an age nor a number to keep is a mistake, not a wish."""
    with pytest.raises(UsageError):
        store.prune(now=NOW)
    with pytest.raises(UsageError):
        store.prune(keep_last=-1, now=NOW)
