"""A real worker whose real schedulers die one after the other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Status, get_worker, secede
from free_contact import free_contact
from rejoin_kit import Leader, asking, cut, leading, run, until, working

from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.durable.serialized import unpack
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.preload import upgrade_workers
from dtf_dask.worker_plugins import rejoin
from dtf_dask.worker_plugins.dask_rejoin import is_open


def noted(path: str, seconds: float) -> int:
    """A task that writes down that it ran."""
    with open(path, "a") as file:
        file.write("ran\n")
    time.sleep(seconds)
    return 7


def speaking(gate: str) -> None:
    """A task that says something while nobody hears it, and ends."""
    while not Path(gate).exists():
        time.sleep(0.01)
    get_worker().log_event("topic", "last words")


def seceded(gate: str) -> None:
    secede()
    while not Path(gate).exists():
        time.sleep(0.01)


def fail() -> None:
    raise ValueError("as it should")


def test_what_runs_goes_on_and_what_is_made_stays(tmp_path: Path) -> None:
    """A leader dies: results, errors and running tasks are brought to the next one.

    What had not begun is dropped. What runs ends once, under its run id.
    """

    async def check() -> None:
        contact = free_contact()
        log = tmp_path / "ran"
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            made = client.submit(int, 41, key="made")
            erred = client.submit(fail, key="erred", pure=False)
            gone = client.submit(seceded, str(tmp_path / "gate"), key="gone")
            await made
            assert "as it should" in str(await erred.exception())
            slow = client.submit(noted, str(log), 1.0, key="slow")
            after = client.submit(int, slow, key="after")
            await until(lambda: "slow" in worker.active_keys)
            behind = client.submit(int, 3, key="behind")
            await until(lambda: worker.state.tasks.get("behind"))
            run_ids = {key: first.tasks[key].run_id for key in ("made", "slow", "gone")}
            cut(first)
            async with leading(contact, 2) as second:
                await until(lambda: worker.address in second.workers)
                brought = second.inventory(worker)
                assert brought.term == 1
                assert brought.server_id == worker.id
                (held,) = brought.memory
                assert (held.key, held.typename) == ("made", "int")
                assert held.run_id == run_ids["made"]
                running = {one.key: one for one in brought.running}
                assert set(running) == {"slow", "gone"}
                assert all(one.run_id == run_ids[key] for key, one in running.items())
                assert running["gone"].seceded
                assert not running["slow"].seceded
                assert 0 <= running["slow"].for_s < 30
                (failed,) = brought.erred
                assert failed.key == "erred"
                assert "as it should" in failed.exception_text
                assert unpack(failed.exception) is not None
                assert "behind" not in worker.state.tasks
                assert worker.data["made"] == 41
                await until(lambda: "slow" in second.ended())
                (end,) = (one for one in second.said if one.get("key") == "slow")
                assert end["run_id"] == run_ids["slow"]
                assert log.read_text() == "ran\n"
                assert worker.status == Status.running
                (tmp_path / "gate").touch()
                await until(lambda: "gone" in second.ended())
            del after, behind, gone

    run(check)


def test_what_happens_meanwhile_is_said_in_order(tmp_path: Path) -> None:
    """An event, then the end of its task: the next leader hears both, in that order.

    So in the inventory the task runs still, though its result is there.
    """

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            future = client.submit(speaking, str(tmp_path / "gate"), key="speaking")
            await until(lambda: "speaking" in worker.active_keys)
            run_id = first.tasks["speaking"].run_id
            cut(first)
            # What goes into a connection that is broken, unknown to it, is lost.
            await until(lambda: not is_open(worker))
            (tmp_path / "gate").touch()
            await until(lambda: "speaking" in worker.data)
            async with leading(contact, 2) as second:
                await until(second.ended)
                brought = second.inventory(worker)
                assert brought.memory == ()
                assert [(one.key, one.run_id) for one in brought.running] == [
                    ("speaking", run_id)
                ]
                heard = [one for one in second.said if one.get("topic") != "all"]
                words = [one.get("msg", one.get("key")) for one in heard]
                at = words.index("last words")
                assert words.index("speaking") > at
                assert words.count("last words") == words.count("speaking") == 1
            del future

    run(check)


def test_a_newer_leader_calls(tmp_path: Path) -> None:
    """The old connection stands, as one that is half open does: the call ends it.

    From then on the old leader is not obeyed, and a stale call is refused.
    """

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1) as first, working(contact, tmp_path) as worker:
            old = first.stream_comms[worker.address]
            async with leading(contact, 2) as second:
                rpc = second.rpc(worker.address)
                own = str(contact.coordinators[1])
                assert await rpc.dtf_leader(address=own, term=2) == {"status": "OK"}
                # On its way already, or sent by one who knows of nothing.
                if not old.comm.closed():
                    old.send({"op": "close", "reason": "the old leader's"})
                await until(lambda: worker.address in second.workers)
                assert await rpc.dtf_leader(address="old:1", term=1) == {
                    "status": "stale",
                    "term": 2,
                }
                assert await rpc.dtf_leader(address=own, term=2) == {"status": "OK"}
                answer = await rpc.dtf_leader(address=own, term="9")
                assert answer["status"] == "error"
                await until(lambda: second.workers[worker.address].metrics)
                assert worker.status == Status.running
                assert old.comm.closed()

    run(check)


def test_a_scheduler_that_forgot_the_worker(tmp_path: Path) -> None:
    """A heartbeat is answered "missing": the worker joins again, and closes not."""

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            future = client.submit(int, 41, key="made")
            await future
            await first.remove_worker(worker.address, stimulus_id="t", close=False)
            assert worker.address not in first.workers
            await until(lambda: worker.address in first.workers)
            (held,) = first.inventory(worker).memory
            assert held.key == "made"
            assert worker.status == Status.running

    run(check)


@pytest.mark.logs("No leader for .* this worker ends")
def test_patience_ends(tmp_path: Path) -> None:
    """Without a leader for so long the worker closes, as Dask's does at once."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1) as first:
            worker = await working(contact, tmp_path, patience_s=0.5)
            cut(first)
            await asyncio.sleep(0.2)
            assert worker.status == Status.running
            await worker.finished()
            assert worker.status == Status.closed

    run(check)


