"""The supervisor: what a test does to its process costs that test and nothing else."""

from __future__ import annotations

import atexit
import faulthandler
import functools
import os
import signal
import subprocess
import threading
import time

import psutil
import pytest
from machine_pace import slowness
from served import Functions, Served, crashes, gone, ran, told

from dtf_dask.frames import pack
from dtf_dask.worker_plugins.runner import process_life

FOREVER_S = 600
STAYS = pytest.mark.parametrize("stays", [False, True], ids=["ends", "stays"])


def _pipes():
    """Descriptors of this process that are pipes, by what they lead to."""
    found = {}
    for number in range(3, 1024):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith("pipe"):
            found[target] = number
    return found


_PIPES_OF_PYTEST = _pipes()


def ok():
    return os.getpid()


def segfault():
    faulthandler._sigsegv()


def leave():
    os._exit(0)


def kill_oneself():
    os.kill(os.getpid(), signal.SIGKILL)


def nameless_signal():
    os.kill(os.getpid(), signal.SIGRTMIN + 3)


def close_everything():
    os.closerange(0, 1024)


def close_everything_and_reopen():
    os.closerange(3, 1024)
    for _ in range(64):
        os.open("/dev/null", os.O_WRONLY)


def raise_something():
    raise RuntimeError("out of the loop")


def write_garbage():
    """As a test that closes descriptors it does not own, and then writes to them."""
    for target, number in _pipes().items():
        if target not in _PIPES_OF_PYTEST:
            os.write(number, b"\xff" * 64)
    time.sleep(FOREVER_S)


def hang():
    def waiting_thread():
        time.sleep(FOREVER_S)

    threading.Thread(target=waiting_thread, daemon=True).start()
    time.sleep(FOREVER_S)


def test_a_batch_in_one_child():
    """Tests of a batch share a process, batches do not, and none is the runner's."""
    with Served(Functions(ok, ok, ok)) as runner:
        first, second = runner.run(0, 2), runner.run(1, 0)
        assert (ran(first), ran(second)) == ([0, 2], [1, 0])
        pids = [{f["told"] for f in part if "told" in f} for part in (first, second)]
        assert len(pids[0]) == len(pids[1]) == 1
        assert not pids[0] & pids[1]
        assert runner.pid not in pids[0] | pids[1]
        assert first[-1] == {"op": "batch_end", "not_run": [], "leaked": []}


