"""What users of the client see of scheduling, on real clusters."""

from __future__ import annotations

import asyncio
import inspect
import time

import dask
import distributed
import pytest
from distributed import Scheduler, Worker, wait
from taken_threads import block, new_gate, taken, through, until

from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster
from dtf_dask.errors import (
    DeadlineError,
    OverloadedError,
    SchedulingUnavailableError,
    TaskRefusedError,
    UpstreamFailedError,
    UsageError,
)
from dtf_dask.explanation import Explanation
from dtf_dask.preload import MODULE
from dtf_dask.wishes import WISHES


@pytest.fixture(scope="module")
def cluster():
    # Without prefetching, what waits for a worker waits at the scheduler.
    with (
        dask.config.set({"dtf.scheduling.prefetch": "0s"}),
        LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture
def full(client):
    """A cluster whose threads are taken, until the event is set."""
    with taken(client) as gate:
        yield gate


def stamp(_=None):
    return time.monotonic()


# Wishes


def test_every_wish_is_a_keyword_of_submit_and_map(client):
    """They are shown by help(), and each arrives at the scheduler as an annotation."""
    for method in (Client.submit, Client.map):
        assert set(WISHES) <= inspect.signature(method).parameters.keys()
    first = client.submit(stamp, key="first")
    future = client.submit(
        stamp,
        memory="1 MiB",
        gpus=0,
        exclusive=True,
        gang={"name": "one", "size": 1},
        tenant="ada",
        on_late="cancel",
        after=[first, "first"],
        on_upstream_failure="skip",
        pure=False,
    )
    wait(future, timeout=60)
    key = future.key
    assert client.run_on_scheduler(
        lambda dask_scheduler: dask_scheduler.tasks[key].annotations["dtf"]
    ) == {
        "memory": 2**20,
        "gpus": 0,
        "exclusive": True,
        "gang": {"name": "one", "size": 1},
        "tenant": "ada",
        "on_late": "cancel",
        "after": ["first"],
        "on_upstream_failure": "skip",
    }


def test_after_orders_without_data(client):
    """A task starts when those it names have ended, and keeps them alive until then."""
    slow = client.submit(time.sleep, 0.3, pure=False)
    futures = client.map(
        stamp, range(3), after=client.submit(stamp, slow, pure=False), pure=False
    )
    (awaited,) = futures[0]._dtf_after
    del slow
    ends = client.gather(futures)
    assert min(ends) >= awaited.result()
    failing = client.submit(lambda: 1 / 0, pure=False)
    assert client.submit(stamp, after=failing.key, pure=False).result() > 0
    with pytest.raises(ZeroDivisionError):
        failing.result()


def test_after_takes_the_keys_of_collections(client):
    """Their keys are tuples; both forms of several are understood."""
    done = client.get({("x", 0): (stamp,), ("x", 1): (stamp,)}, [("x", 0)], sync=False)[
        0
    ]
    future = client.submit(stamp, after=[done, ("x", 0)], pure=False)
    assert future.result() > done.result()


def test_after_something_unknown_is_refused(client):
    """It would wait for ever."""
    future = client.submit(stamp, after="nobody-knows", pure=False)
    with pytest.raises(TaskRefusedError, match="nobody-knows"):
        future.result(timeout=60)


# Errors that futures raise


def test_what_the_scheduler_refuses_is_the_error_of_the_future(client):
    """Each says what was wrong and what would be right."""
    unknown = client.submit(stamp, priority_class="urgnt", pure=False)
    with pytest.raises(TaskRefusedError, match="urgnt"):
        unknown.result(timeout=60)
    late = client.submit(
        stamp, deadline="2020-01-01T00:00:00+00:00", on_late="refuse", pure=False
    )
    with pytest.raises(DeadlineError, match="has passed"):
        late.result(timeout=60)
    with dask.annotate(dtf={"expected": "1 min"}):
        long = client.submit(stamp, deadline=0.3, on_late="refuse", pure=False)
    with pytest.raises(DeadlineError, match="needs about 1 min"):
        long.result(timeout=60)
    assert client.explain(late).state == "failed"


def test_a_failure_upstream_skips_or_is_handed_on(client):
    """As the task says: it is skipped with a reason, or is given the error."""
    failing = client.submit(lambda: 1 / 0, pure=False)
    skipped = client.submit(stamp, failing, on_upstream_failure="skip", pure=False)
    runs = client.submit(str, failing, on_upstream_failure="run", pure=False)
    words = {failing: "run", "*": "fail"}
    mixed = client.submit(str, failing, on_upstream_failure=words, pure=False)
    with pytest.raises(UpstreamFailedError, match="division by zero"):
        skipped.result(timeout=60)
    assert "division by zero" in mixed.result(timeout=60)
    assert "division by zero" in runs.result(timeout=60)


# Explaining


def test_a_task_that_no_worker_can_run_says_what_is_missing(client):
    """What it needs, what workers lack, what to do; all of it in print."""
    future = client.submit(stamp, hardware="gpu.count >= 64", pure=False)
    told = client.explain(future)
    assert isinstance(told, Explanation)
    assert (told.key, told.state, told.needs) == (
        future.key,
        "waiting",
        "gpu.count >= 64",
    )
    assert sum(lack.workers for lack in told.lacks) == 2
    assert "gpu.count >= 64" in told.help
    assert "to do" in str(told)
    future.cancel()


def test_a_task_that_waits_for_its_turn_says_so(client, full):
    """How many are in front of it, and that workers are busy."""
    first, second = client.map(stamp, [1, 2], pure=False, priority_class="nightly")
    told = client.explain(second.key)
    assert (told.state, told.busy, told.lacks) == ("waiting", 2, ())
    assert told.position is not None
    full.set()
    wait([first, second], timeout=60)


def test_a_running_task_says_where_and_one_that_ran_where_it_did(client, full):
    """Also of an incomplete gang it is said what it waits for."""
    gang = client.submit(stamp, gang={"name": "duo", "size": 2}, pure=False)
    told = client.explain(gang)
    assert told.state == "held"
    assert "1 of 2" in told.why
    gang.cancel()
    future = client.submit(stamp, pure=False)
    full.set()
    wait(future, timeout=60)
    told = client.explain(future)
    assert told.state == "done"
    assert told.worker in ("0", "1")


def test_an_unknown_task_is_no_error(client):
    """It may have been released; a key of a collection is as good as a text."""
    assert client.explain("nobody-knows").state == "unknown"
    assert client.explain(("nobody", 1)).key == ("nobody", 1)


# Reprioritizing


def test_waiting_tasks_change_places(client, full):
    """The last becomes the first, by its class, by its priority, by its deadline."""
    for number, wish in enumerate(
        ({"priority_class": "interactive"}, {"priority": 500}, {"deadline": 0.01})
    ):
        futures = client.map(
            stamp, range(8), priority_class="nightly", key=f"{number}", pure=False
        )
        assert client.reprioritize(futures[-1], **wish) == 1
        assert client.reprioritize([futures[-1].key], **wish) == 1
        assert client.reprioritize("nobody-knows", **wish) == 0
        full.set()
        times = client.gather(futures)
        # Two threads may each have held one already.
        assert sorted(times).index(times[-1]) <= 3
        full.clear()
        blockers = block(client, full)
    full.set()
    wait(blockers, timeout=60)
    assert client.reprioritize(futures, priority_class="release") == 0


def test_wishes_that_make_no_sense_change_nothing(client):
    """They are errors at once; a class that nobody configured is one, too."""
    with pytest.raises(UsageError, match="deadline"):
        client.reprioritize("x", deadline="soon")
    with pytest.raises(UsageError, match="priority_class"):
        client.reprioritize("x", priority_class="two words")


# Clusters of other kinds


def test_an_asynchronous_client_awaits():
    """explain and reprioritize are as the other methods of the client are."""

    async def main():
        quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
        async with (
            Scheduler(protocol="inproc://", preload=[MODULE], **quiet) as scheduler,
            Worker(scheduler.address, nthreads=1, **quiet),
            Client(scheduler.address, asynchronous=True) as client,
        ):
            future = client.submit(stamp, hardware="gpu.count >= 64")
            assert (await client.explain(future)).state == "waiting"
            assert await client.reprioritize([future], priority_class="nightly") == 1
            assert await client.reprioritize([], priority_class="nightly") == 0

    asyncio.run(main())


def test_a_scheduler_without_dtf_is_said():
    """Nothing is guessed of a plain Dask cluster, and it goes on working."""
    with (
        distributed.LocalCluster(
            n_workers=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        future = client.submit(stamp, priority_class="interactive")
        with pytest.raises(SchedulingUnavailableError, match="dtf scheduler"):
            client.explain(future)
        with pytest.raises(SchedulingUnavailableError):
            client.reprioritize(future, priority=1)
        assert future.result() > 0


def test_too_much_work_is_shed_by_class_with_an_error():
    """The least urgent, newest first; each future says why, and the rest runs."""
    with (
        dask.config.set({"dtf.scheduling.queue-length-max": 10}),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        distributed.Client(cluster, set_as_default=False) as stock,
    ):
        gate = new_gate(client)
        blocker = client.submit(through, gate.name)
        until(lambda: client.explain(blocker).state == "running")
        kept = client.map(stamp, range(6), priority_class="interactive")
        with dask.annotate(dtf={"class": "nightly"}):
            shed = stock.map(stamp, range(100, 120))
        until(lambda: sum(one.status == "error" for one in shed) >= 10)
        gate.set()
        wait([*kept, *shed], timeout=60)
        assert all(one.status == "finished" for one in kept)
        failed = [one for one in shed if one.status == "error"]
        assert failed
        with pytest.raises(OverloadedError):
            failed[-1].result()
