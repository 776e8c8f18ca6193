"""The process of one batch in a `FreshSession`: collects, runs, ends."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from dtf_dask.frames import HEADER_BYTES, decode
from dtf_dask.worker_plugins.runner.collecting import CollectingPlugin, collect_and_run
from dtf_dask.worker_plugins.runner.kept_reports import KeptReports
from dtf_dask.worker_plugins.runner.process_life import emitter, lead_group
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.pytest_session import PytestSession
from dtf_dask.worker_plugins.runner.sessions import MissingCasesError


def main() -> int:
    """Read the orders from standard input; the descriptors are the arguments."""
    outlet, memory, *left = (int(word) for word in sys.argv[1:])
    lead_group()
    for number in (outlet, memory, *left):
        os.set_inheritable(number, False)  # a program that a test starts has no use
    spec: dict[str, Any] = decode(sys.stdin.buffer.read()[HEADER_BYTES:])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    kept = KeptReports()
    kept.begin(spec["keep"])
    emit = emitter(outlet, kept.add)

    def serve(session: pytest.Session, errors: list[str]) -> None:
        runner = PytestSession(session, spec | {"capture_files": left})
        runner.spill = spec["spill"]
        board = ProgressBoard(memory)
        try:
            jobs = runner.jobs(spec["entries"])
        except MissingCasesError as error:
            runner.collect_errors = errors
            emit({"op": "missing", "names": error.names[:100], **runner.describe()})
            board.through()
            return
        runner.before_child()
        runner.run(jobs, board, emit)
        board.through()

    plugin = CollectingPlugin(spec, serve)
    code = collect_and_run(spec, plugin)
    if not plugin.served:
        emit({"op": "unusable", "code": code, "text": "see its output"})
        ProgressBoard(memory).through()
    return 0


if __name__ == "__main__":
    sys.exit(main())
