"""The report that stands for a test whose process ended under it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from dtf_dask.runs.attempts import crash_message, crash_text

# From the test's own frames on, a stack only tells how dtf and pytest call a test.
_CALLING_FRAME = re.compile(
    r'^  File ".*[/\\]_pytest[/\\](?:python|unittest|doctest)\.py", line \d+ in '
    r"(?:pytest_pyfunc_call|runtest)\b"
)


def crash_report(item: pytest.Item, event: Mapping[str, Any]) -> pytest.TestReport:
    """A failed report of ``item``, of what the runner tells of its child's end."""
    sections = [
        (f"Captured {name} call", shorten_stacks(event[key]))
        for name, key in (("stdout", "out"), ("stderr", "err"))
        if event.get(key)
    ]
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=shorten_stacks(crash_text(event)),
        when="teardown" if event.get("between") else "call",
        sections=sections,
        duration=event.get("after_s", 0.0),
    )
    report.dtf_crash = crash_message(event)  # type: ignore[attr-defined]
    return report


def shorten_stacks(text: str) -> str:
    """Leave out of faulthandler's stacks the frames that call the test.

    Examples
    --------
    >>> print(shorten_stacks('''Current thread 0x1 (most recent call first):
    ...   File "/s/test_a.py", line 3 in test_crash
    ...   File "/x/_pytest/python.py", line 187 in pytest_pyfunc_call
    ...   File "/x/pluggy/_callers.py", line 121 in _multicall
    ...
    ... Extension modules: numpy'''))
    Current thread 0x1 (most recent call first):
      File "/s/test_a.py", line 3 in test_crash
    <BLANKLINE>
    Extension modules: numpy
    """
    kept, calling = [], False
    for line in text.split("\n"):
        calling = line.startswith("  ") and (
            calling or _CALLING_FRAME.match(line) is not None
        )
        if not calling:
            kept.append(line)
    return "\n".join(kept)
