"""A test whose forked child returns into pytest, and would run the rest again."""

from __future__ import annotations

import os

import pytest
from nasty_room import note


def test_before():
    note("before")


def test_child_returns():
    os.fork()


def test_child_raises():
    if os.fork() == 0:
        raise RuntimeError("from the child")


def test_child_exits():
    if os.fork() == 0:
        raise SystemExit(3)


@pytest.mark.parametrize("number", range(5))
def test_after(number):
    note("after", str(number))
