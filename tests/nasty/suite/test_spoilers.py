"""Tests that break their process for every later test, in plain pytest too.

Run one to a process, they harm nobody.
"""

from __future__ import annotations

import builtins
import os
import sys
import time

import pytest


def test_closes_stdout():
    sys.stdout.close()


def test_replaces_output():
    sys.stdout = None
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def test_clock_left_broken():
    time.monotonic = lambda: 1e12
    time.time = lambda: float("nan")
    time.sleep = lambda seconds: None


def test_open_left_broken():
    builtins.open = None


@pytest.mark.parametrize("number", range(8))
def test_neighbour(number, tmp_path):
    file = tmp_path / "file"
    file.write_text("text")
    assert file.read_text() == "text"
