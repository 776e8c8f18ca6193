"""Tests that end their process, among tests that do not."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator

import pytest


def test_first():
    assert True


def test_segfault():
    print("last words")
    ctypes.string_at(0)


def test_between():
    assert True


def test_exit_zero():
    os._exit(0)  # looks like success to whoever looks at the code only


def test_exit_three():
    sys.stderr.write("leaving with three\n")
    os._exit(3)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGABRT", "SIGBUS"])
def test_kills_itself(name):
    os.kill(os.getpid(), getattr(signal, name))
    signal.pause()


def test_abort():
    os.abort()


@pytest.fixture
def crashing_setup():
    os._exit(4)


def test_crash_in_setup(crashing_setup):
    raise AssertionError("never reached")


@pytest.fixture
def crashing_teardown() -> Iterator[None]:
    yield
    os._exit(5)


def test_crash_in_teardown(crashing_teardown):
    assert True


def test_closes_every_file():
    """Takes the reports' channel, whatever its number, from under the runner."""
    os.closerange(0, 4096)


@pytest.mark.parametrize("number", range(20))
def test_quiet(number):
    assert number >= 0


def test_last():
    assert True
