"""How a cluster of coordinators stands, as lines of a terminal and as plain words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from dtf_dask.cli.terminal_table import note, table
from dtf_dask.explanation import counted
from dtf_dask.runs.reports.text import one_line

_HEAD = ("COORDINATOR", "SCHEDULER", "TERM", "LAG", "CRASHES", "REMARK")
_REMARK = len(_HEAD) - 1
_STYLES = {"leads": "bold green", "taking over": "yellow", "pausing": "red"}
_OF_COORDINATORS = ("coordinator-", "no-leader", "quorum")
"""What the alerts are called that are alarms here."""
_WRONG = ("failure", "disk_full", "removed", "not_taken")


@dataclass(slots=True)
class Standing:
    """How a cluster stands.

    Parameters
    ----------
    cluster, address
        Its name, and its address for workers and clients.
    names
        Of its coordinators, by number.
    told
        `NodeStatus` of each as a mapping, or why it did not answer.
    holdings
        Workers, clients and tasks of the scheduler that leads, if it said so.
    seen_by
        The one coordinator that was asked; 0 if all were.
    view
        What is to be seen of the cluster, if that was asked for.
    """

    cluster: str
    address: str
    names: Mapping[int, str]
    told: Mapping[int, Mapping[str, Any] | str]
    holdings: Mapping[str, Any]
    seen_by: int = 0
    view: Mapping[str, Any] | None = None

    @property
    def leader(self) -> int | None:
        """Whose scheduler leads; None if none does."""
        led = [
            (one["scheduler"]["term"], node)
            for node, one in self.told.items()
            if not isinstance(one, str)
            and one.get("scheduler", {}).get("role") == "leads"
            and one["role"] == "leader"
        ]
        return max(led)[1] if led else None

    def name(self, node: int) -> str:
        """What people call it."""
        return self.names.get(node, str(node))

    @property
    def alarms(self) -> list[str]:
        """What is wrong, each in a sentence."""
        found = []
        for node, one in sorted(self.told.items()):
            if isinstance(one, str):
                found.append(f"{self.name(node)} does not answer: {one}")
                continue
            wrong = [*(one.get(word) for word in _WRONG)]
            wrong += [one.get(part, {}).get("alarm") for part in ("scheduler", "web")]
            found += [f"{self.name(node)}: {word}" for word in wrong if word]
        leader = self.leader
        if leader is None:
            found.append("no scheduler leads: what is submitted waits")
            return found
        status = self.told[leader]
        assert not isinstance(status, str)
        if self.seen_by:
            away = set(status["voters"]) - {leader, *status["active"]}
            found += [f"{self.name(node)} is not heard of" for node in sorted(away)]
        left = status["quorum_left"]
        if left is not None and left < 0:
            found.append("most coordinators cannot be reached: nothing is accepted")
        elif left == 0 and len(status["voters"]) > 1:
            found.append("if one more coordinator fails, none can lead")
        return found

    @property
    def alerts(self) -> list[Mapping[str, Any]]:
        """What else is wrong, as `dtf top` has it: of workers, classes, runs."""
        told: list[Mapping[str, Any]] = (self.view or {}).get("alerts", [])
        return [one for one in told if not one["rule"].startswith(_OF_COORDINATORS)]

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        leader = self.leader
        status = None if leader is None else self.told[leader]
        takeover = None
        if isinstance(status, Mapping):
            takeover = {
                word: status["scheduler"][word]
                for word in (
                    *("led_at_s", "without_leader_s", "leading_after_s", "tasks"),
                    *("settled_after_s", "workers", "missing"),
                )
            }
        return {
            "cluster": self.cluster,
            "address": self.address,
            "leader": None if leader is None else self.name(leader),
            "term": status["term"] if isinstance(status, Mapping) else None,
            "takeover": takeover,
            "workers": self.holdings.get("workers"),
            "clients": self.holdings.get("clients"),
            "tasks": self.holdings.get("tasks"),
            "alarms": self.alarms,
            "coordinators": {self.name(node): one for node, one in self.told.items()},
            "view": self.view,
        }


def status_lines(standing: Standing, columns: int) -> Iterator[Text]:
    """A headline, what the takeover cost, a line for each coordinator, alarms."""
    leader = standing.leader
    status = None if leader is None else standing.told[leader]
    if leader is None or not isinstance(status, Mapping):
        yield Text(f"Cluster {standing.cluster}: no scheduler leads.", style="bold red")
    else:
        since = time.strftime(
            "%d %b %H:%M:%S", time.localtime(status["scheduler"]["led_at_s"])
        )
        name = standing.name(leader)
        yield Text(
            f"Cluster {standing.cluster}: {name} leads since {since}, in term"
            f" {status['term']}.",
            style="bold",
        )
        yield note(_cost(status["scheduler"]), columns, "")
    if standing.holdings:
        yield note(_holdings(standing.holdings), columns, "")
    lag = status["lag"] if isinstance(status, Mapping) else {}
    rows = [
        _row(standing.name(node), one, lag.get(node))
        for node, one in sorted(standing.told.items())
    ]
    yield from table(_HEAD, rows, columns, cut=_REMARK, right=(2, 3, 4))
    for alarm in standing.alarms:
        yield note(f"! {alarm}", columns, "red")
    for alert in standing.alerts:
        style = "red" if alert["level"] == "critical" else "yellow"
        yield note(f"! {one_line(alert['words'])}", columns, style)
    if standing.address:
        yield note(f"Workers and clients: {standing.address}", columns, "dim")


def _cost(scheduler: Mapping[str, Any]) -> str:
    """What the takeover cost, in a sentence or two."""
    without_s, leading_s = scheduler["without_leader_s"], scheduler["leading_after_s"]
    words = (
        f"It was elected after {without_s:.2f} s without a leader, let workers and"
        f" clients in {leading_s:.2f} s later"
    )
    if not (scheduler["tasks"] or scheduler["workers"] or scheduler["missing"]):
        return f"{words}; there was nothing to take over."
    words += f", with {counted(scheduler['tasks'], 'task')} known"
    settled_s = scheduler["settled_after_s"]
    if settled_s < 0:
        return f"{words}; workers are coming back."
    missing = scheduler["missing"]
    words += f"; {counted(scheduler['workers'], 'worker')} back after {settled_s:.2f} s"
    return words + (f", {missing} not." if missing else ".")


def _holdings(holdings: Mapping[str, Any]) -> str:
    states = ", ".join(f"{n} {state}" for state, n in holdings["tasks"].items())
    return (
        f"Now {counted(holdings['workers'], 'worker')},"
        f" {counted(holdings['clients'], 'client')}, tasks: {states or 'none'}."
    )


def _ended(scheduler: Mapping[str, Any]) -> str:
    """Why its scheduler ended last, if that was not as it should."""
    return str(scheduler["last_end"]) if scheduler["crashes"] else ""


def _row(name: str, told: Mapping[str, Any] | str, lag: int | None) -> list[str | Text]:
    if isinstance(told, str):
        return [name, Text("away", style="red"), "", "", "", told]
    scheduler = told["scheduler"]
    role = scheduler["role"]
    remark = next((told[one] for one in _WRONG if told.get(one)), "")
    return [
        name,
        Text(role, style=_STYLES.get(role, "")),
        str(told["term"]),
        "" if lag is None else str(lag),
        str(scheduler["crashes"]),
        remark or scheduler["alarm"] or _ended(scheduler),
    ]
