"""The engine with its policies: deadlines, preemption, breakers, overload, shares."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Bench, ask, need

from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import (
    CLASSES,
    EngineSettings,
    PriorityClass,
)
from dtf_dask.scheduler_plugins.engine.terms import Ask
from dtf_dask.scheduler_plugins.policies.breaker_terms import BreakerSettings
from dtf_dask.scheduler_plugins.policies.custom import Policies, WorkerView
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings
from dtf_dask.scheduler_plugins.policies.quota import Quota, TenantSettings


def test_a_deadline_that_cannot_be_met_is_said_at_once() -> None:
    """With the numbers; refused only if that was asked for."""
    bench = Bench()
    bench.worker("w")
    bench.learn("t", 2400.0)
    one = ask("a", name="t", deadline=600.0)
    two = ask("b", name="t", deadline=600.0, on_late="refuse")
    three = ask("c", name="new", deadline=600.0, on_late="refuse")
    answers = bench.engine.admit([one, two, three], 0.0)
    assert answers[0].refused is None
    assert answers[0].warning == (
        "cannot meet: needs about 40 min, the deadline is in 10 min"
    )
    assert answers[1].refused is not None
    assert answers[1].refused.kind == "deadline"
    assert answers[2] == bench.engine.admit([ask("d")], 0.0)[0]


@pytest.mark.parametrize("guessed", [False, True])
def test_what_a_task_says_of_itself_is_believed(guessed: bool) -> None:
    """``expected`` is as good as runs: it refuses and cancels; a guess only warns."""
    bench = Bench()
    bench.worker("w")
    more: dict[str, Any] = {"deadline": 10.0, "guessed": guessed}
    refused = ask("a", expected_s=60.0, on_late="refuse", **more)
    (answer,) = bench.engine.admit([refused], 0.0)
    assert (answer.refused is None) == guessed
    assert answer.warning.startswith("cannot meet") == guessed
    bench.ready(ask("x"))
    bench.pump()
    bench.ready(ask("b", expected_s=8.0, on_late="cancel", **more))
    for bench.now, gone in ((1.0, False), (2.0, not guessed), (10.0, True)):
        bench.pump()
        assert (bench.engine.explain("b", bench.now) is None) == gone


def test_work_that_goes_first_counts_in_admission() -> None:
    """What runs, waits more urgently, and came together is in the way."""
    bench = Bench()
    bench.worker("w")
    bench.learn("t", 100.0)
    many = [ask(n, name="t", deadline=350.0) for n in range(6)]
    late = [bool(one.warning) for one in bench.engine.admit(many, 0.0)]
    assert late == [False, False, False, True, True, True]
    bench.ready(*many[:3])
    bench.pump()
    (answer,) = bench.engine.admit([ask("x", name="t", deadline=360.0)], 0.0)
    assert answer.warning.startswith("cannot meet: needs about")


def test_hopeless_work_is_cancelled_on_request() -> None:
    """When it would have had to begin; a miss of the others is recorded."""
    bench = Bench()
    bench.worker("w")
    bench.learn("t", 50.0)
    bench.ready(ask("x"))
    bench.pump()
    bench.ready(ask("a", name="t", deadline=60.0, on_late="cancel"))
    bench.ready(ask("b", name="t", deadline=60.0))
    bench.pump()
    assert bench.plan.wake_at is not None
    assert bench.plan.wake_at <= 10.0
    bench.now = 11.0
    bench.pump()
    assert [(one.key, one.kind) for one in bench.plan.rejects] == [("a", "deadline")]
    bench.end("x")
    assert bench.pump() == ["b"]
    bench.now = 70.0
    bench.end("b")
    bench.pump()
    (notice,) = bench.plan.notices
    assert notice.message == "ended 10 s after its deadline"
    summary = bench.engine.summary(75.0)
    assert summary["deadlines_missed"] == 1
    assert summary["misses"] == [{"key": "b", "late_s": 10.0, "ago_s": 5.0}]
    found = bench.engine.explain("b", 75.0)
    assert found is not None
    assert "ended 10 s after its deadline" in found.why


def test_lower_classes_give_way_to_a_deadline() -> None:
    """Just before it must begin; the room is kept until the kill is confirmed."""
    bench = Bench()
    bench.worker("w")
    bench.learn("t", 10.0)
    bench.ready(ask("low", priority_class="nightly", preemptible=True))
    bench.pump()
    bench.ready(ask("due", name="t", deadline=100.0))
    assert bench.pump() == []
    assert bench.plan.kills == []
    bench.now = 89.5
    assert bench.pump() == []
    assert [kill.key for kill in bench.plan.kills] == ["low"]
    assert "gives way to 't'" in bench.plan.kills[0].reason
    bench.ready(ask("other"))
    assert bench.pump() == []
    assert bench.plan.kills == []
    bench.end("low", ending="killed")
    bench.ready(ask("low", priority_class="nightly", preemptible=True))
    assert bench.pump() == ["due"]


def test_nobody_of_the_same_class_gives_way() -> None:
    """Nor anybody who may not be killed."""
    bench = Bench()
    bench.worker("w", threads=2)
    bench.ready(ask("a", preemptible=True), ask("b", priority_class="nightly"))
    bench.pump()
    bench.ready(ask("due", deadline=5.0))
    bench.now = 4.5
    bench.pump()
    assert bench.plan.kills == []


def test_a_class_may_preempt_without_a_deadline() -> None:
    """If it is configured so: at once."""
    classes = (PriorityClass("now", 0.0, preempts=True), *CLASSES)
    bench = Bench(EngineSettings(classes=classes, prefetch_s=0.0))
    bench.worker("w")
    bench.ready(ask("a", preemptible=True))
    bench.pump()
    bench.ready(ask("b", priority_class="now"))
    bench.pump()
    assert [kill.key for kill in bench.plan.kills] == ["a"]
    bench.end("a", ending="killed")
    assert bench.pump() == ["b"]


def fail(bench: Bench, key: Any, name: str, worker: str) -> None:
    """A task of this name fails on this worker."""
    bench.ready(ask(key, need(workers=[worker]), name=name))
    bench.pump()
    bench.end(key, ending="failed")


def test_a_worker_that_fails_what_passes_elsewhere_is_shut() -> None:
    """Its breaker opens, says so, is tried after a while, and closes."""
    bench = Bench(EngineSettings(breakers=BreakerSettings(open_s=30.0), prefetch_s=0.0))
    bench.worker("bad")
    bench.worker("good")
    for n in range(3):
        fail(bench, ("f", n), f"t{n}", "bad")
        bench.ready(ask(("p", n), need(workers=["good"]), name=f"t{n}"))
        bench.pump()
        bench.end(("p", n))
    bench.ready(ask("x"), ask("y"))
    assert len(bench.pump()) == 1
    assert bench.where.get("x") == "good"
    assert any(one.topic == "breaker" for one in bench.plan.notices)
    found = bench.engine.explain("y", bench.now)
    assert found is not None
    assert "circuit breaker is open" in found.lacks[0].reasons[0]
    assert bench.engine.worker_rows(bench.now)[0]["breaker"] == "open"
    assert bench.plan.wake_at == 30.0
    bench.now = 30.0
    assert bench.pump() == ["y"]
    assert bench.where["y"] == "bad"
    bench.ready(ask("z"))
    assert bench.pump() == []  # one is tried at a time
    bench.end("y")
    assert bench.pump() == ["z"]


def test_an_unhealthy_worker_gets_nothing() -> None:
    """Until its own check passes again."""
    bench = Bench()
    bench.worker("w")
    bench.engine.worker_health("w", False, "disk full", 0.0)
    bench.ready(ask("a"))
    assert bench.pump() == []
    assert "disk full" in bench.engine.worker_rows(0.0)[0]["shut"]
    bench.engine.worker_health("w", True, "", 0.0)
    assert bench.pump() == ["a"]


def test_too_much_work_is_shed_and_said() -> None:
    """The newest of the lowest class; it is announced, and ends by itself."""
    settings = EngineSettings(overload=OverloadSettings(queue_length_max=4))
    bench = Bench(settings)
    bench.ready(*(ask(n) for n in range(3)))
    bench.ready(*(ask(f"n{n}", priority_class="nightly") for n in range(3)))
    bench.pump()
    assert [one.key for one in bench.plan.rejects] == ["n2", "n1"]
    assert [one.topic for one in bench.plan.notices] == ["overload"]
    assert bench.engine.summary(0.0)["pressure"]["state"] == "shedding"
    (answer,) = bench.engine.admit([ask("z", priority_class="nightly")], 0.0)
    assert answer.refused is not None
    assert answer.refused.kind == "shed"
    for key in (0, 1, 2):
        bench.engine.withdraw(key, 0.0)
    bench.pump()
    assert "is over" in bench.plan.notices[0].message


def test_tenants_share() -> None:
    """Who had less goes first, within the cap, though the other came before."""
    bench = Bench()
    bench.worker("w")
    bench.ready(*(ask(("a", n), tenant="a") for n in range(6)))
    bench.ready(*(ask(("b", n), tenant="b") for n in range(6)))
    granted: list[Any] = []
    for _ in range(6):
        granted += bench.pump()
        bench.now += 10.0
        bench.end(granted[-1])
    assert [key[0] for key in granted].count("b") == 3


@pytest.mark.parametrize("passed_s", [0.001, 0.02, 0.3])
@pytest.mark.parametrize("most", [0.5, 1.0])
def test_what_was_guaranteed_and_lent_comes_back(passed_s: float, most: float) -> None:
    """To whoever is below its guarantee goes the next thread, however soon after
    another one it comes free; also when it was at its guarantee a moment ago.
    """
    quotas = {"owner": Quota(guaranteed_share=0.5, share_max=most)}
    bench = Bench(EngineSettings(tenants=TenantSettings(quotas=quotas), prefetch_s=0))
    bench.worker("v", threads=2)
    bench.worker("w", threads=2)
    bench.ready(*(ask(f"b{n}", tenant="borrower") for n in range(9)))
    assert bench.pump() == ["b0", "b1", "b2", "b3"]
    bench.now += 10.0
    bench.ready(*(ask(f"o{n}", tenant="owner") for n in range(4)))
    assert bench.pump() == []
    granted = []
    for ends in ("b0", "b1", "b2", "o0", "b3", "o1"):
        bench.now += passed_s
        bench.end(ends)
        granted += bench.pump()
    assert granted == ["o0", "o1", "b4", "o2", "b5", "o3"]


def test_a_quota_is_hard() -> None:
    """Whoever has all that it may have waits, and is told why."""
    quotas = TenantSettings(quotas={"a": Quota(share_max=0.5)})
    bench = Bench(EngineSettings(tenants=quotas, prefetch_s=0.0))
    bench.worker("w", threads=4)
    bench.ready(*(ask(n, tenant="a") for n in range(3)), ask("b", tenant="b"))
    assert sorted(map(str, bench.pump())) == ["0", "1", "b"]
    found = bench.engine.explain(2, 0.0)
    assert found is not None
    assert "its quota allows" in found.why
    bench.end(0)
    assert bench.pump() == [2]


class Odd:
    """A policy of a user's."""

    def filter(self, ask: Ask, worker: WorkerView) -> tuple[str, ...]:
        if ask.name == "broken":
            raise RuntimeError("no such thing")
        return () if worker.name.endswith("1") else ("is not the first",)

    def order(self, ask: Ask, now: float) -> float:
        return -100.0 if ask.name == "early" else 0.0


