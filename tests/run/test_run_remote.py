"""Runs on workers elsewhere: one cluster of real processes for all tests here."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

import distributed
import psutil
import pytest
from dtf_process import (
    attempts,
    await_attempts,
    await_file,
    dtf,
    end,
    logged,
    run,
    start,
    suite,
)
from machine_pace import slowness

from dtf_dask.worker_plugins.runner.topics import stop_topic


@contextlib.contextmanager
def _serving(folder, *words, **extra):
    with logged(folder, *words, **extra) as process:
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with one worker of two threads."""
    folder = tmp_path_factory.mktemp("cluster")
    words = ["scheduler", "--port", "0", "--no-dashboard"]
    with _serving(folder, *words) as scheduler:
        address = scheduler.stdout.readline().strip().partition("=")[2]
        with _serving(folder, "worker", address, "--nthreads", "2", "--no-dashboard"):
            yield address


@pytest.fixture(scope="module")
def one_thread(tmp_path_factory):
    """The address of a scheduler whose worker runs one test at a time."""
    folder = tmp_path_factory.mktemp("one_thread")
    with _serving(folder, "scheduler", "--port", "0", "--no-dashboard") as scheduler:
        address = scheduler.stdout.readline().strip().partition("=")[2]
        words = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        with _serving(folder, *words):
            yield address


_WAITS = """
import os, pathlib, time

def test_passes():
    pass

def test_waits():
    there = pathlib.Path({there!r})
    there.with_suffix(".new").write_text(os.environ["PYTEST_XDIST_TESTRUNUID"])
    there.with_suffix(".new").rename(there)
    time.sleep(600)
"""


def test_somebody_ends_a_run_from_elsewhere(tmp_path, cluster):
    """As by Ctrl-C: what has ended is kept, and the exit code says that not all did."""
    there = tmp_path / "there"
    suite(tmp_path, test_w=_WAITS.format(there=str(there)))
    process = start(tmp_path, dtf("run", "--address", cluster))
    await_file(there)
    await_attempts(tmp_path, 1)
    with distributed.Client(cluster, set_as_default=False) as client:
        client.log_event(stop_topic(there.read_text()), {"by": "me"})
        ended = end(process)
    assert ended.code == 2, ended.out
    assert "somebody has ended this run from elsewhere" in ended.out
    assert "1 passed" in ended.out
    (passed,) = attempts(tmp_path)["test_w.py::test_passes"]
    assert passed.cpu_s > 0
    assert passed.memory > 2**20
    shown = run(tmp_path, dtf("results", "show", "test_passes"))
    assert " of CPU, " in shown.out


_FAILS_ONCE = """
import os, pathlib, psutil, pytest, time

@pytest.mark.parametrize("n", range(12))
def test_once(n):
    runner = psutil.Process(os.getppid())
    with open(pathlib.Path(os.environ["NOTES"], str(n)), "a+") as file:
        print(runner.ppid(), file=file, flush=True)
        file.seek(0)
        assert len(file.readlines()) > 1
"""


def test_a_retry_goes_to_another_worker(tmp_path):
    """Never first to the one that just failed it, with slots of its own to spare."""
    suite(tmp_path, test_o=_FAILS_ONCE)
    notes = tmp_path / "notes"
    notes.mkdir()
    with contextlib.ExitStack() as stack:
        words = ["scheduler", "--port", "0", "--no-dashboard"]
        scheduler = stack.enter_context(_serving(tmp_path, *words))
        address = scheduler.stdout.readline().strip().partition("=")[2]
        words = ["worker", address, "--nthreads", "2", "--no-dashboard"]
        for _ in range(2):
            stack.enter_context(_serving(tmp_path, *words, NOTES=str(notes)))
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        ended = run(tmp_path, dtf("run", "--retries", "1", "--address", address))
    assert ended.code == 0, ended.out
    tried = [(notes / str(n)).read_text().split() for n in range(12)]
    assert [len(set(workers)) for workers in tried] == [2] * 12
    assert [len(workers) for workers in tried] == [2] * 12


_HERE = """
import os, pytest, helper_of_mine

@pytest.mark.parametrize("n", range(8))
def test_here(n, worker_id):
    assert worker_id in ("gw0", "gw1")
    assert "dtf-snapshots" in os.getcwd()
    print("said far away")

@pytest.mark.parametrize("here", [os.path.dirname(__file__)])
def test_named_by_its_place(here):
    assert here == os.getcwd()

def test_fails():
    assert helper_of_mine.ANSWER == 41
"""


