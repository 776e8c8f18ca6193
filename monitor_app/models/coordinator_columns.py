"""What the tables of coordinators and of failovers show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from monitor_app.models.language import mark, tr, trn
from monitor_app.models.number_columns import counted, lasting
from monitor_app.models.table import Column, Row
from monitor_app.models.words import NOTHING, moment, plain


def coordinator_rows(told: Mapping[str, Any]) -> dict[str, Row]:
    """Each coordinator, as one of them says."""
    items = told.get("items")
    found: dict[str, Row] = {}
    for one in items if isinstance(items, list) else ():
        if isinstance(one, Mapping) and "node" in one:
            leads = one["node"] == told.get("leader")
            row = {name: one.get(name) for name in _FIELDS} | {"leads": leads}
            found[str(one["node"])] = row
    return found


_FIELDS = (
    *("node", "name", "here", "role", "votes", "heard_of", "lag", "web", "scheduler"),
)


def role(row: Row) -> str:
    """What it is, in a word."""
    if row["leads"]:
        return "leader"
    if not row["votes"]:
        return "learner"
    known = str(row["role"] or "")
    return known if row["here"] and known not in ("", "unknown") else "follower"


def summary(told: Mapping[str, Any]) -> str:
    """Who leads, and how many may fail."""
    if not told:
        return tr("No coordinator has said anything yet.")
    rows = coordinator_rows(told)
    if not rows:
        return tr("This scheduler is alone: nobody takes over when it ends.")
    leads = next((plain(one["name"]) for one in rows.values() if one["leads"]), "")
    term = told.get("term", 0)
    first = (
        tr("{name} leads in term {term}", name=leads, term=term)
        if leads
        else tr("Nobody leads (term {term})", term=term)
    )
    left = told.get("quorum_left")
    if not isinstance(left, int):
        return f"{first}."
    if left < 0:
        return tr("{first}; most cannot be reached.", first=first)
    if left == 0:
        return tr("{first}; none may fail.", first=first)
    return trn(
        "{first}; one may fail.", "{first}; {n} may fail.", left, first=first, n=left
    )


def _heard(row: Row) -> str:
    heard = row["heard_of"]
    return "unknown" if heard is None else "passed" if heard else "lost"


def _heard_text(row: Row) -> str:
    heard = row["heard_of"]
    if heard is None:
        return tr("ask the leader")
    return tr("yes") if heard else tr("no")


def _scheduler(row: Row) -> str:
    told = row["scheduler"]
    if not isinstance(told, Mapping):
        return NOTHING
    words = plain(told.get("role") or tr("none"))
    crashes = told.get("crashes")
    if not crashes:
        return words
    return f"{words}, {trn('ended once', 'ended {n} times', crashes, n=crashes)}"


def _scheduler_tip(row: Row) -> str:
    told = row["scheduler"]
    end = told.get("last_end") if isinstance(told, Mapping) else ""
    return plain(end) if end else _scheduler(row)


COORDINATOR_COLUMNS = (
    Column(
        mark("Coordinator"),
        lambda row: (
            tr("{name} (read from)", name=plain(row["name"]))
            if row["here"]
            else plain(row["name"])
        ),
        width=22,
    ),
    Column(mark("Role"), lambda row: tr(role(row)), mark=role, width=14),
    Column(mark("Heard of"), _heard_text, mark=_heard, width=16),
    counted(mark("Entries behind"), "lag", 17),
    Column(mark("Votes"), lambda row: tr("yes") if row["votes"] else tr("no"), width=8),
    Column(mark("Its scheduler"), _scheduler, tip=_scheduler_tip, width=20),
    Column(mark("Its pages"), lambda row: plain(row["web"] or NOTHING), width=22),
)

FAILOVER_COLUMNS = (
    Column(
        mark("Term"),
        lambda row: str(row["term"]),
        lambda row: row["term"],
        right=True,
        width=6,
    ),
    Column(
        mark("When"), lambda row: moment(row["at"]), lambda row: row["at"], width=18
    ),
    Column(mark("Leader"), lambda row: plain(row["node"]), width=16),
    lasting(mark("Without leader"), "without_leader_s", 17),
    lasting(mark("Led after"), "leading_after_s", 17),
    lasting(mark("All back after"), "settled_after_s", 17),
    counted(mark("Tasks kept"), "tasks", 13),
    counted(mark("Workers"), "workers", 13),
    counted(mark("Not back"), "missing", 13),
)


def latest(rows: Iterable[Row]) -> Row | None:
    """The failover that cost most of late: the last one in which nobody led."""
    found = sorted(rows, key=lambda one: float(one["at"]), reverse=True)
    return next((one for one in found if one["without_leader_s"] > 0), None)