class Likes:
    """Another one."""

    def score(self, ask: Ask, worker: WorkerView) -> int:
        return 100 if worker.name == "b1" else 0


def test_custom_policies_filter_score_and_order() -> None:
    """They are asked, explained, and switched off when they raise."""
    bench = Bench(EngineSettings(prefetch_s=0.0))
    bench.engine = Engine(bench.engine.settings, Policies({"o": Odd(), "l": Likes()}))
    for name in ("a1", "a2", "b1"):
        bench.worker(name)
    bench.ready(ask("x"), ask("early"), ask("z"))
    assert bench.pump() == ["early", "x"]
    assert bench.where == {"early": "b1", "x": "a1"}
    found = bench.engine.explain("z", 0.0)
    assert found is not None
    assert [lack.reasons for lack in found.lacks] == [("is not the first (o)",)]
    bench.ready(ask("broken", priority_class="interactive"))
    assert bench.pump() == ["broken"]
    assert [one.topic for one in bench.plan.notices] == ["policy"]
    assert "o" in bench.engine.summary(0.0)["policies_disabled"]


def test_learned_placement_is_a_preference() -> None:
    """A test goes where it runs fastest, if there is room."""
    bench = Bench()
    bench.worker("fast", facts={"cpu.model": "new"})
    bench.worker("slow", facts={"cpu.model": "old"})
    kinds = {row["name"]: row["kind"] for row in bench.engine.worker_rows(0.0)}
    bench.engine.learn("t", kinds["slow"], [1.6] * 9)
    bench.engine.learn("t", kinds["fast"], [1.0] * 9)
    bench.ready(ask("a", name="t"), ask("b", name="t"))
    bench.pump()
    assert bench.where == {"a": "fast", "b": "slow"}
    found = bench.engine.explain("a", 0.0)
    assert found is not None
    assert "by how fast such tests ran there" in found.why


