"""One rule of the engine a test: who goes where, and when."""

from __future__ import annotations

import pytest
from engine_kit import GIB, Bench, ask, gpus, need

from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.terms import Ask, Gpu, Need, Offer, Reject


def test_a_task_gets_a_free_thread() -> None:
    """A ready task is granted to a worker with room, and no more than it has."""
    bench = Bench()
    bench.worker("w", threads=2)
    bench.ready(ask("a"), ask("b"), ask("c"))
    assert bench.pump() == ["a", "b"]
    assert bench.pump() == []
    bench.end("a")
    assert bench.pump() == ["c"]


def test_a_late_worker_picks_up_what_waits() -> None:
    """What no worker could run is granted when one comes that can."""
    bench = Bench()
    bench.worker("cpu", threads=4)
    bench.ready(ask("a", need("gpu.count >= 1")))
    assert bench.pump() == []
    bench.worker("gpu", facts={"gpu.count": 2})
    assert bench.pump() == ["a"]
    assert bench.where["a"] == "gpu"


def test_hardware_is_never_disregarded() -> None:
    """However long a task waits, it does not go where its demand is not met."""
    bench = Bench()
    bench.worker("arm", facts={"cpu.arch": "aarch64"})
    bench.ready(ask("a", need("cpu.arch == 'x86_64'")))
    for _ in range(5):
        bench.now += 10_000
        assert bench.pump() == []


def test_facts_that_change_are_looked_at_anew() -> None:
    """A worker that meets a demand from now on gets what waited for that."""
    bench = Bench()
    bench.worker("w", facts={"disk.free": 1})
    bench.ready(ask("a", need("disk.free >= '1 GiB'")))
    assert bench.pump() == []
    offer = Offer(1, facts={"disk.free": 2 * GIB})
    bench.engine.worker_changed("w", offer, bench.now)
    bench.engine.check()
    assert bench.pump() == ["a"]


def test_workers_that_differ_in_nothing_asked_are_one_group() -> None:
    """Hosts, disks and memory sizes make no groups until a demand tells them apart."""
    bench = Bench()
    for n in range(100):
        facts = {"host": f"h{n}", "disk.free": n * GIB}
        bench.worker(f"w{n}", memory=8 * GIB + n, facts=facts)
    assert bench.engine.summary(0)["groups"] == 1
    bench.ready(ask("a", need("disk.free >= '40 GiB'")))
    assert bench.engine.summary(0)["groups"] == 2
    assert bench.pump() == ["a"]
    assert int(bench.where["a"][1:]) >= 40


def test_memory_is_accounted() -> None:
    """Tasks that ask for memory share a worker only as far as it has it."""
    bench = Bench()
    bench.worker("w", threads=8, memory=10 * GIB)
    bench.ready(*(ask(n, need(memory=4 * GIB)) for n in range(3)), ask("plain"))
    assert bench.pump() == [0, 1, "plain"]
    bench.end(0)
    assert bench.pump() == [2]


def test_whole_devices_are_given_to_one_task_each() -> None:
    """Each task is told devices of its own, and none runs without."""
    bench = Bench()
    bench.worker("w", threads=8, gpus=gpus(3))
    bench.ready(*(ask(n, need(gpu=2)) for n in range(2)), ask("one", need(gpu=1)))
    assert bench.pump() == [0, "one"]
    assert [grant.gpus for grant in bench.plan.grants] == [(0, 1), (2,)]
    bench.end(0)
    assert bench.pump() == [1]
    assert bench.plan.grants[0].gpus == (0, 1)


def test_parts_of_a_device_fill_it_before_another_is_begun() -> None:
    """Tasks that ask for device memory share devices; whole ones stay whole."""
    bench = Bench()
    bench.worker("w", threads=8, gpus=gpus(2, 10 * GIB))
    bench.ready(*(ask(n, need(gpu_memory=4 * GIB)) for n in range(2)))
    bench.ready(ask("whole", need(gpu=1)), ask("more", need(gpu_memory=4 * GIB)))
    assert bench.pump() == [0, 1, "whole"]
    assert [grant.gpus for grant in bench.plan.grants] == [(0,), (0,), (1,)]


def test_a_lost_device_is_not_given() -> None:
    """A device that is not usable counts as none, and its preemptible task is ended."""
    bench = Bench()
    bench.worker("w", threads=4, gpus=gpus(1))
    bench.ready(ask("a", need(gpu=1), preemptible=True))
    assert bench.pump() == ["a"]
    lost = Offer(4, gpus=(Gpu("GPU-0", 0, 16 * GIB, usable=False),))
    bench.engine.worker_changed("w", lost, bench.now)
    bench.ready(ask("b", need(gpu=1)))
    assert bench.pump() == []
    assert [kill.key for kill in bench.plan.kills] == ["a"]
    assert bench.plan.notices[0].topic == "hardware"
    bench.end("a", ending="killed")
    assert bench.pump() == []


