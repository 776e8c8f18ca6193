"""Short tasks are held on workers, but only behind what is over soon."""

from __future__ import annotations

from engine_kit import Bench, ask


def bench_of(threads: int) -> Bench:
    """A worker, and tests of which it is known how long they take."""
    bench = Bench(prefetch_s=0.05)
    bench.worker("w", threads=threads)
    for name, seconds in (("short", 0.015), ("long", 60.0)):
        bench.learn(name, seconds, f"{threads} thread{'s' * (threads > 1)}")
    return bench


def test_nothing_is_held_behind_a_long_task() -> None:
    """It would wait there for as long as that runs, whatever becomes free elsewhere."""
    bench = bench_of(1)
    bench.ready(ask("l", name="long"))
    assert bench.pump() == ["l"]
    bench.ready(ask("s", name="short"))
    assert bench.pump() == []
    bench.worker("other")
    assert bench.pump() == ["s"]
    assert bench.where["s"] == "other"


def test_a_worker_holds_as_much_as_its_short_tasks_make_room_for() -> None:
    """Of two threads one is free soon: about half is held."""
    held = {}
    for running in (["short", "short"], ["short", "long"], ["long", "long"]):
        bench = bench_of(2)
        bench.ready(*(ask(("r", n), name=name) for n, name in enumerate(running)))
        assert len(bench.pump()) == 2
        bench.ready(*(ask(n, name="short") for n in range(30)))
        held[tuple(running)] = len(bench.pump())
    assert list(held.values()) == [7, 4, 0]


def test_short_tasks_flow_again_when_a_long_one_has_ended() -> None:
    """The first takes its thread, and the next ones are held behind that."""
    bench = bench_of(1)
    bench.ready(ask("l", name="long"))
    bench.pump()
    bench.ready(*(ask(n, name="short") for n in range(30)))
    assert bench.pump() == []
    bench.now = 60.0
    bench.end("l")
    assert len(bench.pump()) == 5


def test_what_is_held_behind_a_task_that_does_not_end_is_taken_back() -> None:
    """It waits in the order again, and the worker holds nothing until that ends."""
    bench = bench_of(1)
    bench.ready(ask("a", name="short"), ask("b", name="short"))
    assert bench.pump() == ["a", "b"]
    bench.now = 0.4
    bench.pump()
    assert bench.plan.revokes == []  # it is a little late, as anything may be
    bench.now = bench.plan.wake_at or 0.0
    while not bench.plan.revokes and bench.now < 2.0:
        assert bench.plan.wake_at is not None
        bench.now = bench.plan.wake_at
        bench.pump()
    assert [one.key for one in bench.plan.revokes] == ["b"]
    bench.end("b", ending="released")
    bench.ready(ask("b", name="short"), ask("c", name="short"))
    assert bench.pump() == []
    bench.worker("other")
    assert bench.pump() == ["b", "c"]


def test_of_what_is_unknown_one_is_held_behind_each_that_is_not_slow() -> None:
    """Nobody knows how long it takes: it may be over at once."""
    bench = bench_of(2)
    bench.ready(ask("l", name="long"), ask("u", name="unknown"))
    assert len(bench.pump()) == 2
    bench.ready(*(ask(n, name=f"unknown {n}") for n in range(5)))
    assert len(bench.pump()) == 1
