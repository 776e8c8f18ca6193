"""One look at a scheduler, its engine and its workers: records for a board."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, Status
from distributed.scheduler import WorkerState

from dtf_dask.errors import ProtocolError
from dtf_dask.scheduler_plugins.adapter.dashboard_link import dashboard_url
from dtf_dask.scheduler_plugins.adapter.figures import (
    is_lost,
    load_differs,
    load_of,
    memory_of,
    number,
    shown_facts,
)
from dtf_dask.scheduler_plugins.adapter.plugin import NAME as SCHEDULING
from dtf_dask.scheduler_plugins.adapter.whys import Whys
from dtf_dask.scheduler_plugins.engine.tables import Tables
from dtf_dask.view.board import Board
from dtf_dask.view.records import COUNT_MAX

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.adapter.keeper import Keeper

CLUSTER_S = 5.0
"""At least so often it is told that there is nothing new."""
KIND_S = 3.0
LOADS_AT_ONCE = 100
RUNNING_SHOWN = 16
"""Tasks of a worker."""
LOST_S = 600.0
"""So long workers are shown that are gone."""


class _Seen:
    """What was seen of a worker last."""

    __slots__ = ("address", "fields", "metrics", "name", "since", "standing")

    def __init__(self, name: str, address: str, since: float) -> None:
        self.name, self.address, self.since = name, address, since
        self.standing: Any = None
        self.metrics: Any = None
        self.fields: dict[str, Any] = {}


class Sight:
    """What is seen of one scheduler.

    Parameters
    ----------
    board
        Told all that is seen.
    started_at
        Of the scheduler, in seconds since 1970.
    term
        That it leads; 0 if there is no other.
    """

    def __init__(
        self, scheduler: Scheduler, board: Board, started_at: float, term: int = 0
    ) -> None:
        self._scheduler, self._board = scheduler, board
        self._started_at, self._term = started_at, term
        self._workers: dict[str, _Seen] = {}
        self._begun = False
        self._turn = 0
        self._whys = Whys()
        known = board.get("cluster") or {}
        self._ended, self._failed = known.get("ended", 0), known.get("failed", 0)
        self._met = known.get("deadlines_met", 0)
        self._missed = known.get("deadlines_missed", 0)
        self._classes = {
            record["name"]: (record["ended"], record["failed"], record["missed"])
            for _, record in board.of_kind("class")
        }
        self._counted: tuple[int, int] | None = None

    def look(self, now: float, standing: Mapping[str, Any]) -> None:
        """Put what is to be seen now on the board.

        Parameters
        ----------
        standing
            How the coordinators stand; empty if the scheduler is alone.
        """
        keeper = self._keeper()
        self._look_at_workers(keeper, now)
        self._look_at_queue(keeper, now)
        self._look_at_cluster(keeper, now, standing.get("status") or {})
        if not self._begun:
            self._forget_others(now)
            self._begun = True

    def _keeper(self) -> Keeper | None:
        plugin: Any = self._scheduler.plugins.get(SCHEDULING)
        return getattr(plugin, "keeper", None)

    def _forget_others(self, now: float) -> None:
        """What whoever led before has seen, and is there no more."""
        board = self._board
        keeper = self._keeper()
        known = set() if keeper is None else keeper.holding.engine.tables.class_rows()
        for _, record in list(board.of_kind("class")):
            if record["name"] not in known:  # what has ended of it is counted still
                still = {**record, "waiting": 0, "held": 0, "running": 0}
                still |= {"since": None, "latest": None}
                board.put("class", record["name"], still, now)
        names = [seen.name for seen in self._workers.values()]
        board.keep_only("load", names, now)
        here = set(names)
        for _, record in list(board.of_kind("worker")):
            if record["name"] not in here and record["left_at"] is None:
                fields = {**record, "status": "lost", "left_at": now}
                board.put("worker", record["name"], fields, now)

    # Workers.

    def _look_at_workers(self, keeper: Keeper | None, now: float) -> None:
        scheduler, seen = self._scheduler, self._workers
        for address in [one for one in seen if one not in scheduler.workers]:
            self._left(seen.pop(address), now)
        workers = list(scheduler.workers.values())
        tables = None if keeper is None else keeper.holding.engine.tables
        clock = 0.0 if keeper is None else keeper.holding.clock()
        left = LOADS_AT_ONCE
        self._turn %= max(1, len(workers))
        start = self._turn
        for at in range(len(workers)):
            number_of = (start + at) % len(workers)
            ws = workers[number_of]
            one = seen.get(ws.address)
            if one is None:
                one = seen[ws.address] = self._came(keeper, ws, now)
            try:
                self._stands(keeper, tables, clock, ws, one, now)
            except ProtocolError as error:  # of what it says of itself
                self._is_odd(ws, one, error, now)
            if left and ws.metrics is not one.metrics:
                one.metrics = ws.metrics
                self._busy(keeper, ws, one, now)
                left -= 1
                if not left:
                    self._turn = number_of + 1
        self._forget_left(now)

    def _came(self, keeper: Keeper | None, ws: WorkerState, now: float) -> _Seen:
        post = None if keeper is None else keeper.holding.posts.at(ws.address)
        name = str(ws.name) if post is None else post.name
        known = self._board.get("worker", name)
        back = known is not None and known["address"] == ws.address
        since = known["since"] if known is not None and back else now
        return _Seen(name, ws.address, since)

    def _stands(
        self,
        keeper: Keeper | None,
        tables: Tables | None,
        clock: float,
        ws: WorkerState,
        one: _Seen,
        now: float,
    ) -> None:
        post = None if keeper is None else keeper.holding.posts.at(ws.address)
        told = (
            ("", "", "", "") if tables is None else tables.standing_of(one.name, clock)
        )
        offer = None if post is None else post.offer
        standing = (ws.status, ws.nthreads, offer, told)
        before = one.standing
        if before is not None and before[2] is offer and before == standing:
            return
        one.standing = standing
        kind, breaker, shut, kept_for = told
        facts, labels = shown_facts(offer.facts if offer is not None else {})
        one.fields = {
            "name": one.name,
            "host": ws.host,
            "address": ws.address,
            "kind": kind,
            "breaker": breaker,
            # Who has only just come is not paused: that he runs is said next.
            "shut": "" if ws.status == Status.init else shut,
            "kept_for": kept_for,
            "status": ws.status.name,
            "threads": ws.nthreads,
            "memory": ws.memory_limit or (offer.memory if offer is not None else 0),
            "gpus": len(offer.gpus) if offer is not None else 0,
            "labels": labels,
            "facts": facts,
            "problems": list(post.problems) if post is not None else [],
            "since": one.since,
        }
        self._board.put("worker", one.name, one.fields, now)

    def _is_odd(
        self, ws: WorkerState, one: _Seen, error: ProtocolError, now: float
    ) -> None:
        """What cannot be shown of one worker hides no other, and not that it is so."""
        one.fields = {
            "name": one.name,
            "address": one.address,
            "status": ws.status.name,
            "since": one.since,
            "problems": [str(error)],
        }
        self._board.put("worker", one.name, one.fields, now)

    def _busy(
        self, keeper: Keeper | None, ws: WorkerState, one: _Seen, now: float
    ) -> None:
        load = load_of(ws.metrics, now)
        tasks = {} if keeper is None else keeper.holding.tasks
        running: list[dict[str, Any]] = []
        for ts, for_s in ws.executing.items():
            if len(running) == RUNNING_SHOWN:
                break
            task = tasks.get(ts.key)
            running.append(
                {
                    "key": str(ts.key),
                    "class": "" if task is None else task.ask.priority_class,
                    "since": round(max(0.0, ws.last_seen - (number(for_s) or 0.0)), 1),
                }
            )
        load["running"] = running
        load["processing"] = len(ws.processing)
        self._board.put("load", one.name, load, now, differs=load_differs)

    def _left(self, one: _Seen, now: float) -> None:
        lost = is_lost(self._scheduler.get_events(one.address))
        fields = {**one.fields, "status": "lost" if lost else "left", "left_at": now}
        self._board.put("worker", one.name, fields, now)
        self._board.drop("load", one.name, now)

    def _forget_left(self, now: float) -> None:
        for _, record in list(self._board.of_kind("worker")):
            left_at = record["left_at"]
            if left_at is not None and now - left_at > LOST_S:
                self._board.drop("worker", record["name"], now)

    # What waits.

    def _look_at_queue(self, keeper: Keeper | None, now: float) -> None:
        if keeper is None:
            for kind in ("kind", "class", "breaker"):  # of before it gave up
                self._board.keep_only(kind, (), now)
            return
        engine, clock = keeper.holding.engine, keeper.holding.clock()
        tables, ahead = engine.tables, now - clock
        for name, row in tables.class_rows().items():
            ended, failed, missed = self._classes.get(name, (0, 0, 0))
            fields = {
                "name": name,
                **{count: row[count] for count in ("waiting", "held", "running")},
                "since": _wall(row["ready_at"], ahead),
                "latest": _wall(row["latest"], ahead),
                "ended": ended + row["ended"],
                "failed": failed + row["failed"],
                "missed": missed + row["missed"],
            }
            self._board.put("class", name, fields, now)
        names = []
        self._whys.begin()
        for row in tables.kind_rows(clock, COUNT_MAX["kind"]):
            name = _digest(row)
            names.append(name)
            found = self._whys.of(engine, row, now, clock)
            fields = {
                **{name: row[name] for name in ("class", "tenant", "needs", "next")},
                **{name: row[name] for name in ("waiting", "workers", "waits_for")},
                "since": _wall(row["ready_at"], ahead),
                "due": _wall(row["due"], ahead),
                "why": found.words,
                "help": found.help,
                "eta": found.eta,
            }
            self._board.put("kind", name, fields, now, rest_s=KIND_S)
        self._board.keep_only("kind", names, now)
        breakers = tables.breaker_rows(clock)[: COUNT_MAX["breaker"]]
        for name, state, why in breakers:
            known = self._board.get("breaker", name)
            since = known["since"] if known and known["state"] == state else now
            fields = {"name": name, "state": state, "why": why, "since": since}
            self._board.put("breaker", name, fields, now, rest_s=KIND_S)
        self._board.keep_only("breaker", [name for name, _, _ in breakers], now)

    # The whole.

    def _look_at_cluster(
        self, keeper: Keeper | None, now: float, node: Mapping[str, Any]
    ) -> None:
        scheduler, board = self._scheduler, self._board
        states = self._count()
        workers = scheduler.workers.values()
        fields: dict[str, Any] = {
            "at": now,
            "started_at": self._started_at,
            "term": self._term,
            "address": scheduler.address,
            "dashboard": dashboard_url(scheduler),
            "workers": len(workers),
            "threads": scheduler.total_nthreads,
            "memory": sum(ws.memory_limit or 0 for ws in workers),
            "memory_used": sum(memory_of(ws.metrics) for ws in workers),
            "tasks": states,
            "ended": self._ended,
            "failed": self._failed,
            "coordinators": _led(node),
        }
        plugin: Any = scheduler.plugins.get(SCHEDULING)
        if keeper is not None:
            summary = keeper.holding.engine.summary(keeper.holding.clock())
            for name in ("waiting", "held", "running", "threads_used", "tokens"):
                fields[name] = summary[name]
            fields["pressure"] = summary["pressure"]
            fields["policies_disabled"] = summary["policies_disabled"]
            fields["deadlines_met"] = self._met + summary["deadlines_met"]
            fields["deadlines_missed"] = self._missed + summary["deadlines_missed"]
            fields["threads_used"] += sum(
                max(0, post.taken) for post in keeper.holding.posts.all()
            )
        else:
            fields["running"] = states.get("processing", 0)
            fields["waiting"] = states.get("queued", 0) + states.get("no-worker", 0)
            fields["threads_used"] = sum(
                min(ws.nthreads, len(ws.processing)) for ws in workers
            )
            fields["problem"] = getattr(plugin, "failure", "")
        board.put("cluster", "", fields, now, differs=_differs)
        lanes = 0 if keeper is None else keeper.holding.engine.tables.lanes()
        more = {
            "worker": max(0, len(workers) - COUNT_MAX["worker"]),
            "kind": max(0, lanes - COUNT_MAX["kind"]),
        }
        board.put("more", "", {"counts": {k: n for k, n in more.items() if n}}, now)

    def _count(self) -> dict[str, int]:
        """Tasks by state; and how many have ended, in all that is seen."""
        states: dict[str, int] = {}
        done = erred = 0
        for prefix in self._scheduler.task_prefixes.values():
            for state, count in prefix.states.items():
                if count:
                    states[state] = states.get(state, 0) + count
            done += prefix.state_counts.get("memory", 0)
            erred += prefix.state_counts.get("erred", 0)
        if self._counted is not None:
            # Prefixes may go, with their counts.
            before_done, before_erred = self._counted
            failed = max(0, erred - before_erred)
            self._ended += max(0, done - before_done) + failed
            self._failed += failed
        self._counted = (done, erred)
        states.pop("forgotten", None)
        return states


def _differs(told: dict[str, Any], new: dict[str, Any]) -> bool:
    if new["at"] - told["at"] >= CLUSTER_S:
        return True
    return _steady(told) != _steady(new)


def _steady(cluster: dict[str, Any]) -> dict[str, Any]:
    """Without what moves all the time."""
    nodes = {**cluster["coordinators"], "lag": {}}
    return cluster | {"at": 0, "memory_used": 0, "coordinators": nodes}


def _led(node: Mapping[str, Any]) -> dict[str, Any]:
    """What only a leader knows of the coordinators, by how its own stands."""
    if node.get("role") != "leader":
        return {}
    active = {node["node"], *node["active"]}
    return {
        "voters": list(node["voters"]),
        "active": sorted(active),
        "quorum_left": node["quorum_left"],
        "lag": {str(one): lag for one, lag in node["lag"].items()},
    }


def _wall(clock: float, ahead: float) -> float | None:
    """A time of the engine's clock in seconds since 1970; None for never."""
    return round(max(0.0, clock + ahead), 1) if math.isfinite(clock) else None


def _digest(row: dict[str, Any]) -> str:
    words = "\0".join((row["class"], row["tenant"], row["needs"], str(row["lane"])))
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
