"""A GPU that several workers advertise is one GPU."""

from __future__ import annotations

from dataclasses import replace

from engine_kit import GIB, Bench, ask, gpus, need

from dtf_dask.scheduler_plugins.adapter.offers import offer
from dtf_dask.scheduler_plugins.engine.terms import Gpu, Offer

ONE = gpus(1)
WHOLE = need(gpu=1)


def shared(*names: str, devices: tuple[Gpu, ...] = ONE, threads: int = 2) -> Bench:
    """Workers that have the same devices."""
    bench = Bench()
    for name in names:
        bench.worker(name, threads, gpus=devices)
    return bench


def test_two_tasks_never_have_one_device() -> None:
    """It is given once, whichever worker; its end wakes those that wait elsewhere."""
    bench = shared("a", "b", "c")
    bench.ready(*(ask(n, need(gpu=1, workers=["abc"[n]])) for n in range(3)))
    assert bench.pump() == [0]
    assert bench.pump() == []
    bench.end(0)
    assert bench.pump() == [1]
    bench.end(1)
    assert bench.pump() == [2]
    assert bench.where == {2: "c"}


def test_parts_add_up_over_workers() -> None:
    """So much of its memory as it has is given, by all of its workers together."""
    bench = shared("a", "b")
    some = (ask(n, need(gpu_memory=6 * GIB, workers=["ab"[n % 2]])) for n in range(4))
    bench.ready(*some)
    assert bench.pump() == [0, 1]
    assert bench.where == {0: "a", 1: "b"}
    bench.ready(ask("whole", WHOLE))
    bench.end(0)
    assert len(bench.pump()) == 1
    bench.end(*bench.where)
    assert len(bench.pump()) in (1, 2)


def test_a_part_and_a_whole_never_share_it() -> None:
    """Neither the one after the other, nor the other way round."""
    bench = shared("a", "b")
    bench.ready(ask("part", need(gpu_memory=GIB, workers=["a"])))
    bench.pump()
    bench.ready(ask("whole", need(gpu=1, workers=["b"])))
    assert bench.pump() == []
    bench.end("part")
    assert bench.pump() == ["whole"]
    bench.ready(ask("more", need(gpu_memory=GIB, workers=["a"])))
    assert bench.pump() == []


def test_a_worker_that_leaves_frees_the_device_for_the_others() -> None:
    """What it held is lost, and another worker's task has the device."""
    bench = shared("a", "b")
    bench.ready(ask("x", need(gpu=1, workers=["a"])))
    bench.ready(ask("y", need(gpu=1, workers=["b"])))
    assert bench.pump() == ["x"]
    assert bench.engine.worker_left("a", bench.now) == ["x"]
    bench.engine.check()
    assert bench.pump() == ["y"]


def test_a_device_stays_taken_by_a_task_whose_worker_has_lost_it() -> None:
    """Another worker has it still: it is given there when that task has ended."""
    for gone in ((replace(ONE[0], usable=False),), ()):
        bench = shared("a", "b")
        bench.ready(ask("x", need(gpu=1, workers=["a"]), preemptible=True))
        assert bench.pump() == ["x"]
        bench.engine.worker_changed("a", Offer(2, gpus=gone), bench.now)
        bench.engine.check()
        bench.ready(ask("y", WHOLE))
        assert bench.pump() == []
        assert [kill.key for kill in bench.plan.kills] == ["x"]
        bench.end("x", ending="killed")
        assert bench.pump() == ["y"]
        assert bench.where == {"y": "b"}


def test_a_device_that_comes_back_is_not_free_while_its_task_runs() -> None:
    """Whether it has a name or only a number."""
    for name in ("GPU-1", "card"):
        device = (Gpu(name, 0, GIB),)
        bench = shared("a", devices=device)
        bench.ready(ask("x", WHOLE))
        bench.pump()
        for devices in ((), device):
            bench.engine.worker_changed("a", Offer(2, gpus=devices), bench.now)
            bench.engine.check()
        bench.ready(ask("y", WHOLE))
        assert bench.pump() == []
        bench.end("x")
        assert bench.pump() == ["y"]


def test_devices_without_a_name_of_their_own_are_each_workers() -> None:
    """Names such as "card0" are the same on every machine."""
    bench = shared("a", "b", devices=(Gpu("card0", 0, GIB),))
    bench.ready(ask("x", WHOLE), ask("y", WHOLE))
    assert bench.pump() == ["x", "y"]


def test_a_gang_has_devices_for_all_or_does_not_start() -> None:
    """Room on two workers is no room for two if it is the same device."""
    bench = shared("a", "b", "c")
    bench.ready(*(ask(n, WHOLE, gang=("g", 2)) for n in range(2)))
    assert bench.pump() == []
    bench.worker("d", gpus=(Gpu("GPU-other", 0, GIB),))
    assert bench.pump() == [0, 1]
    assert "d" in bench.where.values()


def test_a_gang_starts_on_workers_that_share_enough_devices() -> None:
    """A machine with three devices and four workers runs three at once."""
    bench = shared("a", "b", "c", "d", devices=gpus(3))
    bench.ready(*(ask(n, WHOLE, gang=("g", 3)) for n in range(3)))
    assert bench.pump() == [0, 1, 2]
    assert sorted(grant.gpus for grant in bench.plan.grants) == [(0,), (1,), (2,)]


def test_a_kept_worker_has_its_devices_kept_too() -> None:
    """Small tasks on other workers do not keep a large one waiting for ever."""
    bench = shared("a", "b", "c", devices=gpus(2), threads=1)
    bench.ready(*(ask(n, WHOLE, name="small") for n in range(2)))
    bench.pump()
    bench.ready(ask("large", need(gpu=2)))
    bench.ready(*(ask(n, WHOLE, name="small") for n in range(2, 100)))
    for _ in range(80):
        bench.now += 30
        if "large" in bench.pump():
            return
        bench.end(next(iter(bench.where)), duration=30.0)
    raise AssertionError("the large one starves")


def test_the_end_of_the_work_on_a_device_is_foreseen() -> None:
    """A gang is told when the device is free, though its own worker is idle."""
    bench = shared("a", "b")
    bench.learn("x", 100.0, "2 threads 1 x GPU")
    bench.ready(ask("x", need(gpu=1, workers=["a"])))
    bench.pump()
    bench.worker("c", gpus=(Gpu("GPU-other", 0, GIB),))
    some = (ask(n, need(gpu=1, workers=["b", "c"]), gang=("g", 2)) for n in range(2))
    bench.ready(*some)
    bench.pump()
    found = bench.engine.explain(0, bench.now)
    assert found is not None
    assert "kept free" in found.why, found
    bench.end("x")
    assert bench.pump() == [0, 1]


def test_one_worker_does_not_tell_a_device_twice() -> None:
    """It would be given two tasks; the second is left out, and that is said."""
    told = {"id": "GPU-1", "memory": GIB, "state": "ok"}
    advert = {"version": 1, "gpus": [told | {"index": 0}, told | {"index": 1}]}
    made, problems = offer(advert, threads=1)
    assert [gpu.index for gpu in made.gpus] == [0]
    assert "told twice" in problems[0]
