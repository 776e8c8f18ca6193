"""Tests that change their process and do not change it back."""

from __future__ import annotations

import faulthandler
import gc
import locale
import logging
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings

import pytest

COUNTED: list[str] = []


def test_module_state_starts_empty():
    COUNTED.append("here")
    assert COUNTED == ["here"]


def test_chdir():
    os.chdir("/")


def test_removed_directory():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def test_after_removed_directory():
    assert 1 + 1 == 2


def test_fails_where_no_directory_is():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    raise AssertionError("its traceback has relative paths to show")


def test_deletes_its_folder(tmp_path):
    shutil.rmtree(tmp_path)


def test_unreadable_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_text("text")
    (tmp_path / "inside").chmod(0)


def test_empty_environment():
    os.environ.clear()


def test_environment_by_monkeypatch(monkeypatch):
    monkeypatch.setenv("NASTY", "x" * 10_000)
    monkeypatch.delenv("PATH", raising=False)
    assert os.environ["NASTY"]


def test_closes_output():
    os.close(1)
    os.close(2)


def test_after_closed_output():
    assert 2 + 2 == 4


def test_closes_input():
    os.close(0)


def test_prints_after_all_this(capfd):
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


def test_alarm_left_behind():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


def test_under_that_alarm():
    time.sleep(0.05)
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_ignores_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def test_wakeup_descriptor():
    ours, _ = socket.socketpair()
    ours.setblocking(False)
    signal.set_wakeup_fd(ours.detach())


def test_faulthandler_off():
    faulthandler.cancel_dump_traceback_later()
    faulthandler.disable()


def test_faulthandler_on(tmp_path):
    with (tmp_path / "stacks").open("w") as file:
        faulthandler.enable(file)
        faulthandler.dump_traceback(file)
    faulthandler.disable()


def test_stopped_clock(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: -1.0)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_after_broken_modules():
    assert 3 + 3 == 6


def test_recursion():
    def deeper():
        deeper()

    deeper()


def test_low_recursion_limit():
    sys.setrecursionlimit(200)


@pytest.fixture
def few_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_few_files(few_files):
    files = []
    while True:
        files.append(socket.socket())


def test_no_garbage_collection():
    gc.disable()


def test_umask():
    os.umask(0o077)


def test_locale():
    locale.setlocale(locale.LC_ALL, "C")


def test_logging_off():
    logging.disable(logging.CRITICAL)
    logging.getLogger().handlers.clear()


def test_seed():
    random.seed(1)


def test_priority():
    os.nice(5)


def test_profile_and_trace():
    sys.settrace(lambda *_: None)
    threading.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)


def test_hook_replaced():
    sys.excepthook = None
    threading.excepthook = None
    sys.unraisablehook = None


def test_warnings_as_errors():
    warnings.simplefilter("error")


def test_socket_timeout():
    socket.setdefaulttimeout(0.001)


def test_monkeypatched_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", [])
    assert sys.argv == []


@pytest.mark.parametrize("number", range(5))
def test_still_here(number, tmp_path_factory):
    assert number < 5


def test_last():
    assert True
