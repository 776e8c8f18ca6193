"""What tables of attempts show of each."""

from __future__ import annotations

from monitor_app.models.language import mark, tr
from monitor_app.models.table import Column, Row
from monitor_app.models.words import count, duration, moment, plain, size


def _outcome(row: Row) -> str:
    return str(row["outcome"])


OUTCOME = Column(mark("Outcome"), lambda row: tr(row["outcome"]), mark=_outcome)
NUMBER = Column(
    mark("No."), lambda row: count(row["number"]), lambda row: row["number"], width=6
)
WORKER = Column(mark("Worker"), lambda row: plain(row["where"]), width=21)
HOST = Column(mark("Host"), lambda row: plain(row["host"]), width=14)
TOOK = Column(
    mark("Took"),
    lambda row: duration(row["duration_s"]),
    lambda row: row["duration_s"],
    right=True,
    width=9,
)
MEMORY = Column(
    mark("Memory"),
    lambda row: size(row["memory"]),
    lambda row: row["memory"],
    right=True,
    width=10,
)
WHY = Column(mark("Why"), lambda row: plain(row["why"] or row["detail"]), width=40)
ATTEMPT_COLUMNS = (NUMBER, OUTCOME, WORKER, HOST, TOOK, MEMORY, WHY)
HISTORY_COLUMNS = (
    Column(
        mark("Run of"),
        lambda row: moment(row["run_started_at"]),
        lambda row: (row["run_started_at"], row["number"]),
        width=18,
    ),
    *(OUTCOME, WORKER, HOST),
    Column(mark("Kind"), lambda row: plain(row.get("kind", "")), width=24),
    TOOK,
    WHY,
)


def attempt_row(told: Row) -> Row:
    """An attempt as the API lists it, with no field missing.

    Where it ran is its slot, if the node does not say more.

    Examples
    --------
    >>> attempt_row({"number": 2, "outcome": "failed"})["worker"]
    ''
    """
    texts = ("run", "case_id", "worker", "host", "outcome", "detail", "why")
    found: dict[str, object] = {name: str(told.get(name) or "") for name in texts}
    for name in ("run_started_at", "started_at", "duration_s"):
        found[name] = float(told.get(name) or 0.0)
    found["where"] = str(told.get("where") or found["worker"])
    found["number"] = int(told.get("number") or 1)
    found["memory"] = told.get("memory")
    return found