class _Fences(Leader):
    """Refuses who brings something."""

    async def add_worker(self, comm: Any, **words: Any) -> None:  # type: ignore[override]
        brought = words["extra"]["dtf-inventory"]
        if any(brought[column] for column in ("memory", "running", "erred")):
            self.said.append({"op": "fenced", "server_id": words["server_id"]})
            await comm.write(
                {"status": "error", "dtf": "fenced", "message": "late", "time": 0.0}
            )
            return
        await super().add_worker(comm, **words)


@pytest.mark.logs("away for too long")
def test_who_comes_too_late_joins_as_another(tmp_path: Path) -> None:
    """All that it has is dropped, and it is a new worker, in the same process."""

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            await client.submit(int, 41, key="made", pure=False)
            made = client.submit(int, 42, key="kept")
            await made
            slow = client.submit(noted, str(tmp_path / "ran"), 0.5, key="slow")
            await until(lambda: "slow" in worker.active_keys)
            before = worker.id
            cut(first)
            async with leading(contact, 2, _Fences) as second:
                await until(lambda: worker.address in second.workers)
                assert second.said[0] == {"op": "fenced", "server_id": before}
                assert second.workers[worker.address].server_id == worker.id != before
                assert not worker.data
                assert second.inventory(worker).running == ()
                # The thread was let go on; what it made is thrown away.
                await until(lambda: not worker.state.executing)
                assert second.ended() == []
                assert not worker.state.tasks
            del slow

    run(check)


class _Refuses(Leader):
    """Refuses a worker twice, for a reason that is none of its own."""

    async def add_worker(self, comm: Any, **words: Any) -> None:  # type: ignore[override]
        if len(self.said) < 2:
            self.said.append({"op": "refused"})
            message = "an inventory of version 2"
            await comm.write({"status": "error", "message": message, "time": 0.0})
            return
        await super().add_worker(comm, **words)


