"""A fixture of the session that takes long, and tests that do and do not use it."""

from __future__ import annotations

import os
import time

import pytest
from nasty_room import FULL, note

SETUP_S = 30 if FULL else 2


@pytest.fixture(scope="session")
def expensive():
    note("expensive")
    time.sleep(SETUP_S)
    return os.getpid()


@pytest.mark.parametrize("number", range(300))
def test_uses_it(expensive, number):
    assert expensive


@pytest.mark.parametrize("number", range(300))
def test_does_not(number):
    assert number >= 0


@pytest.mark.parametrize("number", range(20))
def test_fails_with_it(expensive, number):
    assert number % 5
