"""The Python client, the local cluster and its topics, with real workers."""

from __future__ import annotations

import asyncio
import functools
import inspect
import operator
import os

import dask
import distributed
import psutil
import pytest
from distributed import Scheduler, Worker

import dtf_dask
from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster, on_loopback
from dtf_dask.errors import UsageError
from dtf_dask.preload import MODULE, dask_setup, with_dtf
from dtf_dask.scheduler_plugins import dask_seam
from dtf_dask.scheduler_plugins.topics import NAME, TopicPlugin


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    with cluster.get_client() as client:
        yield client


def annotations(client, future):
    """What the scheduler holds of a task, beside its result."""
    distributed.wait(future)
    key = future.key
    return client.run_on_scheduler(
        lambda dask_scheduler: dict(dask_scheduler.tasks[key].annotations or {})
    )


def test_what_the_client_leans_on_in_dask_is_there():
    """Submissions go through two methods of Dask, failed futures through a third."""
    submitted = inspect.getsource(distributed.Client._graph_to_futures)
    assert "self._send_to_scheduler(" in submitted
    assert '"op": "update-graph"' in submitted
    assert '"keys": set(keys)' in submitted
    sent = inspect.getsource(distributed.Client._send_to_scheduler)
    assert "add_callback(self._send_to_scheduler_safe, msg)" in sent
    released = inspect.getsource(distributed.Client._release_key)
    assert '"op": "client-releases-keys", "keys": [key]' in released
    for method in ("submit", "map", "compute", "persist", "get"):
        source = inspect.getsource(getattr(distributed.Client, method))
        assert "_graph_to_futures(" in source
    for method in ("_start", "_reconnect"):
        source = inspect.getsource(getattr(distributed.Client, method))
        assert "_ensure_connected(" in source
    erred = inspect.signature(distributed.Client._handle_task_erred)
    assert list(erred.parameters) == ["self", "key", "exception", "traceback"]


# Wishes


def test_wishes_arrive_at_the_scheduler(client):
    """submit's keywords become plain data in ts.annotations["dtf"], and no argument."""
    future = client.submit(
        sum,
        [1, 2],
        hardware="cpu.cores >= 1",
        prefer="cpu.cores >= 2",
        deadline="10 min",
        priority_class="release",
        timeout="5 min",
    )
    assert future.result() == 3
    assert annotations(client, future) == {
        "dtf": {
            "hardware": "cpu.cores >= 1",
            "prefer": "cpu.cores >= 2",
            "priority_class": "release",
            "deadline": 600.0,
            "timeout": 300.0,
        }
    }


def test_map_says_it_of_every_task(client):
    """Also where Dask cuts the iterable into batches."""
    for size in (None, 2):
        futures = client.map(
            operator.neg, range(5), batch_size=size, timeout=9, pure=False
        )
        assert client.gather(futures) == [0, -1, -2, -3, -4]
        for future in futures:
            assert annotations(client, future) == {"dtf": {"timeout": 9.0}}


def test_an_enclosing_annotation_is_merged(client):
    """What is said nearer to the call wins; Dask's own annotations stay."""
    with dask.annotate(
        priority=3, dtf={"class": "low", "timeout": 1, "hardware": "gpu.count >= 1"}
    ):
        future = client.submit(
            operator.add, 1, 1, priority_class="high", timeout="2 s", retries=2
        )
        plain = client.submit(operator.add, 1, 2)
    assert annotations(client, future) == {
        "priority": 3,
        "retries": 2,
        "dtf": {
            "hardware": "gpu.count >= 1",
            "priority_class": "high",
            "timeout": 2.0,
        },
    }
    assert annotations(client, plain)["dtf"]["priority_class"] == "low"
    assert annotations(client, client.submit(operator.add, 1, 3)) == {}


def test_a_wish_that_makes_no_sense_is_refused_at_once(client):
    """Nothing is submitted; the enclosing annotation is checked as well."""
    before = set(client.futures)
    with pytest.raises(UsageError, match="deadline = 'soon'"):
        client.submit(sum, [1], deadline="soon")
    with pytest.raises(UsageError, match="expected an expression"):
        client.map(operator.neg, [1], hardware="")
    with (
        dask.annotate(dtf={"harware": "x"}),
        pytest.raises(UsageError, match=r"dask.annotate: .* mean 'hardware'"),
    ):
        client.submit(sum, [1])
    assert set(client.futures) <= before
    assert dask.get_annotations() == {}


