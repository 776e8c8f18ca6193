"""What happens before the leading scheduler is killed, and what must hold after.

A scenario is an async generator: what is before its ``yield`` is done by all of them,
then the scheduler is killed, then each goes on. `OUTCOME` is what docs/what-survives.md
says of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask
import distributed
import pytest
import survival_tasks as tasks
from distributed import (
    Event,
    Lock,
    MultiLock,
    Queue,
    Semaphore,
    Variable,
    as_completed,
    fire_and_forget,
    performance_report,
    wait,
)

from dtf_dask import Client
from dtf_dask.durable import client_preload
from dtf_dask.errors import FailoverError, TaskLostError

Outcome = Literal["goes on", "is lost in part", "is refused"]
Play = Callable[["World"], AsyncIterator[None]]


@dataclass(frozen=True)
class Scenario:
    """One row's proof."""

    play: Play
    outcome: Outcome
    last: bool
    """It disturbs the others, and comes after them."""


SCENARIOS: dict[str, Scenario] = {}


def holds(outcome: Outcome, *, last: bool = False) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        name = getattr(play, "__name__").replace("_", "-")  # noqa: B009
        SCENARIOS[name] = Scenario(play, outcome, last)
        return play

    return add


class World:
    """A cluster, and a folder that tasks share with the test."""

    def __init__(self, contact: str, folder: Path, client: Client) -> None:
        self.contact, self.folder, self.client = contact, str(folder), client
        self.victim = ""
        """A worker that is killed together with the second scheduler."""

    def open(self, name: str) -> None:
        """Let gated tasks go on."""
        Path(self.folder, f"{name}.open").touch()

    def runs(self, name: str) -> int:
        """How often a task was begun."""
        file = Path(self.folder, f"{name}.runs")
        return len(file.read_text().splitlines()) if file.exists() else 0

    async def begun(self, name: str, times: int = 1) -> None:
        while self.runs(name) < times:
            await asyncio.sleep(0.02)

    async def led_again(self) -> None:
        """Wait until a scheduler answers: what is asked of one that dies is refused."""
        await self.client.scheduler.identity()

    async def actor(self, number: int) -> Any:
        """An actor on a worker of its own."""
        workers = sorted(await self.client.nthreads())
        return await self.client.submit(
            tasks.Counter, actor=True, workers=[workers[number]], pure=False
        )

    async def is_(self, condition: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        while not await condition():
            await asyncio.sleep(0.05)

    async def another(self) -> Client:
        return await Client(self.contact, asynchronous=True, set_as_default=False)

    async def stock(self, *preload: str) -> Any:
        """A client of Dask's own, as its configuration has it."""
        with dask.config.set({"distributed.client.preload": [*preload]}):
            made = distributed.Client(
                self.contact, asynchronous=True, set_as_default=False, timeout=60
            )
        return await made

    async def kill_worker(self, address: str) -> None:
        found = await self.client.run(tasks.pid, workers=[address])
        os.kill(found[address], signal.SIGKILL)


async def soon(work: Any) -> asyncio.Task[Any]:
    """Begin something that waits for an answer, and let it be asked."""

    async def asked() -> Any:
        return await work

    task = asyncio.create_task(asked())
    await asyncio.sleep(0.1)
    return task


# -- tasks and futures


@holds("goes on")
async def futures(world: World) -> AsyncIterator[None]:
    client, folder = world.client, world.folder
    done = client.submit(tasks.add, 1, 2)
    await done
    running = client.submit(tasks.gated, folder, "futures", 3)
    waiting = client.map(tasks.add, [running] * 3, range(3))
    await world.begun("futures")
    yield
    assert await done == 3
    world.open("futures")
    assert await client.gather(waiting) == [3, 4, 5]
    assert world.runs("futures") == 1


@holds("goes on")
async def waiting_for_futures(world: World) -> AsyncIterator[None]:
    client, folder = world.client, world.folder
    made = client.map(tasks.gated, [folder] * 3, ["wait"] * 3, [1, 2, 3])
    called: list[Any] = []
    for future in made:
        future.add_done_callback(lambda one: called.append(one.key))

    async def completed() -> list[Any]:
        return [await future async for future in as_completed(made)]

    waits = [await soon(wait(made)), await soon(completed()), await soon(made[0])]
    gathering = await soon(client.gather(made))
    yield
    world.open("wait")
    assert await gathering == [1, 2, 3]
    assert not (await waits[0]).not_done
    assert sorted(await waits[1]) == [1, 2, 3]
    assert await waits[2] == 1
    assert len(called) == 3


@holds("goes on")
async def errors(world: World) -> AsyncIterator[None]:
    client, folder = world.client, world.folder
    failed = client.submit(tasks.failing, folder, "errors")
    below = client.submit(tasks.double, failed)
    repaired = client.submit(tasks.fails_until_open, folder, "repaired")
    await wait([below, repaired])
    yield
    for future in (failed, below):
        assert isinstance(await future.exception(), ValueError)
    assert world.runs("errors") == 1
    world.open("repaired")
    await client.retry([repaired])
    assert await repaired == "repaired"


@holds("goes on")
async def cancelled(world: World) -> AsyncIterator[None]:
    client, folder = world.client, world.folder
    one = client.submit(tasks.gated, folder, "cancel", 1)
    await world.begun("cancel")
    never = client.submit(tasks.gated, folder, "cancel-next", one)
    await client.cancel([never])
    yield
    assert never.cancelled()
    world.open("cancel")
    assert await one == 1
    assert world.runs("cancel-next") == 0


@holds("goes on")
async def fire(world: World) -> AsyncIterator[None]:
    future = world.client.submit(tasks.gated, world.folder, "fire", 1)
    after = world.client.submit(tasks.began, world.folder, "fire-after", future)
    fire_and_forget(after)
    del after, future
    await world.client.flush()
    yield
    world.open("fire")
    await world.begun("fire-after")
    assert world.runs("fire") == 1


@holds("goes on")
async def nested_clients(world: World) -> AsyncIterator[None]:
    client, folder = world.client, world.folder
    outer = client.submit(tasks.nested, folder, "nested")
    within = client.submit(tasks.with_worker_client, folder, "within")
    await world.begun("nested")
    await world.begun("within")
    yield
    world.open("nested")
    world.open("within")
    assert await outer == 21
    assert await within == 6 + 66


@holds("goes on")
async def annotations(world: World) -> AsyncIterator[None]:
    """Where a task may run, and what goes first, of tasks that have not begun."""
    client = world.client
    address = sorted(await client.nthreads())[1]
    gate = client.submit(tasks.gated, world.folder, "annotated", 0)
    await world.begun("annotated")
    there = client.map(
        tasks.address_after, [gate] * 3, range(3), workers=[address], priority=5
    )
    yield
    world.open("annotated")
    assert await client.gather(there) == [address] * 3


@holds("goes on")
async def spilled(world: World) -> AsyncIterator[None]:
    """What a worker has put on its disk."""
    client = world.client
    address = sorted(await client.nthreads())[1]
    future = client.submit(bytes, 50_000, workers=[address])
    await future
    assert (await client.run(tasks.spill, future.key, workers=[address]))[address]
    yield
    assert await future == bytes(50_000)


@holds("goes on")
async def stock_client(world: World) -> AsyncIterator[None]:
    """Dask's own, which Dask's configuration has load our half."""
    client = await world.stock(client_preload.MODULE)
    try:
        done = client.submit(tasks.add, 3, 4)
        assert await done == 7
        running = client.submit(tasks.gated, world.folder, "stock", 5)
        waiting = client.submit(tasks.double, running)
        await world.begun("stock")
        yield
        world.open("stock")
        assert await waiting == 10
        assert await done == 7
        assert world.runs("stock") == 1
    finally:
        await client.close()


@holds("is lost in part")
async def bare_client(world: World) -> AsyncIterator[None]:
    """Dask's own without it, and therefore without patience."""
    client = await world.stock()
    try:
        future = client.submit(tasks.gated, world.folder, "bare", 5)
        await world.begun("bare")
        yield
        world.open("bare")
        with pytest.raises(CancelledError):
            await future
        assert await client.submit(tasks.add, 5, 6) == 11
    finally:
        await client.close()


# -- collections


@holds("goes on")
async def delayed(world: World) -> AsyncIterator[None]:

    gate = dask.delayed(tasks.gated)(world.folder, "delayed", 1)
    total = dask.delayed(sum)([gate, dask.delayed(tasks.double)(4)])
    future = world.client.compute(total)
    await world.begun("delayed")
    yield
    world.open("delayed")
    assert await future == 9
    assert await world.client.compute(total) == 9


@holds("goes on")
async def array(world: World) -> AsyncIterator[None]:
    import dask.array as da

    made = da.ones((40, 40), chunks=10)
    kept = world.client.persist(made + 1)
    await wait(kept)
    future = world.client.compute((kept @ kept.T).sum())
    yield
    assert await future == 40 * 40 * 160.0
    assert await world.client.compute(kept.sum()) == 3200.0


@holds("goes on")
async def dataframe(world: World) -> AsyncIterator[None]:
    import pandas as pd
    from dask import dataframe as dd

    frame = dd.from_pandas(pd.DataFrame({"k": [0, 1] * 20, "v": range(40)}), 4)
    names = dd.from_pandas(pd.DataFrame({"k": [0, 1], "name": ["even", "odd"]}), 1)
    kept = world.client.persist(frame)
    future = world.client.compute(kept.groupby("k").v.sum())
    merged = world.client.compute(kept.merge(names, on="k").groupby("name").v.max())
    indexed = world.client.compute(
        kept.set_index("v", divisions=[0, 10, 20, 39]).loc[10:19].k.sum()
    )
    yield
    assert list(await future) == [380, 400]
    assert (await merged).to_dict() == {"even": 38, "odd": 39}
    assert await indexed == 5
    assert await world.client.compute(kept.v.sum()) == 780


@holds("goes on")
async def bag(world: World) -> AsyncIterator[None]:
    import dask.bag as db

    made = db.from_sequence(range(20), npartitions=4).map(tasks.double)
    future = world.client.compute(made.sum())
    yield
    assert await future == 380
    assert await world.client.compute(made.count()) == 20


@holds("goes on")
async def shuffle(world: World) -> AsyncIterator[None]:
    """One that is under way: it begins anew from its inputs."""
    import pandas as pd
    from dask import dataframe as dd

    def part(number: int) -> Any:
        if number == 3:
            tasks.gated(world_folder, "shuffle", None)
        return pd.DataFrame({"k": [0, 1, 2, 3] * 5, "v": number})

    world_folder = world.folder
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        frame = dd.from_map(part, range(4), meta=pd.DataFrame({"k": [0], "v": [0]}))
        mixed = frame.shuffle("k", npartitions=3)
        future = world.client.compute(mixed.v.sum())
    await world.begun("shuffle")
    yield
    world.open("shuffle")
    assert await future == 20 * 6


# -- what is in workers


@holds("goes on")
async def scatter(world: World) -> AsyncIterator[None]:
    one = await world.client.scatter({"scattered": 5})
    many = await world.client.scatter([1, 2, 3], broadcast=True)
    yield
    assert await one["scattered"] == 5
    assert await world.client.gather(many) == [1, 2, 3]
    assert await world.client.submit(tasks.double, one["scattered"]) == 10


@holds("goes on")
async def actors(world: World) -> AsyncIterator[None]:
    counter = await world.actor(0)
    assert await counter.increment() == 1
    yield
    await world.led_again()
    assert await counter.increment() == 2


@holds("is refused")
async def actor_calls_under_way(world: World) -> AsyncIterator[None]:
    counter = await world.actor(1)  # those of one worker wait for each other
    calling = counter.slow(world.folder, "actor")
    await world.begun("actor")
    yield
    world.open("actor")
    with pytest.raises(FailoverError, match="actor"):
        await calling
    # It was done, once.
    while await counter.increment() < 2:
        await asyncio.sleep(0.05)
    assert world.runs("actor") == 1


# -- coordination


@holds("goes on")
async def variables(world: World) -> AsyncIterator[None]:
    client = world.client
    plain, held = Variable("plain", client), Variable("held", client)
    await plain.set({"a": 1})
    future = client.submit(tasks.add, 40, 2)
    await held.set(future)
    del future
    late = await soon(Variable("late", client).get())
    yield
    assert await plain.get() == {"a": 1}
    assert await (await held.get()) == 42
    await Variable("late", client).set("came")
    assert await late == "came"


@holds("goes on")
async def queues(world: World) -> AsyncIterator[None]:
    client = world.client
    queue = await Queue("queue", client, maxsize=3)
    await queue.put("one")
    await queue.put(client.submit(tasks.add, 1, 1))
    empty = await Queue("empty", client)
    getting = await soon(empty.get())
    yield
    await queue.put("three")
    assert await queue.get() == "one"
    assert await (await queue.get()) == 2
    assert await queue.get() == "three"
    assert await queue.qsize() == 0
    await empty.put("there")
    assert await getting == "there"


@holds("goes on")
async def events(world: World) -> AsyncIterator[None]:
    client = world.client
    await Event("event-set", client).set()
    waiting = await soon(Event("event-later", client).wait())
    in_task = client.submit(tasks.waits_for, "event-task", world.folder)
    await world.begun("event-task")
    yield
    assert await Event("event-set", client).is_set()
    assert not await Event("event-later", client).is_set()
    await Event("event-later", client).set()
    await Event("event-task", client).set()
    assert await waiting
    assert await in_task


@holds("goes on")
async def locks(world: World) -> AsyncIterator[None]:
    client = world.client
    rpc = {"scheduler_rpc": client.scheduler, "loop": client.loop}
    mine = Lock("mine", **rpc)
    assert await mine.acquire()
    theirs = await soon(Lock("mine", **rpc).acquire())
    in_task = client.submit(tasks.locked, world.folder, "in-task")
    await world.begun("in-task")
    yield
    assert not theirs.done()
    assert not await Lock("mine", **rpc).acquire(timeout=0.1)
    assert not await Lock("in-task", **rpc).acquire(timeout=0.1)
    await mine.release()
    assert await theirs
    world.open("in-task")
    assert await in_task == "released"
    assert await Lock("in-task", **rpc).acquire(timeout=10)


@holds("goes on")
async def semaphores(world: World) -> AsyncIterator[None]:
    rpc = {"scheduler_rpc": world.client.scheduler, "loop": world.client.loop}
    made = await Semaphore(2, "semaphore", **rpc)
    assert await made.acquire()
    yield
    assert await made.get_value() == 1
    assert await made.acquire()
    assert not await made.acquire(timeout=0.1)
    await made.release()
    assert await made.acquire(timeout=10)


@holds("goes on")
async def multi_locks(world: World) -> AsyncIterator[None]:
    first, second = MultiLock(["a", "b"], world.client), MultiLock(["b"], world.client)
    assert await first.acquire()
    waiting = await soon(second.acquire())
    yield
    assert not waiting.done()
    await first.release()
    assert await waiting


@holds("goes on")
async def datasets(world: World) -> AsyncIterator[None]:
    import dask.array as da

    client = world.client
    kept = client.persist(da.ones(10, chunks=5))
    await client.publish_dataset(kept=kept)
    await client.publish_dataset(gone=kept)
    await client.unpublish_dataset("gone")
    del kept
    yield
    assert await client.list_datasets() == ("kept",)
    found = await client.get_dataset("kept")
    assert await client.compute(found.sum()) == 10
    await client.unpublish_dataset("kept")


@holds("goes on")
async def metadata(world: World) -> AsyncIterator[None]:
    await world.client.set_metadata(["a", "b"], 1)
    yield
    assert await world.client.get_metadata(["a", "b"]) == 1


@holds("is lost in part")
async def topics(world: World) -> AsyncIterator[None]:
    client = world.client
    heard: list[Any] = []

    async def arrives(message: str) -> bool:
        await client.log_event("topic", message)
        await asyncio.sleep(0.1)
        return message in heard

    client.subscribe_topic("topic", lambda event: heard.append(event[1]))
    await world.is_(lambda: arrives("before"))
    yield
    await world.is_(lambda: arrives("after"))
    past = await client.get_events("topic")
    assert [message for _, message in past if message == "before"] == []


# -- plugins and administration


@holds("goes on")
async def plugins(world: World) -> AsyncIterator[None]:
    client = world.client
    await client.register_plugin(tasks.Marking())
    await client.register_plugin(tasks.MarkingNanny())
    await client.register_plugin(tasks.MarkingScheduler())
    yield
    await world.led_again()
    assert set((await client.run(tasks.marks)).values()) == {1}
    marked, nannies = await client.run_on_scheduler(tasks.scheduler_mark)
    assert marked
    assert "marking-nanny" in nannies


@holds("is refused")
async def runs_under_way(world: World) -> AsyncIterator[None]:
    client = world.client
    (address, *_) = await client.run(tasks.pid)
    calling = await soon(
        client.run(tasks.gated_run, world.folder, "run", workers=[address])
    )
    await world.begun("run")
    yield
    world.open("run")
    with pytest.raises(FailoverError, match="not known"):
        await calling
    await world.led_again()
    assert len(await client.run(tasks.pid)) > 1


@holds("goes on")
async def inquiries(world: World) -> AsyncIterator[None]:
    client = world.client
    future = client.submit(tasks.add, 7, 8)
    await future
    yield
    assert (await client.who_has([future]))[future.key]
    assert len(await client.nthreads()) > 1
    assert len(await client.ncores()) > 1
    assert (await client.nbytes(summary=False))[future.key] > 0
    assert (await client.get_versions())["scheduler"]
    assert await client.call_stack() is not None
    assert any(future.key in keys for keys in (await client.has_what()).values())
    assert await client.scheduler.get_task_status(keys=[future.key])


@holds("is lost in part")
async def histories(world: World) -> AsyncIterator[None]:
    client = world.client
    await client.scheduler.get_task_stream()
    future = client.submit(tasks.add, 70, 80)
    await future
    yield
    after = client.submit(tasks.add, 700, 800)
    await after
    keys = [one["key"] for one in await client.get_task_stream()]
    assert future.key not in keys
    await client.profile()


@holds("goes on")
async def replicate(world: World) -> AsyncIterator[None]:
    future = await world.client.scatter(99, hash=False)
    await world.client.replicate([future], n=2)
    yield
    # Dask's own memory manager drops replicas that nobody needs, as it does always:
    # now and then between the two questions.
    for _ in range(5):
        await world.client.replicate([future], n=3)
        if len((await world.client.who_has([future]))[future.key]) > 1:
            break
    else:
        raise AssertionError("there is one replica, however often more are asked for")
    await world.client.rebalance([future])


@holds("is lost in part")
async def reports(world: World) -> AsyncIterator[None]:
    """One that is under way shows what was since the takeover."""
    path = Path(world.folder, "report.html")
    async with performance_report(str(path)):
        await world.client.submit(tasks.add, 1, 10)
        yield
        await world.led_again()
        await world.client.submit(tasks.add, 1, 11)
    assert path.stat().st_size > 1_000


# -- what disturbs the others


@holds("goes on", last=True)
async def uploads(world: World) -> AsyncIterator[None]:
    """A worker that comes later has it, too."""
    path = Path(world.folder, "survival_upload.py")
    path.write_text("answer = 42\n")
    await world.client.upload_file(str(path))
    yield
    await world.led_again()

    async def everywhere() -> bool:
        found = await world.client.run(tasks.uploaded, on_error="return")
        return len(found) >= 4 and set(found.values()) == {42}

    await world.is_(everywhere)


@holds("is lost in part", last=True)
async def scatter_lost(world: World) -> AsyncIterator[None]:
    """A value is where it was put, and nobody can make it again."""
    client = world.client
    value = await client.scatter(5, workers=[world.victim], hash=False)
    below = client.submit(tasks.gated, world.folder, "never", value)
    yield
    for future in (value, below):
        with pytest.raises(TaskLostError):
            await future


@holds("is lost in part", last=True)
async def actor_lost(world: World) -> AsyncIterator[None]:
    """So is the state of an actor."""
    where = {"workers": [world.victim], "allow_other_workers": False}
    counter = await world.client.submit(tasks.Counter, actor=True, **where)
    await counter.increment()
    yield
    with pytest.raises((TaskLostError, RuntimeError), match=r"[Aa]ctor"):
        await counter.increment()


@holds("goes on", last=True)
async def retiring(world: World) -> AsyncIterator[None]:
    client = world.client
    address = sorted(await client.nthreads())[3]  # one without actors
    future = client.submit(tasks.add, 5, 6, workers=[address])
    await future
    yield
    await client.retire_workers([address])

    async def gone() -> bool:
        return address not in await client.nthreads()

    await world.is_(gone)
    assert await future == 11


@holds("goes on", last=True)
async def restarting(world: World) -> AsyncIterator[None]:
    future = world.client.submit(tasks.add, 1, 1)
    await future
    yield
    await world.client.restart(timeout=90)
    assert future.cancelled()
    assert await world.client.submit(tasks.add, 2, 2) == 4