@pytest.mark.parametrize(
    ("culprit", "cause"),
    [
        (segfault, "signal SIGSEGV"),
        (leave, "exit 0"),
        (kill_oneself, "signal SIGKILL"),
        (nameless_signal, f"signal {signal.SIGRTMIN + 3}"),
        (close_everything, "exit 70"),
        (close_everything_and_reopen, "exit 70"),
        (raise_something, "exit 70"),
        (write_garbage, "wrote into dtf's own pipe"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_death_costs_one_test(culprit, cause, place):
    """First, in the middle or last: the others of the batch run, and it is named."""
    functions = [ok, ok]
    functions.insert(place, culprit)
    with Served(Functions(*functions)) as runner:
        frames = runner.run(0, 1, 2)
        assert ran(frames) == [n for n in range(3) if n != place]
        [(number, words)] = crashes(frames).items()
        assert number == place
        assert words.startswith(cause)
        [crash] = [f for f in frames if f["op"] == "crash"]
        assert not crash["between"]
        assert frames[-1]["not_run"] == []
        assert ran(runner.run(place - 1)) == [place - 1] if place else True


def test_a_hang_is_shown_and_costs_one_test():
    """The stacks of every thread are there, and the limit holds."""
    with Served(Functions(ok, hang, ok, timeout_s=0.3)) as runner:
        began = time.monotonic()
        frames = runner.run(0, 1, 2)
        assert time.monotonic() - began < 60
        assert ran(frames) == [0, 2]
        assert crashes(frames) == {1: "timeout"}
        [crash] = [f for f in frames if f["op"] == "crash"]
        assert "in hang" in crash["stacks"]
        assert "in waiting_thread" in crash["stacks"]
        assert crash["timeout_s"] == 0.3
        assert crash["after_s"] > 0.3


def test_a_long_test_is_named_while_it_runs():
    """Who waits can be told for what."""
    with Served(Functions(lambda: time.sleep(0.8))) as runner:
        assert [f["op"] for f in runner.run(0)][:2] == ["running", "case"]


def test_a_hang_between_tests_ends_too():
    """What tears down fixtures after the last test has the same time as a test."""
    after = Functions(ok, timeout_s=0.3, after=lambda: time.sleep(FOREVER_S))
    with Served(after) as runner:
        frames = runner.run(0)
        assert ran(frames) == [0]
        [crash] = [f for f in frames if f["op"] == "crash"]
        assert (crash["cause"], crash["between"]) == ("timeout", True)


def _stay_behind():
    threading.Thread(target=time.sleep, args=(FOREVER_S,)).start()


def test_threads_left_behind_do_not_hold_up():
    """A thread that is no daemon keeps a Python alive, and no batch."""
    with Served(Functions(_stay_behind, ok)) as runner:
        began = time.monotonic()
        assert ran(runner.run(0, 1)) == [0, 1]
        assert time.monotonic() - began < 60


def test_an_exit_handler_that_hangs_has_a_limit(monkeypatch):
    """Tests register handlers; all of them passed."""
    monkeypatch.setattr("dtf_dask.worker_plugins.runner.child_watch._EXIT_GRACE_S", 0.2)
    with Served(Functions(lambda: atexit.register(time.sleep, 600) and None)) as runner:
        frames = runner.run(0)
        assert ran(frames) == [0]
        assert crashes(frames) == {}


def test_exit_handlers_of_the_tests_run_and_ours_do_not(tmp_path):
    """What was registered before the fork belongs to the runner."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    atexit.register(ours.touch)
    try:
        with Served(Functions(lambda: bool(atexit.register(theirs.touch)))) as runner:
            assert ran(runner.run(0)) == [0]
    finally:
        atexit.unregister(ours.touch)
    assert theirs.exists()
    assert not ours.exists()


def test_output_past_capture_arrives_bounded(monkeypatch):
    """Written to the descriptors themselves: kept up to a limit, then dropped."""
    monkeypatch.setattr(
        "dtf_dask.worker_plugins.runner.worker_line._OUTPUT_BYTES_MAX", 200_000
    )

    def shout():
        for _ in range(1000):
            os.write(1, b"x" * 1000)

    with Served(Functions(shout)) as runner:
        frames = runner.run(0)
        assert ran(frames) == [0]
        output = b"".join(f["data"] for f in frames if f["op"] == "output")
        assert output == b"x" * 200_000


def test_a_huge_report_passes():
    """Longer than any pipe or chunk."""
    with Served(Functions(lambda: "x" * 30_000_000, ok)) as runner:
        frames = runner.run(0, 1)
        assert ran(frames) == [0, 1]
        assert len(told(frames, 0)) == 30_000_000


def test_a_crash_before_the_first_test_costs_it(tmp_path):
    """Or the same batch would be started for ever."""
    functions = Functions(ok, ok)
    inner = functions.run

    def run(jobs, board, emit):
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(3)
        inner(jobs, board, emit)

    functions.run = run
    with Served(functions) as runner:
        frames = runner.run(0, 1)
        assert crashes(frames) == {0: "exit 3"}
        assert not frames[0]["between"]
        assert ran(frames) == [1]


def test_a_crash_after_the_last_test_is_told_as_such():
    """The test has been reported: what died is what comes between tests."""
    with Served(Functions(ok, ok, after=lambda: os._exit(9))) as runner:
        frames = runner.run(0, 1)
        assert ran(frames) == [0, 1]
        [crash] = [f for f in frames if f["op"] == "crash"]
        assert (crash["i"], crash["cause"], crash["between"]) == (1, "exit 9", True)
        assert frames[-1]["not_run"] == []


# Taking back


def _slowly():
    time.sleep(0.02)


@STAYS
def test_given_back_and_run_is_all(stays):
    """None is lost and none is run twice, whenever the question comes."""
    count = 40
    with Served(Functions(*[_slowly] * count, stays=stays)) as runner:
        for asked_at in (0, 3, 9):
            runner.batch(*range(count))
            frames = []
            while len(ran(frames)) < asked_at:
                frames.append(runner.receive())
            runner.send(op="revoke", numbers=list(range(5, count)))
            frames += runner.until("batch_end")
            [given] = [f["numbers"] for f in frames if f["op"] == "revoked"]
            assert sorted(ran(frames) + given) == list(range(count))
            assert frames[-1]["not_run"] == given


def test_the_running_test_is_kept():
    """It is in flight: giving it back would run it twice."""
    with Served(Functions(lambda: time.sleep(0.7), ok)) as runner:
        runner.batch(0, 1)
        runner.until("running")
        runner.send(op="revoke", numbers=[0, 1])
        frames = runner.until("batch_end")
        assert {"op": "revoked", "numbers": [1]} in frames
        assert ran(frames) == [0]


def test_orders_that_come_with_the_batch_are_obeyed():
    """One read may bring a batch and what was said of it since."""
    with Served(Functions(*[_slowly] * 200)) as runner:
        batch = {"op": "batch", "entries": [[n, "", 0] for n in range(200)]}
        runner.channel.sendall(
            pack(batch | {"spill": ""}) + pack({"op": "revoke", "numbers": [2]})
        )
        frames = runner.until("batch_end")
        assert len(ran(frames)) < 10
        runner.channel.sendall(pack(batch | {"spill": ""}) + pack({"op": "kill"}))
        frames = runner.until("batch_end")
        assert len(ran(frames)) < 10
        assert ran(runner.run(0)) == [0]


@STAYS
def test_kill_ends_the_batch_at_once(stays):
    """What runs is killed, what has run is kept, the runner lives."""
    functions = Functions(ok, lambda: time.sleep(FOREVER_S), ok, stays=stays)
    with Served(functions) as runner:
        runner.batch(0, 1, 2)
        frames = runner.until("running")
        runner.send(op="kill")
        frames += runner.until("batch_end")
        assert ran(frames) == [0]
        assert crashes(frames) == {}
        assert frames[-1]["not_run"] == [1, 2]
        assert ran(runner.run(2)) == [2]


def test_the_next_batch_waits_for_its_turn():
    """Batches that come while one runs follow in their order."""
    with Served(Functions(*[_slowly] * 4)) as runner:
        for number in range(4):
            runner.batch(number)
        assert [ran(runner.until("batch_end")) for _ in range(4)] == [
            [0],
            [1],
            [2],
            [3],
        ]


# A child that stays for the next batch


def _child_of(runner, number):
    """The process that runs it."""
    return told(runner.run(number), number)


def test_a_child_that_is_fit_takes_the_next_batch():
    """What it has in memory is there for the next; the runner's own is untouched."""
    with Served(Functions(ok, ok, ok, stays=True)) as runner:
        pids = {_child_of(runner, number) for number in range(3)}
        assert len(pids) == 1
        assert runner.pid not in pids


def test_a_test_that_runs_again_begins_anew():
    """A retry in the process in which it failed may fail for the same reason."""
    with Served(Functions(ok, ok, stays=True)) as runner:
        first = _child_of(runner, 0)
        assert _child_of(runner, 1) == first
        again = _child_of(runner, 0)
        assert again != first
        assert gone(first, 0.0)
        assert _child_of(runner, 1) == again


def test_a_batch_is_given_its_environment_and_no_other(monkeypatch):
    """In a process that began with it; what was there before comes back."""
    monkeypatch.setenv("BEFORE", "0")
    monkeypatch.delenv("DEVICES", raising=False)

    def look():
        return os.getpid(), os.environ.get("DEVICES"), os.environ.get("BEFORE")

    with Served(Functions(*[look] * 6, stays=True)) as runner:
        both = {"DEVICES": "1", "BEFORE": "1"}
        given = [{}, both, both, {"DEVICES": "2"}, {}, {}]
        seen = [
            told(runner.run(number, **env), number) for number, env in enumerate(given)
        ]
    found = [values for _, *values in seen]
    assert found[:3] == [[None, "0"], ["1", "1"], ["1", "1"]]
    assert found[3:] == [["2", "0"], [None, "0"], [None, "0"]]
    pids = [pid for pid, *_ in seen]
    assert (pids[1], pids[4]) == (pids[2], pids[5])
    assert len(set(pids)) == 4


def test_what_was_given_back_may_come_again():
    """It has not run there: that is no reason for another process."""
    with Served(Functions(lambda: time.sleep(0.7), ok, ok, stays=True)) as runner:
        before = _child_of(runner, 2)
        runner.batch(0, 1)
        runner.until("running")
        runner.send(op="revoke", numbers=[1])
        assert {"op": "revoked", "numbers": [1]} in runner.until("batch_end")
        assert _child_of(runner, 1) == before


def _leave_an_orphan():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(FOREVER_S)
        os._exit(0)
    os.wait()


def _leave_the_folder():
    os.chdir("/")


def _replace_output():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _close_sockets():
    for number in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket"):
                os.close(number)
        except OSError:
            continue


@pytest.mark.parametrize(
    "spoil",
    [
        _stay_behind,
        _leave_an_orphan,
        lambda: subprocess.Popen(["sleep", str(FOREVER_S)]) and None,
        _leave_the_folder,
        _replace_output,
        _close_sockets,
    ],
)
def test_a_child_that_is_not_as_it_was_ends(spoil):
    """Threads, processes, its folder, its descriptors: the next batch has them new."""
    with Served(Functions(ok, spoil, ok, stays=True)) as runner:
        first = _child_of(runner, 0)
        frames = runner.run(1)
        assert ran(frames) == [1]
        assert crashes(frames) == {}
        assert gone(first, 0.0)
        assert _child_of(runner, 2) != first


def test_what_happens_to_one_that_waits_costs_nothing(monkeypatch):
    """It was killed, or does not answer: another takes the batch."""
    monkeypatch.setattr("dtf_dask.worker_plugins.runner.child_watch._TAKE_GRACE_S", 0.3)
    with Served(Functions(ok, ok, ok, stays=True)) as runner:
        for number, what in enumerate([signal.SIGKILL, signal.SIGSTOP]):
            before = _child_of(runner, number)
            os.kill(before, what)
            frames = runner.run(2)
            assert ran(frames) == [2]
            assert crashes(frames) == {}
            assert gone(before, 0.0)


@pytest.mark.parametrize("culprit", [segfault, leave, raise_something])
def test_a_death_in_a_later_batch_costs_one_test(culprit):
    """As in the first."""
    with Served(Functions(ok, ok, culprit, ok, stays=True)) as runner:
        runner.run(0)
        frames = runner.run(1, 2, 3)
        assert ran(frames) == [1, 3]
        assert list(crashes(frames)) == [2]


def test_a_hang_in_a_later_batch_has_its_limit():
    """And its stacks."""
    with Served(Functions(ok, hang, ok, timeout_s=0.3, stays=True)) as runner:
        runner.run(0)
        frames = runner.run(1, 2)
        assert ran(frames) == [2]
        [crash] = [f for f in frames if f["op"] == "crash"]
        assert (crash["cause"], crash["i"]) == ("timeout", 1)
        assert "in hang" in crash["stacks"]


def test_output_is_told_with_its_batch():
    """Before it is over."""
    shout = functools.partial(os.write, 1, b"here")
    with Served(Functions(shout, ok, stays=True)) as runner:
        first, second = runner.run(0), runner.run(1)
        assert [f["data"] for f in first if f["op"] == "output"] == [b"here"]
        assert [f["op"] for f in second] == ["case", "child_end", "batch_end"]


def test_at_the_end_the_handlers_of_one_that_waits_run(tmp_path):
    """Soon, and before the runner is gone."""
    ended = tmp_path / "ended"
    with Served(
        Functions(lambda: bool(atexit.register(ended.touch)), stays=True)
    ) as runner:
        runner.run(0)
        assert not ended.exists()
        began = time.monotonic()
        runner.send(op="close")
        assert runner.hang_up() == 0
        assert time.monotonic() - began < 2 * slowness()
        assert ended.exists()


def test_the_end_does_not_wait_for_ever(monkeypatch):
    """For a handler that hangs and prints."""
    monkeypatch.setattr("dtf_dask.worker_plugins.runner.child_watch._EXIT_GRACE_S", 0.3)

    def shout_for_ever():
        while True:
            os.write(1, b"x" * 4096)

    with Served(
        Functions(lambda: atexit.register(shout_for_ever) and None, stays=True)
    ) as runner:
        runner.run(0)
        runner.send(op="close")
        began = time.monotonic()
        assert runner.hang_up() == 0
        assert time.monotonic() - began < 60


def test_hanging_up_ends_one_that_waits():
    """Nobody is left to run anything for."""
    with Served(Functions(ok, stays=True)) as runner:
        pid = _child_of(runner, 0)
        assert runner.hang_up() == 0
        assert gone(pid)


# What is left behind


def _leave_processes():
    plain = subprocess.Popen(["sleep", str(FOREVER_S)])
    own_session = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    inlet, outlet = os.pipe()
    if os.fork() == 0:  # a daemon
        os.setsid()
        daemon = os.fork()
        if daemon:
            os.write(outlet, str(daemon).encode())
            os._exit(0)
        time.sleep(FOREVER_S)
    return [plain.pid, own_session.pid, int(os.read(inlet, 20))]


@STAYS
def test_leaked_processes_are_killed_and_named(stays):
    """In the group, in a session of their own, and those whose parent is gone."""
    with Served(Functions(_leave_processes, stays=stays)) as runner:
        frames = runner.run(0)
        pids = told(frames, 0)
        assert all(gone(pid, 0.0) or gone(pid) for pid in pids)
        leaked = frames[-1]["leaked"]
        assert {process["pid"] for process in leaked} == set(pids)
        commands = [process["command"] for process in leaked]
        assert commands.count(f"sleep {FOREVER_S}") == 2
        assert all(abs(time.time() - process["started"]) < 60 for process in leaked)
        assert psutil.Process(runner.pid).children() == []


def _bomb():
    pids = []
    for _ in range(50):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(FOREVER_S)
            os._exit(0)
        pids.append(pid)
    return pids


def test_fifty_processes_are_killed():
    """As many as a bomb leaves."""
    with Served(Functions(_bomb, ok)) as runner:
        frames = runner.run(0, 1)
        assert ran(frames) == [0, 1]
        assert all(gone(pid) for pid in told(frames, 0))
        assert len(frames[-1]["leaked"]) == 50


def test_a_process_that_ends_by_itself_is_no_leak():
    """Python's resource tracker ends a moment after its process, as many do."""
    with Served(
        Functions(lambda: subprocess.Popen(["sleep", "0.01"]) and None)
    ) as runner:
        assert runner.run(0)[-1]["leaked"] == []


def test_a_copy_of_the_child_runs_no_further_test():
    """A test that forks and returns twice is reported once, as what follows."""
    with Served(Functions(lambda: os.fork() and 1, ok, ok)) as runner:
        assert ran(runner.run(0, 1, 2)) == [0, 1, 2]


def test_hanging_up_ends_everything():
    """When the worker is gone nobody waits: tests, their processes, the runner."""

    def work():
        _leave_processes()
        time.sleep(FOREVER_S)

    with Served(Functions(work)) as runner:
        runner.batch(0)
        runner.until("running")
        processes = psutil.Process(runner.pid).children(recursive=True)
        living = [p for p in processes if p.status() != psutil.STATUS_ZOMBIE]
        assert len(living) == 4
        assert runner.hang_up() == 0
        assert all(gone(process.pid) for process in processes)


@STAYS
def test_close_is_for_after_the_batch(stays):
    """What was begun is told; then the runner ends by itself."""
    with Served(Functions(_slowly, stays=stays)) as runner:
        runner.batch(0)
        runner.send(op="close")
        assert ran(runner.until("batch_end")) == [0]
        assert runner.hang_up() == 0


@STAYS
def test_many_batches_leave_nothing_behind(stays):
    """No descriptor, process or zombie, whatever became of the child."""
    functions = Functions(ok, segfault, _leave_processes, stays=stays)
    with Served(functions) as runner:
        runner.run(0, 1, 2)
        process = psutil.Process(runner.pid)
        before = process.num_fds()
        for _ in range(5):
            runner.run(0, 1, 2)
        assert process.num_fds() == before
        assert process.children() == []


def test_offspring_tells_of_each_process_once():
    """Those that were there, a new one, the same one, and one that has ended."""
    offspring = process_life.Offspring()
    offspring.new()
    with subprocess.Popen(["sleep", "60"]) as process:
        assert offspring.new() == [process.pid]
        assert offspring.new() == []
        process.kill()
    assert offspring.new() == []