def fetch(url, timeout=3):
    return url, timeout


def passes_on(url, **kwargs):
    return url, kwargs


def test_a_functions_own_parameter_is_an_argument(client):
    """Code written for Dask keeps its meaning; partial and annotate are ways out."""
    assert client.submit(fetch, "a", timeout=7).result() == ("a", 7)
    assert client.submit(fetch, "a", timeout=None).result() == ("a", None)
    assert client.gather(client.map(fetch, ["b"], timeout=8)) == [("b", 8)]
    both = client.submit(functools.partial(fetch, timeout=5), "c", timeout="1 min")
    assert both.result() == ("c", 5)
    assert annotations(client, both) == {"dtf": {"timeout": 60.0}}
    with dask.annotate(dtf={"timeout": "2 min"}):
        both = client.submit(fetch, "d", timeout=6)
    assert both.result() == ("d", 6)
    assert annotations(client, both) == {"dtf": {"timeout": 120.0}}
    bound = client.submit(functools.partial(passes_on, timeout=5), "e")
    assert bound.result() == ("e", {"timeout": 5})
    assert client.submit(passes_on, "f", timeout=5).result() == ("f", {})


# Ordinary Dask code


class Counter:
    def __init__(self):
        self.count = 0

    def add(self, by):
        self.count += by
        return self.count


def inner(x):
    with distributed.worker_client() as client:
        return client.submit(operator.add, x, 1).result()


def fails():
    raise ValueError("as asked")


def test_ordinary_dask_code_works(client):
    """A dozen of Dask's idioms, none of which knows of dtf."""
    a = client.submit(operator.add, 1, 2, key="a-key", priority=2, workers=None)
    assert client.submit(operator.mul, a, 10).result() == 30
    assert client.gather(client.map(operator.add, [1, 2], [3, 4])) == [4, 6]
    assert client.gather(client.map(pow, [2, 3], [2, 2], mod=5)) == [4, 4]
    assert client.submit(max, [1, 5], pure=False, retries=1).result() == 5
    (scattered,) = client.scatter([20])
    assert client.submit(operator.add, scattered, 1).result() == 21
    lazy = dask.delayed(operator.add)(1, dask.delayed(operator.mul)(2, 3))
    assert lazy.compute() == 7
    assert client.compute(lazy).result() == 7
    assert client.persist(lazy).compute() == 7
    assert client.get({"x": (operator.add, 1, 1)}, "x") == 2
    counter = client.submit(Counter, actor=True).result()
    assert counter.add(2).result() == 2
    assert client.submit(inner, 1).result() == 2
    done = [f.result() for f in distributed.as_completed([a])]
    assert done == [3]
    with client.get_executor() as pool:
        assert list(pool.map(operator.neg, [1, 2])) == [-1, -2]
        assert pool.submit(sum, [4]).result() == 4
    with pytest.raises(ValueError, match="as asked"):
        client.submit(fails).result()
    gate = distributed.Event("gate")
    waiting = client.submit(gate.wait, pure=False)
    waiting.cancel()
    assert waiting.cancelled()
    gate.set()
    with pytest.raises(TypeError, match="callable"):
        client.submit(3)


# Asynchronous, and topics


def in_cluster(body, plugins=True):
    """Run a coroutine function against a scheduler and a worker of this process."""

    async def main():
        quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
        preload = [MODULE] if plugins else []
        async with (
            Scheduler(protocol="inproc://", preload=preload, **quiet) as scheduler,
            Worker(scheduler.address, nthreads=1, **quiet),
        ):
            return await body(scheduler)

    return asyncio.run(main())


def test_the_asynchronous_client_is_the_same():
    """Futures are awaited, the rest is as with the blocking one."""

    async def body(scheduler):
        async with Client(scheduler.address, asynchronous=True) as client:
            future = client.submit(sum, [1, 2], timeout="5 s")
            assert await future == 3
            assert scheduler.tasks[future.key].annotations == {"dtf": {"timeout": 5.0}}
            futures = client.map(operator.neg, [1, 2], deadline=1)
            assert await client.gather(futures) == [-1, -2]

    in_cluster(body)


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 5 s")


