"""How busy workers are, and with what, as `dtf top` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from dtf_dask.cli.terminal_cells import bar, named, size
from dtf_dask.cli.terminal_table import table
from dtf_dask.explanation import roughly
from dtf_dask.runs.reports.text import one_line
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import Record
from dtf_dask.view.tails import run_of


def workers(model: ReadModel, now: float, columns: int) -> list[Text]:
    """A table of them, those that are gone at its end."""
    loads = {key.partition("/")[2]: load for key, load in model.of_kind("load")}
    found = sorted(
        model.of_kind("worker"),
        key=lambda one: (one[1]["left_at"] is not None, _natural(one[1]["name"])),
    )
    rows = []
    for key, one in found:
        if one["status"] == "left":
            continue
        load = loads.get(key.partition("/")[2])
        rows.append(_worker(one, load, now, columns))
    if not rows:
        return []
    head = ("WORKER", "", "CPU", "", "MEMORY", "DISK", "NETWORK", "GPU", "TEMP", "RUNS")
    return table(head, rows, columns, cut=9, right=(2, 4, 5, 6, 7, 8))


def _worker(
    one: Record, load: Record | None, now: float, columns: int
) -> Sequence[str | Text]:
    if load is None:
        words = one["status"] if one["left_at"] is not None else "nothing heard yet"
        style = "yellow" if one["left_at"] is not None else "dim"
        return (named(one["name"]), *[""] * 8, Text(words, style=style))
    threads, memory = one["threads"], one["memory"]
    cpu = load["cpu"]
    runs = Text("  ".join(_running(task, now) for task in load["running"]))
    more = load["processing"] - len(load["running"])
    if more > 0:
        words = f"  and {more:,} more" if load["running"] else f"{more:,} given"
        runs.append(words, "dim")
    if not runs:
        runs = Text("idle", style="dim")
    if one["shut"]:
        runs = Text(f"shut: {one_line(one['shut'])}", style="yellow")
    elif one["status"] != "running":
        runs = Text.assemble((one_line(one["status"]), "yellow"), "  ", runs)
    disk = load["disk_read_bps"] + load["disk_write_bps"]
    net = load["net_in_bps"] + load["net_out_bps"]
    return (
        named(one["name"]),
        "" if cpu is None else bar(cpu / threads if threads else 0.0),
        "-" if cpu is None else f"{cpu:.1f} of {threads}",
        bar(load["memory"] / memory if memory else 0.0) if columns >= 90 else "",
        size(load["memory"]),
        f"{size(disk)}/s" if columns >= 110 else "",
        f"{size(net)}/s" if columns >= 110 else "",
        _gpus(load["gpus"], columns),
        _celsius(load["temperature"]) if columns >= 130 else "",
        runs,
    )


def _gpus(gpus: Sequence[Record], columns: int) -> str:
    """How busy they are, what of their memory is taken, how warm the warmest is."""
    said = []
    util = [one["util"] for one in gpus if one["util"] is not None]
    if util:
        said.append(f"{sum(util) / len(util):.0%}")
    memory = [one["memory"] for one in gpus if one["memory"] is not None]
    if memory and columns >= 140:
        said.append(size(sum(memory)))
    warm = [one["temperature"] for one in gpus if one["temperature"] is not None]
    if warm and columns >= 130:
        said.append(_celsius(max(warm)))
    return " ".join(said)


def _celsius(degrees: float | None) -> str:
    return "" if degrees is None else f"{degrees:.0f}°C"


def _running(task: Record, now: float) -> str:
    since = task["since"]
    took = "" if since is None else f" {roughly(max(0.0, now - since))}"
    name = task["key"].rpartition("::")[2]  # a test's own, not its file's
    if run := run_of(task["key"]):
        name = f"tests of {run}"
    return f"{one_line(name)[:60]}{took}"


def _natural(name: str) -> tuple[Any, ...]:
    """So that w10 comes after w9."""
    head = name.rstrip("0123456789")
    return (head, int(name[len(head) :][:18] or 0), name)
