"""``dtf resume``: the command of an earlier run again, for what it left undone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

import click

from dtf_dask.errors import UsageError
from dtf_dask.model import CaseId, Run

# Of the earlier command line: they would name the new run as the old one.
_NOT_AGAIN = ("--dtf-run-id", "--dtf-only", "--dtf-resumes")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_ref", metavar="RUN", default="last")
@click.option(
    "--results",
    "--db",
    metavar="URL",
    help="The results store that holds RUN [default: that of this folder's project].",
)
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
    """Run what RUN planned and did not finish.

    RUN is an id, its beginning, or "last" (the default). Its command line is used
    again, but for what selected tests or stopped early; ARGUMENTS are added to it.
    What has ended, passed or failed, is not run again: `dtf run --lf` does that.
    """
    from dtf_dask.cli.results_store import locate, open_store
    from dtf_dask.cli.run import run_pytest

    with open_store(results) as store:
        earlier = store.run(run_ref)
        missing = store.missing(earlier.id)
    if not missing:
        click.echo(f"run {earlier.id} is complete: nothing to resume")
        return
    folder = _folder(earlier)
    click.echo(
        f"resuming {earlier.id}: {len(missing):,} of {earlier.cases_planned:,} cases"
    )
    names = _names(missing)
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


def _names(missing: list[CaseId]) -> IO[bytes]:
    """A file of the cases, with no name to clean up; NUL parts them.

    The process that takes this one's place inherits it.
    """
    file = tempfile.TemporaryFile(prefix="dtf-only-")  # noqa: SIM115
    file.write("\0".join(missing).encode("utf-8", "surrogatepass"))
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
