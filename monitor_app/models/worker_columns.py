"""What the table of workers shows of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor_app.models.language import mark, tr, trn
from monitor_app.models.number_columns import shared
from monitor_app.models.picture import Picture
from monitor_app.models.table import Column, Row
from monitor_app.models.words import NOTHING, count, percent, plain, short, size

_WRONG_FIRST = {"lost": 0, "shut": 1, "odd": 2, "left": 4}
_FACTS = ("cpu.arch", "gpu.model")


def worker_rows(picture: Picture, before: Mapping[str, Row]) -> dict[str, Row]:
    """Each worker with its load; those that are as before are the same objects."""
    found: dict[str, Row] = {}
    for key, one in picture.of_kind("worker"):
        load = picture.get(f"load/{key.partition('/')[2]}")
        row = before.get(key)
        if row is None or row["worker"] is not one or row["load"] is not load:
            row = {**one, "worker": one, "load": load}
        found[key] = row
    return found


def standing(row: Row) -> str:
    """How it stands, in a word: as Dask says it, or what is wrong."""
    if row["left_at"] is None and row["shut"]:
        return "shut"
    if row["left_at"] is None and row["problems"]:
        return "odd"
    return str(row["status"])


def hardware(row: Row) -> str:
    """What it is, in some words."""
    facts = row["facts"]
    found = [str(facts[name]) for name in _FACTS[:1] if name in facts]
    threads = row["threads"]
    found.append(trn("{n} thread", "{n} threads", threads, n=count(threads)))
    if row["memory"]:
        found.append(size(row["memory"]))
    if row["gpus"]:
        model = facts.get(_FACTS[1])
        words = trn("{n} GPU", "{n} GPUs", row["gpus"], n=count(row["gpus"]))
        found.append(f"{words} {model}" if model else words)
    return short(", ".join([*found, *row["labels"]]), 120)


def cpu_share(row: Row) -> float | None:
    """Of its threads, the part that is busy."""
    load = row["load"]
    if load is None or load["cpu"] is None or not row["threads"]:
        return None
    return float(load["cpu"]) / int(row["threads"])


def memory_share(row: Row) -> float | None:
    """Of its memory, the part that is taken."""
    load = row["load"]
    return load["memory"] / row["memory"] if load and row["memory"] else None


def gpu_share(row: Row) -> float | None:
    """How busy its GPUs are, all together."""
    known = [one["util"] for one in _gpus(row) if one["util"] is not None]
    return sum(known) / len(known) if known else None


def heat(row: Row) -> float | None:
    """How warm the warmest of its GPUs is, in degrees Celsius."""
    known = [one["temperature"] for one in _gpus(row) if one["temperature"] is not None]
    return max(known) if known else None


def _gpus(row: Row) -> list[dict[str, Any]]:
    return list(row["load"]["gpus"]) if row["load"] else []


def _flowing(title: str, *names: str) -> Column:
    """How many bytes a second, of fields of the load together."""

    def bps(row: Row) -> float | None:
        return sum(row["load"][name] for name in names) if row["load"] else None

    def text(row: Row) -> str:
        flow = bps(row)
        return NOTHING if flow is None else tr("{size}/s", size=size(flow))

    return Column(title, text, bps, right=True, width=9)


def _running(row: Row) -> str:
    running = row["load"]["running"] if row["load"] else ()
    return short(", ".join(one["key"] for one in running), 200) or NOTHING


def _tip(row: Row) -> str:
    lines = [plain(f"{name}: {value}") for name, value in sorted(row["facts"].items())]
    return "\n".join([plain(row["address"]), *lines])


def _standing_tip(row: Row) -> str:
    found = [row["shut"], *row["problems"]]
    if row["breaker"]:
        found.append(tr("its circuit breaker is {state}", state=row["breaker"]))
    return "\n".join(plain(one) for one in found if one) or tr("nothing is wrong")


OF_GPUS = (6, 7)
"""Columns that say nothing where no worker has a GPU."""

WORKER_COLUMNS = (
    Column(mark("Worker"), lambda row: plain(row["name"]), width=21),
    Column(
        mark("Standing"),
        lambda row: tr(standing(row)),
        lambda row: _WRONG_FIRST.get(standing(row), 3),
        mark=standing,
        tip=_standing_tip,
        width=10,
    ),
    Column(mark("Host"), lambda row: plain(row["host"]), width=10),
    Column(mark("Hardware"), hardware, tip=_tip, width=22),
    shared(mark("CPU"), cpu_share, 6),
    Column(
        mark("Memory"),
        lambda row: percent(memory_share(row)),
        memory_share,
        right=True,
        bar=memory_share,
        tip=lambda row: tr(
            "{n} of {m}",
            n=size(row["load"]["memory"] if row["load"] else None),
            m=size(row["memory"]),
        ),
        width=8,
    ),
    shared(mark("GPU"), gpu_share, 6),
    Column(
        mark("Heat"),
        lambda row: NOTHING if heat(row) is None else f"{heat(row):.0f} °C",
        heat,
        right=True,
        width=6,
    ),
    _flowing(mark("Disk"), "disk_read_bps", "disk_write_bps"),
    _flowing(mark("Network"), "net_in_bps", "net_out_bps"),
    Column(
        mark("Tasks"),
        lambda row: count(row["load"]["processing"] if row["load"] else None),
        lambda row: row["load"]["processing"] if row["load"] else None,
        right=True,
        width=6,
    ),
    Column(mark("Runs now"), _running, width=30),
)
