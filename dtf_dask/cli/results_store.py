"""Which results store ``dtf results`` reads, and what it looks for in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from dtf_dask.errors import ResultsUnavailableError, UsageError
from dtf_dask.model import CaseId, Run
from dtf_dask.quantities import parse_duration
from dtf_dask.runs.artifacts import ArtifactStore
from dtf_dask.runs.reports.summary import CaseResult, fold
from dtf_dask.runs.reports.text import one_line
from dtf_dask.runs.results.retention import STALE_RUN_S
from dtf_dask.runs.results.store import RUNS_MAX, ResultsStore

PROJECT_FOLDER = ".dtf"
CANDIDATES_SHOWN_MAX = 20


def open_store(db: str | None) -> ResultsStore:
    """Open what is there; reading never creates a store."""
    return ResultsStore.open(locate(db), create=False)


def locate(db: str | None) -> str:
    """What was asked for, else what is configured, else the nearest project's store."""
    if db:
        return db
    from dtf_dask import config  # it imports Dask, which --db spares

    if url := config.load().results.url:
        return url
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / PROJECT_FOLDER / "results.sqlite"
        if path.is_file():
            return str(path)
    raise ResultsUnavailableError(
        f"there are no results in {here} or above it: run a suite first (dtf run), or"
        " name a store with --db"
    )


def project_folder(url: str) -> Path:
    """Where spool and artifacts lie: beside a SQLite file, else in this folder."""
    if "://" not in url:
        return Path(url).absolute().parent
    return Path.cwd() / PROJECT_FOLDER


def artifact_store(db_url: str) -> ArtifactStore | None:
    """Where the runs' artifacts are, if there is such a place."""
    from dtf_dask import config

    if url := config.load().results.artifacts_url:
        return ArtifactStore(url)
    folder = project_folder(db_url) / "artifacts"
    return ArtifactStore(folder) if folder.is_dir() else None


def artifact_links(store: ArtifactStore | None, folder: Path) -> Callable[[str], str]:
    """From a digest to a link that works in a file of ``folder``, or ``""``."""

    def link(digest: str) -> str:
        if store is None or not store.exists(digest):
            return ""
        url = store.url(digest)
        path = url.removeprefix("file://")
        if not path.startswith("/"):
            return url if url.startswith(("http://", "https://")) else ""
        return quote(os.path.relpath(path, folder.absolute()))

    return link


def suite_or_last(store: ResultsStore, suite: str | None) -> str:
    """The suite asked for, else that of the last run."""
    return store.run("last").suite if suite is None else suite


def find_case(store: ResultsStore, run: Run, wanted: str) -> CaseResult:
    """The case of that id, else the only one whose id contains the text."""
    exact = fold(store.attempts(run.id, case_id=CaseId(wanted)))
    if exact:
        return exact[0]
    seen = dict.fromkeys(attempt.case_id for attempt in store.attempts(run.id))
    matching = [case_id for case_id in seen if wanted.lower() in case_id.lower()]
    if len(matching) == 1:
        return fold(store.attempts(run.id, case_id=matching[0]))[0]
    if not matching:
        raise UsageError(
            f"no case of run {run.id} is called or contains {wanted!r:.200}"
        )
    shown = "".join(f"\n  {one_line(i)}" for i in matching[:CANDIDATES_SHOWN_MAX])
    more = len(matching) - CANDIDATES_SHOWN_MAX
    raise UsageError(
        f"{len(matching):,} cases of run {run.id} contain {wanted!r:.200}; which?"
        + shown
        + (f"\n  and {more:,} more" if more > 0 else "")
    )


def prunable(
    store: ResultsStore, age_s: float | None, keep: int, now: float
) -> list[Run]:
    """What `ResultsStore.prune` would delete, of the newest `RUNS_MAX` runs."""
    limit = now if age_s is None else now - age_s
    return [
        run
        for run in store.runs(RUNS_MAX)[keep:]
        if run.started_at <= limit
        and (run.status != "running" or run.started_at < now - STALE_RUN_S)
    ]


def age_s_of(text: str | None) -> float | None:
    """An age as people write it, in seconds."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--older-than {text!r:.100}: {error}") from None


def limited(limit: int) -> int:
    """A limit that makes sense."""
    if limit < 1:
        raise UsageError(f"a limit is 1 or more, not {limit}")
    return limit
