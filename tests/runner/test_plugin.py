"""The worker plugin on a real worker: batches, questions, and what remains of them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import psutil
import pytest
from dask_cluster import WAIT_S, entries, pytest_spec, room
from served import crashes, gone, ran

from dtf_dask import __version__
from dtf_dask.worker_plugins.runner import plugin as plugin_module
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin, batch_key, run_batch

SUITE = """
import os, pathlib, subprocess, time
import pytest

def test_one(): pass
def test_two(): pass
def test_fails(): assert 0, "as it must"

def test_kills_runner():
    while not pathlib.Path("kill").exists():
        time.sleep(0.01)
    os.kill(os.getppid(), 9)
    time.sleep(600)

def test_long_output(): print("y" * 5000)

def test_talks():
    print("before")
    os.write(1, b"x" * 70_000 + b"so far")
    os.write(2, b"trouble")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)

def test_waits():
    while not pathlib.Path("go").exists():
        time.sleep(0.01)

@pytest.mark.parametrize("n", range(50))
def test_slow(n): time.sleep(0.02)

def test_pid(record_property): record_property("runner", os.getppid())
"""
ONE, TWO, FAILS, KILLS, LONG, TALKS, WAITS, PID = (
    f"test_suite.py::test_{name}"
    for name in (
        *("one", "two", "fails", "kills_runner", "long_output", "talks", "waits"),
        "pid",
    )
)
SLOW = [f"test_suite.py::test_slow[{n}]" for n in range(50)]


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_suite.py").write_text(SUITE)
    return folder


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "worker"
    folder.mkdir()
    return folder


def outcomes(frames):
    return {
        frame["i"]: [report["outcome"] for report in frame["reports"]]
        for frame in frames
        if frame["op"] == "case"
    }


def leftovers(scratch: Path) -> list[Path]:
    return [*scratch.glob("**/dtf-run-*")]


def test_batches_of_a_run(suite, scratch):
    """Reports come as frames, in order; one runner stays warm for all batches."""

    async def scene():
        async with room(scratch) as here:
            assert await here.open(pytest_spec(suite)) == {"ok": True}
            frames = await here.batch("r1", 1, entries(ONE, FAILS))
            assert outcomes(frames) == {
                0: ["passed"] * 3,
                1: ["passed", "failed", "passed"],
            }
            assert [f["op"] for f in frames][-2:] == ["batch_end", "batch_over"]
            [runner] = here.runners()
            assert ran(await here.batch("r1", 2, entries(TWO, first=7))) == [7]
            assert here.runners() == [runner]
            await here.ask("dtf_close", run="r1")
            assert gone(runner.pid, 0.0)
            assert leftovers(scratch) == []
            assert ran(here.frames[2]) == [7]

    asyncio.run(scene())


def test_another_version_is_named(suite, scratch):
    """Nothing is started for a client that speaks otherwise."""

    async def scene():
        async with room(scratch) as here:
            for spec in ({"version": "0.0.0", "run": "r"}, {"run": "r"}):
                answer = await here.ask("dtf_open", spec=spec)
                assert answer == {"error": "version", "version": __version__}
            with pytest.raises(LookupError, match="run r is not open on"):
                await here.submit("r", 1, entries(ONE))

    asyncio.run(scene())


def test_what_a_test_has_written_so_far_is_told_while_it_runs(suite, scratch):
    """The end of it; nothing of a test that does not run, nor of another run; and its
    report has all of it afterwards."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))

            async def told(case, run="r1"):
                return await here.ask("dtf_tail", run=run, case=case)

            assert await told(TALKS) == []
            batch = asyncio.ensure_future(here.batch("r1", 1, entries(ONE, TALKS)))
            async with asyncio.timeout(WAIT_S):
                while not (found := await told(TALKS)) or not found[0]["stderr"]:
                    await asyncio.sleep(0.01)
            assert found[0]["stderr"] == "trouble"
            assert found[0]["stdout"].endswith("xxxso far")
            assert len(found[0]["stdout"]) < 70_000
            (all_that_run,) = await told("")
            assert (all_that_run["case"], all_that_run["stderr"]) == (TALKS, "")
            both = await asyncio.gather(told(TALKS), told(TALKS))
            assert [len(one) for one in both] == [1, 1]
            assert (
                await told(ONE) == await told("nope") == await told(TALKS, "r2") == []
            )
            (suite / "go").touch()
            frames = await batch
            assert outcomes(frames)[1] == ["passed"] * 3
            assert await told(TALKS) == []
            assert not [frame for frame in frames if frame["op"] == "written"]

    asyncio.run(scene())


