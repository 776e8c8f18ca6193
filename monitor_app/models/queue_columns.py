"""What the tables of what waits show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from monitor_app.models.language import mark, tr
from monitor_app.models.number_columns import counted, shared
from monitor_app.models.table import Column, Row
from monitor_app.models.words import NOTHING, duration, plain, short

_ROOM = "room"


def why(row: Row) -> str:
    """Why its tasks wait."""
    if row["why"]:
        return plain(row["why"])
    if row["waits_for"] in ("", _ROOM):
        return tr("All that fit are busy: it is its turn next.")
    return plain(row["waits_for"])


def reasons(kinds: Iterable[Row]) -> dict[str, Row]:
    """What waits, by what it waits for."""
    found: dict[str, dict[str, Any]] = {}
    for row in kinds:
        reason = why(row)
        one = found.setdefault(
            reason, {"why": reason, "help": "", "waiting": 0, "since": row["since"]}
        )
        one["waiting"] += row["waiting"]
        one["since"] = min(one["since"], row["since"])
        one["help"] = one["help"] or plain(row["help"])
    waiting = sum(one["waiting"] for one in found.values())
    for one in found.values():
        one["share"] = one["waiting"] / waiting if waiting else None
    return dict(found)


def timed(
    rows: Mapping[str, Row], now: float, before: Mapping[str, Row]
) -> dict[str, Row]:
    """Rows that know what time it is: to the second, so that fewer change."""
    found: dict[str, Row] = {}
    for key, row in rows.items():
        known = before.get(key)
        told: Row = {**row, "now": float(int(now))}
        found[key] = known if known is not None and known == told else told
    return found


def _waited(row: Row) -> float | None:
    return max(0.0, row["now"] - row["since"]) if row["since"] else None


def _eta(row: Row) -> float | None:
    return None if row["eta"] is None else max(0.0, row["eta"] - row["now"])


def _left(row: Row) -> float | None:
    return None if row["latest"] is None else row["latest"] - row["now"]


_LONGEST = Column(
    mark("Longest"), lambda row: duration(_waited(row)), _waited, right=True, width=8
)

KIND_COLUMNS = (
    Column(mark("Class"), lambda row: plain(row["class"]), width=12),
    Column(mark("Tenant"), lambda row: plain(row["tenant"]) or NOTHING, width=10),
    Column(mark("Needs"), lambda row: plain(row["needs"]) or tr("any worker")),
    counted(mark("Waiting"), "waiting"),
    _LONGEST,
    counted(mark("Fitting workers"), "workers", 13),
    Column(
        mark("Begins in"),
        lambda row: (
            NOTHING
            if row["eta"] is None
            else tr("about {time}", time=duration(_eta(row)))
        ),
        _eta,
        right=True,
        width=12,
    ),
    Column(
        mark("Why it waits"),
        why,
        tip=lambda row: "\n".join(filter(None, (why(row), plain(row["help"])))),
        width=28,
    ),
    Column(mark("Next"), lambda row: short(row["next"], 120), width=24),
    Column(
        mark("Due"), lambda row: duration(row["due"] - row["now"]), lambda r: r["due"]
    ),
)
DUE = len(KIND_COLUMNS) - 1
"""By this they are sorted at first: the most urgent first."""
NEXT = DUE - 1

REASON_COLUMNS = (
    Column(mark("It waits for"), lambda row: row["why"], width=40),
    counted(mark("Tasks"), "waiting"),
    shared(mark("Share"), itemgetter("share"), 8),
    _LONGEST,
    Column(mark("What would help"), lambda row: row["help"] or NOTHING, width=40),
)

CLASS_COLUMNS = (
    Column(mark("Class"), lambda row: plain(row["name"]), width=12),
    counted(mark("Waiting"), "waiting"),
    counted(mark("Running"), "running"),
    _LONGEST,
    Column(
        mark("Left to begin"),
        lambda row: (
            tr("no deadline") if row["latest"] is None else duration(_left(row))
        ),
        _left,
        right=True,
        width=13,
    ),
    counted(mark("Ended"), "ended"),
    counted(mark("Failed"), "failed"),
    counted(mark("Missed"), "missed"),
)
