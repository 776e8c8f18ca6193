"""``dtf resume`` and ``dtf rerun``: the command of an earlier run, for some cases.

The code and the environment of a run are where it was started: so it is run again
there, as a run of its own, and nothing of the earlier one changes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import click

from dtf_dask.errors import UsageError
from dtf_dask.model import CaseId, Outcome, Run

# Of the earlier command line: they would name the new run as the old one.
_NOT_AGAIN = ("--dtf-run-id", "--dtf-only", "--dtf-resumes")


_PROGRAM = "client.run_cases"


class _WithWords(click.Command):
    """What follows ``--`` is ARGUMENTS, though RUN is left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        words = tuple(args[at + 1 :])
        rest = super().parse_args(ctx, args[:at])
        ctx.params["arguments"] = (*ctx.params["arguments"], *words)
        return rest


def _command(function: Callable[..., None]) -> click.Command:
    """A command with what both take."""
    for decorate in (
        click.argument("arguments", nargs=-1),
        click.option("--address", metavar="ADDRESS", help="A scheduler."),
        click.option(
            "-n", "--workers", metavar="N", help="Workers of a local cluster."
        ),
        click.option(
            "--results",
            "--db",
            metavar="URL",
            help="The results store that holds RUN [default: that of this folder's"
            " project].",
        ),
        click.argument("run_ref", metavar="RUN", default="last"),
    ):
        function = decorate(function)
    made: click.Command = click.command(
        cls=_WithWords, context_settings={"help_option_names": ["-h", "--help"]}
    )(function)
    return made


@_command
def resume(run_ref: str, results: str | None, **more: Any) -> None:
    """Run what RUN planned and did not finish.

    RUN is an id, its beginning, or "last" (the default). Its command line is used
    again, but for what selected tests or stopped early; ARGUMENTS are added to it.
    What has ended, passed or failed, is not run again: `dtf run --lf` does that.
    """
    from dtf_dask.cli.results_store import open_store

    with open_store(results) as store:
        earlier = store.run(run_ref)
        missing = store.missing(earlier.id)
    if not missing:
        click.echo(f"run {earlier.id} is complete: nothing to resume")
        return
    _run(earlier, missing, "resuming", results, **more)


@click.option(
    "--case",
    "names",
    multiple=True,
    metavar="CASE",
    help="This one; a part of its id is enough if no other has it. May be repeated.",
)
@click.option("--failed", is_flag=True, help="Only those that did not pass.")
@_command
def rerun(
    run_ref: str,
    results: str | None,
    failed: bool,
    names: tuple[str, ...],
    **more: Any,
) -> None:
    """Run cases of RUN again: all, those that failed, or some.

    RUN is an id, its beginning, or "last" (the default). It is a run of its own, with
    the same command line, but for what selected tests or stopped early; ARGUMENTS are
    added to it. It is run where RUN was started: its code and environment are there.
    """
    from dtf_dask.cli.results_store import find_case, open_store
    from dtf_dask.runs.results.verdicts import FAILING

    with open_store(results) as store:
        earlier = store.run(run_ref)
        outcomes = store.outcomes(earlier.id)
        if names:
            cases = [find_case(store, earlier, name).case_id for name in names]
        elif failed:
            again = FAILING | {Outcome.LOST}
            cases = [one for one, outcome in outcomes.items() if outcome in again]
        else:
            cases = list(dict.fromkeys([*outcomes, *store.missing(earlier.id)]))
    if not cases:
        of = "has failed" if failed else "is known"
        click.echo(f"no case of run {earlier.id} {of}: nothing to run again")
        return
    _run(earlier, list(dict.fromkeys(cases)), "running again", results, **more)


def _run(
    earlier: Run,
    cases: Sequence[CaseId],
    doing: str,
    results: str | None,
    *,
    workers: str | None,
    address: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Become the run of these cases; returns never."""
    from dtf_dask.cli.results_store import locate
    from dtf_dask.cli.run import run_pytest

    if earlier.command[:1] == (_PROGRAM,):
        raise UsageError(
            f"run {earlier.id} was started by a program, with {_PROGRAM}: that runs it"
            " again"
        )
    folder = _folder(earlier)
    click.echo(
        f"{doing} {earlier.id}: {len(cases):,} of {earlier.cases_planned:,} cases"
    )
    names = _names(cases)
    words = [
        *_again(earlier.command[1:]),
        *arguments,
        f"--dtf-only=/dev/fd/{names.fileno()}",
        f"--dtf-resumes={earlier.id}",
    ]
    if address is not None:
        words.append(f"--dtf={address}")
    if workers is not None:
        words.append(f"--dtf-workers={workers}")
    if results is not None:
        words.append(f"--dtf-results={_from_anywhere(locate(results))}")
    os.chdir(folder)
    run_pytest(words)


def _folder(earlier: Run) -> Path:
    """Where the earlier command was given, if that is still there."""
    folder = Path(earlier.rootdir, str(earlier.policy.get("cwd", ".")))
    if not folder.is_dir():
        raise UsageError(
            f"the folder of run {earlier.id} is gone: {folder}; put it back, or run the"
            " suite anew with `dtf run`"
        )
    return folder


def _names(cases: Sequence[CaseId]) -> IO[bytes]:
    """A file of the cases, with no name to clean up; NUL parts them.

    The process that takes this one's place inherits it.
    """
    file = tempfile.TemporaryFile(prefix="dtf-only-")  # noqa: SIM115
    file.write("\0".join(cases).encode("utf-8", "surrogatepass"))
    file.flush()
    file.seek(0)
    os.set_inheritable(file.fileno(), True)
    return file


def _again(words: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        name, _, value = word.partition("=")
        if skip or name in _NOT_AGAIN:
            skip = not skip and not value and "=" not in word
            continue
        kept.append(word)
    return kept


def _from_anywhere(url: str) -> str:
    return url if "://" in url else os.path.abspath(url)
