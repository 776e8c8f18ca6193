"""Tenants: fair share with a cap, guarantees that are lent, hard caps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.scheduler_plugins.policies.quota import Quota, Tenants, TenantSettings

ONE = (("cpu", 1.0),)


def tenants(threads: int = 100, **quotas: Quota) -> Tenants:
    made = Tenants(TenantSettings(quotas=quotas, half_life_s=100.0, share_cap_s=60.0))
    made.threads = threads
    return made


def start(made: Tenants, tenant: str, tasks: int, now: float = 0.0) -> None:
    for _ in range(tasks):
        made.started(tenant, ONE, now)


def levels_of(made: Tenants, now: float) -> dict[str, float]:
    return {n: one.level.at(now, made._rate) for n, one in made._tenants.items()}


def test_a_tenant_that_is_alone_is_not_moved() -> None:
    """Whatever it uses, nobody is there to be fair to, and nothing stops it."""
    made = tenants()
    start(made, "a", 100)
    assert made.offset_s("a", 1000.0) == pytest.approx(0.0)
    assert made.may_start("a", ONE) == ""


def test_who_has_more_waits_longer() -> None:
    """At once, from the threads there are, and later from those there were."""
    made = tenants()
    start(made, "a", 3)
    start(made, "b", 1)
    for now in (0.0, 50.0, 1000.0):
        assert made.offset_s("a", now) == pytest.approx(12.0)
        assert made.offset_s("b", now) == pytest.approx(-20.0)
    assert made.offset_s("new", 1000.0) == -60.0


def test_shares_are_by_weight() -> None:
    """Twice the weight and twice the threads is nobody's advantage."""
    made = tenants(a=Quota(weight=2.0))
    start(made, "a", 20)
    start(made, "b", 10)
    assert made.offset_s("a", 30.0) == pytest.approx(0.0)
    assert made.offset_s("b", 30.0) == pytest.approx(0.0)


def test_usage_is_forgotten_by_half() -> None:
    """After a half-life without work, what a tenant had counts half."""
    made = tenants()
    start(made, "a", 10)
    (before,) = levels_of(made, 10_000.0).values()
    for _ in range(10):
        made.ended("a", ONE, 10_000.0)
    (after,) = levels_of(made, 10_100.0).values()
    assert [before, after] == pytest.approx([10.0, 5.0])


def test_the_absent_do_not_dilute_shares() -> None:
    """Tenants that want nothing now do not count as those to be fair to."""
    made = tenants()
    start(made, "heavy", 100)
    start(made, "a", 3)
    start(made, "b", 1)
    for _ in range(100):
        made.ended("heavy", ONE, 500.0)
    assert made.offset_s("a", 500.0) == pytest.approx(12.0)
    made.waits("heavy", 1, 500.0)
    assert made.offset_s("a", 500.0) < 0 < made.offset_s("heavy", 500.0)
    made.waits("heavy", -1, 500.0)
    assert made.offset_s("a", 500.0) == pytest.approx(12.0)


def test_shares_settle_as_the_weights_say() -> None:
    """Serving whoever has the least offset splits the threads by weight."""
    made = tenants(a=Quota(weight=3.0))
    running = {"a": 0, "b": 0}
    for _ in range(100):
        tenant = min(running, key=lambda name: (made.offset_s(name, 0.0), name))
        made.started(tenant, ONE, 0.0)
        running[tenant] += 1
    assert running["a"] == pytest.approx(75, abs=1)


def test_a_guarantee_comes_first_and_is_lent_while_idle() -> None:
    """Below its guarantee a tenant is served first; above it, as everybody is."""
    made = tenants(threads=10, a=Quota(guaranteed_share=0.4))
    start(made, "b", 10)
    assert made.may_start("b", ONE) == ""  # nothing is kept free
    assert made.offset_s("a", 0.0) <= -3600.0
    start(made, "a", 4)
    assert -60.0 <= made.offset_s("a", 0.0) <= 60.0


def test_a_cap_is_hard_and_says_so() -> None:
    """A tenant never has more than its quota; the reason names the numbers."""
    made = tenants(threads=10, a=Quota(share_max=0.25, amounts_max={"gpu": 2}))
    start(made, "a", 2)
    assert made.may_start("a", ONE) == (
        "tenant 'a' uses 2 of the 2.5 threads that its quota allows, this needs 1"
    )
    made.ended("a", ONE, 1.0)
    assert made.may_start("a", ONE) == ""
    made.started("a", (("cpu", 0.0), ("gpu", 2.0)), 1.0)
    assert made.may_start("a", (("cpu", 0.0), ("gpu", 1.0))) == (
        "tenant 'a' uses 2 of the 2 of gpu that its quota allows, this needs 1"
    )


def test_sizes_are_said_as_sizes() -> None:
    """Bytes are not written out."""
    made = tenants(a=Quota(amounts_max={"memory": 2**30}))
    assert made.may_start("a", (("memory", float(2**31)),)) == (
        "tenant 'a' uses 0 B of the 1 GiB of memory that its quota allows,"
        " this needs 2 GiB"
    )


def test_the_smallest_cap_lets_one_thread_run() -> None:
    """A share of a small cluster that is less than a thread is not nothing."""
    made = tenants(threads=2, a=Quota(share_max=0.1))
    assert made.may_start("a", ONE) == ""
    start(made, "a", 1)
    assert "uses 1 of the 1 threads" in made.may_start("a", ONE)


