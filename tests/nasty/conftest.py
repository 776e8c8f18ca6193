"""The nasty tests are run by `test_nasty.py`, never collected beside it."""

from __future__ import annotations

collect_ignore = ["suite"]
