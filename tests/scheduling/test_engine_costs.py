"""What a decision costs: generous ceilings, so that nothing grows with what waits.

Measured in CPU time of this process, the best of a few tries, for machines are busy,
and by what this one takes for other things: some are slower than others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from time import process_time

from engine_kit import ask, need
from machine_pace import cpu_slowness

from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.terms import Ask, Need, Offer

PLAIN_S = 110e-6
KINDS_S = 180e-6
JOIN_S = 0.015


def best_of(tries: int, measured: Callable[[], float], below: float) -> float:
    """The best of so many tries, or the first that is below it."""
    best = math.inf
    for _ in range(tries):
        best = min(best, measured() / cpu_slowness())
        if best < below:
            break
    return best


def run(engine: Engine, asks: list[Ask], duration: Callable[[], float]) -> float:
    """CPU seconds for all of them: ready, granted one by one, ended."""
    begin = process_time()
    for one in asks:
        engine.ready(one, 0.0)
    now, done = 0.0, 0
    plan = engine.pump(now)
    todo = [grant.key for grant in plan.grants]
    while done < len(asks):
        if done == len(todo):
            # Nothing runs, and what is left waits for a while: as long as it asked for.
            assert plan.wake_at is not None
            now = plan.wake_at
        else:
            now += 1e-4
            engine.ended(todo[done], "done", duration(), now)
            done += 1
        plan = engine.pump(now)
        todo += [grant.key for grant in plan.grants]
    return process_time() - begin


def plain() -> float:
    engine = Engine(EngineSettings())
    for n in range(10):
        engine.worker_joined(f"w{n}", Offer(4), 0.0)
    nothing = Need()
    asks = [Ask(("t", n), "inc", nothing) for n in range(10_000)]
    return run(engine, asks, lambda: 0.01) / len(asks)


def kinds() -> float:
    random = Random(1)
    engine = Engine(EngineSettings())
    for n in range(1000):
        kind = n % 20
        facts = {
            "cpu.arch": "x86_64" if kind < 14 else "aarch64",
            "cpu.model": f"m{kind}",
            "gpu.count": kind // 5,
            "host": f"h{n}",
        }
        engine.worker_joined(f"w{n}", Offer(4, memory=n, facts=facts), 0.0)
    needs = [
        *(need("gpu.count >= 1"), need("gpu.count >= 3"), need("cpu.arch == 'x86_64'")),
        *(need("gpu.count >= 2 and cpu.arch == 'x86_64'"), need()),
    ]
    classes = ("interactive", "release", "normal", "nightly")
    asks = [
        ask(
            *(("t", n), random.choice(needs)),
            name=f"test{n % 500}",
            priority_class=random.choice(classes),
            tenant=random.choice("abc"),
        )
        for n in range(10_000)
    ]
    return run(engine, asks, lambda: random.uniform(1, 5)) / len(asks)


def test_a_plain_task() -> None:
    """No demand, ten workers."""
    assert best_of(3, plain, PLAIN_S) < PLAIN_S


def test_a_task_with_all_demands() -> None:
    """Hardware, class and tenant, a thousand workers of twenty kinds."""
    assert best_of(5, kinds, KINDS_S) < KINDS_S


def test_a_worker_joins_while_much_waits() -> None:
    """With 100,000 waiting tasks of many lanes; each worker is of a new kind."""
    engine = Engine(EngineSettings())
    needs = [need(f"cpu.cores >= {n}") for n in range(1, 11)]
    classes = ("interactive", "release", "normal", "nightly")
    for n in range(100_000):
        more = {"priority_class": classes[n % 4], "tenant": "ab"[n % 2]}
        engine.ready(ask(n, needs[n % 10], name="t", **more), 0.0)
    engine.pump(0.0)
    number = iter(range(100))

    def join() -> float:
        n = next(number)
        offer = Offer(4, facts={"cpu.cores": 4 + n % 3, "cpu.model": f"m{n}"})
        begin = process_time()
        engine.worker_joined(f"w{n}", offer, 1.0)
        grants = engine.pump(1.0).grants
        assert len(grants) >= 4
        return process_time() - begin

    assert best_of(6, join, JOIN_S) < JOIN_S
    engine.check()
