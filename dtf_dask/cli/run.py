"""``dtf run`` and ``dtf resume``: pytest, with the driver started before it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dtf_dask.errors import UsageError

_DISTS = ("load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes 0 to 5 are pytest's; from 10 on they are dtf's own"
    " (docs/exit-codes.md).",
)
@click.argument("paths", nargs=-1)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="A scheduler, e.g. tcp://host:8786;"
    " without one, a cluster is started here for this run.",
)
@click.option(
    "-n",
    "--workers",
    metavar="N",
    help="Workers of a local cluster [default: one a core].",
)
@click.option(
    "--dist", type=click.Choice(_DISTS), help="What stays together [default: load]."
)
@click.option(
    "--timeout",
    metavar="TIME",
    help="Time allowed for one test, e.g. 30s; then it is killed.",
)
@click.option(
    "--reruns",
    "--retries",
    metavar="N",
    help="Run a failed test up to N times more; it is flaky if it then passes.",
)
@click.option(
    "--isolate",
    type=click.Choice(("batch", "process")),
    help="Fork a child per batch, or take a fresh process for each [default: batch].",
)
@click.option("-k", "keyword", metavar="EXPRESSION", help="As pytest's -k.")
@click.option("-m", "marks", metavar="EXPRESSION", help="As pytest's -m.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
@click.option("--maxfail", type=int, metavar="N", help="Stop after N failures.")
@click.option("--lf", is_flag=True, help="Run what failed last time.")
@click.option("--ff", is_flag=True, help="Run what failed last time first.")
@click.option("-v", "--verbose", count=True, help="A line per test (-vv: more).")
@click.option("-q", "--quiet", count=True, help="Less.")
@click.option("--junitxml", metavar="FILE", help="Write a JUnit XML report.")
@click.option(
    "--results",
    metavar="URL",
    help="Results store: a path, or a database URL [default: .dtf/results.sqlite].",
)
@click.option("--run-id", metavar="ID", help="Name the run [default: made up].")
def run(paths: tuple[str, ...], **options: object) -> None:
    """Run the tests in PATHS (default: as pytest would) on a Dask cluster.

    What follows ``--`` goes to pytest as it is: dtf run tests -- -W error --durations=5
    """
    sys.exit(_run(list(paths), options))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_ref", metavar="RUN", default="last")
@click.option("--results", metavar="URL", help="Results store of that run.")
@click.option("-n", "--workers", metavar="N", help="Workers of a local cluster.")
@click.option("--address", metavar="ADDRESS", help="A scheduler.")
@click.argument("arguments", nargs=-1)
def resume(
    run_ref: str,
    results: str | None,
    workers: str | None,
    address: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Run what RUN (an id, its beginning, or "last") planned and did not finish."""
    from dtf_dask.cli.results import open_store

    with open_store(results) as store:
        earlier = store.run(run_ref)
        missing = store.missing(earlier.id)
    if not missing:
        click.echo(f"run {earlier.id} is complete: nothing to resume")
        return
    click.echo(
        f"resuming {earlier.id}: {len(missing)} of {earlier.cases_planned} cases"
    )
    options: dict[str, object] = {
        "address": address,
        "workers": workers,
        "results": results,
    }
    words = [*arguments, *_selection(list(missing))]
    sys.exit(_run(words, options, root=Path(earlier.rootdir)))


def _selection(names: list[str]) -> list[str]:
    """Arguments that select the cases; by a file of them where they are many."""
    import tempfile

    if len(names) <= 50:
        return names
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write("\n".join(names))
    return [f"@{file.name}"]


_FLAGS = {"exitfirst": "-x", "lf": "--lf", "ff": "--ff"}
_VALUES = {
    "workers": "--dtf-workers",
    "dist": "--dtf-dist",
    "timeout": "--dtf-timeout",
    "reruns": "--dtf-reruns",
    "isolate": "--dtf-isolate",
    "maxfail": "--maxfail",
    "junitxml": "--junitxml",
    "results": "--dtf-results",
    "run_id": "--dtf-run-id",
}


def _run(words: list[str], options: dict[str, object], root: Path | None = None) -> int:
    # Started before pytest is imported: by the time the suite is collected it is ready.
    from dtf_dask.runs.driver_link import DriverLink

    link = DriverLink()
    try:
        import os

        import pytest

        from dtf_dask.runs.pytest_plugin import HOLDER, DriverHolder

        if root is not None:
            if not root.is_dir():
                raise UsageError(f"the folder of that run is gone: {root}")
            os.chdir(root)
        # As `python -m pytest` would not: dtf's own folder is no place to import from.
        holder = _named(DriverHolder(link), HOLDER)
        return int(pytest.main([*words, *_arguments(options)], plugins=[holder]))
    finally:
        link.close(in_run=False)  # the session has ended: so has the run


def _arguments(options: dict[str, object]) -> list[str]:
    address = options.get("address")
    words = [f"--dtf={address}" if address else "--dtf="]
    for name, flag in _VALUES.items():
        if options.get(name) is not None:
            words.append(f"{flag}={options[name]}")
    for name, flag in _FLAGS.items():
        if options.get(name):
            words.append(flag)
    for letter, count in (("v", options.get("verbose")), ("q", options.get("quiet"))):
        if isinstance(count, int) and count:
            words.append("-" + letter * count)
    for flag, text in (("-k", options.get("keyword")), ("-m", options.get("marks"))):
        if text:
            words += [flag, str(text)]
    return words


def _named(plugin: object, name: str) -> object:
    plugin.__name__ = name  # type: ignore[attr-defined]  # how pluggy names a plugin
    return plugin