def test_registering_twice_keeps_runs(suite, scratch):
    """A second client registers the plugin again: the first one's batch goes on."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            batch = asyncio.ensure_future(here.batch("r1", 1, entries(ONE, WAITS, TWO)))
            await here.until(1, lambda frame: frame["op"] == "case")
            before = here.plugin
            await here.client.register_plugin(RunnerPlugin())
            assert here.plugin is not before or RunnerPlugin.idempotent
            (suite / "go").touch()
            assert ran(await batch) == [0, 1, 2]
            assert ran(await here.batch("r1", 2, entries(TWO, first=5))) == [5]

    asyncio.run(scene())


def test_a_runner_that_is_killed_costs_the_running_test(suite, scratch):
    """It is reported as lost; the rest goes on in a new runner; no zombie stays."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            future = here.submit("r1", 1, entries(ONE, KILLS, TWO, FAILS))
            await here.until(1, lambda frame: frame["op"] == "case")
            (suite / "kill").touch()
            frames = await here.until(1, is_over)
            await future
            assert ran(frames) == [0, 2, 3]
            cause = "the runner process was killed by SIGKILL"
            assert crashes(frames) == {1: cause}
            assert [f["lost"] for f in frames if f["op"] == "crash"] == [True]
            assert len(here.runners()) == 1
            statuses = [p.status() for p in psutil.Process().children()]
            assert psutil.STATUS_ZOMBIE not in statuses

    asyncio.run(scene())


def test_a_suite_that_cannot_be_collected_is_told(suite, scratch):
    """With what pytest said; and no runner stays."""
    (suite / "conftest.py").write_text("raise RuntimeError('not on this machine')")

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            frames = await here.batch("r1", 1, entries(ONE))
            [told] = [frame for frame in frames if frame["op"] == "unusable"]
            assert "not on this machine" in told["text"]
            assert here.runners() == []

    asyncio.run(scene())


# Taking back


def test_given_back_and_run_is_all(suite, scratch):
    """Asked before, within and after; nothing is lost, nothing is given back and run.

    Who asks again, having had no answer, is told what was given back before.
    """

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            numbers = list(range(50))
            first = here.submit("r1", 1, entries(*SLOW))
            second = here.submit("r1", 2, entries(*SLOW, first=100))
            early = await revoke(here, 2, [n + 100 for n in numbers[10:]])
            await here.until(1, lambda frame: frame["op"] == "case")
            given = await revoke(here, 1, numbers[20:])
            frames = await here.until(1, is_over)
            assert sorted(ran(frames) + given) == numbers
            assert len(given) >= 20
            frames = await here.until(2, is_over)
            assert sorted(ran(frames) + early) == [n + 100 for n in numbers]
            assert early == [n + 100 for n in numbers[10:]]
            assert await revoke(here, 1, numbers) == given
            await asyncio.gather(first, second)

    async def revoke(here, batch, numbers):
        return await here.ask(
            "dtf_revoke", run="r1", slot="gw0", batch=batch, numbers=numbers
        )

    asyncio.run(scene())


def is_over(frame):
    return frame["op"] == "batch_over"


def test_one_runner_for_two_batches_at_once(suite, scratch):
    """Two tasks of one slot on a worker of two threads: the second waits its turn."""

    async def scene():
        async with room(scratch, nthreads=2) as here:
            await here.open(pytest_spec(suite))
            frames = await asyncio.gather(
                here.batch("r1", 1, entries(PID)), here.batch("r1", 2, entries(PID))
            )
            runners = {
                tuple(report["user_properties"][0])
                for part in frames
                for frame in part
                if frame["op"] == "case"
                for report in frame["reports"]
                if report["user_properties"]
            }
            assert len(runners) == len(here.runners()) == 1
            (suite / "kill").touch()
            await asyncio.gather(
                here.batch("r1", 3, entries(KILLS)), here.batch("r1", 4, entries(ONE))
            )
            # The second batch was not talking to the runner that the first killed.
            assert crashes(here.frames[4]) == {}
            assert ran(here.frames[4]) == [0]

    asyncio.run(scene())


