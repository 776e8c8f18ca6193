"""An engine that takes over from one that died goes on as that would have."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import GIB, Bench, ask, gpus, need
from test_engine_random import Play

from dtf_dask.scheduler_plugins.engine.adopting import Run
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.terms import Offer
from dtf_dask.scheduler_plugins.policies.learned import Row
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings


def rebuilt(game: Play) -> Engine:
    """What takes over from a game's engine, by what tasks and workers say."""
    old, now = game.engine._core, game.now
    engine = Engine(old.settings)
    additions = game.engine.memory.take(now)
    kept = additions.first(len(additions))
    engine.memory.recall(
        [
            Row(kind, name, group, tuple(some), 0.0)
            for kind, name, group, some, _ in kept
        ],
        *(now, 0.0),
    )
    for name, offer in game.offers.items():
        engine.worker_joined(name, offer, now)
        engine.worker_paused(name, name in game.asleep, now)
        engine.worker_load(name, old.places.workers[name].foreign, now)
    asks = list(game.asks.values())
    known = {one.key for one in asks}
    for one in asks:
        one.after = tuple(key for key in one.after if key in known)
    assert engine.adopting.known(asks) == []
    for key, worker in game.running.items():
        task = old.running[key]
        if task.queued:
            continue  # its worker had not begun it: it dropped it
        begun = task.granted_at if task.begun_at is None else task.begun_at
        place = old.places.workers[worker]
        ids = {d.card: d.gpu.id for d in place.devices.values()}
        names = tuple(ids.get(card, "gone") for card in place.cards.get(key, ()))
        run = Run(game.asks[key], worker, begun, names)
        assert engine.adopting.run(run, now)
        assert not engine.adopting.run(run, now), "it is there already"
        new = engine._core.running[key]
        assert new.begun_at == begun
        assert new.gpus == task.gpus or "gone" in names
    for key, broken in game.engine.memory.gangs().items():
        mark = engine.adopting.broken if broken else engine.adopting.began
        mark(game.asks[key])
    engine.adopting.settled()
    engine.check()
    for key in asks_that_wait(game):
        ready_at = old.lanes.tasks[key].ready_at if key in old.lanes.tasks else now
        engine.ready(game.asks[key], now, ready_at)
        engine.check()
    return engine


def asks_that_wait(game: Play) -> list[Any]:
    """Those that a successor hears of as ready, in the order of their arrival."""
    old = game.engine._core
    back = [key for key in game.running if old.running[key].queued]
    waiting = sorted(game.waiting, key=lambda key: old.lanes.tasks[key].seq)
    return [*waiting, *back]


def in_order(engine: Engine) -> dict[Any, list[Any]]:
    """The keys of each lane, the most urgent first.

    But for those with deadlines, whose place hangs on what was known of their duration
    when they came.
    """
    found: dict[Any, list[Any]] = {}
    for task in sorted(engine._core.lanes.tasks.values(), key=lambda t: (t.due, t.seq)):
        if task.ask.deadline is not None:
            continue
        lane = (id(task.ask.need), task.ask.priority_class, task.ask.tenant)
        found.setdefault(lane, []).append(task.key)
    return found


def without(order: dict[Any, list[Any]], keys: set[Any]) -> dict[Any, list[Any]]:
    left = {lane: [k for k in line if k not in keys] for lane, line in order.items()}
    return {lane: line for lane, line in left.items() if line}


@pytest.mark.parametrize("seed", range(16))
def test_a_successor_goes_on(seed: int) -> None:
    """What runs has its place, its devices, its tokens; what waits has its place in
    the order; nothing is granted twice; and all work comes to its end."""
    game = Play(seed, prefetch_s=(0.0, 2.0)[seed % 2])
    game.gone = {}
    game.engine.memory.take(0.0)  # from now on it notes what it learns
    for _ in range(150):
        game.step()
    game.pump()
    old = game.engine
    back = {key for key in game.running if old._core.running[key].queued}
    before = in_order(old)
    game.engine = rebuilt(game)
    for key in back:
        del game.running[key]
        game.waiting[key] = None
        game.gone[key] = None
    assert without(in_order(game.engine), back) == before
    assert game.engine._core.running.keys() == old._core.running.keys() - back
    new = game.engine._core
    assert new.tokens.used.get("sim", 0.0) == sum(
        amount for task in new.running.values() for _, amount in task.want.tokens
    )
    for _ in range(50):
        game.step()
    game.drain()


