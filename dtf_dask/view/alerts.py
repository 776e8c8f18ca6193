"""What somebody should look at: rules over what is to be seen. Pure.

The same records make the same alerts in every face. An alert is there for as long as
its rule holds; its id stays the same meanwhile, so that it is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from dtf_dask.explanation import counted, roughly
from dtf_dask.pressure import Pressure
from dtf_dask.quantities import format_size
from dtf_dask.view.records import Record

Level = Literal["warning", "critical"]

ALERTS_MAX = 200

_WRONG = {
    "coordinator-failed": "failure",
    "coordinator-disk": "disk_full",
    "coordinator-removed": "removed",
    "coordinator-snapshot": "not_taken",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One.

    Parameters
    ----------
    rule
        Which rule, in a word.
    subject
        What it is about: a worker, a class, a run; empty for the cluster.
    words
        What is wrong, for people.
    since
        Since when, in seconds since 1970; None if nobody knows.
    """

    level: Level
    rule: str
    subject: str
    words: str
    since: float | None = None

    @property
    def id(self) -> str:
        """The same as long as it lasts."""
        return f"{self.rule}/{self.subject}"

    def plain(self) -> dict[str, Any]:
        """As JSON has it, with its id."""
        return {**asdict(self), "id": self.id}


@dataclass(frozen=True, slots=True)
class Rules:
    """From when on something is an alert.

    Parameters
    ----------
    slack_s
        Less time left for a deadline than this.
    flaky_share, flaky_min
        More flaky cases of a run than this part of those decided, and than this many.
    disk_share, disk_bytes
        Less room on a worker's disk than both of these.
    """

    slack_s: float = 60.0
    flaky_share: float = 0.05
    flaky_min: int = 5
    disk_share: float = 0.1
    disk_bytes: int = 2 * 2**30


class Seen(Protocol):
    """What is to be seen: `dtf_dask.view.read_model.ReadModel` is one."""

    def get(self, key: str) -> Record | None:
        """A record."""

    def of_kind(self, kind: str) -> Iterator[tuple[str, Record]]:
        """The records of a kind, with their keys."""


def alerts(
    seen: Seen,
    now: float,
    rules: Rules | None = None,
    coordinators: Iterable[Mapping[str, Any]] = (),
) -> list[Alert]:
    """What is wrong now, the worst first.

    Parameters
    ----------
    now
        By the clock of the scheduler: ``cluster.at``, and how old that is.
    coordinators
        How nodes stand, if one is asked: a `NodeStatus` of `dtf_dask.ha`, as a map, and
        their ``name``. Of a scheduler without them, why it is ``unanswered``.

    Examples
    --------
    >>> from dtf_dask.view.read_model import ReadModel
    >>> alerts(ReadModel(), 0.0, coordinators=[{"role": "leader", "quorum_left": 0}])
    ... # doctest: +ELLIPSIS
    [Alert(level='critical', rule='quorum', subject='', words='if one more ...)]
    """
    rules = rules or Rules()
    cluster, told = seen.get("cluster") or {}, list(coordinators)
    if all(one.get("quorum_left") is None and one.get("leader") != 0 for one in told):
        told.append(cluster.get("coordinators", {}))  # as who leads says
    found = [*_of_coordinators(told), *_of_cluster(cluster)]
    for _, row in seen.of_kind("class"):
        found += _of_class(row, now, rules)
    for _, row in seen.of_kind("worker"):
        found += _of_worker(row, rules)
    for _, row in seen.of_kind("run"):
        found += _of_run(row, rules)
    found.sort(key=lambda one: (one.level, -(one.since or now), one.id))
    return found[:ALERTS_MAX]


def _of_coordinators(told: Iterable[Mapping[str, Any]]) -> Iterator[Alert]:
    for one in told:
        name = str(one.get("name", ""))
        for rule, word in _WRONG.items():
            if one.get(word):
                words = f"coordinator {name}: {one[word]}"
                yield Alert("critical", rule, name, words)
        if one.get("unanswered"):
            yield Alert("critical", "no-scheduler", "", str(one["unanswered"]))
        for part in ("scheduler", "web"):
            alarm = one.get(part, {}).get("alarm")
            if alarm:
                words = f"coordinator {name}: {alarm}"
                yield Alert("critical", f"coordinator-{part}", name, words)
        if one.get("leader") == 0:
            words = "no coordinator leads: what is submitted waits"
            yield Alert("critical", "no-leader", "", words)
        left = one.get("quorum_left")
        if left is None:
            continue
        if left < 0:
            words = "most coordinators cannot be reached: nothing new is accepted"
            yield Alert("critical", "quorum", "", words)
        elif left == 0 and len(one.get("voters", ())) != 1:
            words = "if one more coordinator fails, nobody can lead"
            yield Alert("critical", "quorum", "", words)


def _of_cluster(row: Mapping[str, Any]) -> Iterator[Alert]:
    if not row:
        return
    if row["problem"]:
        words = (
            f"Dask alone schedules, without regard to what tasks ask: {row['problem']}"
        )
        yield Alert("critical", "scheduling", "", words)
    waiting = row["waiting"]
    if waiting and not row["workers"]:
        waits = "waits" if waiting == 1 else "wait"
        words = f"{counted(waiting, 'task')} {waits} and there is no worker"
        yield Alert("critical", "no-workers", "", words)
    pressure = Pressure.of(row["pressure"])
    if pressure is not None and pressure.state != "calm":
        level: Level = "critical" if pressure.state == "shedding" else "warning"
        yield Alert(level, "queue", "", pressure.words)
    for name, why in row["policies_disabled"].items():
        words = f"the policy {name} is switched off: {why}"
        yield Alert("warning", "policy", name, words)


def _of_class(row: Record, now: float, rules: Rules) -> Iterator[Alert]:
    latest = row["latest"]
    if latest is None or latest - now > rules.slack_s:
        return
    name = row["name"]
    if latest < now:
        words = f"a task of class {name} waits that cannot meet its deadline any more"
        yield Alert("critical", "deadline", name, words, latest)
    else:
        left = roughly(latest - now)
        words = f"a task of class {name} must begin within {left} to meet its deadline"
        yield Alert("warning", "deadline", name, words)


def _of_worker(row: Record, rules: Rules) -> Iterator[Alert]:
    name = row["name"]
    if row["status"] == "lost":
        words = f"worker {name} was lost: its connection broke, or it died"
        yield Alert("warning", "worker-lost", name, words, row["left_at"])
        return
    if row["status"] == "left":
        return
    if row["shut"]:
        words = f"worker {name} gets nothing: {row['shut']}"
        yield Alert("warning", "worker-shut", name, words)
    free, total = row["facts"].get("disk.free"), row["facts"].get("disk.total")
    if _is_number(free) and free < rules.disk_bytes:
        share = free / total if _is_number(total) and total > 0 else 0.0
        if share < rules.disk_share:
            words = f"worker {name} has {format_size(int(free))} left on its disk"
            yield Alert("warning", "disk", name, words)


def _of_run(row: Record, rules: Rules) -> Iterator[Alert]:
    if row["status"] != "running":
        return
    decided, flaky = sum(row["counts"].values()), row["flaky"]
    if flaky >= rules.flaky_min and flaky > rules.flaky_share * decided:
        words = (
            f"run {row['run']}: {flaky:,} of {counted(decided, 'case')} so far passed "
            "only when they were tried again"
        )
        yield Alert("warning", "flaky", row["run"], words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