def test_a_suite_travels(cluster, tmp_path):
    """A suite runs in a copy of its code; the report is as if it had run here.

    So are ids of tests that hold a path below the suite's folder.
    """
    suite(tmp_path, test_h=_HERE, helper_of_mine="ANSWER = 42\n")
    ended = run(tmp_path, dtf("run", "-v", "--address", cluster, "--reruns", "1"))
    assert ended.code == 1, ended.out
    assert "1 failed, 9 passed, 1 rerun" in ended.out
    assert "test_h.py::test_here[0] PASSED" in ended.out
    assert "assert 42 == 41" in ended.out
    kept = attempts(tmp_path)
    assert kept["test_h.py::test_here[3]"][0].stdout == "said far away\n"
    assert f"test_h.py::test_named_by_its_place[{tmp_path}]" in kept


def test_a_file_that_git_ignores(cluster, tmp_path):
    """A suite that lacks a file over there: exit 14, and the error from there."""
    text = "TEXT = open('secret.txt').read()\ndef test_a(): pass\n"
    suite(tmp_path, test_i=text)
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / ".gitignore").write_text("secret.txt\n.dtf\n__pycache__\n")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    ended = run(tmp_path, dtf("run", "--address", cluster))
    assert ended.code == 14, ended.out
    assert "No such file or directory: 'secret.txt'" in ended.out
    assert "imports differently" in ended.out


def test_too_much_code(cluster, tmp_path):
    """A snapshot over the limit is refused with 16, before anything is sent."""
    suite(tmp_path, test_a="def test_a(): pass\n")
    (tmp_path / "large.bin").write_bytes(b"x" * 20_000)
    ended = run(
        tmp_path,
        dtf("run", "--address", cluster),
        DASK_DTF__SNAPSHOT__LIMIT="10 kB",
    )
    assert (ended.code, "large.bin" in ended.out) == (16, True), ended.out


_SLEEPY = """
import os, pathlib, time
def test_first(): pass
def test_slow():
    with open(os.environ["DTF_TEST_ROOM"] + "/started", "a") as file:
        print(os.getpid(), file=file, flush=True)
    if not os.path.exists(os.environ["DTF_TEST_ROOM"] + "/be_quick"):
        time.sleep(60)
"""


def test_interrupted_far_away(cluster, tmp_path):
    """Ctrl-C here ends the test there within 2 s; `dtf resume` runs it."""
    text = _SLEEPY.replace('os.environ["DTF_TEST_ROOM"]', repr(str(tmp_path)))
    suite(tmp_path, test_s=text)
    # One batch: the first test is over before the slow one starts.
    process = start(tmp_path, dtf("run", "--address", cluster, "--dist", "loadfile"))
    await_file(tmp_path / "started", "\n")
    test = psutil.Process(int((tmp_path / "started").read_text()))
    await_attempts(tmp_path, 1)
    process.send_signal(signal.SIGINT)
    test.wait(2.0 * slowness())  # TimeoutExpired if it takes longer
    ended = end(process)
    assert ended.code == 2, ended.out
    assert "1 passed" in ended.out
    (tmp_path / "be_quick").write_text("")
    ended = run(tmp_path, dtf("resume"))
    assert ended.code == 0, ended.out
    assert list(attempts(tmp_path)) == ["test_s.py::test_slow"]


def test_worker_killed(cluster, tmp_path):
    """A worker that is killed in mid-run: its case is run by another one."""
    text = _SLEEPY.replace('os.environ["DTF_TEST_ROOM"]', repr(str(tmp_path)))
    suite(tmp_path, test_s=text)
    process = start(tmp_path, dtf("run", "--address", cluster))
    await_file(tmp_path / "started", "\n")
    (tmp_path / "be_quick").write_text("")
    runner = psutil.Process(int((tmp_path / "started").read_text())).parent()
    while "bootstrap" in " ".join(runner.cmdline()):
        runner = runner.parent()
    runner.kill()  # the Dask worker process; its nanny starts another
    ended = end(process)
    assert ended.code == 0, ended.out
    tries = attempts(tmp_path)["test_s.py::test_slow"]
    assert [attempt.outcome.value for attempt in tries] == ["lost", "passed"]