def test_a_gang_that_had_started_is_whole() -> None:
    """Of three members one runs, one is done and forgotten: the third, which lost its
    worker, starts alone. A gang that had not started starts whole."""
    bench = Bench()
    for name in "abc":
        bench.worker(name)
    old = [ask(n, gang=("g", 3)) for n in (1, 2)]
    fresh = [ask(n, gang=("h", 2)) for n in (5, 6)]
    engine = bench.engine
    engine.adopting.known([*old, *fresh])
    assert engine.adopting.run(Run(old[0], "a", -5.0), 0.0)
    engine.adopting.settled()
    engine.ready(old[1], 0.0, -9.0)
    engine.ready(fresh[0], 0.0, -9.0)
    assert bench.pump() == [2]
    engine.ready(fresh[1], 0.0, -9.0)
    assert bench.pump() == []  # there is one worker
    bench.end(2)
    assert sorted(bench.pump()) == [5, 6]


def test_what_runs_counts() -> None:
    """A thread, memory, tokens and a device of one that runs are nobody else's; more
    than there is may run, and nothing is added to that."""
    bench = Bench()
    offer = Offer(2, 8 * GIB, {}, gpus(2), tokens={"sim": 1.0})
    bench.engine.worker_joined("a", offer, 0.0)
    runs = [
        (ask(1, need(gpu=1)), ("GPU-1",)),
        (ask(2, need(memory=6 * GIB, tokens={"sim": 1.0})), ()),
        (ask(3, need(tokens={"sim": 1.0})), ()),
    ]
    for one, devices in runs:
        assert bench.engine.adopting.run(Run(one, "a", -1.0, devices), 0.0)
        bench.engine.check()
    bench.engine.adopting.settled()
    assert bench.engine._core.running[1].gpus == (1,)
    bench.ready(ask(4, need(gpu=1)), ask(5, need(memory=4 * GIB)))
    bench.ready(ask(6, need(tokens={"sim": 1.0})))
    assert bench.pump() == []
    bench.end(3)
    assert bench.pump() == []  # three ran on two threads
    bench.end(2)
    assert bench.pump() == [5] or bench.where.get(4) == "a"


def test_devices_are_never_given_twice() -> None:
    """One that claims a device that another one has has none; one that claims none
    has one that is free."""
    bench = Bench()
    bench.engine.worker_joined("a", Offer(8, 8 * GIB, {}, gpus(2)), 0.0)
    adopt = bench.engine.adopting.run
    assert adopt(Run(ask(1, need(gpu=1)), "a", 0.0, ("GPU-0",)), 0.0)
    assert adopt(Run(ask(2, need(gpu=1)), "a", 0.0, ("GPU-0",)), 0.0)
    assert adopt(Run(ask(3, need(gpu=1)), "a", 0.0), 0.0)
    assert not adopt(Run(ask(4), "nobody", 0.0), 0.0)
    bench.engine.check()
    running = bench.engine._core.running.values()
    assert [task.gpus for task in running] == [(0,), (-1,), (1,)]
    bench.ready(ask(5, need(gpu=1)))
    assert bench.pump() == []


def test_nobody_is_shed_who_was_taken() -> None:
    """More may wait than the bound, of those whom the one that died had granted; what
    comes later is shed as ever."""
    bounded = EngineSettings(
        overload=OverloadSettings(queue_length_max=3), prefetch_s=0.0
    )
    bench = Bench(bounded)
    for number in range(5):
        bench.engine.ready(ask(number), 0.0, -1.0)
    bench.engine.adopting.settled()
    bench.pump()
    assert not bench.plan.rejects
    bench.ready(ask("late"))
    bench.pump()
    assert [reject.key for reject in bench.plan.rejects] == ["late"]
    bench.worker("a", threads=4)
    assert bench.pump() == [0, 1, 2, 3]
    bench.ready(*(ask(f"more {n}") for n in range(3)))
    bench.pump()
    assert len(bench.plan.rejects) == 1  # the bound is what it was
