"""The runner's own loop: batch after batch, each in a child that is watched.

One thread, one child at a time. What a test does to its child costs that test; the
rest of the batch goes on in a new child.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from dtf_dask.kernel import adopt_orphans, die_with_parent
from dtf_dask.worker_plugins.runner import process_life
from dtf_dask.worker_plugins.runner.child_watch import BatchEnd, Child
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import (
    Job,
    MissingCasesError,
    RunnerSession,
)
from dtf_dask.worker_plugins.runner.worker_line import WorkerGone, WorkerLine


class Supervisor:
    """Serves one channel until it closes.

    Parameters
    ----------
    channel
        A connected stream socket to the Dask worker.
    session
        What is run.
    output
        The read end of the pipe that is this process's stdout and stderr.
    """

    def __init__(
        self, channel: socket.socket, session: RunnerSession, output: int
    ) -> None:
        self._line = WorkerLine(channel, output)
        self._session = session
        self._board = getattr(session, "board", None) or ProgressBoard()
        self._waiting: Child | None = None  # for its next batch
        self._env: dict[str, str] = {}  # what batches are given, and what was before
        self._env_before: dict[str, str | None] = {}

    def serve(self) -> None:
        """Greet, then run batch after batch."""
        adopt_orphans()
        die_with_parent(False)  # from here the channel says it, in order
        line = self._line
        try:
            line.send({"op": "hello", "pid": os.getpid(), **self._session.describe()})
            while True:
                while not line.requests:
                    line.receive()
                request = line.requests.pop(0)
                if request["op"] == "batch":
                    self._run_batch(request)
                elif request["op"] == "close":
                    if self._waiting is not None:
                        self._waiting.dismiss()
                    return
        except (WorkerGone, BrokenPipeError, ConnectionResetError):
            if self._waiting is not None:
                self._waiting.kill()
            process_life.reap_leaked()

    def _run_batch(self, request: dict[str, Any]) -> None:
        entries = request["entries"]
        self._line.begin_batch()
        self._session.spill = request["spill"]
        self._session.keep = request.get("keep", "")
        self._give_environment(request.get("env", {}))
        try:
            jobs = self._session.jobs(entries)
        except MissingCasesError as error:
            answer = {"op": "missing", "names": error.names[:100]}
            self._line.send(answer | self._session.describe())
            not_run = [entry[0] for entry in entries]
            self._line.send({"op": "batch_end", "not_run": not_run})
            return
        first, leaked, cancelled = 0, [], False
        while first < len(jobs) and not cancelled:
            end = self._run_in_child(jobs[first:], entries[first:])
            leaked += end.leaked
            cancelled = end.cancelled
            first += end.next_position
            if end.crash is not None:
                self._line.send(end.crash)
            jobs = jobs[: first + end.left]
            if end.stopped:
                break
        done = {job.number for job in jobs[:first]}
        not_run = [entry[0] for entry in entries if entry[0] not in done]
        self._line.send({"op": "batch_end", "not_run": not_run, "leaked": leaked})

    def _give_environment(self, env: dict[str, str]) -> None:
        """What the processes of a batch inherit; a child that waits has the last's."""
        if env == self._env:
            return
        if self._waiting is not None:
            self._waiting.dismiss()
            self._waiting = None
        for name, value in self._env_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._env_before = {name: os.environ.get(name) for name in env}
        self._env = env
        os.environ.update(env)

    def _run_in_child(self, jobs: Sequence[Job], entries: Sequence[Any]) -> BatchEnd:
        """In the one that waits, or a new one; as far as it gets."""
        child, self._waiting = self._waiting, None
        if child is None or not child.take(jobs, entries):
            child = Child(self._line, self._session, self._board, jobs)
        try:
            end = child.watch()
        finally:
            self._line.requests[:0], child.later = child.later, []
        if end.stays:
            self._waiting = child
        return end
