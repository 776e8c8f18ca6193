"""Whatever happens in whatever order, the engine's promises hold.

A machine of random events: workers of four kinds that join, change, pause, fill and
leave; tasks of all sorts that are ready, withdrawn, started, end. After every event the
engine checks its invariants, and every grant is checked against what the worker has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from engine_kit import GIB, gpus, need
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.demand import parse
from dtf_dask.facts import TASK_FACTS
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.match import (
    Capacity,
    Wants,
    hardware_lacks,
    task_facts,
)
from dtf_dask.scheduler_plugins.engine.terms import Ask, Gang, Offer

OFFERS = [
    Offer(4, 16 * GIB, {"cpu.arch": "x86_64", "memory": 16 * GIB}),
    Offer(2, 8 * GIB, {"cpu.arch": "aarch64"}, resources={"board": 1.0}),
    Offer(
        *(8, 32 * GIB, {"cpu.arch": "x86_64", "gpu.count": 2}, gpus(2)),
        tokens={"sim": 1.0},
    ),
    Offer(
        *(1, 4 * GIB, {"cpu.arch": "x86_64"}),
        accept=parse("class != 'nightly'", TASK_FACTS),
    ),
    Offer(2, 8 * GIB, {"cpu.arch": "aarch64", "gpu.count": 1}, gpus(1, 8 * GIB)),
]
NEEDS = [
    need(),
    need("cpu.arch == 'x86_64'"),
    need("gpu.count >= 1", prefer="gpu.count >= 2"),
    need(gpu=1),
    need(gpu=2),
    need(gpu_memory=3 * GIB),
    need(memory=5 * GIB),
    need(memory=9 * GIB, cpu=2),
    need(board=1),
    need(tokens={"sim": 1.0}),
    need(exclusive=True),
    need(cpu=3),
    need(workers=["w1", "w2"]),
]
CLASSES = ("interactive", "release", "normal", "nightly")


class Play:
    """Random events on one engine; every answer is checked."""

    def __init__(self, seed: int, **more: Any) -> None:
        self.random = Random(seed)
        self.engine = Engine(EngineSettings(**more))
        self.now = 0.0
        self.number = 0
        self.asks: dict[Any, Ask] = {}
        self.waiting: dict[Any, None] = {}
        self.running: dict[Any, str] = {}
        self.offers: dict[str, Offer] = {}
        self.asleep: dict[str, None] = {}
        self.trace: list[Any] = []

    def step(self) -> None:
        """One random event."""
        kinds = {
            self.submit: 10,
            self.pump: 10,
            self.finish: 8,
            self.join: 2,
            self.leave: 1,
            self.change: 1,
            self.pause: 1,
            self.load: 1,
            self.withdraw: 1,
            self.reprioritize: 1,
            self.begin: 2,
        }
        event = self.random.choices(list(kinds), list(kinds.values()))[0]
        self.now += self.random.choice((0.0, 0.001, 0.1, 1.0, 100.0))
        event()
        self.engine.check()

    def submit(self) -> None:
        random = self.random
        what = random.choice(NEEDS)
        size = random.choice((0, 0, 0, 0, 0, 2, 2 if what.workers else 3))
        gang = Gang(f"g{self.number}", size) if size else None
        asks = []
        for _ in range(size or random.choice((1, 1, 5))):
            self.number += 1
            key = ("t", self.number)
            others = list(self.asks)
            asks.append(
                Ask(
                    *(key, f"n{random.randrange(8)}", what),
                    priority_class=random.choice(CLASSES),
                    tenant=random.choice("ab"),
                    priority=float(random.choice((0, 0, 0, 1, -1))),
                    deadline=random.choice((None, None, self.now + 30)),
                    gang=gang,
                    after=tuple(random.sample(others, 1))
                    if others and random.random() < 0.1
                    else (),
                    preemptible=random.random() < 0.5,
                    avoid=frozenset(random.sample(["w1", "w2"], random.choice((0, 1)))),
                    near={"w1": 5.0} if random.random() < 0.2 else {},
                )
            )
        answers = self.engine.admit(asks, self.now)
        for one, answer in zip(asks, answers, strict=True):
            if answer.refused is None:
                self.asks[one.key] = one
                self.waiting[one.key] = None
                self.engine.ready(one, self.now)

    def pump(self) -> None:
        plan = self.engine.pump(self.now)
        assert len({grant.key for grant in plan.grants}) == len(plan.grants)
        for grant in plan.grants:
            self.trace.append((grant.key, grant.worker, grant.gpus))
            assert grant.key in self.waiting, "withdrawn, or granted twice"
            del self.waiting[grant.key]
            self.running[grant.key] = grant.worker
            self.hard(grant.key, grant.worker, grant.gpus)
            self.engine.explain(grant.key, self.now)
        gangs: dict[Any, list[Any]] = {}
        for key, one in self.asks.items():
            if one.gang:
                gangs.setdefault(one.gang, []).append(key)
        for keys in gangs.values():
            states = {key in self.waiting for key in keys}
            fresh = all(one not in self.gone for one in keys)
            assert len(states) == 1 or not fresh, "part of a gang was granted"
        for kill in plan.kills:
            self.engine.ended(kill.key, "killed", None, self.now)
            self.back(kill.key)
        for revoke in plan.revokes:
            self.engine.ended(revoke.key, "released", None, self.now)
            self.back(revoke.key)
        for reject in plan.rejects:
            self.forget(reject.key)

    gone: dict[Any, None]

    def hard(self, key: Any, worker: str, devices: tuple[int, ...]) -> None:
        """The worker could run the task if it had nothing else, and is awake."""
        one, offer = self.asks[key], self.offers[worker]
        want = Wants().of(one.need)
        assert hardware_lacks(want, offer.facts) == ()
        assert Capacity.of(offer).lacks(want.shape) == ()
        assert worker not in self.asleep
        if one.need.workers is not None:
            assert worker in one.need.workers
        if offer.accept is not None:
            assert offer.accept.evaluate(task_facts(one))
        assert len(devices) == (want.shape.gpu or bool(want.shape.gpu_memory))

    def back(self, key: Any) -> None:
        """It is ready again."""
        self.running.pop(key, None)
        self.waiting[key] = None
        self.gone[key] = None
        self.engine.ready(self.asks[key], self.now)

    def forget(self, key: Any) -> None:
        self.waiting.pop(key, None)
        self.asks.pop(key, None)
        self.gone[key] = None
        self.engine.ended(key, "released", None, self.now)

    def finish(self) -> None:
        if self.running:
            key = self.random.choice(list(self.running))
            ending = self.random.choice(("done", "done", "done", "failed", "lost"))
            self.engine.ended(key, ending, self.random.random(), self.now, final=False)
            if ending == "done":
                del self.running[key], self.asks[key]
                self.gone[key] = None
            else:
                self.back(key)

    def begin(self) -> None:
        if self.running:
            self.engine.begun(self.random.choice(list(self.running)), self.now)

    def join(self) -> None:
        name = f"w{self.random.randrange(6)}"
        self.offers[name] = self.with_devices(self.random.choice(OFFERS), name)
        self.asleep.pop(name, None) if name not in self.offers else None
        self.engine.worker_joined(name, self.offers[name], self.now)

    def with_devices(self, offer: Offer, name: str) -> Offer:
        """Devices that others have too, or of its own; some are lost."""
        if not offer.gpus:
            return offer
        own = self.random.choice(("", f"-{name}", "nameless"))
        lost = self.random.random() < 0.2
        return replace(
            offer,
            gpus=tuple(
                replace(
                    gpu,
                    id=f"gpu {gpu.index}" if own == "nameless" else gpu.id + own,
                    usable=not (lost and number == 0),
                )
                for number, gpu in enumerate(offer.gpus)
            ),
        )

    def change(self) -> None:
        if self.offers:
            self.join()

    def leave(self) -> None:
        if self.offers:
            name = self.random.choice(list(self.offers))
            del self.offers[name]
            self.asleep.pop(name, None)
            for key in self.engine.worker_left(name, self.now):
                self.back(key)

    def pause(self) -> None:
        if self.offers:
            name = self.random.choice(list(self.offers))
            paused = name not in self.asleep
            self.engine.worker_paused(name, paused, self.now)
            self.asleep.pop(name, None)
            if paused:
                self.asleep[name] = None

    def load(self) -> None:
        if self.offers:
            name = self.random.choice(list(self.offers))
            self.engine.worker_load(name, self.random.randrange(3), self.now)

    def withdraw(self) -> None:
        if self.waiting:
            key = self.random.choice(list(self.waiting))
            self.forget(key)

    def reprioritize(self) -> None:
        if self.waiting:
            key = self.random.choice(list(self.waiting))
            name = self.random.choice(CLASSES)
            self.engine.reprioritize([key], self.now, priority_class=name)
            self.asks[key] = replace(self.asks[key], priority_class=name)

    def drain(self) -> None:
        """With every kind of worker, all work comes to its end."""
        for name in list(self.offers):
            for key in self.engine.worker_left(name, self.now):
                self.back(key)
        self.offers.clear()
        self.asleep.clear()
        for n in range(9):
            name = f"w{n}"
            offer = OFFERS[n % 3]  # with devices of its own: large gangs need them
            own = (replace(gpu, id=f"{gpu.id}-{name}") for gpu in offer.gpus)
            self.offers[name] = replace(offer, gpus=tuple(own))
            self.engine.worker_joined(name, self.offers[name], self.now)
        for _ in range(400):
            if not self.waiting and not self.running:
                return
            self.now += 50.0
            self.pump()
            self.engine.check()
            for key in list(self.running)[:7]:
                self.engine.ended(key, "done", 1.0, self.now)
                del self.running[key], self.asks[key]
                self.gone[key] = None
        left = {str(self.engine.explain(key, self.now)) for key in self.waiting}
        raise AssertionError(f"starved: {left}")


def play(seed: int, steps: int, **more: Any) -> Play:
    """A random game from beginning to end."""
    game = Play(seed, **more)
    game.gone = {}
    for _ in range(steps):
        game.step()
    game.drain()
    return game


@given(
    seed=st.integers(0, 1 << 32),
    prefetch_s=st.sampled_from((0.0, 0.05, 2.0)),
    shares=st.sampled_from((1, 8)),
)
@settings(max_examples=100)
def test_promises_hold_whatever_happens(
    seed: int, prefetch_s: float, shares: int
) -> None:
    """No oversubscription, no broken constraint, gangs whole, nobody starves."""
    play(seed, 120, prefetch_s=prefetch_s, reservations_max=shares)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.drill) for n in range(1, 6))]
)
def test_long_games(seed: int) -> None:
    """The same, for a thousand events."""
    play(seed, 1000)


def test_the_same_events_give_the_same_trace() -> None:
    """Under two hash seeds: no decision depends on the order of a set."""
    code = (
        "from test_engine_random import play\n"
        "for seed in range(4): print(play(seed, 300).trace)"
    )
    traces = []
    for hash_seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        env["PYTHONPATH"] = str(Path(__file__).parent)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=env,
        )
        traces.append(done.stdout)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 10_000
