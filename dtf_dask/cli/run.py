"""``dtf run``: pytest, with the driver started before it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

_DISTS = ("load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process")

# Title -> names of the options under it, in order; a test keeps the table complete.
_SECTIONS = {
    "Where": ("address", "workers"),
    "When, among other work on a cluster": ("priority_class", "deadline", "tenant"),
    "How": ("dist", "isolate", "timeout", "reruns", "duplicates"),
    "Which tests, as with pytest": (
        *("keyword", "marks", "lf", "ff", "exitfirst", "maxfail"),
    ),
    "What is said and kept": (
        *("verbose", "quiet", "no_capture", "junitxml", "results", "run_id"),
    ),
}

_EPILOG = """\b
Examples:
  dtf run                                  the suite of this folder, on all cores
  dtf run tests/unit -k "parse and not slow" -x
  dtf run --address tcp://lab:8786 --timeout 2min --reruns 1
  dtf run -- -W error --durations=5        pytest's own options come after --

\b
Afterwards:
  dtf results               what came of it (show, compare, flaky, slowest, export)
  dtf resume                run what was interrupted, or stopped by -x
  dtf rerun --failed        run again what failed

Exit codes 0 to 5 are pytest's: passed, failed, interrupted, internal error, wrong
usage, no tests. From 9 on they are dtf's, and it says what to do: 9 configuration, 11
no cluster, 12 and 13 versions and environments, 14 other tests on a worker, 15 double
ids, 16 too much code to send, 17 and 18 results not stored, 19 driver lost.
"""


class _Sectioned(click.Command):
    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """As click does, under a title for each kind of option."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if (record := param.get_help_record(ctx)) is not None
        }
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([records[name] for name in names], col_max=26)


@click.command(
    cls=_Sectioned,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
    epilog=_EPILOG,
)
@click.argument("paths", nargs=-1)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="A scheduler, such as tcp://host:8786. Without one, a cluster is started here,"
    " for this run.",
)
@click.option(
    "-n", "--workers", metavar="N", help="Workers of a cluster here. [one a core]"
)
@click.option(
    "--class",
    "priority_class",
    metavar="NAME",
    help="Priority class of tests that name none: interactive, release, normal or"
    " nightly, where nothing else is configured. [normal]",
)
@click.option(
    "--deadline",
    metavar="WHEN",
    help="When the run is to be done: a time from now (2h), or a point in time"
    " (2030-01-31T18:00+00:00). [none]",
)
@click.option(
    "--tenant", metavar="NAME", help="In whose name tests run, for fair shares. [none]"
)
@click.option(
    "--dist",
    type=click.Choice(_DISTS),
    metavar="HOW",
    help="What stays together on a worker: load (nothing: the fastest), loadscope (a"
    " module or class), loadfile, loadgroup (@pytest.mark.xdist_group); each runs every"
    " test on every worker, one-per-process gives each test a process. [load]",
)
@click.option(
    "--isolate",
    type=click.Choice(("batch", "process")),
    metavar="HOW",
    help="batch: a child forked for a batch of tests; process: a new Python for each"
    " batch, where forking is not safe. [batch]",
)
@click.option(
    "--timeout",
    metavar="TIME",
    help="For each test (30s, 2min): it is then shown with the stacks of its threads,"
    " and killed. [none]",
)
@click.option(
    "--reruns",
    "--retries",
    metavar="N",
    help="Run a failed test up to N times more; one that then passes is named as flaky."
    " [0]",
)
@click.option(
    "--duplicates",
    type=click.Choice(("refuse", "number")),
    metavar="HOW",
    help="Tests that have one id: refuse to run, or number them (id#2). [refuse]",
)
@click.option("-k", "keyword", metavar="EXPRESSION", help="Those whose names match.")
@click.option("-m", "marks", metavar="EXPRESSION", help="Those whose marks match.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
@click.option("--maxfail", type=int, metavar="N", help="Stop after N failures.")
@click.option("--lf", is_flag=True, help="Those that failed last time.")
@click.option("--ff", is_flag=True, help="All; those that failed last time first.")
@click.option("-v", "--verbose", count=True, help="A line for each test; -vv: more.")
@click.option("-q", "--quiet", count=True, help="Less; -qq: less still.")
@click.option(
    "-s",
    "no_capture",
    is_flag=True,
    help="Show output as it comes, each line with its worker's name; there is no"
    " standard input.",
)
@click.option("--junitxml", metavar="FILE", help="Write a JUnit XML report.")
@click.option(
    "--results",
    metavar="URL",
    help="Where results are kept: a file, or the URL of a database."
    " [.dtf/results.sqlite in the project's root]",
)
@click.option("--run-id", metavar="ID", help="A name for this run. [made up]")
def run(paths: tuple[str, ...], **options: object) -> None:
    """Run the tests in PATHS on a Dask cluster: on all cores of this machine, or on the
    machines that work for the scheduler at ADDRESS.

    PATHS are files, folders and test ids (tests/test_a.py::test_b), as for pytest; none
    means what pytest would run here. pytest's configuration and plugins apply; what
    follows -- goes to it as it is.
    """
    run_pytest([*paths, *_arguments(options)])


_FLAGS = {"exitfirst": "-x", "lf": "--lf", "ff": "--ff", "no_capture": "-s"}
_VALUES = {
    "workers": "--dtf-workers",
    "dist": "--dtf-dist",
    "timeout": "--dtf-timeout",
    "reruns": "--dtf-reruns",
    "isolate": "--dtf-isolate",
    "priority_class": "--dtf-class",
    "deadline": "--dtf-deadline",
    "tenant": "--dtf-tenant",
    "duplicates": "--dtf-duplicates",
    "maxfail": "--maxfail",
    "junitxml": "--junitxml",
    "results": "--dtf-results",
    "run_id": "--dtf-run-id",
}


def run_pytest(words: list[str]) -> NoReturn:
    """Become a pytest process with a driver at its side.

    A new Python takes this one's place: a suite, be it click's own, finds nothing
    imported that its own pytest would not have imported, and no command under way.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    module = "dtf_dask.runs.pytest_process"
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])


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