def test_custom_resources_are_accounted() -> None:
    """Dask's own ``resources=`` are kept, whatever their name."""
    bench = Bench()
    bench.worker("w", threads=8, resources={"board": 2.0})
    bench.worker("x", threads=8)
    bench.ready(*(ask(n, need(board=1)) for n in range(3)))
    assert bench.pump() == [0, 1]
    assert set(bench.where.values()) == {"w"}


def test_several_threads_are_accounted() -> None:
    """A task that asks for cpu takes so many threads."""
    bench = Bench()
    bench.worker("w", threads=4)
    bench.ready(ask("a", need(cpu=3)), ask("b", need(cpu=3)), ask("c"))
    assert bench.pump() == ["a", "c"]
    bench.end("a")
    assert bench.pump() == ["b"]


def test_tokens_are_of_the_whole_cluster() -> None:
    """A licence that one worker brings is used on any, by one task at a time."""
    bench = Bench()
    bench.worker("w", threads=4, tokens={"sim": 1.0})
    bench.worker("x", threads=4)
    bench.ready(*(ask(n, need(tokens={"sim": 1.0})) for n in range(2)), ask("free"))
    assert bench.pump() == [0, "free"]
    bench.end(0)
    assert bench.pump() == [1]


def test_who_wants_many_tokens_is_not_starved() -> None:
    """Overdue work keeps later work from taking its tokens one by one."""
    bench = Bench()
    bench.worker("w", threads=8, tokens={"sim": 2.0})
    bench.ready(ask("x", need(tokens={"sim": 1.0})))
    assert bench.pump() == ["x"]
    bench.ready(ask("big", need(tokens={"sim": 2.0})))
    assert bench.pump() == []
    bench.now = 700.0
    bench.ready(ask("late", need(tokens={"sim": 1.0})))
    assert bench.pump() == []
    bench.end("x")
    assert bench.pump() == ["big"]


def test_an_exclusive_task_is_alone() -> None:
    """Nothing else runs on its worker, before it has ended."""
    bench = Bench()
    bench.worker("w", threads=4)
    bench.ready(ask("alone", need(exclusive=True)), ask("b"))
    assert bench.pump() == ["alone"]
    bench.end("alone")
    assert bench.pump() == ["b"]
    bench.ready(ask("again", need(exclusive=True), priority_class="interactive"))
    assert bench.pump() == []
    bench.end("b")
    assert bench.pump() == ["again"]


def test_a_worker_accepts_only_what_it_says() -> None:
    """`--accept` holds for every task, and its words come back in the explanation."""
    bench = Bench()
    bench.worker("night", accept="class == 'nightly'")
    bench.ready(ask("day"), ask("late", priority_class="nightly"))
    assert bench.pump() == ["late"]
    found = bench.engine.explain("day", 0.0)
    assert found is not None
    assert "accepts only class == 'nightly'" in found.lacks[0].reasons[0]


def test_accept_may_look_at_names() -> None:
    """Lanes tell tasks apart by all that a worker's ``accept`` looks at."""
    bench = Bench()
    bench.ready(ask("a", name="slow"), ask("b", name="fast"))
    bench.worker("w", threads=4, accept="prefix == 'fast'")
    assert bench.pump() == ["b"]
    bench.ready(ask("c", name="fast"), ask("d", name="slow"))
    assert bench.pump() == ["c"]


def test_classes_go_before_each_other_until_patience_is_out() -> None:
    """More urgent classes first; one that has waited out its patience before them."""
    bench = Bench()
    bench.worker("w")
    bench.ready(
        ask("nightly", priority_class="nightly"),
        ask("normal"),
        ask("interactive", priority_class="interactive"),
    )
    assert bench.order(["nightly", "normal", "interactive"]) == [
        *("interactive", "normal", "nightly")
    ]
    bench.ready(ask("old", priority_class="nightly"))
    bench.now = 3601.0
    bench.ready(ask("new", priority_class="interactive"))
    assert bench.order(["old", "new"]) == ["old", "new"]


def test_priority_counts_within_a_class() -> None:
    """Dask's priority goes first, and the order of arrival decides the rest."""
    bench = Bench()
    bench.worker("w")
    bench.ready(ask("a"), ask("b", priority=1.0), ask("c"))
    assert bench.order("abc") == ["b", "a", "c"]


