"""Tests that take from the runner what it reports with."""

from __future__ import annotations

import os
import sys


def test_before():
    assert True


def test_write_broken():
    os.write = lambda file, block: len(block)


def test_own_number_broken():
    os.getpid = lambda: 1


def test_modules_broken():
    for name in ("json", "msgpack", "pickle", "os", "socket"):
        sys.modules[name] = None


def test_after():
    assert True
