"""The context of tracing that a test finds in its environment."""

from __future__ import annotations

import os
import secrets

from dtf_dask.trace_ids import VARIABLE, traceparent


def enter(trace: str) -> dict[str, str]:
    """Let a test begin, if its run is traced: what is to be told of it."""
    if not trace:
        return {}
    context = traceparent(trace, secrets.token_hex(8))
    os.environ[VARIABLE] = context
    return {VARIABLE.lower(): context}
