"""What the tables of alerts and of actions show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dtf_dask.view.alerts import Alert
from monitor_app.models.language import mark, tr
from monitor_app.models.table import Column, Row
from monitor_app.models.words import moment, plain, short

_WORST_FIRST = {"critical": 0, "warning": 1}
_PLACES = {
    "deadline": "queue",
    "queue": "queue",
    "no-workers": "workers",
    "worker-lost": "workers",
    "worker-shut": "workers",
    "disk": "workers",
    "flaky": "runs",
    "scheduling": "queue",
    "policy": "queue",
}


def alert_rows(found: Iterable[Alert], before: Mapping[str, Row]) -> dict[str, Row]:
    """Each alert; those that are as before are the same objects."""
    rows: dict[str, Row] = {}
    for one in found:
        row = one.plain()
        known = before.get(one.id)
        rows[one.id] = known if known == row and known is not None else row
    return rows


def place_of(row: Row) -> tuple[str, dict[str, str]]:
    """The view that shows more of what an alert is about, and what there."""
    view = _PLACES.get(str(row["rule"]), "coordinators")
    what = {"workers": "worker", "runs": "run", "queue": "class"}.get(view)
    return view, {what: str(row["subject"])} if what and row["subject"] else {}


ALERT_COLUMNS = (
    Column(
        mark("Level"),
        lambda row: tr(row["level"]),
        lambda row: _WORST_FIRST.get(row["level"], 2),
        mark=lambda row: str(row["level"]),
        width=12,
    ),
    Column(mark("Rule"), lambda row: plain(row["rule"]), width=18),
    Column(mark("Of"), lambda row: short(row["subject"], 80), width=24),
    Column(
        mark("Since"),
        lambda row: moment(row["since"]),
        lambda row: row["since"],
        width=18,
    ),
    Column(mark("What is wrong"), lambda row: short(row["words"], 400), width=50),
)

ACTION_COLUMNS = (
    Column(
        mark("When"), lambda row: moment(row["at"]), lambda row: row["at"], width=18
    ),
    Column(mark("Action"), lambda row: plain(row["action"]), width=18),
    Column(mark("Of"), lambda row: short(row["subject"], 120), width=26),
    Column(
        mark("Outcome"), lambda row: tr(row["state"]), mark=lambda row: row["state"]
    ),
    Column(mark("What came of it"), lambda row: short(row["result"], 300), width=40),
    Column(mark("Who"), lambda row: plain(row["by"]), width=20),
)
