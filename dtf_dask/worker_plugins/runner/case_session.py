"""Runs cases that came as values: callables and commands, without pytest."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dtf_dask.model import Case, Outcome
from dtf_dask.worker_plugins.runner import checkpoint
from dtf_dask.worker_plugins.runner.case_execution import (
    CaseLimits,
    CaseResult,
    execute,
)
from dtf_dask.worker_plugins.runner.leftovers import Leftovers
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Emit, Job
from dtf_dask.worker_plugins.runner.spill import Spill
from dtf_dask.worker_plugins.runner.trace_context import enter
from dtf_dask.worker_plugins.runner.usage import Usage
from dtf_dask.worker_plugins.runner.written import spool_prefix

_TIMEOUT_GRACE_S = 5.0  # for `execute`, which enforces a case's own timeout


class CaseSession:
    """A `RunnerSession` over pickled cases; they are unpickled in the child only.

    Parameters
    ----------
    spec
        ``root`` (the folder of the code; "" for an empty one in ``home``, which
        whoever started the runner takes away), ``slot``, ``run``, ``timeout_s``,
        ``inline_limit``.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self.spill = self.keep = ""
        self._left = Leftovers()
        os.environ["DTF_WORKER"] = spec["slot"]
        os.environ["DTF_RUN"] = spec["run"]
        folder = spec.get("root") or os.path.join(spec["home"], spec["slot"])
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)

    def describe(self) -> dict[str, Any]:
        return {"cases": 0, "errors": []}

    def jobs(self, entries: Sequence[Sequence[Any]]) -> list[Job]:
        return [Job(entry[0], (entry[1], entry[2])) for entry in entries]

    def before_child(self) -> None:
        self._left.open()

    def after_child(self) -> None:
        self._left.close()

    def leftover(self) -> dict[str, Any]:
        return self._left.read()

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        checkpoint.enter(board, jobs)
        out, err, _ = self._left.numbers()
        os.dup2(out, 1)
        os.dup2(err, 2)
        spill = Spill(self.spill, self._spec["inline_limit"])
        limits = CaseLimits(inline_bytes_max=self._spec["inline_limit"])
        workdir = Path.cwd()  # a case may leave it
        for position, job in enumerate(jobs):
            name, payload = job.what
            case, problem = _load(name, payload, self._spec.get("timeout_s"), workdir)
            guard_s = case.timeout_s + _TIMEOUT_GRACE_S if case.timeout_s else 0.0
            if not board.begin(position, time.monotonic(), guard_s):
                board.idle()
                break
            started = time.time()
            if problem:
                result = CaseResult(Outcome.ERROR, exception=problem)
                emit(_frame(job.number, result, started, spill))
            else:
                context = enter(self._spec.get("trace", ""), board)
                frame = self._executed(job.number, case, workdir, limits, spill)
                emit(frame | context)
            board.idle()
        emit({"op": "child_end", "stop": None})

    def _executed(
        self, number: int, case: Case, workdir: Path, limits: CaseLimits, spill: Spill
    ) -> dict[str, Any]:
        """Run one case; what it wrote lies where it goes even if we are killed."""
        started = time.time()
        usage = Usage()
        usage.begin()
        try:
            spool = Path(
                tempfile.mkdtemp(prefix=spool_prefix(os.getpid()), dir=self.spill)
            )
        except OSError as error:
            text = f"could not be executed: {error}"
            result = CaseResult(Outcome.ERROR, exception=text)
            return _frame(number, result, started, spill)
        try:
            result = execute(case, workdir, spool=spool, limits=limits)
            frame = _frame(number, result, started, spill)
            return frame | {"usage": usage.taken()}
        finally:
            shutil.rmtree(spool, ignore_errors=True)


def _load(
    name: str, payload: bytes, timeout_s: float | None, workdir: Path
) -> tuple[Case, str]:
    """The case; and what is wrong with it, if it cannot be had here."""
    path = list(sys.path)
    sys.path.insert(0, str(workdir))  # its module may be in there
    try:
        case: Case = pickle.loads(payload)
    except Exception as error:
        problem = (
            f"the case cannot be loaded on this worker: {type(error).__name__}: {error}"
            " (is the module that defines it installed there? `code=` sends a folder)"
        )
        return Case(name, argv=("false",)), problem
    finally:
        sys.path[:] = path
    if case.timeout_s is None and timeout_s is not None:
        case = replace(case, timeout_s=timeout_s)
    return case, ""


def _frame(
    number: int, result: CaseResult, started: float, spill: Spill
) -> dict[str, Any]:
    artifacts: list[dict[str, object]] = []
    properties = dict(result.properties)
    for name, path in result.artifacts:
        problem = spill.take(path, name, artifacts)
        if problem:
            refused = [*properties.get("artifacts_refused", ()), problem]
            properties["artifacts_refused"] = refused
    if result.exit_code is not None:
        properties["exit_code"] = result.exit_code
    return {
        "op": "case",
        "i": number,
        "start": started,
        "wall": result.duration_s,
        "artifacts": artifacts,
        "result": {
            "outcome": result.outcome.value,
            "detail": result.detail,
            "exception": result.exception,
            "traceback": result.traceback,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "properties": properties,
        },
    }