def test_another_version_and_environment(tmp_path):
    """A worker of another dtf: exit 12. Another environment: said, or 13 if strict."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text(
        "import dtf_dask\ndtf_dask.__version__ = '0.0.1'\n"
    )
    suite(tmp_path / "suite", test_a="def test_a(): pass\n")
    path = str(tmp_path / "other")
    words = ["scheduler", "--port", "0", "--no-dashboard"]
    with _serving(tmp_path, *words) as scheduler:
        address = scheduler.stdout.readline().strip().partition("=")[2]
        worker = ["worker", address, "--no-nanny", "--no-dashboard"]
        with _serving(tmp_path, *worker, PYTHONPATH=path):
            deadline = time.monotonic() + 60
            ended = run(tmp_path / "suite", dtf("run", "--address", address))
            while ended.code != 12 and time.monotonic() < deadline:
                ended = run(tmp_path / "suite", dtf("run", "--address", address))
    assert ended.code == 12, ended.out
    assert "0.0.1" in ended.out


_OPTIONAL = """
try:
    import only_here_pkg
except ImportError:
    only_here_pkg = None

def test_without(): assert only_here_pkg is None
"""


@pytest.mark.parametrize(("check", "code"), [("strict", 13), ("warn", 0), ("off", 0)])
def test_another_environment(cluster, tmp_path, check, code):
    """A package that only the client has is refused, named, or left alone, as told."""
    packages = tmp_path / "packages"
    described = packages / "only_here_pkg-1.5.dist-info"
    described.mkdir(parents=True)
    (packages / "only_here_pkg.py").write_text("")
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: only-here-pkg\nVersion: 1.5\n"
    )
    (described / "RECORD").write_text("only_here_pkg.py,,\n")
    folder = suite(tmp_path / "suite", test_o=_OPTIONAL)
    extra = {"PYTHONPATH": str(packages), "DASK_DTF__ENVIRONMENT__CHECK": check}
    ended = run(folder, dtf("run", "--address", cluster), **extra)
    assert ended.code == code, ended.out
    named = "only-here-pkg: 1.5 here, missing on the worker" in ended.out
    assert named == (check != "off"), ended.out


_LONG = """
import pathlib, time
HERE = pathlib.Path({folder!r})  # the suite itself travels to a folder of the worker

def test_long():
    with (HERE / "started").open("a") as file:
        file.write("x\\n")
    while not (HERE / "be_quick").exists():
        time.sleep(0.05)
"""
_SAVING = """
import dtf_dask, pathlib, time
HERE = pathlib.Path({folder!r})

def test_saving():
    state = dtf_dask.checkpoint_folder() / "state"
    if state.exists():
        assert state.read_text() == "half of it"
        return
    dtf_dask.on_preemption(lambda: state.write_text("half of it"))
    (HERE / "saving").write_text("x")
    time.sleep(600)
"""
_URGENT = """
import pytest

@pytest.mark.dtf(priority_class="interactive", deadline="10 s", expected="1 s")
def test_now(): pass
"""


def test_a_less_urgent_run_gives_way(one_thread, tmp_path):
    """Its running test is ended for a deadline of another run, and run again later."""
    long = suite(tmp_path / "long", test_l=_LONG.format(folder=str(tmp_path)))
    night = start(long, dtf("run", "--address", one_thread, "--class", "nightly"))
    await_file(tmp_path / "started", "x\n")
    urgent = suite(tmp_path / "urgent", test_u=_URGENT)
    ended = run(urgent, dtf("run", "--address", one_thread))
    assert ended.code == 0, ended.out
    assert night.poll() is None  # it was not waited for
    (tmp_path / "be_quick").write_text("")
    later = end(night)
    assert later.code == 0, later.out
    assert (tmp_path / "started").read_text() == "x\nx\n"
    [tries] = attempts(long).values()
    assert [attempt.outcome.value for attempt in tries] == ["passed"]


@pytest.mark.parametrize("shared", [False, True], ids=["on the worker", "shared"])
def test_a_test_that_is_preempted_goes_on_from_what_it_saved(
    one_thread, tmp_path, shared
):
    """It is told before it is killed, and its next attempt finds what it left."""
    extra = {}
    if shared:
        extra["DASK_DTF__RUNS__CHECKPOINTS"] = str(tmp_path / "checkpoints")
    long = suite(tmp_path / "long", test_l=_SAVING.format(folder=str(tmp_path)))
    words = dtf("run", "--address", one_thread, "--class", "nightly")
    night = start(long, words, **extra)
    await_file(tmp_path / "saving", "x")
    urgent = suite(tmp_path / "urgent", test_u=_URGENT)
    ended = run(urgent, dtf("run", "--address", one_thread))
    assert ended.code == 0, ended.out
    later = end(night)
    assert later.code == 0, later.out
    [tries] = attempts(long).values()
    assert [attempt.outcome.value for attempt in tries] == ["passed"]
    kept = list(tmp_path.glob("checkpoints/*/*/state"))
    assert [path.read_text() for path in kept] == ["half of it"] * shared