def test_frames_of_a_run_do_not_stay_in_the_scheduler():
    """Every one is delivered, none is kept; other topics keep theirs as in Dask."""
    size, count = 100_000, 50

    async def body(scheduler):
        topics = scheduler._broker._topics
        seen = []
        async with (
            Client(scheduler.address, asynchronous=True) as reader,
            Client(scheduler.address, asynchronous=True) as writer,
        ):
            reader.subscribe_topic("dtf-run-1", lambda event: seen.append(event[1]))
            await until(lambda: topics["dtf-run-1"].subscribers)
            for number in range(count):
                await writer.log_event("dtf-run-1", [number, "x" * size])
                await writer.log_event("other", number)
            await until(lambda: len(seen) == count)
            assert [number for number, _ in seen] == list(range(count))
            assert len(topics["dtf-run-1"].events) == 0
            assert len(topics["other"].events) == count
            # Nobody listens: the topic goes at the next event.
            reader.unsubscribe_topic("dtf-run-1")
            await until(lambda: not topics["dtf-run-1"].subscribers)
            await writer.log_event("dtf-run-1", "late")
            assert "dtf-run-1" not in topics
            scheduler.log_event("dtf-hardware", {"facts": {}})
            assert "dtf-hardware" not in topics
            # A client that is gone takes its topics along.
            reader.subscribe_topic("dtf-run-2", seen.append)
            await until(lambda: topics["dtf-run-2"].subscribers)
        await until(lambda: "dtf-run-2" not in topics)
        assert scheduler.plugins[NAME].failure == ""

    in_cluster(body)


def test_the_private_names_exist_in_the_installed_dask():
    """The contract of the seam: nothing that it uses is missing."""

    async def body(scheduler):
        return dask_seam.broken(scheduler)

    assert in_cluster(body) == ()


@pytest.mark.logs("Topics of runs keep their last events")
def test_a_dask_with_other_insides_is_said_and_left_alone():
    """The plugin gives up in words, and the scheduler works on."""

    async def body(scheduler):
        broker = scheduler._broker
        plugin = TopicPlugin()
        scheduler._broker = None
        await plugin.start(scheduler)
        scheduler._broker = broker
        scheduler.add_plugin(plugin, name=NAME)
        scheduler.log_event("dtf-run-1", "kept")
        assert len(scheduler.get_events("dtf-run-1")) == 1
        return plugin.failure

    assert in_cluster(body, plugins=False) == "Dask has no Scheduler._broker"


# The cluster


def test_the_cluster_has_the_plugins_and_is_the_public_one(cluster, client):
    """Scheduler and workers carry dtf; the names at the root are these classes."""
    assert NAME in client.run_on_scheduler(
        lambda dask_scheduler: list(dask_scheduler.plugins)
    )
    pytest.importorskip("dtf_dask.worker_plugins.runner.plugin")
    found = client.run(lambda dask_worker: "dtf-runner" in dask_worker.plugins)
    assert list(found.values()) == [True, True]
    assert set(client.nthreads().values()) == {1}
    assert (dtf_dask.Client, dtf_dask.LocalCluster) == (Client, LocalCluster)
    assert cluster.get_client() is client


def listening():
    """The addresses on which this process and its children listen."""
    here = psutil.Process()
    return {
        connection.laddr.ip
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def test_nothing_listens_to_the_network(cluster, client):
    """Neither workers as threads without a dashboard, nor the default: processes."""
    assert listening() == {"127.0.0.1"}
    with LocalCluster(n_workers=1) as default, default.get_client() as other:
        assert other.submit(os.getpid, timeout="5 min").result() != os.getpid()
        assert default.dashboard_link.startswith("http://127.0.0.1:")
        assert listening() == {"127.0.0.1"}


def test_a_bare_port_means_loopback():
    """Dask would open it on all interfaces."""
    assert on_loopback(":8787") == "127.0.0.1:8787"
    assert on_loopback("8787") == "127.0.0.1:8787"
    assert on_loopback("0.0.0.0:8787") == "0.0.0.0:8787"
    assert on_loopback(None) is None


def test_our_preload_leaves_the_others(client):
    """Given and configured preloads stay; ours is there once, also if set up twice."""
    assert with_dtf(None, []) == [MODULE]
    assert with_dtf((), ["theirs"]) == [MODULE, "theirs"]
    assert with_dtf("given", ["theirs"]) == [MODULE, "given"]
    assert with_dtf([MODULE, "given"], []) == [MODULE, "given"]

    async def body(scheduler):
        await dask_setup(scheduler)
        return list(scheduler.plugins).count(NAME)

    assert in_cluster(body) == 1
