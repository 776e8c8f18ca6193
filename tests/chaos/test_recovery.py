"""Drills: what docs/deployment.md says of each failure happens in real processes.

One cluster of three coordinators and two workers plays for all of them, in order. Each
drill begins when all is well, and ends so.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from distributed import Queue, Variable, fire_and_forget
from recovery_kit import CRASHES, ISLAND, WAIT_S, Drill, tasks

pytestmark = [
    pytest.mark.timeout(400),
    # Where the machine is slow: a client says what it waits for.
    pytest.mark.logs("After 10 s: .* no coordinator leads", "cannot be submitted yet"),
]
Drilled = Callable[[Callable[[Drill], Coroutine[Any, Any, None]]], None]


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drilled]:
    """Runs a drill, from a cluster that is whole to one that is whole again."""
    drill = Drill(tmp_path_factory.mktemp("drills"))
    room = drill.running(workers=2)

    def run(one: Callable[[Drill], Coroutine[Any, Any, None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(3 * WAIT_S):
                await drill.cluster.whole(WAIT_S)
                await one(drill)
                await drill.cluster.whole(WAIT_S)

        try:
            runner.run(limited())
        except BaseException:
            print(drill.cluster.logged())
            raise

    with asyncio.Runner() as runner:
        runner.run(room.__aenter__())
        try:
            yield run
        finally:
            runner.run(room.__aexit__(None, None, None))


def test_a_minority_with_clients_in_it_acknowledges_nothing(drilled: Drilled) -> None:
    """The leader is parted from the others together with a client: others lead, and
    serve who reaches them; what the client asks meanwhile waits, is nowhere begun, and
    is done once when the network heals."""

    async def drill(it: Drill) -> None:
        cut_off = await it.cluster.leader()
        async with it.client() as outside, it.client(on_island=True) as inside:
            before = inside.submit(tasks.add, 1, 2)
            running = inside.submit(tasks.gated, str(it.folder), "parted", 5)
            assert await before == 3
            await it.begun("parted")
            it.part({cut_off.node, ISLAND})
            while await it.cluster.leader() is cut_off:
                await asyncio.sleep(0.02)
            shown = await it.until_said(cut_off, "leads since")
            assert f"{cut_off.config.names[cut_off.config.node]} leads" not in shown
            asked = inside.submit(tasks.gated, str(it.folder), "asked", 7)
            with pytest.raises(TimeoutError):
                await inside.flush(timeout="1 s")
            assert await outside.submit(tasks.add, 20, 3) == 23
            assert it.runs("asked") == 0
            assert not asked.durable
            for name in ("parted", "asked"):
                it.open(name)
            it.net.heal()
            assert await asked == 7
            assert (await running, await before) == (5, 3)
        assert it.runs("asked") == it.runs("parted") == 1

    drilled(drill)


def test_all_is_back_after_a_power_cycle(drilled: Drilled) -> None:
    """Two of three coordinators are killed: none leads, that is said, and what is
    submitted waits. Then the third and all workers are: when all are started again,
    what was acknowledged is known and computed again, also what nobody waits for."""

    async def drill(it: Drill) -> None:
        folder, cluster = str(it.folder), it.cluster
        leader = await cluster.leader()
        async with it.client() as client:
            done = client.map(tasks.add, range(10), range(10))
            below = client.submit(sum, done)
            assert await below == 90
            failed = client.submit(tasks.failing, folder, "failed")
            assert isinstance(await failed.exception(), ValueError)
            running = client.submit(tasks.gated, folder, "cycle", 4)
            await client.publish_dataset(kept=below)
            await Variable("cycle", client).set("kept")
            queue = await Queue("cycle", client)
            await queue.put(running)
            alone = client.submit(tasks.began, folder, "alone", running)
            fire_and_forget(alone)
            del alone
            await it.begun("cycle")
            await client.flush()

            for one in cluster.coordinators.values():
                if one is not leader:
                    one.kill()
            await it.until_said(leader, "no scheduler leads")
            waits = client.submit(tasks.gated, folder, "waits", done[3])
            with pytest.raises(TimeoutError):
                await client.flush(timeout="0.5 s")
            assert it.runs("waits") == 0

            leader.kill()
            workers = sorted(cluster.workers)
            for name in workers:
                cluster.kill_worker(name)
            for one in cluster.coordinators.values():
                one.start()
            for name in workers:
                cluster.start_worker(name, 2)
            await it.begun("cycle", 2)
            it.open("cycle")
            it.open("waits")
            assert await client.gather(done) == [2 * n for n in range(10)]
            assert await below == 90
            assert await waits == 6
            assert isinstance(await failed.exception(), ValueError)
            await it.begun("alone")
            assert await (await queue.get()) == 4
        async with it.client() as another:
            assert await (await another.get_dataset("kept")) == 90
            assert await Variable("cycle", another).get() == "kept"
            await another.unpublish_dataset("kept")
        assert it.runs("waits") == 1

    drilled(drill)


def test_a_leader_without_room_on_its_disk_hands_over(drilled: Drilled) -> None:
    """Its kernel lets it write no more: another leads, it says why, and takes part
    again by itself when there is room."""

    async def drill(it: Drill) -> None:
        full = await it.cluster.leader()
        assert full.process is not None
        async with it.client() as client:
            before = client.submit(tasks.gated, str(it.folder), "full", 1)
            await it.begun("full")
            _, most = resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (1, most))
            assert await client.submit(tasks.add, 30, 1) == 31
            while await it.cluster.leader() is full:
                await asyncio.sleep(0.05)
            await it.until_said(full, "no room")
            it.open("full")
            assert await before == 1
            resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (most, most))
            await it.cluster.whole(WAIT_S)
            assert "no room" not in await it.status(full)
        assert it.runs("full") == 1

    drilled(drill)


@pytest.mark.drill
def test_schedulers_that_crash_again_and_again_are_an_alarm(drilled: Drilled) -> None:
    """A preload fails everywhere: pauses grow, `dtf status` has an alarm, nobody leads;
    when it is mended all goes on, and what workers had is there."""

    async def drill(it: Drill) -> None:
        async with it.client() as client:
            done = client.submit(tasks.gated, str(it.folder), "loop", 6)
            it.open("loop")
            assert await done == 6
            (it.folder / CRASHES).touch()
            for one in it.cluster.coordinators.values():
                for process in one.processes():
                    if process.pid != getattr(one.process, "pid", 0):
                        process.send_signal(signal.SIGKILL)
            first = it.cluster.coordinators[1]
            shown = await it.until_said(first, "times in a row")
            assert "no scheduler leads" in shown
            (it.folder / CRASHES).unlink()
            assert await client.submit(tasks.double, done) == 12
        assert it.runs("loop") == 1

    drilled(drill)


@pytest.mark.drill
def test_a_coordinator_that_lost_its_disk_is_replaced(drilled: Drilled) -> None:
    """By a new one, at the same host and port, while tasks run: the address of the
    cluster stays, and the new one leads when it is told to."""

    async def drill(it: Drill) -> None:
        leader = await it.cluster.leader()
        lost = next(one for one in it.cluster.coordinators.values() if one != leader)
        host, port = lost.config.peers[lost.config.node]
        async with it.client() as client:
            running = client.submit(tasks.gated, str(it.folder), "replaced", 8)
            await it.begun("replaced")
            lost.kill()
            shutil.rmtree(lost.config.folder)
            own = leader.config.folder
            await it.said_by("ha", "remove", own, lost.node)
            place = f"{host}:{port}"
            await it.said_by("ha", "join", it.folder, 4, place, "--like", own)
            await it.cluster.replace(lost, it.folder / "node-4")
            added = it.said_by("ha", "add", own, 4, place, "--timeout", WAIT_S)
            assert "Node 4 votes" in await added
            it.open("replaced")
            assert await running == 8
            await it.cluster.whole(WAIT_S)
            await it.said_by("ha", "transfer", own, 4, "--timeout", WAIT_S)
            shown = await it.until_said(leader, "shadow")
            assert await client.submit(tasks.add, 3, 3) == 6
            name = lost.config.names[lost.config.node]
            assert f"{name} leads since" in shown
            assert "does not answer" not in shown
            assert f"Workers and clients: {it.cluster.contact}" in shown
        assert it.runs("replaced") == 1

    drilled(drill)
