"""Stopping a run, being killed in the middle of one, and running the rest."""

from __future__ import annotations

import signal
import time

import psutil
import pytest
from dtf_process import (
    alive,
    attempts,
    await_file,
    dtf,
    end,
    interrupt,
    kept_run,
    marked,
    run,
    start,
    suite,
)
from machine_pace import slowness

_SLOW = """
import os, pathlib, time, pytest

@pytest.mark.parametrize("n", range(60))
def test_quick(n): pass

def test_slow():
    pathlib.Path("started").write_text(f"{os.getpid()}\\n")
    if not pathlib.Path("be_quick").exists():
        time.sleep(60)
"""


@pytest.fixture
def slow(tmp_path):
    return suite(tmp_path, test_s=_SLOW)


def test_interrupt_and_resume(slow):
    """Ctrl-C ends the tests within 2 s; `dtf resume` runs what is missing.

    As pytest does, it ends with code 2 and shows what it has; no process stays.
    """
    with marked() as mark:
        process = start(slow, dtf("run", "-n", "1"), mark)
        await_file(slow / "started", "\n")
        test = psutil.Process(int((slow / "started").read_text()))
        process.send_signal(signal.SIGINT)
        test.wait(2.0 * slowness())  # TimeoutExpired if it takes longer
        ended = end(process)
    assert ended.code == 2, ended.out
    assert "KeyboardInterrupt" in ended.out
    earlier = kept_run(slow)
    assert f"dtf resume {earlier.id}" in ended.out
    assert earlier.status == "interrupted"
    first = set(attempts(slow))
    assert "test_s.py::test_slow" not in first

    (slow / "be_quick").write_text("")
    (slow / "below").mkdir()
    ended = run(slow / "below", dtf("resume", earlier.id[:-2]))
    assert ended.code == 0, ended.out
    again = set(attempts(slow))
    assert first | again == {f"test_s.py::test_quick[{n}]" for n in range(60)} | {
        "test_s.py::test_slow"
    }
    assert not first & again
    assert kept_run(slow).policy["resumes"] == earlier.id
    ended = run(slow, dtf("resume"))
    assert (ended.code, "nothing to resume" in ended.out) == (0, True)


def test_stopped_early_then_resumed_by_many_names(tmp_path):
    """-x leaves 100 cases; resume runs those, without -x, over a changed suite; what
    failed in a run, or one case of it, is run again by that run's command."""
    text = (
        "import pytest\n"
        "def test_first(): assert 0\n"
        "@pytest.mark.parametrize('n', range(COUNT))\n"
        "def test_many(n): assert n != 3\n"
    )
    gone, tmp_path = tmp_path / "gone", tmp_path / "here"
    suite(tmp_path, test_m=text.replace("COUNT", "2000"))
    cases = '[[cases]]\nname = "echo"\nargv = ["echo", "hello"]\n'
    (tmp_path / "dtf.toml").write_text(cases)
    ended = run(tmp_path, dtf("run", "-n", "1", "-x", "test_m.py", "dtf.toml"))
    assert ended.code == 1, ended.out
    earlier = kept_run(tmp_path)
    kept = len(attempts(tmp_path))
    assert kept < earlier.cases_planned == 2002
    (tmp_path / "test_m.py").write_text(text.replace("COUNT", "1999"))
    ended = run(tmp_path, dtf("resume"))
    assert "the suite has changed: 1 cases" in ended.out
    assert "test_m.py::test_many[1999] for one" in ended.out
    assert len(attempts(tmp_path)) == 2001 - kept
    assert "dtf.toml::echo" in attempts(tmp_path)
    resumed = kept_run(tmp_path).id
    ended = run(tmp_path, dtf("rerun", resumed, "--case", "nobody"))
    assert (ended.code, "contains 'nobody'" in ended.out) == (4, True)
    ended = run(tmp_path, dtf("rerun", "--failed", "--", "-q"))
    assert f"running again {resumed}: 1 of {2001 - kept:,} cases" in ended.out
    assert (ended.code, list(attempts(tmp_path))) == (1, ["test_m.py::test_many[3]"])
    ended = run(tmp_path, dtf("rerun", earlier.id[:-1], "--case", "test_first"))
    assert (ended.code, list(attempts(tmp_path))) == (1, ["test_m.py::test_first"])
    tmp_path.rename(gone)
    store = gone / ".dtf" / "results.sqlite"
    ended = run(gone, dtf("resume", earlier.id, "--results", store))
    assert (ended.code, f"is gone: {tmp_path}" in ended.out) == (4, True)


@pytest.mark.parametrize("who", ["controller", "terminated", "driver"])
def test_killed(slow, who):
    """Whoever is killed, what had ended is kept, and no process stays."""
    with marked() as mark:
        process = start(slow, dtf("run", "-n", "1"), mark)
        await_file(slow / "started", "\n")
        if who == "controller":
            ended = interrupt(process, signal.SIGKILL)
            assert ended.code == -signal.SIGKILL
        elif who == "terminated":
            ended = interrupt(process, signal.SIGTERM)
            assert ended.code != 0
        else:
            [driver] = [p for p in alive(mark) if "driver_start" in str(p.cmdline())]
            driver.kill()
            ended = interrupt(process, 0)
            assert ended.code == 19, ended.out
            assert "driver process" in ended.out
    if who != "driver":  # the slow one alone is missing
        passed = [a for tries in attempts(slow).values() for a in tries]
        assert [a.outcome.value for a in passed] == ["passed"] * 60


def test_second_interrupt(slow):
    """Ctrl-C twice ends at once; nothing stays behind."""
    with marked() as mark:
        process = start(slow, dtf("run", "-n", "2"), mark)
        await_file(slow / "started", "\n")
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        ended = interrupt(process)
    assert ended.code in (2, -signal.SIGINT), ended.out


def test_runner_killed(slow):
    """A runner's death costs its test an attempt; another runner takes over."""
    with marked() as mark:
        process = start(slow, dtf("run", "-n", "1"), mark)
        await_file(slow / "started", "\n")
        children = psutil.Process(process.pid).children()
        [runner] = [p for p in children if "driver_start" not in str(p.cmdline())]
        (slow / "be_quick").write_text("")
        runner.kill()
        ended = interrupt(process, 0)
    assert ended.code == 0, ended.out
    tries = attempts(slow)["test_s.py::test_slow"]
    assert [attempt.outcome.value for attempt in tries] == ["lost", "passed"]
