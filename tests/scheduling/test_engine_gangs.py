"""Gangs, large work, order without data: all or none, and nobody starves."""

from __future__ import annotations

from typing import Any

from engine_kit import GIB, Bench, ask, need


def gang(name: str, size: int, what: Any = None, **more: Any) -> list[Any]:
    """All members of a gang."""
    keys = [f"{name}{n}" for n in range(size)]
    return [ask(key, what, gang=(name, size), **more) for key in keys]


def test_a_gang_starts_on_workers_of_its_own_or_not_at_all() -> None:
    """No member without the others, no two on one worker."""
    bench = Bench()
    bench.worker("a", threads=4)
    bench.worker("b", threads=4)
    members = gang("g", 3)
    bench.ready(*members[:2])
    assert bench.pump() == []
    bench.ready(members[2])
    assert bench.pump() == []
    assert (
        bench.engine.explain("g0", 0.0).help == "start 1 more workers with any worker"
    )
    bench.worker("c")
    assert sorted(bench.pump()) == ["g0", "g1", "g2"]
    assert sorted(bench.where.values()) == ["a", "b", "c"]


def test_a_gang_is_not_starved_by_small_work() -> None:
    """Workers are kept free for it one by one, while other work goes on coming."""
    bench = Bench()
    for name in "ab":
        bench.worker(name)
    bench.ready(ask(0, name="s"), ask(1, name="s"))
    bench.pump()
    bench.ready(*gang("g", 2))
    for n in range(2, 20):
        bench.now += 1
        bench.ready(ask(n, name="s"))
        bench.pump()
        if "g0" in bench.where:
            break
        bench.end(min(k for k in bench.where if isinstance(k, int)))
    assert {"g0", "g1"} <= bench.where.keys()
    assert bench.now < 10


def test_gangs_that_want_the_same_workers_do_not_lock() -> None:
    """The more urgent one has its workers first; the other follows."""
    bench = Bench()
    for name in "abc":
        bench.worker(name)
    bench.ready(ask("x"))
    bench.pump()
    bench.ready(*gang("g", 3), *gang("h", 2), *gang("i", 2))
    assert bench.pump() == []
    bench.now += 1
    assert bench.pump() == []  # h and i do not take what g waits for
    bench.end("x")
    assert sorted(bench.pump()) == ["g0", "g1", "g2"]
    bench.end("g0", "g1")
    assert sorted(bench.pump()) == ["h0", "h1"]
    bench.end("h0", "h1", "g2")
    assert sorted(bench.pump()) == ["i0", "i1"]


def test_a_gang_that_no_cluster_could_run_holds_up_nobody() -> None:
    """It waits for more workers, and others have those that there are."""
    bench = Bench()
    bench.worker("a")
    bench.worker("b")
    bench.ready(*gang("g", 3), *gang("h", 2))
    assert sorted(bench.pump()) == ["h0", "h1"]


def test_short_work_runs_behind_a_waiting_gang() -> None:
    """Backfill: what will have ended by then, by what was learned; nothing else."""
    bench = Bench()
    bench.learn("long", 100.0)
    bench.learn("short", 1.0)
    bench.learn("middle", 90.0)
    bench.worker("a")
    bench.worker("b")
    bench.ready(ask("x", name="long"))
    bench.pump()
    bench.ready(*gang("g", 2))
    assert bench.pump() == []
    bench.now += 50
    bench.ready(ask("m", name="middle"), ask("s", name="short"), ask("u"))
    assert bench.pump() == ["s"]
    bench.end("s")
    bench.end("x")
    assert sorted(bench.pump())[:2] == ["g0", "g1"]


def test_more_urgent_work_goes_before_a_waiting_gang() -> None:
    """Workers kept for a gang are kept from what comes after it in the order only."""
    bench = Bench()
    bench.worker("a")
    bench.worker("b")
    bench.ready(ask("x"))
    bench.pump()
    bench.ready(*gang("g", 2))
    assert bench.pump() == []
    bench.ready(ask("i", priority_class="interactive"))
    assert bench.pump() == ["i"]


def test_a_gang_of_unlike_members_is_matched() -> None:
    """The choosy member gets the one worker it can have, the others the rest."""
    bench = Bench()
    bench.worker("a", facts={"gpu.count": 1})
    bench.worker("b", facts={"gpu.count": 1})
    bench.worker("c")
    bench.ready(gang("g", 3)[0], ask("g1", need(workers=["a"]), gang=("g", 3)))
    bench.ready(ask("g2", need("gpu.count >= 1"), gang=("g", 3)))
    assert sorted(bench.pump()) == ["g0", "g1", "g2"]
    assert bench.where == {"g0": "c", "g1": "a", "g2": "b"}


def test_a_member_that_is_withdrawn_lets_the_gang_wait_again() -> None:
    """Its workers are anybody's until it is complete again."""
    bench = Bench()
    bench.worker("a")
    bench.worker("b")
    bench.ready(ask("x"))
    bench.pump()
    bench.ready(*gang("g", 2))
    bench.pump()
    assert bench.engine.summary(0)["kept"] == 2
    bench.engine.withdraw("g0", 0.0)
    bench.engine.check()
    assert bench.engine.summary(0)["kept"] == 0
    bench.ready(ask("y"))
    assert bench.pump() == ["y"]
    bench.end("x", "y")
    assert bench.pump() == []
    bench.ready(ask("g0", gang=("g", 2)))
    assert sorted(bench.pump()) == ["g0", "g1"]


