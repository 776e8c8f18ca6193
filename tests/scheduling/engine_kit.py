"""Short words for the engine's tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dtf_dask.demand import parse, parse_preference
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.terms import (
    Ask,
    Ending,
    Gang,
    Gpu,
    Need,
    Offer,
    Plan,
)

GIB = 1 << 30


def need(hardware: str = "", prefer: str = "", **more: Any) -> Need:
    """A need: amounts as keywords."""
    own = {k: more.pop(k) for k in ("tokens", "exclusive", "workers") if k in more}
    if "tokens" in own:
        own["tokens"] = tuple(sorted(own["tokens"].items()))
    if "workers" in own:
        own["workers"] = frozenset(own["workers"])
    return Need(
        hardware=parse(hardware) if hardware else None,
        prefer=parse_preference(prefer) if prefer else None,
        amounts=tuple(sorted(more.items())),
        **own,
    )


def ask(key: Any, what: Need | None = None, **more: Any) -> Ask:
    """An ask; a gang is a name and a size."""
    if "gang" in more:
        more["gang"] = Gang(*more["gang"])
    more.setdefault("name", str(key))
    return Ask(key, need=what or Need(), **more)


def gpus(count: int, memory: int = 16 * GIB) -> tuple[Gpu, ...]:
    """Devices of one size."""
    return tuple(Gpu(f"GPU-{n}", n, memory) for n in range(count))


class Bench:
    """An engine with a clock, checked after every event."""

    def __init__(self, settings: EngineSettings | None = None, **more: Any) -> None:
        more.setdefault("prefetch_s", 0.0)
        self.engine = Engine(settings or EngineSettings(**more))
        self.now = 0.0
        self.where: dict[Any, str] = {}
        self.plan = Plan()

    def worker(self, name: str, threads: int = 1, **more: Any) -> None:
        """A worker joins."""
        accept = more.pop("accept", "")
        if accept:
            from dtf_dask.facts import TASK_FACTS

            more["accept"] = parse(accept, TASK_FACTS)
        self.engine.worker_joined(name, Offer(threads, **more), self.now)
        self.engine.check()

    def ready(self, *asks: Ask) -> None:
        """Tasks are ready."""
        for one in asks:
            self.engine.ready(one, self.now)
            self.engine.check()

    def pump(self) -> list[Any]:
        """Decide; returns the keys that were granted, in order."""
        self.plan = self.engine.pump(self.now)
        self.engine.check()
        for grant in self.plan.grants:
            assert grant.key not in self.where, "granted twice"
            self.where[grant.key] = grant.worker
        return [grant.key for grant in self.plan.grants]

    def end(
        self, *keys: Any, ending: Ending = "done", duration: float | None = None
    ) -> None:
        """Tasks end."""
        for key in keys:
            self.engine.ended(key, ending, duration, self.now)
            self.where.pop(key, None)
            self.engine.check()

    def learn(self, name: str, seconds: float, kind: str = "1 thread") -> None:
        """It took so long, often."""
        self.engine.learn(name, kind, [seconds] * 5)

    def order(self, keys: Iterable[Any]) -> list[Any]:
        """In which order these are granted, one by one."""
        left = set(keys)
        found: list[Any] = []
        while left:
            granted = self.pump()
            if not granted:
                break
            found += granted
            left -= set(granted)
            self.end(*granted)
        return found