def test_short_tasks_are_held_behind_others() -> None:
    """About prefetch_s of work a thread; long ones are not; unknown ones one each."""
    bench = Bench(prefetch_s=0.05)
    bench.worker("w")
    bench.learn("short", 0.01)
    bench.learn("long", 5.0)
    bench.ready(*(ask(n, name="short") for n in range(20)))
    assert bench.pump() == list(range(6))
    bench.end(0)
    assert bench.pump() == [6]
    for key in list(bench.where):
        bench.engine.withdraw(key, 0.0)
        bench.end(key)
    for n in range(20):
        bench.engine.withdraw(n, 0.0)
    bench.ready(*(ask(("l", n), name="long") for n in range(3)))
    assert bench.pump() == [("l", 0)]
    bench.end(("l", 0))
    bench.engine.withdraw(("l", 1), 0.0)
    bench.engine.withdraw(("l", 2), 0.0)
    bench.ready(*(ask(("u", n), name=f"u{n}") for n in range(3)))
    assert len(bench.pump()) == 2


def test_what_is_held_too_long_is_taken_back() -> None:
    """If another worker is free, or something more urgent waits; not before."""
    bench = Bench(prefetch_s=0.05)
    bench.worker("a")
    bench.ready(ask("x"), ask("y"))
    assert bench.pump() == ["x", "y"]
    bench.worker("b")
    bench.pump()
    assert bench.plan.revokes == []
    assert bench.plan.wake_at == 0.1
    bench.now = 0.2
    bench.pump()
    assert [one.key for one in bench.plan.revokes] == ["y"]
    bench.pump()
    assert bench.plan.revokes == []
    bench.end("y", ending="released")
    bench.ready(ask("y"))
    assert bench.pump() == ["y"]
    assert bench.where["y"] == "b"


