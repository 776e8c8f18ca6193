"""A fixture of the whole session that never ends its teardown."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from nasty_room import FOREVER_S


@pytest.fixture(scope="session")
def endless() -> Iterator[int]:
    yield 5
    time.sleep(FOREVER_S)


def test_uses_it(endless):
    assert endless == 5


def test_other():
    assert True
