"""Tests that never end; the run has a time limit."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from nasty_room import FOREVER_S


def test_before():
    assert True


def test_sleeps():
    print("going to sleep")
    time.sleep(FOREVER_S)


def test_computes():
    while True:
        pass


def test_holds_the_interpreter():
    """No other thread of Python can run, so none can write a stack."""
    ctypes.PyDLL(None).sleep(FOREVER_S)


def test_blocks_every_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(FOREVER_S)


def test_swallows_everything():
    while True:
        try:
            time.sleep(FOREVER_S)
        except BaseException:
            pass


def test_deadlock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@pytest.fixture
def endless_setup():
    time.sleep(FOREVER_S)


def test_hangs_in_setup(endless_setup):
    raise AssertionError("never reached")


@pytest.fixture
def endless_teardown() -> Iterator[None]:
    yield
    time.sleep(FOREVER_S)


def test_hangs_in_teardown(endless_teardown):
    assert True


@pytest.mark.parametrize("number", range(10))
def test_quick(number):
    assert number >= 0
