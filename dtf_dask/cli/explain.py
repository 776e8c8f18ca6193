"""``dtf explain``: why a task waits, or why it runs where it runs."""

from __future__ import annotations

import ast
from collections.abc import Hashable
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import Ask, address_option, json_option, talk
from dtf_dask.cli.terminal_table import titled, width
from dtf_dask.errors import UsageError
from dtf_dask.explanation import Explanation
from dtf_dask.runs.reports.text import one_line

_KEY_LENGTH_MAX = 1000
_STYLES = {
    "waiting": "yellow",
    "held": "yellow",
    "running": "green",
    "done": "green",
    "failed": "red",
}


@click.command()
@click.argument("key")
@address_option
@json_option
def explain(key: str, address: str | None, as_json: bool) -> None:
    """Tell why the task KEY waits, or why it runs where it runs.

    KEY is what `future.key` says in Python; `dtf queue` shows those next in line.
    """
    wanted = _key(key)

    async def ask(ask: Ask) -> Any:
        return await ask("dtf_explain", keys=[wanted])

    told = Explanation.of(talk(address, ask)[0])
    if told.state == "unknown":
        raise UsageError(
            f"no task at this scheduler has the key {key[:100]!r}; it is what "
            "`future.key` says, and is forgotten when nobody wants the result"
        )
    if as_json:
        print_json(asdict(told))
        return
    headline = Text(
        one_line(told.headline), style=f"bold {_STYLES.get(told.state, '')}"
    )
    rows = ((title, one_line(words)) for title, words in told.rows())
    show([headline, *titled(rows, width())])


def _key(text: str) -> Hashable:
    """A key as it is typed: a text, or a tuple as Python writes it."""
    if len(text) > _KEY_LENGTH_MAX:
        raise UsageError(f"a key is at most {_KEY_LENGTH_MAX} characters long")
    if text.startswith("("):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        if isinstance(found, tuple):
            return found
    return text