def test_a_member_that_was_lost_starts_again_alone() -> None:
    """The others have started and need not start again."""
    bench = Bench()
    for name in "abc":
        bench.worker(name)
    members = gang("g", 3)
    bench.ready(*members)
    bench.pump()
    lost = bench.where["g1"]
    bench.engine.worker_left(lost, 0.0)
    del bench.where["g1"]
    bench.worker("d")
    bench.ready(members[1])
    assert bench.pump() == ["g1"]


def test_who_cancels_a_member_cancels_the_gang() -> None:
    """The others would wait for ever: they are told so."""
    bench = Bench()
    bench.worker("a")
    bench.ready(*gang("g", 2))
    bench.pump()
    bench.end("g0", ending="released")
    bench.pump()
    assert [(one.key, one.kind) for one in bench.plan.rejects] == [("g1", "upstream")]


def test_a_worker_that_leaves_is_no_longer_counted_on() -> None:
    """Another one is kept in its stead."""
    bench = Bench()
    for name in "abc":
        bench.worker(name)
    bench.ready(ask("x"), ask("y"))
    bench.pump()
    bench.ready(*gang("g", 2))
    bench.pump()
    assert bench.engine.summary(0)["kept"] == 2
    bench.engine.worker_left("c", 0.0)
    bench.engine.check()
    bench.pump()
    assert bench.engine.summary(0)["kept"] == 2
    bench.end("x", "y")
    assert sorted(bench.pump()) == ["g0", "g1"]


def test_large_work_gets_its_room_in_the_end() -> None:
    """A task that never fits beside others has a worker kept free when it is due."""
    bench = Bench()
    bench.worker("w", threads=4, memory=8 * GIB)
    small = need(memory=2 * GIB)
    bench.ready(*(ask(n, small) for n in range(4)))
    bench.pump()
    bench.ready(ask("big", need(memory=7 * GIB)))
    n = 4
    while "big" not in bench.where:
        assert bench.now < 1000
        bench.now += 10
        bench.ready(ask(n, small))
        bench.pump()
        n += 1
        for key in sorted(key for key in bench.where if key != "big")[:1]:
            bench.end(key)
    assert 600 <= bench.now < 700
    bench.end("big")


def test_after_waits_for_any_ending() -> None:
    """Order without data: a failure counts as an end, a retry to come does not."""
    bench = Bench()
    bench.worker("w", threads=4)
    first, second = ask("a"), ask("b", after=("a",))
    assert not any(one.refused for one in bench.engine.admit([second, first], 0.0))
    bench.ready(second)
    assert bench.pump() == []
    assert bench.engine.explain("b", 0.0).why == "it runs after a"
    bench.ready(first)
    assert bench.pump() == ["a"]
    bench.engine.ended("a", "failed", None, 0.0, final=False)
    del bench.where["a"]
    bench.ready(first)
    assert bench.pump() == ["a"]
    bench.end("a", ending="failed")
    assert bench.pump() == ["b"]


def test_after_somebody_who_is_cancelled() -> None:
    """It is over, so that nobody waits for it."""
    bench = Bench()
    bench.worker("w")
    bench.engine.admit([ask("a"), ask("b", after=("a",))], 0.0)
    bench.ready(ask("b", after=("a",)))
    bench.engine.withdraw("a", 0.0)
    assert bench.pump() == ["b"]


def test_circles_and_unknown_names_are_refused() -> None:
    """All who are in the circle, and who names nobody; who waits for them is taken."""
    bench = Bench()
    asks = [
        *(ask("a", after=("b",)), ask("b", after=("c",)), ask("c", after=("a",))),
        *(ask("d", after=("a",)), ask("e", after=("nobody",)), ask("s", after=("s",))),
        ask("k", after=("elsewhere",)),
    ]
    answers = bench.engine.admit(asks, 0.0, known=lambda key: key == "elsewhere")
    kinds = [one.refused and one.refused.kind for one in answers]
    assert kinds == ["cycle", "cycle", "cycle", None, "unknown", "cycle", None]
    assert "nobody" in answers[4].refused.message
    assert (
        answers[0].refused.message
        == "after= closes a circle: a after b after c after a"
    )


def test_long_chains_are_no_circles() -> None:
    """Ten thousand in a row are looked at in one go."""
    bench = Bench()
    asks = [ask(n, after=(n - 1,) if n else ()) for n in range(10_000)]
    assert not any(one.refused for one in bench.engine.admit(asks, 0.0))


def test_large_work_with_a_deadline_gets_its_room_in_time() -> None:
    """A worker is kept free so early that it is free when the task must begin."""
    bench = Bench()
    bench.learn("s", 10.0, kind="2 threads")
    bench.learn("big", 20.0, kind="2 threads")
    bench.worker("w", threads=2, memory=8 * GIB)
    bench.ready(*(ask(n, need(memory=4 * GIB), name="s") for n in range(2)))
    bench.pump()
    bench.ready(ask("big", need(memory=8 * GIB), deadline=100.0))
    started = {0: 0.0, 1: 0.0}
    n = 2
    while "big" not in bench.where:
        bench.now += 1
        for key, at in list(started.items()):
            if bench.now >= at + 10 + key % 2:
                bench.end(key)
                del started[key]
        bench.ready(ask(n, need(memory=4 * GIB), name="s"))
        n += 1
        started |= {key: bench.now for key in bench.pump() if key != "big"}
    assert 60 <= bench.now <= 80
