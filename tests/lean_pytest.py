"""Lets the sessions of pytest that tests start do without what costs them most."""

from __future__ import annotations

_COSTLY = ("hypothesispytest", "schemathesis", "anyio", "pytest-qt")
LEAN = {"PYTEST_ADDOPTS": " ".join(f"-p no:{name}" for name in _COSTLY)}
"""Plugins of what the tests here use, which suites that they write do not: hypothesis
and schemathesis are loaded whole, in each session and each runner, for seconds.
"""
