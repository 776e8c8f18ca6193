"""A test that raises what Ctrl-C raises: pytest ends the session there."""

from __future__ import annotations


def test_before():
    assert True


def test_interrupt():
    raise KeyboardInterrupt
