"""The command ``dtf`` (and ``dask dtf``): a group whose commands load when used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from dtf_dask import __version__
from dtf_dask.errors import DtfError

# Command name -> (module:attribute, one line of help). Loaded on use only, so that
# `dtf run` pays for nothing but what it needs.
_COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("dtf_dask.cli.run:run", "Run a test suite on a Dask cluster."),
    "resume": ("dtf_dask.cli.resume:resume", "Run what an earlier run left undone."),
    "rerun": ("dtf_dask.cli.resume:rerun", "Run cases of an earlier run again."),
    "results": ("dtf_dask.cli.results:results", "Show, compare and export results."),
    "dev": ("dtf_dask.cli.dev:dev", "Run a whole cluster on this machine."),
    "coordinator": (
        "dtf_dask.cli.coordinator:coordinator",
        "Start one of several schedulers, of which one leads.",
    ),
    "top": ("dtf_dask.cli.top:top", "Watch what a cluster does."),
    "watch": ("dtf_dask.cli.watch:watch", "Watch a run to its end."),
    "web": ("dtf_dask.cli.web:web", "Serve pages of a scheduler that is alone."),
    "status": ("dtf_dask.cli.status:status", "Show who leads, and what is wrong."),
    "scheduler": ("dtf_dask.cli.cluster:scheduler", "Start a scheduler."),
    "worker": ("dtf_dask.cli.cluster:worker", "Start a worker for a scheduler."),
    "hardware": ("dtf_dask.cli.hardware:hardware", "Show what tests can ask for here."),
    "queue": ("dtf_dask.cli.queue:queue", "Show what waits for a worker, and why."),
    "explain": ("dtf_dask.cli.explain:explain", "Tell why a task waits or runs."),
    "workers": ("dtf_dask.cli.workers:workers", "Show the workers of a scheduler."),
    "ha": ("dtf_dask.cli.ha:ha", "Keep a ledger on several nodes."),
    "config": ("dtf_dask.cli.config:config", "Show the configuration in force."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DtfError as error:
            if ctx.parent is None:
                raise  # `main` says it
            click.echo(f"dtf: {error}", err=True)  # below `dask dtf`, nobody else would
            ctx.exit(error.exit_code)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dtf")
def dtf() -> None:
    """Run tests over a Dask cluster, and keep what they tell."""


def main(argv: list[str] | None = None) -> Any:
    """Entry point of the console script: errors of dtf become one line and a code."""
    try:
        return dtf.main(args=argv, prog_name="dtf", standalone_mode=True)
    except DtfError as error:
        click.echo(f"dtf: {error}", err=True)
        sys.exit(error.exit_code)
