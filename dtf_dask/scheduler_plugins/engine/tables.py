"""What waits and who works, as rows of plain values. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.forecast import Forecast
from dtf_dask.scheduler_plugins.engine.lanes import Lane
from dtf_dask.scheduler_plugins.engine.match import needs_text
from dtf_dask.scheduler_plugins.engine.tallies import Tally

_NONE = {
    "waiting": 0,
    "held": 0,
    "ready_at": math.inf,
    "latest": math.inf,
    **asdict(Tally()),
}


class Tables:
    """Reads the engine's state."""

    def __init__(self, core: Core, forecast: Forecast) -> None:
        self._core, self._forecast = core, forecast

    def next_s(self, serial: int, now: float) -> float | None:
        """About how long until the next task of a lane, by its number, begins."""
        for lane in self._core.lanes:
            if lane.serial == serial:
                return self._forecast.next_s(lane, now)
        return None

    def queue_rows(self, now: float) -> list[dict[str, Any]]:
        """Lanes in which tasks wait, the most urgent first."""
        return [self._lane(lane, now) for lane in self._urgent()]

    def kind_rows(self, now: float, limit: int) -> list[dict[str, Any]]:
        """The same, of the most urgent lanes only, and when their first tasks are due.

        ``due`` and ``ready_at`` are by the engine's clock; ``lane`` numbers them.
        """
        rows = []
        for lane in self._urgent()[:limit]:
            head = lane.head()
            assert head is not None
            more = {"lane": lane.serial, "due": head.due, "ready_at": head.ready_at}
            rows.append(self._lane(lane, now) | more | {"key": head.key})
        return rows

    def _urgent(self) -> list[Lane]:
        found = [
            (head.due, head.seq, lane)
            for lane in self._core.lanes
            if (head := lane.head()) is not None
        ]
        return [lane for _, _, lane in sorted(found)]  # no two tasks have one number

    def lanes(self) -> int:
        """In how many lanes tasks wait."""
        return sum(bool(lane.live) for lane in self._core.lanes)

    def class_rows(self) -> dict[str, dict[str, Any]]:
        """The classes: what waits, is held back, runs, has ended; no walk over tasks.

        ``ready_at`` and ``latest`` are of those that are first in their lanes: since
        when the one has waited that has done so for longest, and when the one must
        begin that has least time left for its deadline.
        """
        core = self._core
        held, tallies = core.lanes.held_of, core.tallies.of
        names = dict.fromkeys((*core.rank, *held, *tallies))
        rows: dict[str, dict[str, Any]] = {
            name: _NONE
            | (asdict(tallies[name]) if name in tallies else {})
            | {"held": held[name]}
            for name in names
        }
        for lane in core.lanes:
            head = lane.head()
            if head is None:
                continue
            row = rows.get(lane.priority_class)
            if row is None:
                row = rows[lane.priority_class] = dict(_NONE)
            row["waiting"] += lane.live
            row["ready_at"] = min(row["ready_at"], head.ready_at)
            row["latest"] = min(row["latest"], head.latest)
        return rows

    def breaker_rows(self, now: float) -> list[tuple[str, str, str]]:
        """Breakers that are not closed: of what, in which state, and why."""
        breakers = self._core.breakers
        if breakers.quiet:
            return []
        return [
            (f"{test} on {where}" if test else where, state, why)
            for (test, where), state, why in breakers.rows(now)
        ]

    def _lane(self, lane: Lane, now: float) -> dict[str, Any]:
        head = lane.head()
        assert head is not None
        waits_for = ""
        if not lane.groups:
            waits_for = "a worker that can run it"
        elif lane in self._core.parked:
            waits_for = "tokens, or its tenant's quota"
        elif lane.level or lane.keys or lane.missing:
            waits_for = "room"
        return {
            "needs": needs_text(lane.want),
            "class": lane.priority_class,
            "tenant": lane.tenant,
            "waiting": lane.live,
            "longest_s": round(max(0.0, now - head.ready_at), 3),
            "next": str(head.key),
            "workers": lane.able,
            "waits_for": waits_for,
        }

    def standing_of(self, name: str, now: float) -> tuple[str, str, str, str]:
        """Of a worker: its kind, its breaker, why it is shut, for what it is kept."""
        core = self._core
        place = core.places.workers.get(name)
        if place is None:
            return "", "", "", ""
        breakers, unit = core.breakers, place.reserved
        return (
            place.kind,
            "closed" if breakers.quiet else breakers.state(name, now),
            place.barred,
            "" if unit is None else (unit.name or str(unit.tasks[0].key)),
        )

    def worker_rows(self, now: float) -> list[dict[str, Any]]:
        """Workers, by name."""
        core = self._core
        rows = []
        for name, place in sorted(core.places.workers.items()):
            unit = place.reserved
            kept = "" if unit is None else (unit.name or str(unit.tasks[0].key))
            group = place.group
            assert group is not None
            rows.append(
                {
                    "name": name,
                    "kind": place.kind,
                    "group": group.index,
                    "threads": place.threads,
                    "running": len(place.held) - len(place.queue),
                    "held": len(place.queue),
                    "foreign": place.foreign,
                    "memory": place.offer.memory,
                    "memory_used": int(place.memory),
                    "gpus": len(place.devices),
                    "gpus_used": sum(not d.idle for d in place.devices.values()),
                    "gpus_lost": sum(not d.gpu.usable for d in place.devices.values()),
                    "breaker": core.breakers.state(name, now),
                    "shut": place.barred,
                    "kept_for": kept,
                }
            )
        return rows

    def summary(self, now: float) -> dict[str, Any]:
        """The engine in a few numbers."""
        core = self._core
        held = core.lanes.held
        by_class = dict.fromkeys(core.rank, 0)
        for lane in core.lanes:
            name = lane.priority_class
            by_class[name] = by_class.get(name, 0) + lane.live
        threads_used = sum(place.cpu for place in core.places)
        return {
            "waiting": len(core.lanes.tasks) - held,
            "held": held,
            "running": len(core.running) - len(core.queued),
            "queued_on_workers": len(core.queued),
            "by_class": by_class,
            "workers": len(core.places.workers),
            "groups": len(list(core.places.groups)),
            "threads": core.places.threads,
            "threads_used": threads_used,
            "shut": sum(bool(place.barred) for place in core.places),
            "lanes": len(core.lanes),
            "kept": sum(len(unit.kept) for unit in core.keeping.units),
            "tokens": {
                name: {"total": total, "used": core.tokens.used.get(name, 0.0)}
                for name, total in sorted(core.tokens.total.items())
            },
            "pressure": core.overload.told(len(core.lanes.tasks), now).message(),
            "policies_disabled": dict(core.policies.disabled),
            "deadlines_met": core.met,
            "deadlines_missed": core.missed,
            "misses": [
                {"key": str(key), "late_s": round(late_s, 3), "ago_s": now - at}
                for key, late_s, at in reversed(core.misses)
            ],
        }
