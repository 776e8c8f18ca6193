"""Who leads a cluster and who could, as `dtf top` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.text import Text

from dtf_dask.cli.terminal_table import table
from dtf_dask.explanation import roughly
from dtf_dask.runs.reports.text import one_line
from dtf_dask.view.records import Record

Standing = Mapping[str, Any]
"""``names``, ``node`` and its ``status``, as `dtf_view` tells them."""


def coordinators(
    standing: Standing, webs: Mapping[int, str], columns: int
) -> list[Text]:
    """A table of them; nothing where there is one scheduler only."""
    status = standing.get("status")
    if not status or len(_members(status)) < 2:
        return []
    head = ("COORDINATOR", "", "LAG", "API", "")
    return table(head, list(_rows(standing, status, webs)), columns, cut=4, right=(2,))


def failovers(rows: Iterable[Record], now: float, columns: int) -> list[Text]:
    """A table of the last of them."""
    cells = [
        (
            f"{one['term']}",
            Text(one_line(one["node"])[:20]),
            f"{roughly(max(0.0, now - one['at']))} ago",
            f"{one['without_leader_s']:.2f} s",
            f"{one['settled_after_s']:.2f} s",
            f"{one['workers']:,} of {one['workers'] + one['missing']:,}",
        )
        for one in sorted(rows, key=lambda one: -one["term"])[:3]
    ]
    if not cells:
        return []
    head = ("TERM", "LED BY", "SINCE", "NO LEADER", "SETTLED AFTER", "WORKERS BACK")
    return table(head, cells, columns, cut=1, right=(0, 3, 4, 5))


def _rows(
    standing: Standing, status: Mapping[str, Any], webs: Mapping[int, str]
) -> Iterator[tuple[str | Text, ...]]:
    left = status.get("quorum_left")
    for node in _members(status):
        here, active = node == status["node"], node in status["active"]
        if here:
            stands = Text("leads", "bold green")
        elif active:
            stands = Text("follows" if node in status["voters"] else "listens")
        else:
            stands = Text("not heard of", "bold red")
        lag = status["lag"].get(node, status["lag"].get(str(node), 0))
        remark = Text()
        if here and left is not None:
            words = f"{left} more may fail" if left > 0 else "no more may fail"
            remark = Text(words, "" if left > 0 else "red")
        yield (
            Text(one_line(_name(standing, node))[:20]),
            stands,
            "" if here else f"{lag:,}",
            Text(one_line(webs.get(node, "")) or "-"),
            remark,
        )


def _members(status: Mapping[str, Any]) -> list[int]:
    return sorted({*status["voters"], *status["learners"]})


def _name(standing: Standing, node: int) -> str:
    names = standing.get("names", {})
    return str(names.get(str(node), names.get(node, node)))
