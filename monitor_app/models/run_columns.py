"""What tables of runs show of each."""

from __future__ import annotations

from monitor_app.models.language import mark, tr
from monitor_app.models.marks import OUTCOMES, mark_of
from monitor_app.models.number_columns import shared
from monitor_app.models.table import Column, Row
from monitor_app.models.words import count, duration, moment, plain


def done_share(row: Row) -> float | None:
    """Of the cases that are planned, the part that is decided."""
    return sum(row["counts"].values()) / row["planned"] if row["planned"] else None


def counts_text(row: Row) -> str:
    """How many cases came to what."""
    found = [
        f"{mark_of(one).glyph} {count(row['counts'][one])} {tr(one)}"
        for one in OUTCOMES
        if row["counts"].get(one)
    ]
    return "  ".join(found) or tr("none yet")


def _took(row: Row) -> float | None:
    if not row["started_at"]:
        return None
    end = row["finished_at"] or row.get("at")
    return max(0.0, end - row["started_at"]) if end else None


LIVE_COLUMNS = (
    Column(
        mark("Status"),
        lambda row: tr(row["status"]),
        lambda row: row["status"],
        mark=lambda row: str(row["status"]),
    ),
    Column(mark("Run"), lambda row: plain(row["run"]), width=26),
    Column(
        mark("Started"),
        lambda row: moment(row["started_at"]),
        lambda row: row["started_at"],
        width=18,
    ),
    Column(mark("Took"), lambda row: duration(_took(row)), _took, right=True, width=10),
    Column(mark("Suite"), lambda row: plain(row["suite"]), width=14),
    shared(mark("Done"), done_share, 10),
    Column(
        mark("Cases"),
        counts_text,
        lambda row: row["planned"],
        tip=lambda row: counts_text(row) + "\n" + tr("of {n}", n=count(row["planned"])),
        width=40,
    ),
)
