"""A module that asks to be skipped while it is imported."""

from __future__ import annotations

import pytest

pytest.skip("the whole module", allow_module_level=True)


def test_never():
    raise AssertionError
