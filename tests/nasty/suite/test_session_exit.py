"""A test that asks pytest to end the session with a code of its own."""

from __future__ import annotations

import pytest


def test_before():
    assert True


def test_ends_the_session():
    pytest.exit("enough", returncode=7)
