"""Runs on a coordinator that is away for a while, and on workers that die."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from coordinated import await_kept, await_workers
from dtf_process import (
    alive,
    attempts,
    await_attempts,
    await_file,
    dtf,
    end,
    interrupt,
    marked,
    run,
    start,
    suite,
)
from free_contact import free_contact
from machine_pace import slowness

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from failover_cluster import FailoverCluster

_SLOW = """
import os, pathlib, pytest, time

ROOM = pathlib.Path({room!r})

@pytest.mark.parametrize("n", range(5))
def test_quick(n): pass

def test_slow():
    (ROOM / "started").write_text(f"{{os.getpid()}}\\n")
    while not (ROOM / "be_quick").exists():
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One coordinator, to be killed and started again, and two workers."""
    folder = tmp_path_factory.mktemp("lab")
    grace = {"DASK_DTF__HA__CLIENT_GRACE": "2s"}
    made = FailoverCluster(folder, 1, tls=False, coordinators_environment=grace)
    [coordinator] = made.coordinators.values()
    with contextlib.ExitStack() as stack:
        stack.callback(coordinator.kill)
        coordinator.start()
        for name in ("v", "w"):
            made.start_worker(name)
            stack.callback(made.kill_worker, name)
        await_workers(made.contact, 2)
        yield SimpleNamespace(
            cluster=made,
            coordinator=coordinator,
            address=made.contact,
            results=coordinator.config.folder / "results.sqlite",
        )


@pytest.fixture
def led(lab):
    """The lab, whose coordinator leads; as it does again when a test is over."""
    await_workers(lab.address, 2)
    yield lab
    if not lab.coordinator.lives:  # the test has failed
        lab.coordinator.start()


@pytest.fixture
def slow(led, tmp_path):
    """A suite whose last test goes on until it is told to be quick."""
    return suite(tmp_path, test_s=_SLOW.format(room=str(tmp_path)))


def _running(folder) -> psutil.Process:
    await_file(folder / "started", "\n")
    return psutil.Process(int((folder / "started").read_text()))


def test_interrupted_while_nobody_leads(led, slow):
    """Ctrl-C ends the run soon, and says what is kept; the rest can be resumed.

    What still runs ends when somebody leads again.
    """
    with marked() as mark:
        words = ["run", "--address", led.address, "--dist", "loadfile"]
        process = start(slow, dtf(*words), mark)
        test = _running(slow)
        await_attempts(slow, 5)
        led.coordinator.kill()
        began = time.monotonic()
        ended = interrupt(process)
        took_s = time.monotonic() - began
    assert took_s < 10 * slowness()
    assert ended.code == 2, ended.out
    assert "5 passed" in ended.out
    assert "5 cases kept in" in ended.out, ended.out
    assert "1 case did not run" in ended.out
    led.coordinator.start()
    await_workers(led.address, 2)
    test.wait(20 * slowness())
    (slow / "be_quick").touch()
    ended = run(slow, dtf("resume"))
    assert ended.code == 0, ended.out
    assert list(attempts(slow)) == ["test_s.py::test_slow"]
    await_kept(led.results, slow)


def test_a_driver_that_is_killed(led, slow):
    """What had ended is kept here and there, and `dtf resume` runs the rest."""
    with marked() as mark:
        words = ["run", "--address", led.address, "--dist", "loadfile"]
        process = start(slow, dtf(*words), mark)
        test = _running(slow)
        await_attempts(slow, 5)
        [driver] = [p for p in alive(mark) if "driver_start" in str(p.cmdline())]
        driver.kill()
        ended = end(process)
    assert ended.code == 19, ended.out
    assert "driver process" in ended.out
    test.wait(20 * slowness())  # nobody wants it any more
    (slow / "be_quick").touch()
    ended = run(slow, dtf("resume"))
    assert ended.code == 0, ended.out
    run_made, kept_there = await_kept(led.results, slow)
    assert run_made.status == "passed"
    assert ("test_s.py::test_slow", 1, "passed", "") in kept_there


@pytest.mark.drill
def test_begun_while_nobody_leads(led, slow):
    """It waits and says so; it begins when somebody leads, or ends clearly."""
    nobody = str(free_contact())
    words = ["run", "--address", nobody, "-k", "quick"]
    ended = run(slow, dtf(*words), DASK_DTF__DRIVER__CONNECT_TIMEOUT="4s")
    assert ended.code == 11, ended.out
    assert f"dtf: no coordinator leads at {nobody}; the run begins" in ended.out
    assert f"no scheduler answers at {nobody} (waited 4 s" in ended.out
    assert "`dtf coordinator`" in ended.out

    led.coordinator.kill()
    words = ["run", "--address", led.address, "-k", "quick"]
    with marked() as mark:
        late = {"DASK_DTF__DRIVER__CONNECT_TIMEOUT": "100s"}
        process = start(slow, dtf(*words), mark, **late)
        while not any("driver_start" in str(one.cmdline()) for one in alive(mark)):
            time.sleep(0.05)
        led.coordinator.start()
        ended = end(process)
    assert ended.code == 0, ended.out
    await_kept(led.results, slow)


_TROUBLE = """
import os, pathlib, pytest, time

ROOM = pathlib.Path({room!r})

def first(name):
    try:
        (ROOM / name).touch(exist_ok=False)
        return True
    except FileExistsError:
        return False

@pytest.mark.parametrize("n", range(40))
def test_some(n):
    time.sleep(0.1)
    assert n != 7

def test_flaky():
    assert not first("flaky")

def test_victim():
    if {dies} and first("victim"):
        (ROOM / "started").write_text(f"{{os.getpid()}}\\n")
        time.sleep(1000)
"""


@pytest.mark.drill
def test_two_runs_while_the_leader_and_a_worker_die(led, tmp_path):
    """Each case of both ends once; what was lost, or failed first, is on record.

    The worker dies while nobody leads: the next leader has never had it.
    """
    folders, processes = [tmp_path / "one", tmp_path / "two"], []
    for number, folder in enumerate(folders):
        text = _TROUBLE.format(room=str(folder), dies=number == 0)
        suite(folder, test_t=text)
        words = ["run", "--address", led.address, "--retries", "1"]
        processes.append(start(folder, dtf(*words)))
    test = _running(folders[0])
    above = {one.pid for one in test.parents()}
    [victim] = [n for n, one in led.cluster.workers.items() if one.pid in above]
    led.coordinator.kill()
    led.cluster.kill_worker(victim)
    led.cluster.start_worker(victim)
    led.coordinator.start()
    await_workers(led.address, 1)
    led.coordinator.kill()
    led.coordinator.start()
    for number, (folder, process) in enumerate(zip(folders, processes, strict=True)):
        ended = end(process)
        assert ended.code == 1, ended.out
        assert len(ended.lines("dtf: coordinator a leads since ")) >= 1, ended.out
        tries = attempts(folder)
        came_to = {
            name: [a.outcome.value for a in some] for name, some in tries.items()
        }
        assert len(came_to) == 42
        finals = [one for one in came_to.values() if one[-1] != "lost"]
        assert len(finals) == 42
        # What was lost with the worker was tried, too.
        for name, end_of_it in (("test_flaky", "passed"), ("test_some[7]", "failed")):
            tried = came_to[f"test_t.py::{name}"]
            assert tried[-1] == end_of_it
            assert len(tried) >= 2
        if number == 0:
            assert came_to["test_t.py::test_victim"] == ["lost", "passed"]
        await_kept(led.results, folder)