def test_what_must_start_now_goes_first() -> None:
    """Least laxity: the deadline less what it takes, not the deadline alone."""
    bench = Bench()
    bench.worker("w")
    bench.learn("long", 80.0)
    bench.learn("short", 1.0)
    bench.ready(ask("short", deadline=90.0), ask("long", deadline=100.0), ask("c"))
    assert bench.order(["short", "long", "c"]) == ["long", "short", "c"]


def test_reprioritize_moves_what_waits() -> None:
    """A changed class, priority or deadline counts at once; what runs is not told."""
    bench = Bench()
    bench.worker("w")
    bench.ready(ask("a"), ask("b"), ask("c"))
    assert bench.pump() == ["a"]
    count = bench.engine.reprioritize(
        ["c", "a", "x"], 0.0, priority_class="interactive"
    )
    assert count == 1
    bench.engine.check()
    bench.end("a")
    assert bench.order("bc") == ["c", "b"]
    bench.ready(ask("d"), ask("e", deadline=1.0))
    bench.engine.reprioritize(["e"], 0.0, deadline=None)
    bench.engine.reprioritize(["d"], 0.0, priority=5.0)
    assert bench.order("de") == ["d", "e"]


def test_preferences_choose_among_those_with_room() -> None:
    """The better worker if it has room; the other rather than waiting."""
    bench = Bench()
    bench.worker("a", facts={"cpu.cores": 4})
    bench.worker("b", facts={"cpu.cores": 16})
    bench.ready(*(ask(n, need(prefer="cpu.cores >= 8")) for n in range(3)))
    assert bench.pump() == [0, 1]
    assert bench.where == {0: "b", 1: "a"}


def test_work_goes_where_its_inputs_are() -> None:
    """Among workers alike, the one that holds the inputs."""
    bench = Bench()
    for name in "abc":
        bench.worker(name, threads=2)
    bench.ready(ask("x", near={"c": 1e9, "b": 1e3}))
    bench.pump()
    assert bench.where["x"] == "c"


def test_the_least_loaded_of_workers_alike() -> None:
    """Work is spread, and ties go by name."""
    bench = Bench()
    for name in "cab":
        bench.worker(name, threads=2)
    bench.ready(*(ask(n) for n in range(4)))
    bench.pump()
    assert bench.where == {0: "a", 1: "b", 2: "c", 3: "a"}


def test_scarce_hardware_is_left_to_those_who_need_it() -> None:
    """Flexible work goes elsewhere first, and gives way where scarce work waits."""
    bench = Bench()
    bench.worker("gpu", threads=2, facts={"gpu.count": 1})
    for n in range(7):
        bench.worker(f"w{n}")
    bench.ready(*(ask(n) for n in range(9)))
    bench.ready(*(ask(f"g{n}", need("gpu.count >= 1")) for n in range(2)))
    bench.pump()
    assert [bench.where.get(key) for key in ("g0", "g1")] == ["gpu", "gpu"]
    bench.end("g0")
    assert len(bench.pump()) == 1  # and is not left idle when nobody needs it


def test_avoided_workers_are_the_last_resort() -> None:
    """A retry goes elsewhere while there is another worker, and waits for it."""
    bench = Bench()
    bench.worker("a")
    bench.worker("b")
    bench.ready(ask("x"), ask("y"))
    assert len(bench.pump()) == 2
    bench.end("x")  # on a
    bench.ready(ask("retry", avoid=frozenset("a")), ask("z"))
    assert bench.pump() == ["z"]
    bench.end("y")
    assert bench.pump() == ["retry"]
    assert bench.where["retry"] == "b"
    bench.engine.worker_left("b", 0.0)
    bench.end("z")
    bench.ready(ask("again", avoid=frozenset("a")))
    assert bench.pump() == ["again"]


def test_only_the_workers_asked_for() -> None:
    """Dask's restrictions to workers are kept, and a late one is waited for."""
    bench = Bench()
    bench.worker("a", threads=4)
    bench.ready(ask("x", need(workers=["b", "c"])))
    assert bench.pump() == []
    bench.worker("c")
    assert bench.pump() == ["x"]
    assert bench.where["x"] == "c"


def test_a_paused_worker_gets_nothing() -> None:
    """Until it goes on."""
    bench = Bench()
    bench.worker("w")
    bench.engine.worker_paused("w", True, 0.0)
    bench.ready(ask("a"))
    assert bench.pump() == []
    bench.engine.worker_paused("w", False, 0.0)
    assert bench.pump() == ["a"]


