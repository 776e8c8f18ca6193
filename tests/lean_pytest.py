"""Lets the sessions of pytest that tests start do without what costs them most."""

from __future__ import annotations

LEAN = {"PYTEST_ADDOPTS": "-p no:hypothesispytest"}
"""This plugin imports all of hypothesis at the end of a session that knows nothing of
it: for a second, in each session of pytest and in each runner of dtf.
"""
