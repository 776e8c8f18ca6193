"""A task waits for a faster worker where that ends it earlier, and never for long."""

from __future__ import annotations

import random

from engine_kit import Bench, ask, need

FAST, SLOW = "fast", "slow"


def bench_of(*, fast: int = 1, slow: int = 1, fast_s: float = 10.0) -> Bench:
    """Fast and slow workers, and a test that takes twelve times as long on the slow."""
    bench = Bench()
    for n in range(fast):
        bench.worker(f"{FAST}{n}", facts={"cpu.model": FAST})
    for n in range(slow):
        bench.worker(f"{SLOW}{n}", facts={"cpu.model": SLOW})
    kinds = {row["name"][:4]: row["kind"] for row in bench.engine.worker_rows(0.0)}
    for name, seconds in (("t", fast_s), ("brief", 0.02)):
        bench.learn(name, seconds, kinds[FAST])
        bench.learn(name, 12 * seconds, kinds[SLOW])
    bench.learn("even", 10.0, kinds[FAST])
    bench.learn("even", 12.0, kinds[SLOW])
    return bench


def test_a_task_waits_for_a_worker_on_which_it_ends_earlier() -> None:
    """120 s on the free one, or 10 s after the other is free in 10 s: that is 20 s."""
    bench = bench_of()
    bench.ready(ask("a", name="t"))
    bench.pump()
    bench.ready(ask("b", name="t"))
    assert bench.pump() == []
    found = bench.engine.explain("b", 0.0)
    assert found is not None
    assert found.why.startswith("waits for a faster worker, free in about ")
    assert "there it takes about 10 s, on the free one (slow" in found.why
    assert found.why.endswith("about 2 min")
    assert found.eta_s is not None
    assert 10.0 <= found.eta_s <= 15.0
    assert found.busy == 1
    (slow,) = found.lacks
    assert slow.example == "slow0"
    assert "ends earlier on a faster one" in slow.reasons[0]
    bench.now = 10.0
    bench.end("a", duration=10.0)
    assert bench.pump() == ["b"]
    assert bench.where["b"] == "fast0"


def test_it_takes_the_free_worker_where_the_others_are_busy_for_long() -> None:
    """Fast ones that are free only after it would have ended are no hope."""
    bench = bench_of()
    bench.learn("hour", 3600.0, "cpu fast, 1 thread")
    bench.ready(ask("a", need("cpu.model == 'fast'"), name="hour", expected_s=3600.0))
    bench.pump()
    bench.ready(ask("b", name="t"))
    assert bench.pump() == ["b"]
    assert bench.where["b"] == "slow0"


def test_short_tasks_and_small_differences_wait_for_nobody() -> None:
    """A second is not worth a wait, nor is a fifth of the time."""
    for name in ("brief", "even", "unknown"):
        bench = bench_of()
        bench.ready(ask("a", name="t"))
        bench.pump()
        bench.ready(ask("b", name=name))
        assert bench.pump() == ["b"]


def test_others_take_the_worker_that_one_finds_too_slow() -> None:
    """Of the same lane and of another: it is not kept for anybody."""
    for more in ({}, {"priority_class": "nightly"}):
        bench = bench_of()
        bench.ready(ask("a", name="t"))
        bench.pump()
        bench.ready(ask("b", name="t"), ask("c", name="even", **more))
        assert bench.pump() == ["c"]
        assert bench.where["c"] == "slow0"


def test_what_was_hoped_for_and_does_not_come_is_not_waited_for_long() -> None:
    """In all no longer than was to be saved; then the slow one is better than none."""
    bench = bench_of()
    bench.ready(ask("a", name="t"))
    bench.pump()
    bench.ready(ask("b", name="t"))
    assert bench.pump() == []
    while "b" not in bench.where:
        assert bench.plan.wake_at is not None, "nobody would look at it again"
        assert bench.plan.wake_at > bench.now
        bench.now = bench.plan.wake_at
        assert bench.now <= 110.0
        bench.pump()
    assert bench.where["b"] == "slow0"
    assert bench.now > 10.0


def test_more_urgent_work_has_the_faster_worker_first() -> None:
    """What comes later and is more urgent gets it; the wait is bounded all the same."""
    bench = bench_of()
    bench.ready(ask("a", name="t"))
    bench.pump()
    bench.ready(ask("b", name="t", priority_class="normal"))
    assert bench.pump() == []
    bench.now = 9.0
    bench.ready(ask("u", name="t", priority_class="interactive"))
    assert bench.pump() == []
    bench.now = 10.0
    bench.end("a", duration=10.0)
    bench.pump()
    assert bench.where["u"] == "fast0"
    while "b" not in bench.where:
        assert bench.plan.wake_at is not None
        bench.now = bench.plan.wake_at
        assert bench.now <= 110.0
        bench.pump()


def test_a_deadline_that_the_free_worker_would_miss_is_waited_for() -> None:
    """The other worker ends it in time, though not much earlier than the slow one."""
    bench = bench_of(fast_s=10.0)
    bench.ready(ask("a", name="t", expected_s=75.0))
    bench.pump()
    bench.ready(ask("b", name="t", deadline=128.0))
    assert bench.pump() == []
    bench.now = 75.0
    bench.end("a", duration=10.0)
    assert bench.pump() == ["b"]
    assert bench.where["b"] == "fast0"


def test_nobody_starves_whatever_comes() -> None:
    """Each task of a random stream starts within what it could save, and its turn."""
    rng = random.Random(7)
    bench = bench_of(fast=2, slow=3)
    ends: dict[int, float] = {}
    started: dict[int, float] = {}
    for n in range(120):
        bench.now += rng.uniform(0.0, 4.0)
        for key in [key for key, at in ends.items() if at <= bench.now]:
            seconds = 120.0 if bench.where[key].startswith(SLOW) else 10.0
            del ends[key]
            bench.end(key, duration=seconds)
        bench.ready(ask(n, name=rng.choice(("t", "even"))))
        for key in bench.pump():
            started[key] = bench.now
            slow = bench.where[key].startswith(SLOW)
            ends[key] = bench.now + (120.0 if slow else 10.0) * rng.uniform(0.8, 1.5)
    while len(started) < 120:
        bench.now = min([*ends.values(), bench.plan.wake_at or 1e9])
        assert bench.now < 1e9, "tasks wait, and nothing will happen"
        for key in [key for key, at in ends.items() if at <= bench.now]:
            del ends[key]
            bench.end(key, duration=10.0)
        for key in bench.pump():
            started[key] = bench.now
            ends[key] = bench.now + 30.0
    assert sorted(started) == list(range(120))