def test_cancel_ends_what_runs(suite, scratch):
    """At once, and the test is not called crashed."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            future = here.submit("r1", 1, entries(ONE, WAITS, TWO))
            await here.until(1, lambda frame: frame["op"] == "running")
            await here.ask("dtf_cancel", run="r1")
            async with asyncio.timeout(WAIT_S):
                await future
            frames = await here.until(1, is_over)
            assert (ran(frames), crashes(frames)) == ([0], {})
            assert [f["not_run"] for f in frames if f["op"] == "batch_end"] == [[1, 2]]
            await here.ask("dtf_cancel", run="unknown")

    asyncio.run(scene())


@pytest.mark.parametrize("only_there", [False, True])
def test_a_batch_takes_no_thread_that_another_slot_could_use(
    suite, scratch, only_there
):
    """It runs on any slot that is free, unless only its own will do."""

    async def scene():
        async with room(scratch, nthreads=2) as here:
            await here.open(pytest_spec(suite))
            long = here.submit("r1", 1, entries(WAITS), "gw1")
            await here.batch("r1", 2, entries(ONE), "gw0")
            behind = here.submit("r1", 3, entries(TWO), "gw1", only_there)
            late = here.submit("r1", 4, entries(PID), "gw0")
            if not only_there:
                await asyncio.wait_for(asyncio.gather(behind, late), WAIT_S)
                assert not long.done()
            (suite / "go").touch()
            await asyncio.wait_for(asyncio.gather(long, behind, late), WAIT_S)
            assert here.slots(3) == {"gw1" if only_there else "gw0"}
            assert [ran(here.frames[number]) for number in (1, 2, 3, 4)] == [[0]] * 4

    asyncio.run(scene())


# Files


def test_a_batch_that_is_no_longer_wanted_gives_way_at_once(suite, scratch):
    """What ran is killed and told as not run; the next batch has its place."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            wanted = entries(ONE, WAITS, TWO)
            key = batch_key("r1", 1)
            future = here.client.submit(run_batch, "r1", "gw0", 1, wanted, key=key)
            behind = entries(ONE, first=5)
            waiting = here.client.submit(
                run_batch, "r1", "gw0", 2, behind, key=batch_key("r1", 2)
            )
            await here.until(1, lambda frame: frame["op"] == "running")
            await here.client.cancel([future])
            frames = await here.until(1, lambda frame: frame["op"] == "batch_over")
            [end] = [frame for frame in frames if frame["op"] == "batch_end"]
            assert (ran(frames), end["not_run"]) == ([0], [1, 2])
            await asyncio.wait_for(waiting, WAIT_S)
            # It comes once more, as to where it ran: its driver has planned it anew.
            again = here.client.submit(run_batch, "r1", "gw0", 1, wanted, key=key)
            await asyncio.wait_for(again, WAIT_S)
            assert ran(here.frames[1]) == [0]
            assert ran(await here.until(2, lambda frame: frame["op"] == "batch_end"))

    asyncio.run(scene())


def test_a_blob_is_a_file_of_the_run_and_nothing_else(suite, scratch):
    """Read in pieces, gone when read; every trick with its name is refused.

    By way of the scheduler any refusal is an `Exception` with the words of ours.
    """

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            frames = await here.batch("r1", 1, entries(LONG))
            [case] = [frame for frame in frames if frame["op"] == "case"]
            [artifact] = case["artifacts"]
            name, [spill] = artifact["file"], scratch.glob("**/dtf-run-*/files")
            assert (spill / name).stat().st_size == artifact["size"]

            async def read(name, offset=0, run="r1"):
                return await here.ask("dtf_blob", run=run, name=name, offset=offset)

            assert await read(name) == b"y" * 5000 + b"\n"
            assert await read(name, 4999) == b"y\n"
            link, pipe = "0" * 32, "1" * 32
            (spill / link).symlink_to("/etc/passwd")
            os.mkfifo(spill / pipe)
            for bad in ("..", ".", "", "/etc/passwd", "../files/" + name, "a\0b", 7):
                with pytest.raises(Exception, match="no such file of this run"):
                    await read(bad)
            with pytest.raises(Exception, match="symbolic"):
                await read(link)
            with pytest.raises(Exception, match="no such file of this run"):
                await read(pipe)
            for offset in (-1, 2**70, "0", None):
                with pytest.raises(Exception, match="no such place"):
                    await read(name, offset)
            with pytest.raises(Exception, match="not open"):
                await read(name, run="other")
            assert await read(name, 5001) == b""
            assert not (spill / name).exists()

    asyncio.run(scene())


# The end