def test_foreign_tasks_take_threads() -> None:
    """What Dask runs by itself counts as taken."""
    bench = Bench()
    bench.worker("w", threads=2)
    bench.engine.worker_load("w", 2, 0.0)
    bench.ready(ask("a"))
    assert bench.pump() == []
    bench.engine.worker_load("w", 1, 0.0)
    assert bench.pump() == ["a"]


def test_a_seceded_task_gives_its_thread_back() -> None:
    """But keeps its other amounts."""
    bench = Bench()
    bench.worker("w", threads=1, memory=GIB)
    bench.ready(ask("a", need(memory=GIB)), ask("m", need(memory=GIB)), ask("b"))
    assert bench.pump() == ["a"]
    bench.engine.seceded("a", 0.0)
    assert bench.pump() == ["b"]
    bench.end("a", "b")
    assert bench.pump() == ["m"]


def test_withdrawn_tasks_are_not_granted() -> None:
    """Nor do they hold up others; they may be ready again."""
    bench = Bench()
    bench.worker("w")
    bench.ready(ask("a"), ask("b"))
    bench.engine.withdraw("a", 0.0)
    assert bench.pump() == ["b"]
    bench.end("b")
    bench.ready(ask("a"))
    assert bench.pump() == ["a"]


def test_what_a_lost_worker_held_may_run_again() -> None:
    """Its keys are told, and its tokens are gone with it."""
    bench = Bench()
    bench.worker("w", tokens={"t": 1.0})
    bench.ready(ask("a", need(tokens={"t": 1.0})))
    bench.pump()
    assert bench.engine.worker_left("w", 0.0) == ["a"]
    bench.where.clear()
    bench.engine.check()
    bench.worker("x")
    bench.ready(ask("a", need(tokens={"t": 1.0})))
    assert bench.pump() == []
    assert bench.engine.explain("a", 0.0).help.startswith("start workers that bring")


def test_what_was_taken_back_keeps_its_place() -> None:
    """A revoked or killed task has waited since it was first ready."""
    bench = Bench()
    bench.worker("w")
    bench.ready(ask("a"))
    bench.pump()
    bench.now = 5.0
    bench.ready(ask("b"))
    bench.end("a", ending="killed")
    bench.now = 6.0
    bench.ready(ask("a"))
    assert bench.pump() == ["a"]


@pytest.mark.parametrize(
    "what", [{"memory": -1.0}, {"memory": float("nan")}, {"gpu": 0.5}, {"cpu": 1e300}]
)
def test_absurd_amounts_are_refused(what: dict[str, float]) -> None:
    """At submission, and if they come unannounced; the others go on."""
    bench = Bench()
    bench.worker("w")
    wrong = Ask("x", "x", Need(amounts=tuple(what.items())))
    (answer,) = bench.engine.admit([wrong], 0.0)
    assert answer.refused is not None
    assert answer.refused.kind == "impossible"
    bench.ready(wrong, ask("a"))
    assert bench.pump() == ["a"]
    assert bench.plan.rejects == [Reject("x", "impossible", answer.refused.message)]


def test_the_example_in_the_docstring_holds() -> None:
    """What `Engine` shows is what it does."""
    import doctest

    from dtf_dask.scheduler_plugins.engine import engine

    assert doctest.testmod(engine).failed == 0
    assert Engine().settings.classes[0].name == "interactive"


def test_needs_that_nobody_has_any_more_are_forgotten() -> None:
    """So that groups stay few, whatever was asked in the past; what waits goes on."""
    bench = Bench(wants_max=10)
    for n in range(20):
        bench.worker(f"w{n}", facts={"host": f"h{n:02}"})
    bench.ready(ask("first", need("host == 'h19'")))
    for n in range(100):
        bench.ready(ask(n, need(f"host == 'h{n % 20:02}'", cpu=1 + n % 3)))
        bench.pump()
        bench.end(*bench.where)
        bench.engine.ended(n, "released", None, 0.0)
    assert bench.engine.summary(0.0)["groups"] <= 11
    bench.ready(ask("last", need("host == 'h07'")))
    assert bench.pump() == ["last"]
    assert bench.where["last"] == "w7"


def test_what_ended_is_still_explained() -> None:
    """Why it ran where it ran, for a while after its end."""
    bench = Bench()
    bench.worker("w")
    bench.ready(ask("a"))
    bench.pump()
    bench.end("a")
    found = bench.engine.explain("a", 0.0)
    assert found is not None
    assert found.worker == "w"


def test_many_kinds_of_work_at_once() -> None:
    """Hundreds of lanes, each with a task, are served in order."""
    bench = Bench()
    bench.worker("w", threads=1, memory=10_000)
    bench.ready(*(ask(n, need(memory=n)) for n in range(300)))
    assert bench.order(range(300)) == list(range(300))
