"""Tests that want more memory than they may have."""

from __future__ import annotations

import ctypes
import resource

import pytest

MIB = 2**20


def _may_grow_by(size):
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size, resource.RLIM_INFINITY))


@pytest.fixture
def unlimited_afterwards():
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_before():
    assert True


def test_hog(unlimited_afterwards):
    _may_grow_by(256 * MIB)
    hoard = []
    while True:
        hoard.append(bytearray(16 * MIB))


def test_stack_overflow():
    """Past every guard of Python: the stack of C is used up."""
    shape = ctypes.CFUNCTYPE(ctypes.c_int)
    kept = []

    def fall():
        kept.append(None)
        return again()

    again = shape(fall)
    import sys

    sys.setrecursionlimit(10**9)
    again()


def test_hog_that_lowers_its_limit_for_good():
    """Whatever the runner wants to allocate afterwards may fail: it must not lie."""
    _may_grow_by(64 * MIB)
    bytearray(32 * MIB)


def test_after():
    assert True
