"""What Prometheus reads: figures of a node and of what is to be seen. Pure.

Names are ``dtf_ledger_...`` for a node, which is another on each, and ``dtf_...`` for
the cluster, which every node tells alike. Labels have few values: a class, a state, an
outcome, a rule; never a task, a test or a worker, of which there may be any number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dtf_dask.view.records import Record

Status = Mapping[str, Any]
"""A `NodeStatus` as a map."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One that can be drawn.

    Parameters
    ----------
    name
        That of a counter ends in ``_total``.
    labels
        Their names.
    samples
        Values of the labels, and the figure.
    """

    name: str
    kind: Literal["gauge", "counter"]
    words: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]


class Seen(Protocol):
    """What is to be seen: `dtf_dask.view.read_model.ReadModel` is one."""

    def get(self, key: str) -> Record | None:
        """A record."""

    def of_kind(self, kind: str) -> Iterator[tuple[str, Record]]:
        """The records of a kind, with their keys."""


_Read = Callable[[Status], float | None]

_NODE: dict[str, tuple[str, _Read]] = {
    "term": ("Raft's term.", lambda one: one["term"]),
    "leader": ("Whether this node leads.", lambda one: one["role"] == "leader"),
    "leader_known": ("Whether it knows a leader.", lambda one: one["leader"] > 0),
    "commit_index": ("The last committed entry.", lambda one: one["commit"]),
    "applied_index": ("The last entry applied.", lambda one: one["applied"]),
    "last_index": ("The last entry of the log.", lambda one: one["last_index"]),
    "snapshot_index": (
        "That of the newest snapshot.",
        lambda one: one["snapshot_index"],
    ),
    "log_first_index": ("The first entry held.", lambda one: one["log_first_index"]),
    "voters": ("Nodes that vote.", lambda one: len(one["voters"])),
    "quorum_left": (
        "How many voters may fail; -1 without a majority. Only where it leads.",
        lambda one: one["quorum_left"],
    ),
    "records_bytes": ("What the records take.", lambda one: one["held_bytes"]),
    "contents_bytes": ("What contents take.", lambda one: one["contents_bytes"]),
    "contents_lacking": (
        "Contents that have yet to be fetched.",
        lambda one: one["contents_lacking"],
    ),
    "sessions": ("Sessions of clients.", lambda one: one["sessions"]),
    "sync_p50_seconds": ("Median of the last syncs.", lambda one: one["sync_p50_s"]),
    "sync_p99_seconds": ("99th percentile of them.", lambda one: one["sync_p99_s"]),
    "disk_full": ("Whether its disk is full.", lambda one: bool(one["disk_full"])),
    "scheduler_leads": (
        "Whether its scheduler lets workers and clients in.",
        lambda one: one["scheduler"]["role"] == "leads",
    ),
    "scheduler_crashes_total": (
        "How often its scheduler ended unasked, since the node started.",
        lambda one: one["scheduler"]["crashes"],
    ),
    "scheduler_alarm": (
        "Whether its scheduler ends again and again.",
        lambda one: bool(one["scheduler"]["alarm"]),
    ),
    "web_crashes_total": (
        "How often its web process ended unasked, since the node started.",
        lambda one: one["web"]["crashes"],
    ),
    "failed": ("Whether it can do nothing more.", lambda one: bool(one["failure"])),
}

_CLUSTER: dict[str, tuple[str, str]] = {
    "workers": ("Workers that are there.", "workers"),
    "threads": ("Threads of workers.", "threads"),
    "threads_used": ("Threads that are taken.", "threads_used"),
    "memory_bytes": ("Memory of workers.", "memory"),
    "memory_used_bytes": ("Memory that is taken.", "memory_used"),
    "tasks_waiting": ("Tasks that wait for a worker.", "waiting"),
    "tasks_held": ("Tasks that are held back.", "held"),
    "tasks_running": ("Tasks that run.", "running"),
    "tasks_ended_total": ("Tasks that ended.", "ended"),
    "tasks_failed_total": ("Tasks that failed.", "failed"),
    "deadlines_met_total": ("Deadlines that were met.", "deadlines_met"),
    "deadlines_missed_total": ("Deadlines that were missed.", "deadlines_missed"),
    "scheduler_term": ("The term of who leads.", "term"),
    "scheduler_start_time_seconds": ("When who leads started.", "started_at"),
    "seen_time_seconds": ("When all of this was so.", "at"),
}

_CLASS: dict[str, tuple[str, Callable[[Record, float], float | None]]] = {
    "waiting": ("Tasks of a class that wait.", lambda row, now: row["waiting"]),
    "held": ("Tasks of a class that are held back.", lambda row, now: row["held"]),
    "running": ("Tasks of a class that run.", lambda row, now: row["running"]),
    "ended_total": ("Tasks of a class that ended.", lambda row, now: row["ended"]),
    "failed_total": ("Tasks of a class that failed.", lambda row, now: row["failed"]),
    "missed_total": (
        "Deadlines that tasks of a class missed.",
        lambda row, now: row["missed"],
    ),
    "waited_seconds": (
        "How long the task of a class has waited that is next.",
        lambda row, now: None if row["since"] is None else max(0, now - row["since"]),
    ),
    "slack_seconds": (
        "Time left to begin for the nearest deadline of a class.",
        lambda row, now: None if row["latest"] is None else row["latest"] - now,
    ),
}

_FAILOVER = {
    "without_leader_seconds": (
        "How long nobody led before the last failover.",
        "without_leader_s",
    ),
    "settled_seconds": (
        "After how long all workers were back, or given up.",
        "settled_after_s",
    ),
    "time_seconds": ("When the last failover was.", "at"),
}


def of_node(status: Status) -> Iterator[Figure]:
    """Figures of a node."""
    for name, (words, read) in _NODE.items():
        yield from _one(f"dtf_ledger_{name}", words, read(status))
    yield from _one(
        *("dtf_ledger_elections_won_total", "Since the node started."),
        status["elections"],
    )
    lag = {str(peer): entries for peer, entries in status["lag"].items()}
    yield from _many(
        *("dtf_ledger_peer_lag_entries", "Entries that a peer lacks, if it leads."),
        *("peer", lag),
    )


def of_cluster(
    seen: Seen, now: float, alerts: Iterable[tuple[str, str]]
) -> Iterator[Figure]:
    """Figures of what is to be seen.

    Parameters
    ----------
    now
        By the clock of the scheduler.
    alerts
        The level and the rule of each.
    """
    cluster = seen.get("cluster")
    if cluster is not None:
        for name, (words, word) in _CLUSTER.items():
            yield from _one(f"dtf_{name}", words, cluster[word])
        yield from _many(
            *("dtf_tasks", "Tasks by the state that Dask has them in.", "state"),
            cluster["tasks"],
        )
        pressure = cluster["pressure"]
        yield from _one("dtf_queue_bound", "Tasks that may wait.", pressure["bound"])
    classes = [row for _, row in seen.of_kind("class")]
    for name, (words, read) in _CLASS.items():
        found = {row["name"]: read(row, now) for row in classes}
        yield from _many(f"dtf_class_{name}", words, "class", found)
    for name, kind, word in (
        ("dtf_workers_by_status", "worker", "status"),
        ("dtf_breakers", "breaker", "state"),
        ("dtf_runs", "run", "status"),
        ("dtf_actions", "action", "state"),
    ):
        counts = Counter(str(row[word]) for _, row in seen.of_kind(kind))
        yield from _many(name, f"How many are shown, by {word}.", word, counts)
    yield from _of_machines([row for _, row in seen.of_kind("load")])
    cases: Counter[str] = Counter()
    for _, row in seen.of_kind("run"):
        if row["status"] == "running":
            cases.update(row["counts"])
    yield from _many(
        *("dtf_run_cases", "Cases of runs that go on, by outcome.", "outcome", cases)
    )
    last = max((row for _, row in seen.of_kind("failover")), key=_at, default=None)
    for name, (words, word) in _FAILOVER.items():
        yield from _one(
            f"dtf_failover_{name}", words, None if last is None else last[word]
        )
    told = Counter(alerts)
    yield Figure(
        *("dtf_alerts", "gauge", "What somebody should look at.", ("level", "rule")),
        tuple(sorted((which, float(count)) for which, count in told.items())),
    )


def _of_machines(loads: Sequence[Record]) -> Iterator[Figure]:
    """How busy and warm they are, in all: a GPU that several workers share is one."""
    gpus = {
        gpu["id"] or (at, number): gpu
        for at, load in enumerate(loads)
        for number, gpu in enumerate(load["gpus"])
    }

    def known(name: str) -> list[float]:
        return [one[name] for one in gpus.values() if one[name] is not None]

    util, warm = known("util"), known("temperature")
    temperatures = [one["temperature"] for one in loads]
    warmest = max((one for one in temperatures if one is not None), default=None)
    for name, words, value in (
        ("gpus", "GPUs that workers may use.", len(gpus)),
        (
            "gpu_utilization_ratio",
            "How much of the time GPUs are busy, on the average.",
            sum(util) / len(util) if util else None,
        ),
        ("gpu_memory_bytes", "Memory of GPUs.", sum(known("memory_total"))),
        ("gpu_memory_used_bytes", "GPU memory that is taken.", sum(known("memory"))),
        ("gpu_temperature_max_celsius", "The warmest GPU.", max(warm, default=None)),
        ("worker_temperature_max_celsius", "The warmest worker's processor.", warmest),
    ):
        yield from _one(f"dtf_{name}", words, value)


def exposition(figures: Iterable[Figure]) -> bytes:
    """As Prometheus reads it.

    Examples
    --------
    >>> print(exposition(_many("dtf_x", "Some.", "class", {'a"': 2.5})).decode())
    # HELP dtf_x Some.
    # TYPE dtf_x gauge
    dtf_x{class="a\\""} 2.5
    <BLANKLINE>
    """
    lines = []
    for one in figures:
        lines += [f"# HELP {one.name} {one.words}", f"# TYPE {one.name} {one.kind}"]
        for values, number in one.samples:
            pairs = zip(one.labels, values, strict=True)
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
            lines.append(
                f"{one.name}{{{labels}}} {number!r}"
                if labels
                else f"{one.name} {number!r}"
            )
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _one(name: str, words: str, value: float | None) -> Iterator[Figure]:
    if value is not None:
        yield Figure(name, _kind(name), words, (), (((), float(value)),))


def _many(
    name: str, words: str, label: str, values: Mapping[str, float | None]
) -> Iterator[Figure]:
    samples = tuple(
        ((value,), float(number))
        for value, number in sorted(values.items())
        if number is not None
    )
    yield Figure(name, _kind(name), words, (label,), samples)


def _kind(name: str) -> Literal["gauge", "counter"]:
    return "counter" if name.endswith("_total") else "gauge"


def _at(row: Record) -> float:
    return float(row["at"])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
