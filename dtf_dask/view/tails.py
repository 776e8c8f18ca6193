"""What tests that run have written so far: how it is asked for, and its bounds. Pure.

It goes the way of an action, from a web process to whoever leads, and is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OP = "dtf_tail"
"""What workers and schedulers are asked."""
WORKERS_MAX = 200
ITEMS_MAX = 4
"""How many places are told of where a case runs at a time."""
CASES_MAX = 500
"""How many cases are told that run at a time."""
TEXT_BYTES_MAX = 64 * 1024
"""Of each text, its end."""

_KEY = "dtf-batch-"
"""What keys of batches begin with; the id of the run follows, and a number."""


def asked_for(run: str, case: str, workers: Sequence[str]) -> dict[str, Any]:
    """A question: what a case of a run writes, or which run if none is named."""
    return {"tail": {"run": run, "case": case, "workers": list(workers)}}


def operation(asked: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a scheduler is asked, and with which arguments: an action, or a question.

    Examples
    --------
    >>> operation(asked_for("r", "c", ["tcp://w"]))
    ('dtf_tail', {'run': 'r', 'case': 'c', 'workers': ['tcp://w']})
    >>> operation({"action": "cancel"})
    ('dtf_act', {'asked': {'action': 'cancel'}})
    """
    question = asked.get("tail")
    if not isinstance(question, Mapping):
        return "dtf_act", {"asked": dict(asked)}
    return OP, {name: question.get(name) for name in ("run", "case", "workers")}


def run_of(key: str) -> str:
    """The run whose batch a task is; empty if it is none.

    Examples
    --------
    >>> run_of("dtf-batch-2026-r1-17"), run_of("inc-1")
    ('2026-r1', '')
    """
    if not key.startswith(_KEY):
        return ""
    return key.removeprefix(_KEY).rpartition("-")[0]


def end_of(text: str) -> str:
    """As much of a text as is told.

    Examples
    --------
    >>> len(end_of("é" * TEXT_BYTES_MAX)) * 2 == TEXT_BYTES_MAX
    True
    """
    if len(text) * 4 <= TEXT_BYTES_MAX:
        return text
    encoded = text.encode("utf-8", "replace")
    return encoded[-TEXT_BYTES_MAX:].decode("utf-8", "ignore")
