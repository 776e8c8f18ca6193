"""What waits and who works, as rows of plain values. Pure."""

from __future__ import annotations

from typing import Any

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.lanes import Lane
from dtf_dask.scheduler_plugins.engine.match import needs_text


class Tables:
    """Reads the engine's state."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def queue_rows(self, now: float) -> list[dict[str, Any]]:
        """Lanes in which tasks wait, the most urgent first."""
        rows = [
            (head.due, head.seq, self._lane(lane, now))
            for lane in self._core.lanes
            if (head := lane.head()) is not None
        ]
        return [row for _, _, row in sorted(rows, key=lambda row: row[:2])]

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
        held = sum(task.state == "held" for task in core.lanes.tasks.values())
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