@pytest.mark.logs("This worker has no leader, it is refused: an inventory of version 2")
def test_who_is_refused_asks_again_with_all_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader of another version, or a name that is taken: that may be over soon. It
    is said once, and nothing is dropped."""
    monkeypatch.setattr(rejoin, "RESTS_S", 0.05)

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1) as first,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            made = client.submit(int, 42, key="kept")
            await made
            before = worker.id
            cut(first)
            async with leading(contact, 2, _Refuses) as second:
                await until(lambda: worker.address in second.workers)
                assert second.said == [{"op": "refused"}] * 2
                assert worker.id == before
                assert [one.key for one in second.inventory(worker).memory] == ["kept"]
                assert caplog.text.count("an inventory of version 2") == 1

    run(check)


@pytest.mark.logs(
    "This worker has no leader, none is found: .* is of cluster 'other'",
    r"No leader for .* this worker ends \(none is found: .* is of cluster 'other'",
)
def test_a_worker_joins_no_other_cluster_at_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which one is there, waits as long as it waits for a leader, and ends."""
    monkeypatch.setattr(rejoin, "RESTS_S", 0.05)

    async def check() -> None:
        contact = free_contact(1)
        async with leading(contact, 1) as first:
            worker = await working(contact, tmp_path, patience_s=1.0)
            cut(first)
        own = contact.coordinators[0]
        announce(str(own), contact, Greeting(NodeName("other", NodeId(1)), 2))
        where = {"host": own.host, "port": own.port, "protocol": "dtf"}
        async with Leader(**where) as other:
            await worker.finished()
            assert worker.status == Status.closed
            assert not other.workers

    run(check)


def test_who_is_told_to_close_closes(tmp_path: Path) -> None:
    """Only a broken connection is outlived."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1) as first:
            for told in (True, False):  # else a heartbeat tells it
                worker = await working(contact, tmp_path)
                await first.retire_workers([worker.address], close_workers=told)
                await worker.finished()
            other = await working(contact, tmp_path)
            cut(first)
            await asyncio.sleep(0.2)
            await other.close()  # while it looks for a leader
            assert other.status == Status.closed

    run(check)


def test_the_plugin_comes_with_the_answer_to_a_registration(tmp_path: Path) -> None:
    """A worker without dtf's preload gets it from the scheduler, before it matters."""

    class Upgrades(Leader):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            upgrade_workers(self)

    async def check() -> None:
        contact = free_contact()
        async with (
            leading(contact, 1, Upgrades) as first,
            working(contact, tmp_path, plugins=()) as worker,
        ):
            plugin = worker.plugins["dtf-rejoin"]
            cut(first)
            async with leading(contact, 2, Upgrades) as second:
                await until(lambda: worker.address in second.workers)
                assert second.inventory(worker).term == 1
                assert worker.plugins["dtf-rejoin"] is plugin
                cut(second)
                async with leading(contact, 3, Upgrades) as third:
                    await until(lambda: worker.address in third.workers)

    run(check)


def test_who_was_leaving_leaves(tmp_path: Path) -> None:
    """A leader dies as it retires a worker: the next one is asked to, and it closes."""

    class Hangs(Leader):
        async def retire_workers(self, *args: Any, **words: Any) -> Any:  # type: ignore[override]
            self.said.append({"op": "retire"})
            await asyncio.Event().wait()

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.handlers["retire_workers"] = self.retire_workers

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1, Hangs) as first:
            worker = await working(contact, tmp_path)
            leaving = asyncio.create_task(worker.close_gracefully())
            await until(lambda: first.said)
            worker.status = Status.closing_gracefully  # as the leader has it said
            cut(first)
            async with leading(contact, 2) as second:
                await worker.finished()
                assert worker.status == Status.closed
                assert worker.address not in second.workers
                await asyncio.gather(leaving, return_exceptions=True)

    run(check)


def test_nothing_grows_over_many_leaders(tmp_path: Path) -> None:
    """Each leaves no task, no connection and no handler behind."""

    async def check() -> None:
        contact = free_contact()
        counted = []
        worker = working(contact, tmp_path)
        starting = asyncio.create_task(worker.start())
        for term in range(1, 13):
            async with leading(contact, term) as leader:
                await starting
                await until(lambda: worker.address in leader.workers)
                await worker.heartbeat()  # a connection of the pool's
            counted.append((len(asyncio.all_tasks()), len(worker.rpc._created)))
        await worker.close()
        # The first ones make what stays; from then on it is the same, and waits.
        assert counted[-1][0] <= counted[3][0] + 1, counted
        assert counted[-1][1] <= counted[3][1] + 1, counted

    run(check)
