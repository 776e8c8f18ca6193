"""``dtf results``: what the runs came to, from the results store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from dtf_dask.cli import report_file, results_json, results_text
from dtf_dask.cli.results_group import RunOrCommand
from dtf_dask.cli.results_store import (
    age_s_of,
    artifact_links,
    artifact_store,
    find_case,
    limited,
    locate,
    open_store,
    project_folder,
    prunable,
    suite_or_last,
)
from dtf_dask.errors import UsageError
from dtf_dask.model import Attempt, Run
from dtf_dask.runs import codec
from dtf_dask.runs.reports import html, jsonlines, junit, markdown
from dtf_dask.runs.reports.summary import fold, summarize, without_texts
from dtf_dask.runs.reports.text import one_line
from dtf_dask.runs.results.store import ResultsStore

HISTORY_ATTEMPTS = 20

_RENDERERS: dict[str, Callable[[Run, Iterable[Attempt]], Iterable[str]]] = {
    "junit": junit.render,
    "jsonl": jsonlines.render,
    "markdown": lambda run, attempts: [markdown.render(run, attempts)],
}
_FORMATS = ("junit", "jsonl", "html", "markdown")
_SUFFIXES = {".xml": "junit", ".jsonl": "jsonl", ".html": "html", ".md": "markdown"}

_db = click.option("--db", metavar="URL", help="The results store: a URL or a path.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_suite = click.option("--suite", help="Which suite; that of the last run by default.")


@click.group(cls=RunOrCommand)
def results() -> None:
    """Show, compare and export results.

    RUN is a run's id, a unique beginning of it, or "last" (the default).
    """


@results.command(hidden=True)
@click.argument("run_ref", metavar="[RUN]", default="last")
@click.option("--list", "listed", is_flag=True, help="The recent runs instead.")
@click.option("--limit", default=20, show_default=True, help="How many to list.")
@_json
@_db
def summary(
    run_ref: str, listed: bool, limit: int, as_json: bool, db: str | None
) -> None:
    """One run's verdict, failures and flaky cases."""
    with open_store(db) as store:
        if listed:
            runs = store.runs(limited(limit))
            if as_json:
                results_json.print_json(
                    {"runs": [codec.run_to_json(run) for run in runs]}
                )
            elif not runs:
                raise UsageError("there are no runs yet: run a suite first (dtf run)")
            else:
                results_text.show(results_text.run_list(runs))
            return
        run = store.run(run_ref)
        cases = fold(without_texts(attempt) for attempt in store.attempts(run.id))
    figures = summarize(run, cases)
    if as_json:
        results_json.print_json(results_json.run_summary(run, figures, cases))
    else:
        results_text.show(results_text.run_summary(run, figures, cases))


@results.command()
@click.argument("case")
@click.option(
    "--run", "run_ref", default="last", help="Which run; the last by default."
)
@_json
@_db
def show(case: str, run_ref: str, as_json: bool, db: str | None) -> None:
    """All attempts of one case: phases, output, traceback.

    CASE is its id, or any part of it that no other case of the run has.
    """
    with open_store(db) as store:
        run = store.run(run_ref)
        found = find_case(store, run, case)
        history = store.case_history(run.suite, found.case_id, HISTORY_ATTEMPTS)
    if as_json:
        results_json.print_json(results_json.case_attempts(run, found, history))
    else:
        results_text.show(results_text.case_attempts(run, found, history))


@results.command()
@click.argument("a")
@click.argument("b", default="last")
@_json
@_db
def compare(a: str, b: str, as_json: bool, db: str | None) -> None:
    """What changed from run A to run B (by default the last one)."""
    with open_store(db) as store:
        found = store.compare(a, b)
    if as_json:
        results_json.print_json(results_json.comparison(found))
    else:
        results_text.show(results_text.comparison(found))


@results.command()
@_suite
@click.option("--window", default=50, show_default=True, help="How many last runs.")
@_json
@_db
def flaky(suite: str | None, window: int, as_json: bool, db: str | None) -> None:
    """Cases that passed and failed on the same code, worst first."""
    with open_store(db) as store:
        suite = suite_or_last(store, suite)
        found = store.flaky(suite, limited(window))
    if as_json:
        cases = [results_json.plain(case) for case in found]
        results_json.print_json({"suite": suite, "cases": cases})
    elif found:
        results_text.show(results_text.flaky_cases(found))
    else:
        click.echo(f"no flaky case in the last {window} runs of {one_line(suite)}")


