"""The context of tracing that a test finds in its environment."""

from __future__ import annotations

import os
import secrets

from dtf_dask.trace_ids import VARIABLE, traceparent
from dtf_dask.worker_plugins.runner.progress import ProgressBoard


def enter(trace: str, board: ProgressBoard) -> dict[str, str]:
    """Let a test begin, if its run is traced: what is to be told of it.

    It stands on the board, too, for whoever tells of a test that dies.
    """
    if not trace:
        return {}
    context = traceparent(trace, secrets.token_hex(8))
    os.environ[VARIABLE] = board.context = context
    return told(board)


def told(board: ProgressBoard) -> dict[str, str]:
    """What is to be told of the test that runs, or ran last; nothing if not traced."""
    return {VARIABLE.lower(): board.context} if board.context else {}
