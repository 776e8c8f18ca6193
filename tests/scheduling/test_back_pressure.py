"""Clients that ask for room are slowed down, others are shed; on real clusters."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import dask
import distributed
import pytest
from distributed import wait
from taken_threads import taken, through, until

from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster
from dtf_dask.errors import OverloadedError
from dtf_dask.model import Case
from dtf_dask.pressure import TOPIC, Pressure

BOUND = 40
FULL = 36  # what is not urgent leaves a tenth of the bound to what is
WAITS = r"cannot be submitted yet: .*Waiting for room"


@pytest.fixture
def cluster():
    with (
        dask.config.set(
            {
                "dtf.scheduling.prefetch": "0s",
                "dtf.scheduling.queue-length-max": BOUND,
            }
        ),
        LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


class Watch:
    """The longest that the queue has been, by the engine's own count."""

    def __init__(self, cluster):
        plugin = cluster.scheduler.plugins["dtf-scheduling"]
        engine, pump = plugin.engine, plugin.engine.pump
        self.longest = 0

        def watched(now):
            self.longest = max(self.longest, engine.pressure(now).waiting)
            return pump(now)

        engine.pump = watched


def nap(number, seconds=0.002):
    time.sleep(seconds)
    return number


@pytest.fixture
def blocked(client):
    """A cluster whose two threads are taken until the event is set."""
    with taken(client) as gate:
        yield gate


def history(client):
    """The states that were announced, as a client heard them."""
    heard = []
    client.subscribe_topic(TOPIC, lambda event: heard.append(event[1]["state"]))
    return heard


# Clients of dtf


@pytest.mark.parametrize("how", ["map", "submit", "compute"])
def test_a_flood_is_slowed_down_and_nothing_is_shed(cluster, client, how):
    """Ten times the bound goes through, and the queue is never over its bound."""
    watch, count = Watch(cluster), 10 * BOUND
    if how == "map":
        futures = client.map(nap, range(count))
    elif how == "submit":
        futures = [client.submit(nap, number) for number in range(count)]
    else:
        lazy = [dask.delayed(nap)(number) for number in range(count)]
        futures = [client.compute(one) for one in lazy]
    assert client.gather(futures) == list(range(count))
    assert 0 < watch.longest <= BOUND
    until(lambda: client.pressure.state == "calm")


