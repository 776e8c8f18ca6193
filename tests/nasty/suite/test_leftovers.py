"""Tests that pass and leave threads and processes behind."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time

from nasty_room import FOREVER_S, await_notes, note, stay

FORKED = 30  # 2 + 4 + 8 + 16
CHAIN = 25


def test_thread():
    threading.Thread(target=time.sleep, args=(FOREVER_S,)).start()


def test_many_threads():
    for _ in range(50):
        threading.Thread(target=threading.Event().wait).start()


def test_child():
    child = subprocess.Popen(["sleep", str(FOREVER_S)])
    note("stayed", f"leaked {child.pid}")


def test_child_in_own_session():
    child = subprocess.Popen(["sleep", str(FOREVER_S)], start_new_session=True)
    note("stayed", f"leaked {child.pid}")


def test_child_without_environment():
    child = subprocess.Popen(["/bin/sleep", str(FOREVER_S)], env={})
    note("stayed", f"leaked {child.pid}")


def test_daemon():
    """Forks twice with a session in between: its parent is gone at once."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            note("daemon")
            stay()
        os._exit(0)
    os.waitpid(child, 0)
    await_notes("daemon", 1)


def test_stubborn_child():
    """Ignores what can be ignored, and holds the pipes of its parent open."""
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        note("stubborn")
        stay()
    await_notes("stubborn", 1)


def _multiply(depth):
    for _ in range(2 if depth else 0):
        if os.fork() == 0:
            try:
                note("bomb")
                _multiply(depth - 1)
                stay()
            finally:
                os._exit(1)


def test_fork_bomb():
    """Bounded by its depth: 30 processes, all asleep."""
    _multiply(4)
    await_notes("bomb", FORKED)


def test_moving_target():
    """Each process forks the next and leaves, so that a list of them is stale."""
    if os.fork() == 0:
        os.setsid()
        for _ in range(CHAIN):
            if os.fork() != 0:
                os._exit(0)
            time.sleep(0.01)
        stay()


def test_child_writes_on():
    """A child that writes to the same output without end."""
    if os.fork() == 0:
        note("stayed")
        deadline = time.monotonic() + FOREVER_S
        while time.monotonic() < deadline:
            os.write(1, b"noise\n")
            time.sleep(0.001)
        os._exit(0)


def test_exit_handler():
    atexit.register(time.sleep, FOREVER_S)


def test_python_child():
    script = f"import time; time.sleep({FOREVER_S})"
    child = subprocess.Popen([sys.executable, "-c", script])
    note("stayed", f"leaked {child.pid}")


def test_nothing_left():
    assert True