def test_a_worker_that_closes_ends_its_runners(suite, scratch):
    """In the middle of a batch, with what its tests started."""

    async def scene():
        async with room(scratch) as here:
            await here.open(pytest_spec(suite))
            future = here.submit("r1", 1, entries(WAITS))
            await here.until(1, lambda frame: frame["op"] == "running")
            [runner] = here.runners()
            processes = [runner, *runner.children(recursive=True)]
            assert len(processes) == 2
            await here.worker.close()
            assert all(gone(process.pid) for process in processes)
            future.release()
        return processes

    asyncio.run(scene())
    assert leftovers(scratch) == []


def test_the_number_of_runs_is_bounded(suite, scratch, monkeypatch):
    """Clients that died leave runs: those make room, busy ones do not."""

    async def scene():
        async with room(scratch) as here:
            for number in range(16):
                assert (await here.open(pytest_spec(suite, f"r{number}"))) == {
                    "ok": True
                }
            answer = await here.open(pytest_spec(suite, "late"))
            assert "16 runs are open here already" in answer["error"]
            assert await here.open(pytest_spec(suite, "r3")) == {"ok": True}
            monkeypatch.setattr(plugin_module, "_ABANDONED_AFTER_S", 0.0)
            assert await here.open(pytest_spec(suite, "late")) == {"ok": True}
            assert len(leftovers(scratch)) == 16

    asyncio.run(scene())
    assert leftovers(scratch) == []


def test_a_run_whose_driver_is_gone_ends(suite, scratch, monkeypatch):
    """It was killed while nobody led, and nothing said so: a driver that lives asks
    what there is to hear. Nobody could while the worker had no scheduler."""
    monkeypatch.setattr(plugin_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(plugin_module, "_UNASKED_S_MAX", 0.5)
    connected, looks = True, 0

    def is_connected(worker):
        nonlocal looks
        looks += 1
        return connected

    monkeypatch.setattr(plugin_module.dask_seam, "is_connected", is_connected)

    async def looked(times):
        """So often it could have ended."""
        upto = looks + times
        async with asyncio.timeout(WAIT_S):
            while looks < upto:
                await asyncio.sleep(0.01)

    async def scene():
        nonlocal connected
        async with room(scratch) as here:
            asks = await here.open(pytest_spec(suite, "asks", keep_events=True))
            await here.open(pytest_spec(suite, "gone", keep_events=True))
            await here.open(pytest_spec(suite, "of-here"))
            connected = False
            await looked(60)
            assert len(leftovers(scratch)) == 3
            connected = True
            for _ in range(3):
                await looked(20)
                of = {"run": "asks", "stream": asks["stream"], "after": 0}
                assert (await here.ask("dtf_events", **of))["last"] == 0
            assert set(here.plugin._held.runs) == {"asks", "of-here"}
            await looked(60)
            assert set(here.plugin._held.runs) == {"of-here"}
            assert len(leftovers(scratch)) == 1

    asyncio.run(scene())
    assert leftovers(scratch) == []


def test_many_runs_leave_nothing_behind(suite, scratch, tmp_path, monkeypatch):
    """No process, descriptor or folder, of runs that end well, badly or early."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)

    async def one(here, number):
        run = f"r{number}"
        (suite / "kill").touch()
        await here.open(pytest_spec(suite, run))
        names = [ONE, KILLS, LONG] if number % 2 else [ONE, WAITS]
        future = here.submit(run, number, entries(*names))
        await here.until(number, lambda frame: frame["op"] == "case")
        if number % 2:
            await future
        await here.ask("dtf_close", run=run)
        await future

    async def scene():
        async with room(scratch) as here:
            await one(here, 0)
            await one(here, 1)
            process = psutil.Process()
            before = process.num_fds()
            for number in range(2, 5):
                await one(here, number)
            assert here.runners() == []
            assert process.num_fds() <= before
            assert leftovers(scratch) == []
            assert list(temporary.glob("dtf-*")) == []

    asyncio.run(scene())


def test_a_worker_that_is_killed_takes_a_collecting_runner_along(tmp_path):
    """A suite may hang as it is imported, when nobody watches the channel yet."""
    (tmp_path / "test_hangs.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    pid = os.fork()
    if pid == 0:
        from dtf_dask.worker_plugins.runner.process import start_runner

        async def start():
            await start_runner(pytest_spec(tmp_path, slot="gw0"))
            await asyncio.sleep(600)

        try:
            asyncio.run(start())
        finally:
            os._exit(1)
    written = tmp_path / "pid"

    async def wait():
        async with asyncio.timeout(WAIT_S):
            while not written.exists() or not written.read_text():
                await asyncio.sleep(0.01)

    asyncio.run(wait())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert gone(int(written.read_text()))
