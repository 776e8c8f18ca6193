"""``dtf queue``: what waits for a worker, how urgent it is, and what keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.text import Text

from dtf_dask.cli.results_json import print_json
from dtf_dask.cli.results_text import show
from dtf_dask.cli.scheduler_link import Ask, address_option, json_option, talk
from dtf_dask.cli.terminal_table import note, table, width
from dtf_dask.explanation import Explanation, counted, roughly, soon
from dtf_dask.pressure import Pressure
from dtf_dask.runs.reports.text import one_line

_LIMIT_MAX = 1000
_NAME_MAX = 20
_MISSES_SHOWN = 3


@click.command()
@click.option(
    "--limit",
    type=click.IntRange(1, _LIMIT_MAX),
    default=20,
    show_default=True,
    metavar="N",
    help="The N most urgent kinds of work.",
)
@address_option
@json_option
def queue(limit: int, address: str | None, as_json: bool) -> None:
    """Show what waits for a worker, the most urgent first.

    One line for each kind of work: what it needs, its class, its tenant.
    """

    async def ask(ask: Ask) -> dict[str, Any]:
        answer: dict[str, Any] = await ask("dtf_queue")
        answer["kinds"], answer["rows"] = len(answer["rows"]), answer["rows"][:limit]
        keys = [row["next"] for row in answer["rows"]]
        told = await ask("dtf_explain", keys=keys) if keys else []
        for row, explained in zip(answer["rows"], told, strict=True):
            row["explained"] = explained
        return answer

    answer = talk(address, ask)
    if as_json:
        del answer["failure"]
        print_json(answer)
        return
    show(_shown(answer, width()))


def _shown(answer: Mapping[str, Any], columns: int) -> Iterator[Text]:
    rows, summary = answer["rows"], answer["summary"]
    yield from headlines(summary, columns)
    if not rows:
        return
    told = [Explanation.of(row["explained"]) for row in rows]
    lines = table(
        ("class", "tenant", "waiting", "longest", "in front", "starts", "needs"),
        [_cells(row, one) for row, one in zip(rows, told, strict=True)],
        columns,
        cut=6,
        right=(2, 3, 4),
    )
    yield Text()
    yield lines[0]
    for line, row, one in zip(lines[1:], rows, told, strict=True):
        yield line
        if words := _kept(row, one):
            yield note(words, columns, style="yellow", indent="  ")
    if answer["kinds"] > len(rows):
        more = counted(answer["kinds"] - len(rows), "more kind")
        yield Text(f"and {more} of work (--limit shows more)", style="dim")


def headlines(summary: Mapping[str, Any], columns: int) -> Iterator[Text]:
    """The cluster in a line, and what else there is to say of the whole of it."""
    waiting, held = summary["waiting"], summary["held"]
    parts = [
        f"{counted(waiting, 'task')} {'waits' if waiting == 1 else 'wait'}"
        if waiting
        else "Nothing waits",
        f"{held:,} held back" if held else "",
        f"{summary['running']:,} running",
        f"{summary['threads_used']:g} of {counted(summary['threads'], 'thread')} of "
        f"{counted(summary['workers'], 'worker')} taken",
    ]
    yield note(", ".join(filter(None, parts)) + ".", columns, "bold", indent="")
    pressure = Pressure.of(summary["pressure"])
    if pressure is not None and pressure.state != "calm":
        style = "red" if pressure.state == "shedding" else "yellow"
        words = f"{pressure.words[:1].upper()}{pressure.words[1:]}."
        yield note(words, columns, style, indent="")
    unkept = summary.get("memory", {}).get("problem")
    if unkept:
        words = f"What is learned of tasks is not kept for now: {one_line(unkept)}"
        yield note(words, columns, "yellow", indent="")
    tokens = [
        f"{one_line(name)} {one['used']:g} of {one['total']:g}"
        for name, one in summary.get("tokens", {}).items()
    ]
    if tokens:
        yield note(f"Tokens in use: {', '.join(tokens)}.", columns, indent="")
    for name, why in summary.get("policies_disabled", {}).items():
        words = f"The policy {one_line(name)} is switched off: {one_line(why)}"
        yield note(words, columns, "yellow", indent="")
    met, missed = summary.get("deadlines_met", 0), summary.get("deadlines_missed", 0)
    if met or missed:
        style = "yellow" if missed else ""
        yield note(f"Deadlines: {met:,} met, {missed:,} missed.", columns, style, "")
    for miss in summary.get("misses", ())[:_MISSES_SHOWN]:
        late, ago = roughly(miss["late_s"]), roughly(miss["ago_s"])
        words = f"{one_line(miss['key'])} ended {late} after its deadline, {ago} ago"
        yield note(words, columns, "yellow")


def _cells(row: Mapping[str, Any], told: Explanation) -> Sequence[str | Text]:
    return (
        _name(row["class"]),
        _name(row["tenant"]),
        f"{row['waiting']:,}",
        roughly(row["longest_s"]),
        "-" if told.position is None else f"{told.position:,}",
        "-" if told.eta_s is None else soon(told.eta_s).removeprefix("in about "),
        one_line(row["needs"]),
    )


def _name(name: str) -> Text:
    cell = Text(one_line(name))
    cell.truncate(_NAME_MAX, overflow="ellipsis")
    return cell


def _kept(row: Mapping[str, Any], told: Explanation) -> str:
    """What keeps the first of a row from running, if it is not only its turn."""
    if row["waits_for"] in ("", "room"):
        return ""
    words = [told.why, *map(str, told.lacks[:1] if not row["workers"] else ())]
    if told.help:
        words.append(f"{told.help[:1].upper()}{told.help[1:]}")
    return one_line(". ".join(filter(None, words)) or f"waits for {row['waits_for']}")
