"""``dtf workers``: who works, what is taken of each, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.text import Text

from dtf_dask.cli.queue import headlines
from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import Ask, address_option, json_option, talk
from dtf_dask.cli.terminal_table import note, table, width
from dtf_dask.explanation import counted
from dtf_dask.runs.reports.text import one_line, size

_UNMET_MAX = 5
_NAME_MAX = 40


@click.command()
@address_option
@json_option
def workers(address: str | None, as_json: bool) -> None:
    """Show the workers: what they are, what is taken of them, what is wrong."""

    async def ask(ask: Ask) -> tuple[dict[str, Any], dict[str, Any]]:
        return await ask("dtf_workers"), await ask("dtf_queue")

    told, queued = talk(address, ask)
    adverts = {advert["name"]: advert for advert in told["adverts"]}
    for row in told["rows"]:
        row |= {"address": "", "problems": [], **adverts.get(row["name"], {})}
    if as_json:
        print_json({"workers": told["rows"], "summary": queued["summary"]})
        return
    show(_shown(told["rows"], queued, width()))


def _shown(
    rows: Sequence[Mapping[str, Any]], queued: Mapping[str, Any], columns: int
) -> Iterator[Text]:
    yield from headlines(queued["summary"], columns)
    if rows:
        yield Text()
        lines = table(
            ("worker", "kind", "threads", "GPUs", "memory", "state"),
            [_cells(row) for row in rows],
            columns,
            cut=1,
            right=(2, 3, 4),
        )
        yield lines[0]
        for line, row in zip(lines[1:], rows, strict=True):
            yield line
            for words in _notes(row):
                yield note(one_line(words), columns, style="yellow")
    unmet = [row for row in queued["rows"] if not row["workers"]]
    if unmet:
        yield Text()
        yield note("What waits for a worker that is not here:", columns, indent="")
        for row in unmet[:_UNMET_MAX]:
            words = f"{counted(row['waiting'], 'task')} with {one_line(row['needs'])}"
            yield note(words, columns, style="yellow")
        if len(unmet) > _UNMET_MAX:
            yield Text("  and more; `dtf queue` shows them", style="dim")


def _cells(row: Mapping[str, Any]) -> Sequence[str | Text]:
    used = row["running"] + row["foreign"]
    gpus = f"{row['gpus_used']}/{row['gpus']}" if row["gpus"] else ""
    memory = size(row["memory"]) if row["memory"] else ""
    if row["memory_used"]:
        memory = f"{size(row['memory_used'])}/{memory}"
    return (
        one_line(row["name"]),
        one_line(row["kind"]),
        f"{used}/{row['threads']}",
        gpus,
        memory,
        _state(row),
    )


def _state(row: Mapping[str, Any]) -> Text:
    """In a word; why it takes nothing is said below."""
    if row["breaker"] != "closed":
        return Text(row["breaker"].replace("_", "-"), style="red")
    if row["shut"]:
        return Text("shut", style="yellow")
    if row["kept_for"]:
        return Text(f"kept for {one_line(row['kept_for'])[:_NAME_MAX]}", style="cyan")
    return Text("ok", style="green")


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["shut"]:
        yield str(row["shut"])
    if row["gpus_lost"]:
        yield f"{counted(row['gpus_lost'], 'GPU')} lost"
    if row["foreign"]:
        yield f"{counted(row['foreign'], 'task')} that Dask itself placed here"
    yield from map(str, row["problems"])