def test_tenants_are_bounded() -> None:
    """Strangers are forgotten, the least first; those who have something never."""
    made = Tenants(TenantSettings(tenants_max=10))
    made.started("kept", ONE, 0.0)
    for number in range(100):
        made.started(f"t{number}", ONE, number)
        made.ended(f"t{number}", ONE, number + 1.0)
    names = list(levels_of(made, 100.0))
    assert len(names) <= 10
    assert "kept" in names


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": math.nan}, "weight"),
        ({"guaranteed_share": 0.6, "share_max": 0.5}, "shares"),
        ({"share_max": 1.5}, "shares"),
        ({"amounts_max": {"gpu": -1}}, "gpu"),
    ],
)
def test_quotas_that_make_no_sense_are_refused(
    quota: dict[str, object], words: str
) -> None:
    """When they are made, with the number that is wrong."""
    with pytest.raises(ValueError, match=words):
        Quota(**quota)  # type: ignore[arg-type]


def test_no_more_than_everything_is_guaranteed() -> None:
    """Guarantees that cannot be kept are no guarantees."""
    half = Quota(guaranteed_share=0.6)
    with pytest.raises(ValueError, match="120%"):
        TenantSettings(quotas={"a": half, "b": half})


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "end", "wait", "unwait"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from([ONE, (), (("cpu", 0.1), ("gpu", 1.0)), (("cpu", 8.0),)]),
        st.floats(0, 1e4),
    ),
    max_size=80,
)


@given(EVENTS)
def test_bounds_hold_whatever_happens(
    events: list[tuple[str, str, tuple[tuple[str, float], ...], float]],
) -> None:
    """Offsets stay within their caps, and a tenant within its quota."""
    quotas = {
        "a": Quota(weight=2.0, share_max=0.3, amounts_max={"gpu": 2.0}),
        "b": Quota(guaranteed_share=0.5),
    }
    made = tenants(threads=20, **quotas)
    running: dict[str, list[tuple[tuple[str, float], ...]]] = {n: [] for n in "abcd"}
    now = 0.0
    for kind, tenant, amounts, passed_s in events:
        now += passed_s
        if kind == "start" and not made.may_start(tenant, amounts):
            made.started(tenant, amounts, now)
            running[tenant].append(amounts)
        elif kind == "end" and running[tenant]:
            made.ended(tenant, running[tenant].pop(), now)
        elif kind in ("wait", "unwait"):
            made.waits(tenant, 1 if kind == "wait" else -1, now)
        for name in "acd":
            assert -60.0 <= made.offset_s(name, now) <= 60.0
            assert made.offset_s(name, now) == made.offset_s(name, now)
        assert -3660.0 <= made.offset_s("b", now) <= 60.0
        used = [dict(held) for held in running["a"]]
        assert sum(held.get("cpu", 1.0) for held in used) <= 6.0 + 1e-6
        assert sum(held.get("gpu", 0.0) for held in used) <= 2.0
    for tenant, held in running.items():
        for amounts in held:
            made.ended(tenant, amounts, now)
    assert all(level >= -1e-9 for level in levels_of(made, now).values())
    assert all(level < 1e-6 for level in levels_of(made, now + 1e5).values())


def test_what_tenants_had_outlives_the_scheduler() -> None:
    """It decays while no scheduler is there, as it would have decayed in one."""
    made, again = tenants(), tenants()
    start(made, "a", 30)
    start(made, "b", 10)
    for _ in range(30):
        made.ended("a", ONE, 200.0)
    for name, level in made.moved(200.0):
        again.recall(name, level, 100.0, 7.0)
    assert levels_of(again, 7.0) == pytest.approx(
        {name: level / 2 for name, level in levels_of(made, 200.0).items()}
    )


def test_what_is_recalled_adds_to_what_a_tenant_had_since() -> None:
    """Shares are as if the scheduler had never been away, also for who works now."""
    made, again = tenants(), tenants()
    for one in (made, again):
        one.waits("a", 1, 0.0)
        one.waits("b", 1, 0.0)
    made.recall("a", 8.0, 0.0, 0.0)
    for one in (made, again):
        start(one, "a", 1, 50.0)
        start(one, "b", 3, 50.0)
    again.recall("a", 8.0, 60.0, 60.0)
    for name in "ab":
        for now in (60.0, 200.0):
            assert again.offset_s(name, now) == pytest.approx(made.offset_s(name, now))


def test_only_those_that_moved_are_written_down() -> None:
    """Who had nothing since decays by itself, and who went long ago is no news."""
    made = tenants()
    start(made, "a", 1)
    start(made, "b", 1)
    made.waits("c", 1, 0.0)
    made.ended("a", ONE, 10.0)
    assert [name for name, _ in made.moved(10.0)] == ["a", "b"]
    assert [name for name, _ in made.moved(20.0)] == ["b"]
    made.ended("b", ONE, 30.0)
    assert [name for name, _ in made.moved(30.0)] == ["b"]
    assert made.moved(30.0) == []


def test_what_is_long_ago_is_not_recalled() -> None:
    """A tenant is not remembered for next to nothing; a clock may be ahead."""
    made = tenants()
    made.recall("old", 100.0, 1e6, 0.0)
    made.recall("none", 0.0, 0.0, 0.0)
    made.recall("ahead", 5.0, -1e6, 0.0)
    assert levels_of(made, 0.0) == {"ahead": 5.0}


def test_asking_is_cheap() -> None:
    """Offsets are compared several times a task: microseconds, not more."""
    made = tenants(a=Quota(guaranteed_share=0.1))
    start(made, "a", 3)
    start(made, "b", 3)
    each_s = cpu_s(lambda: made.offset_s("a", 5.0), 20_000)
    assert each_s < 10e-6
