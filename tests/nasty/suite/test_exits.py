"""SystemExit and its like from everywhere; only the test that raises it fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


def test_before():
    assert True


@pytest.mark.parametrize("code", [0, 1, None, "text"], ids=str)
def test_exit_in_test(code):
    sys.exit(code)


@pytest.fixture
def exit_in_setup():
    sys.exit(3)


def test_exit_in_setup(exit_in_setup):
    raise AssertionError("never reached")


@pytest.fixture
def exit_in_teardown() -> Iterator[None]:
    yield
    raise SystemExit(4)


def test_exit_in_teardown(exit_in_teardown):
    assert True


def test_generator_exit():
    raise GeneratorExit


class BareError(BaseException):
    pass


def test_base_exception():
    raise BareError("neither Exception nor SystemExit")


def test_after():
    assert True
