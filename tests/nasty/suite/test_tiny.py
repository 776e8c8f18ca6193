"""Very many very small tests."""

from __future__ import annotations

import os

import pytest

COUNT = int(os.environ.get("DTF_NASTY_TINY", "10000"))


@pytest.mark.parametrize("number", range(COUNT))
def test_tiny(number):
    assert number != 7_777