def test_begun_ends_the_holding() -> None:
    """A worker may begin another than expected; the counts follow."""
    bench = Bench(prefetch_s=0.05)
    bench.worker("w")
    bench.ready(ask("x"), ask("y"))
    bench.pump()
    bench.engine.begun("y", 0.0)
    bench.engine.check()
    assert bench.engine.summary(0.0)["queued_on_workers"] == 1
    bench.end("y")
    bench.end("x")
    assert bench.engine.summary(0.0)["queued_on_workers"] == 0


def test_an_explanation_says_what_each_group_lacks() -> None:
    """How many workers, in what, and what would help."""
    bench = Bench()
    for n in range(3):
        bench.worker(f"c{n}", facts={"gpu.count": 0})
    bench.worker("g", facts={"gpu.count": 1})
    bench.ready(ask("a", need("gpu.count >= 2")))
    bench.pump()
    found = bench.engine.explain("a", 0.0)
    assert found is not None
    assert [(lack.workers, lack.reasons) for lack in found.lacks] == [
        (3, ("needs gpu.count >= 2, has 0",)),
        (1, ("needs gpu.count >= 2, has 1",)),
    ]
    assert found.help == "start a worker with gpu.count >= 2"
    (answer,) = bench.engine.admit([ask("b", need("gpu.count >= 2"))], 0.0)
    assert answer.warning == "no worker has gpu.count >= 2; it waits for one"


def test_an_explanation_says_when() -> None:
    """Position and time, by what was learned of those in front."""
    bench = Bench()
    bench.worker("w")
    bench.learn("t", 10.0)
    bench.ready(*(ask(n, name="t") for n in range(4)))
    bench.pump()
    bench.now = 4.0
    found = bench.engine.explain(3, bench.now)
    assert found is not None
    assert (found.state, found.position, found.busy) == ("waiting", 2, 1)
    assert found.eta_s is not None
    assert 15 < found.eta_s < 35
    granted = bench.engine.explain(0, bench.now)
    assert granted is not None
    assert (granted.state, granted.worker) == ("running", "w")
    assert bench.engine.explain("nobody", 0.0) is None


def test_the_tables_are_plain_values() -> None:
    """Rows of what waits and who works, and a summary."""
    bench = Bench()
    bench.worker("w", threads=2)
    bench.ready(ask("a"), ask("b"), ask("c"), ask("d", need("gpu.count >= 1")))
    bench.pump()
    rows = bench.engine.queue_rows(5.0)
    assert [(row["needs"], row["waiting"], row["workers"]) for row in rows] == [
        *[("any worker", 1, 1), ("gpu.count >= 1", 1, 0)]
    ]
    assert rows[0]["longest_s"] == 5.0
    assert bench.engine.worker_rows(0.0)[0]["running"] == 2
    summary = bench.engine.summary(0.0)
    assert (summary["waiting"], summary["running"]) == (2, 2)


def test_scarce_workers_are_not_spared_at_any_price() -> None:
    """A long task takes a free scarce worker if a plain one is much slower."""
    bench = Bench()
    bench.worker("gpu", facts={"cpu.model": "fast", "gpu.count": 1})
    for n in range(7):
        bench.worker(f"w{n}", facts={"cpu.model": "slow"})
    kinds = {row["name"]: row["kind"] for row in bench.engine.worker_rows(0.0)}
    for name, fast_s in (("long", 10.0), ("short", 0.01)):
        bench.learn(name, fast_s, kinds["gpu"])
        bench.learn(name, 10 * fast_s, kinds["w0"])
    bench.ready(ask("scarce", need("gpu.count >= 1")))
    bench.pump()
    bench.end("scarce")
    bench.ready(ask("s", name="short"))
    bench.pump()
    assert bench.where["s"] != "gpu"
    bench.ready(ask("l", name="long"))
    bench.pump()
    assert bench.where["l"] == "gpu"
