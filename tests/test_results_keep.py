"""``results.keep``: the end of a run lets old runs go, and itself never fails by it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dtf_dask.config import load
from dtf_dask.errors import ResultsUnavailableError
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.opened_run import OpenedRun
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.runs.tally import RunEnd

DAY_S = 86_400.0


def record(folder: Path, name: str, age_s: float, digest: str = "") -> None:
    """A run of another suite that started so long ago, in the store of ``folder``."""
    started_at = time.time() - age_s
    refs = (ArtifactRef("a", digest, 3),) if digest else ()
    with ResultsStore.open(folder / "results.sqlite") as store:
        store.begin_run(Run(RunId(name), started_at, suite="other"), [CaseId("c")])
        attempt = Attempt(CaseId("c"), 1, Outcome.PASSED, artifacts=refs)
        store.add_attempts(name, [attempt])
        store.finish_run(
            name, status="passed", exit_code=0, finished_at=started_at + 1.0
        )


def kept(folder: Path) -> list[str]:
    """Ids of the runs that are there, the newest first."""
    with ResultsStore.open(folder / "results.sqlite", create=False) as store:
        return [run.id for run in store.runs()]


def opened(folder: Path, age_s: float = 0.0, **overrides: object) -> OpenedRun:
    """A run of one case that started so long ago and is about to end."""
    run = Run(RunId("now"), time.time() - age_s, cases_planned=1)
    settings = load({"results.keep": "1 day", **overrides})
    found = OpenedRun(settings, run, [CaseId("c")], folder)
    found.recorder.put(Attempt(CaseId("c"), 1, Outcome.PASSED))
    return found


def close(run: OpenedRun, end: RunEnd | None = None) -> list[str]:
    """End the run; the results were stored. What was said."""
    said: list[str] = []
    stored = asyncio.run(run.close(end or RunEnd(), said.append))
    assert (stored.stored, stored.error) == (1, "")
    return said


def test_old_runs_go_with_their_artifacts_and_it_is_said(tmp_path: Path) -> None:
    """Whatever their suite; younger ones stay, and so does what they refer to."""
    artifacts = ArtifactStore(tmp_path / "artifacts")
    digests = []
    for text in ("old", "new"):
        (tmp_path / text).write_text(text)
        digests.append(artifacts.put_file(tmp_path / text))
    for digest in digests:
        os.utime(artifacts.url(digest), (1.0, 1.0))
    record(tmp_path, "old", 2 * DAY_S, digests[0])
    record(tmp_path, "older", 3 * DAY_S)
    record(tmp_path, "young", 0.5 * DAY_S, digests[1])
    assert close(opened(tmp_path)) == ["removed 2 runs older than 1 d (results.keep)"]
    assert kept(tmp_path) == ["now", "young"]
    assert [artifacts.exists(digest) for digest in digests] == [False, True]


def test_the_run_that_ended_stays_however_long_it_took(tmp_path: Path) -> None:
    """Its own start may be past the age; nothing removed, nothing said."""
    assert close(opened(tmp_path, age_s=2 * DAY_S)) == []
    assert kept(tmp_path) == ["now"]


def test_without_an_age_everything_stays(tmp_path: Path) -> None:
    """The default keeps all."""
    record(tmp_path, "old", 2 * DAY_S)
    assert close(opened(tmp_path, **{"results.keep": None})) == []
    assert kept(tmp_path) == ["now", "old"]


def test_after_an_interrupt_nobody_waits(tmp_path: Path) -> None:
    """Whoever pressed Ctrl-C wants to be gone: the next run will do it."""
    record(tmp_path, "old", 2 * DAY_S)
    assert close(opened(tmp_path), RunEnd(interrupted=True)) == []
    assert kept(tmp_path) == ["now", "old"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ResultsUnavailableError("it is locked"), "it is locked"),
        (TimeoutError(), "not done within 10 s"),
        (ZeroDivisionError("a slip"), "a slip"),
    ],
)
def test_a_run_does_not_fail_by_it(
    error: Exception, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong is said; the results of the run are stored all the same."""

    def prune(*_: object, **__: object) -> None:
        raise error

    record(tmp_path, "old", 2 * DAY_S)
    monkeypatch.setattr(ResultsStore, "prune", prune)
    assert close(opened(tmp_path)) == [
        f"old results were not removed (results.keep): {why}"
    ]
    assert kept(tmp_path) == ["now", "old"]


def test_a_run_of_pytest_obeys_and_says_it(tmp_path: Path) -> None:
    """`dtf run` ends well, with a line about what is gone."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n")
    (tmp_path / ".dtf").mkdir()
    record(tmp_path / ".dtf", "old", 2 * DAY_S)
    names = ("PYTEST_", "DTF_", "DASK_", "COV_", "COVERAGE_")
    own = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    done = subprocess.run(
        [sys.executable, "-c", "from dtf_dask.cli.main import main; main()", "run"],
        cwd=tmp_path,
        env=own | {"DASK_DTF__RESULTS__KEEP": "1 day"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed 1 run older than 1 d (results.keep)" in done.stdout
    assert "old" not in kept(tmp_path / ".dtf")
    assert len(kept(tmp_path / ".dtf")) == 1
