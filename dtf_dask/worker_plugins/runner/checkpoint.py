"""What a test may do when it is about to be preempted: `on_preemption`.

On a shared cluster the test that runs for a less urgent run may be ended, and run again
later. One that asks for it gets a moment before, and a folder that its later attempts
find again.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dtf_dask.errors import UsageError
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Job

VARIABLE = "DTF_CHECKPOINTS"
"""The environment variable that names the folder of all cases of a run."""

SIGNAL = signal.SIGURG  # whose default is that nothing happens
_KILLED_WITHIN_S = 60.0
_Function = TypeVar("_Function", bound=Callable[[], object])


class _Here:
    """The test that runs in this process, and what it has registered."""

    def __init__(self, board: ProgressBoard, jobs: Sequence[Job]) -> None:
        self._board, self._jobs = board, jobs
        self._test: tuple[int, float] | None = None
        self._functions: list[Callable[[], object]] = []
        self._asked = False

    def number(self) -> int | None:
        """The number of the test that runs."""
        position = self._board.position
        return self._jobs[position].number if position >= 0 else None

    def register(self, function: Callable[[], object]) -> None:
        test = self._board.position, self._board.started
        if test != self._test:
            self._test, self._functions = test, []
        self._functions.append(function)
        signal.signal(SIGNAL, self._preempted)
        self._board.hooked = os.getpid()

    def _preempted(self, signum: int, frame: Any) -> None:
        """Do what was registered, and then nothing more: the kill comes."""
        board = self._board
        if self._asked or self._test != (board.position, board.started):
            return
        self._asked = True
        try:
            for function in self._functions:
                try:
                    function()
                except BaseException:
                    traceback.print_exc()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        finally:
            board.hooked = 0
            time.sleep(_KILLED_WITHIN_S)
            os._exit(70)


_here: _Here | None = None


def enter(board: ProgressBoard, jobs: Sequence[Job]) -> None:
    """In a child: it runs these tests from now on."""
    global _here
    _here = _Here(board, jobs)


def on_preemption(function: _Function) -> _Function:
    """Have a function called when the test that runs is about to be preempted.

    It is called in the main thread, in the middle of the test, and has
    ``runs.preempt-grace`` (5 s) to save what a later attempt can go on with; see
    `checkpoint_folder`. Then the test is killed, whether it has returned or not. What
    it raises is printed. Several are called in the order in which they were registered.
    It is forgotten when the test ends.

    Not called when a run is cancelled or a test runs into its timeout, nor outside of a
    run. Usable as a decorator.

    Raises
    ------
    UsageError
        If it is no function, or this is not the main thread.

    Examples
    --------
    >>> def test_long():
    ...     folder = checkpoint_folder()
    ...     state = load(folder) or start()
    ...     on_preemption(lambda: save(folder, state))
    """
    if not callable(function):
        raise UsageError(f"on_preemption takes a function, not {function!r:.100}")
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("on_preemption is for the main thread of a test")
    if _here is not None and _here.number() is not None:
        _here.register(function)
    return function


def checkpoint_folder() -> Path:
    """A folder of the test that runs, which its later attempts find as it was left.

    It is on the worker, so that only attempts there find it; with ``runs.checkpoints``
    it is on a path that all workers share. On the worker it goes with the run. Outside
    of a run it is a new one each time.
    """
    number = None if _here is None else _here.number()
    parent = os.environ.get(VARIABLE)
    if number is None or not parent:
        return Path(tempfile.mkdtemp(prefix="dtf-checkpoint-"))
    folder = Path(parent) / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