@pytest.mark.logs(WAITS)
def test_floods_of_several_clients_share_the_room(cluster):
    """Together they stay below the bound, and each gets on."""
    watch, results = Watch(cluster), {}

    def flood(name):
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            futures = client.map(nap, range(name, name + 3 * BOUND))
            results[name] = client.gather(futures)

    threads = [
        threading.Thread(target=flood, args=(1000 * number,)) for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {
        name: list(range(name, name + 3 * BOUND)) for name in (0, 1000, 2000)
    }
    assert watch.longest <= BOUND


@pytest.mark.logs(WAITS)
def test_what_depends_on_others_counts_before_it_is_ready(cluster, client, blocked):
    """Many that become ready at once were counted when they were submitted."""
    watch = Watch(cluster)
    first = client.submit(through, blocked.name)
    held = threading.Thread(
        target=lambda: futures.extend(
            client.map(
                lambda _, number: nap(number), [first] * 100, range(100), memory="1 MiB"
            )
        )
    )
    futures = []
    held.start()
    time.sleep(0.5)
    assert held.is_alive()
    blocked.set()
    held.join(60)
    assert client.gather(futures) == list(range(100))
    assert watch.longest <= BOUND


@pytest.mark.logs(WAITS)
def test_no_room_for_long_is_an_error_that_says_what_to_do(client, blocked, caplog):
    """Nobody waits for ever: what is queued, the bound, what helps; and it is over."""
    with dask.config.set({"dtf.scheduling.submit-wait": "1500ms"}):
        begun = time.monotonic()
        with pytest.raises(OverloadedError) as raised:
            client.map(nap, range(10 * BOUND))
        assert 1.4 < time.monotonic() - begun < 60
    text = str(raised.value)
    assert "within 1.5 s" in text
    assert f"{FULL} tasks wait and it keeps {BOUND}" in text
    assert "scheduling.submit-wait" in text
    assert "scheduling.queue-length-max" in text
    assert "Waiting for room" in caplog.text
    # What had gone is given up, too: the queue empties by itself.
    until(lambda: client.run_on_scheduler(_waiting) == 0)
    blocked.set()
    assert client.submit(nap, -1).result(timeout=60) == -1


def _waiting(dask_scheduler):
    engine = dask_scheduler.plugins["dtf-scheduling"].engine
    return engine.summary(0.0)["waiting"]


def test_no_patience_is_an_answer_at_once(client, blocked):
    """With a wait of 0 a submission goes or fails, now."""
    with dask.config.set({"dtf.scheduling.submit-wait": "0s"}):
        futures = [client.submit(nap, number) for number in range(FULL)]
        begun = time.monotonic()
        with pytest.raises(OverloadedError):
            client.submit(nap, -1)
        assert time.monotonic() - begun < 60  # and not the five minutes of the default
    blocked.set()
    assert client.gather(futures) == list(range(FULL))


def test_urgent_work_finds_room_in_a_queue_that_is_full_of_other(client, blocked):
    """It is submitted at once, and nothing is shed for it."""
    futures = client.map(nap, range(FULL), priority_class="nightly")
    with dask.config.set({"dtf.scheduling.submit-wait": "0s"}):
        urgent = client.submit(nap, -1, priority_class="interactive")
        with pytest.raises(OverloadedError):
            client.submit(nap, -2)
    blocked.set()
    assert client.gather([urgent, *futures]) == [-1, *range(FULL)]


@pytest.mark.logs(WAITS)
def test_ctrl_c_ends_the_wait(client, blocked):
    """It is interrupted as everything else is, and the client goes on."""
    futures = client.map(nap, range(FULL))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        client.submit(nap, -1)
    blocked.set()
    assert client.gather(futures) == list(range(FULL))
    assert client.submit(nap, -2).result(timeout=60) == -2


def test_an_asynchronous_client_does_not_block_its_loop(cluster, blocked):
    """Futures are there at once; what there is no room for is sent when there is."""
    watch, count = Watch(cluster), 10 * BOUND

    async def flood():
        async with Client(cluster.scheduler_address, asynchronous=True) as client:
            one_by_one = [client.submit(nap, number) for number in range(count)]
            at_once = client.map(nap, range(count, 2 * count))
            dropped = [client.submit(nap, -number) for number in range(1, 50)]
            del dropped
            blocked.set()  # had one of these waited, it would have been for ever
            last = client.submit(sum, at_once)
            assert await client.gather(one_by_one) == list(range(count))
            assert await client.gather(at_once) == list(range(count, 2 * count))
            assert await last == sum(range(count, 2 * count))

    asyncio.run(flood())
    assert watch.longest <= BOUND


def test_futures_of_an_asynchronous_client_fail_after_the_wait(
    cluster, client, blocked
):
    """There the error is the futures'."""

    async def flood():
        async with Client(cluster.scheduler_address, asynchronous=True) as other:
            futures = [other.submit(nap, number) for number in range(2 * BOUND)]
            with pytest.raises(OverloadedError, match="no room"):
                await other.gather(futures)

    with dask.config.set({"dtf.scheduling.submit-wait": "300ms"}):
        asyncio.run(flood())


@pytest.mark.logs(WAITS)
def test_room_of_a_client_that_died_is_free_again(client, blocked):
    """What it was granted and never used does not stay taken."""

    async def take_all(dask_scheduler):
        ask = dask_scheduler.handlers["dtf_room"]
        while (await ask(client="gone", want=BOUND))["granted"]:
            pass

    client.run_on_scheduler(take_all)
    kept = client.map(nap, range(client.room_gate.left()))
    with (
        dask.config.set({"dtf.scheduling.submit-wait": "0s"}),
        pytest.raises(OverloadedError, match="no room for 1 task"),
    ):
        client.submit(nap, -1)
    begun = time.monotonic()
    future = client.submit(nap, -2)  # it is anybody's after 10 s
    assert 1 < time.monotonic() - begun < 60
    blocked.set()
    assert future.result(timeout=60) == -2
    wait(kept, timeout=60)


# Runs


def test_a_run_waits_while_the_queue_overflows_and_loses_nothing(
    cluster, client, blocked, tmp_path, monkeypatch
):
    """It says so, sends no batch that would be shed, and goes on by itself."""
    monkeypatch.chdir(tmp_path)
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as stock:
        futures = stock.map(nap, range(3 * BOUND))
        until(lambda: client.pressure.state == "shedding")
        handle = client.run_cases(
            [Case(str(number), fn=sum, args=([number],)) for number in range(20)]
        )
        until(lambda: any("Waiting for room" in text for text in handle.notices))
        assert not handle.outcomes
        blocked.set()
        assert handle.wait(60) == {"passed": 20}
        assert [one.outcome.value for one in handle] == ["passed"] * 20
        wait(futures, timeout=60)


def test_a_run_that_waits_for_room_can_be_cancelled(
    client, blocked, tmp_path, monkeypatch
):
    """At once."""
    monkeypatch.chdir(tmp_path)
    kept = client.map(nap, range(client.room_gate.left()))
    until(lambda: client.run_on_scheduler(_waiting) == len(kept))
    while client.room_gate.take(1):
        pass
    handle = client.run_cases([Case("one", fn=sum, args=([1],))])
    time.sleep(0.3)
    handle.cancel()
    handle.wait(60)
    assert client.run_on_scheduler(_waiting) == len(kept)


# Clients of Dask


def test_others_are_shed_and_the_overload_is_announced_and_ends(
    cluster, client, blocked
):
    """Each shed task gets an error that says why; dtf's client waits for the end."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as stock:
        heard = history(stock)
        futures = stock.map(nap, range(10 * BOUND))
        until(lambda: sum(one.status == "error" for one in futures) == 9 * BOUND)
        shed = [one for one in futures if one.status == "error"]
        for one in shed[:3]:
            with pytest.raises(OverloadedError, match="Submit it again later"):
                one.result()
        until(lambda: heard[-1:] == ["shedding"])
        until(lambda: client.pressure.state == "shedding")
        with Client(cluster.scheduler_address, set_as_default=False) as late:
            assert late.pressure.state == "shedding"
            assert late.pressure.bound == BOUND
        with (
            dask.config.set({"dtf.scheduling.submit-wait": "0s"}),
            pytest.raises(OverloadedError, match="the queue has overflowed"),
        ):
            client.submit(nap, -1)
        blocked.set()
        kept = [one for one in futures if one not in shed]
        assert len(kept) == BOUND
        assert stock.gather(kept) == list(range(BOUND))
        until(lambda: heard[-1:] == ["calm"])
        assert heard[-2:] == ["shedding", "calm"]
        until(lambda: client.pressure.state == "calm")
    assert client.submit(nap, -1).result(timeout=60) == -1


def test_a_scheduler_without_dtf_asks_nobody_to_wait():
    """dtf's client then submits as Dask's own."""
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        assert client.pressure is None
        assert client.gather(client.map(nap, range(200))) == list(range(200))


@pytest.mark.logs("The scheduling engine failed", "scheduled by Dask alone")
def test_a_scheduler_that_gives_up_lets_everybody_go(client, blocked):
    """Whoever waits for room then goes on at once."""
    futures = client.map(nap, range(FULL))
    done = threading.Event()

    def submit():
        client.submit(nap, -1)
        done.set()

    waiting = threading.Thread(target=submit)
    waiting.start()
    time.sleep(0.3)
    assert not done.is_set()

    def break_it(dask_scheduler):
        plugin = dask_scheduler.plugins["dtf-scheduling"]
        plugin._give_up(RuntimeError("broken on purpose"))

    client.run_on_scheduler(break_it)
    assert done.wait(100)
    waiting.join()
    blocked.set()
    wait(futures, timeout=60)


def test_what_is_told_is_read_with_care():
    """A scheduler of another version may say anything."""
    for odd in (None, {}, {"state": "calm"}, {"state": "calm", "waiting": "9"}, 7):
        assert Pressure.of(odd) is None
