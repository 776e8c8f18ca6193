"""Fixtures of wider scope that end the process when they are torn down."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def crashing() -> Iterator[int]:
    yield 7
    os._exit(6)


def test_uses_it(crashing):
    assert crashing == 7


def test_does_not():
    assert True