@results.command()
@_suite
@click.option("--limit", default=20, show_default=True, help="How many cases.")
@_json
@_db
def slowest(suite: str | None, limit: int, as_json: bool, db: str | None) -> None:
    """The cases that take longest, by the median of their last passes."""
    with open_store(db) as store:
        suite = suite_or_last(store, suite)
        found = store.slowest(suite, limited(limit))
    if as_json:
        cases = [results_json.plain(case) for case in found]
        results_json.print_json({"suite": suite, "cases": cases})
    elif found:
        results_text.show(results_text.slow_cases(found))
    else:
        click.echo(f"no case of {one_line(suite)} has passed yet")


@results.command()
@_suite
@click.option("--limit", default=20, show_default=True, help="How many last runs.")
@_json
@_db
def trend(suite: str | None, limit: int, as_json: bool, db: str | None) -> None:
    """Outcomes and duration of a suite's last runs, oldest first."""
    with open_store(db) as store:
        suite = suite_or_last(store, suite)
        points = store.trend(suite, limited(limit))
    if as_json:
        results_json.print_json({"suite": suite, "runs": results_json.trend(points)})
    elif points:
        results_text.show(results_text.trend(points))
    else:
        raise UsageError(f"there is no run of a suite {suite!r:.100}")


@results.command()
@click.argument("run_ref", metavar="RUN", default="last")
@click.option("--format", "form", type=click.Choice(_FORMATS))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@_json
@_db
def export(
    run_ref: str, form: str | None, output: Path | None, as_json: bool, db: str | None
) -> None:
    """Write a run as JUnit XML, JSON lines, HTML or Markdown.

    Without --format the suffix of the file decides (.xml .jsonl .html .md).
    """
    if form is None and output is not None:
        form = _SUFFIXES.get(output.suffix)
    if form is None:
        raise UsageError(f"say which format: --format {'|'.join(_FORMATS)}")
    if as_json and output is None:
        raise UsageError("--json tells what was written: name a file with --output")
    url = locate(db)
    with open_store(url) as store:
        run = store.run(run_ref)
        attempts = store.attempts(run.id)
        if form == "html":
            folder = output.parent if output else Path.cwd()
            links = artifact_links(artifact_store(url), folder)
            pieces: Iterable[str] = html.render(run, attempts, links)
        else:
            pieces = _RENDERERS[form](run, attempts)
        if output is None:
            report_file.write_out(pieces)
            return
        written = report_file.write_file(output, pieces)
    if as_json:
        results_json.print_json(
            {"run": run.id, "format": form, "path": str(output), "bytes": written}
        )
    else:
        click.echo(f"{output} ({form}, {written:,} bytes)")


@results.command()
@click.option("--older-than", metavar="AGE", help="Only runs older than this (30d).")
@click.option("--keep", type=click.IntRange(min=0), default=0, help="Newest to keep.")
@click.option("--dry-run", is_flag=True, help="Say what would go, delete nothing.")
@_json
@_db
def prune(
    older_than: str | None, keep: int, dry_run: bool, as_json: bool, db: str | None
) -> None:
    """Delete old runs, and the artifacts that only they refer to."""
    age_s = age_s_of(older_than)
    if age_s is None and not keep:
        raise UsageError("say which runs to prune: --older-than 30d or --keep 100")
    now = time.time()
    url = locate(db)
    with open_store(url) as store:
        if dry_run:
            doomed = prunable(store, age_s, keep, now)
            if as_json:
                results_json.print_json(
                    {"dry_run": True, "runs": [run.id for run in doomed]}
                )
            else:
                click.echo(f"{len(doomed):,} runs would be deleted")
                if doomed:
                    results_text.show(results_text.run_list(doomed))
            return
        report = store.prune(
            older_than_s=age_s,
            keep_last=keep,
            now=now,
            artifacts=artifact_store(url),
        )
    if as_json:
        results_json.print_json({"dry_run": False, **results_json.plain(report)})
    else:
        click.echo(
            f"deleted {report.runs:,} runs with {report.attempts:,} attempts and"
            f" {report.artifacts:,} artifacts ({report.artifact_bytes:,} bytes)"
        )


@results.command(name="import")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_json
@_db
def import_(folder: Path | None, as_json: bool, db: str | None) -> None:
    """Take in what runs spooled while the store could not be written.

    FOLDER holds the spool files; by default the project's own.
    """
    url = locate(db)
    if folder is None:
        folder = project_folder(url) / "spool"
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r}: nothing was spooled")
    with ResultsStore.open(url) as store:
        found = store.ingest_spool(folder)
    if as_json:
        results_json.print_json(results_json.plain(found))
        return
    click.echo(f"took in {found.attempts:,} attempts from {found.files:,} files")
    if found.rejected_lines:
        paths = ", ".join(one_line(path) for path in found.rejected_paths)
        click.echo(f"{found.rejected_lines:,} lines made no sense: see {paths}")
