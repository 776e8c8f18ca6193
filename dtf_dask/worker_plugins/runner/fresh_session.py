"""A new process for every batch: where forking is unsafe, or was not wanted.

The runner itself then imports nothing of the suite. Each child is a Python of its own
that collects, runs its batch and ends; its progress board and its output lie in files
that the runner opened, so that they are there after a crash.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from dtf_dask.frames import pack
from dtf_dask.worker_plugins.runner.leftovers import Leftovers
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Emit, Job


class FreshSession:
    """A `RunnerSession` whose children are started, not forked."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self.spill = self.keep = ""
        self._memory = tempfile.TemporaryFile(prefix="dtf-board-")  # noqa: SIM115
        self._memory.truncate(os.sysconf("SC_PAGESIZE"))
        self.board = ProgressBoard(self._memory.fileno())
        self._left = Leftovers()

    def describe(self) -> dict[str, Any]:
        return {"cases": 0, "errors": []}

    def jobs(self, entries: Sequence[Sequence[Any]]) -> list[Job]:
        return [Job(entry[0], entry) for entry in entries]

    def before_child(self) -> None:
        self._left.open()

    def after_child(self) -> None:
        self._left.close()

    def leftover(self) -> dict[str, Any]:
        return self._left.read()

    def start_child(self, jobs: Sequence[Job], outlet: int) -> int:
        """Start a process that runs the jobs; its id."""
        orders: IO[bytes] = tempfile.TemporaryFile(prefix="dtf-orders-")  # noqa: SIM115
        entries = [job.what for job in jobs]
        told = {"entries": entries, "spill": self.spill, "keep": self.keep}
        orders.write(pack({**self._spec, **told}))
        orders.seek(0)
        numbers = [outlet, self._memory.fileno(), *self._left.numbers()]
        module = "dtf_dask.worker_plugins.runner.fresh_child"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *map(str, numbers)],
            stdin=orders,
            stdout=self._left.numbers()[0],
            stderr=self._left.numbers()[1],
            pass_fds=numbers,
            start_new_session=True,
        )
        orders.close()
        process.returncode = 0  # the supervisor reaps it, not `subprocess`
        return process.pid

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        raise NotImplementedError("a fresh session runs nothing in a forked child")
