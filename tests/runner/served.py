"""A supervisor in a process of its own, over a socket, for tests of it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from dtf_dask.frames import FrameBuffer, pack
from dtf_dask.worker_plugins.runner import bootstrap, process_life
from dtf_dask.worker_plugins.runner.leftovers import Leftovers
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Emit, Job
from dtf_dask.worker_plugins.runner.supervisor import Supervisor

WAIT_S = 60.0
Frame = dict[str, Any]


class Functions:
    """A `RunnerSession` over functions; one that returns something tells it.

    ``after`` is called when all have run, where pytest would tear down. With ``stays``
    a child is fit for another batch if it stands as it began.
    """

    def __init__(
        self,
        *functions: Callable[[], Any],
        timeout_s: float = 0.0,
        after: Callable[[], Any] | None = None,
        stays: bool = False,
    ) -> None:
        self.functions, self.timeout_s, self.after = functions, timeout_s, after
        self.stays, self.footing = stays, None
        self.spill = self.keep = ""
        self._left = Leftovers()

    def describe(self) -> Frame:
        return {"cases": len(self.functions), "errors": []}

    def jobs(self, entries: Sequence[Sequence[Any]]) -> list[Job]:
        return [Job(entry[0], self.functions[entry[0]]) for entry in entries]

    def before_child(self) -> None:
        self._left.open()

    def after_child(self) -> None:
        self._left.close()

    def leftover(self) -> Frame:
        return self._left.read()

    def may_stay(self) -> bool:
        return self.stays and self.footing.holds()

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        import faulthandler

        self.footing = self.footing or process_life.Footing()
        stacks = self._left.numbers()[2]
        for position, job in enumerate(jobs):
            if not board.begin(position, time.monotonic(), self.timeout_s):
                board.idle()
                break
            if self.timeout_s:
                faulthandler.dump_traceback_later(self.timeout_s, file=stacks)
            told = job.what()
            if self.timeout_s:
                faulthandler.cancel_dump_traceback_later()
            emit({"op": "case", "i": job.number, "told": told})
            board.idle()
        if self.after is not None:
            self.after()
        emit({"op": "child_end", "stop": None})


class Served:
    """A runner process; ends with everything it started when the context does."""

    def __init__(self, session: Any) -> None:
        self.channel, theirs = socket.socketpair()
        self._buffer, self._waiting = FrameBuffer(), []
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                signal.setitimer(signal.ITIMER_REAL, 0)  # pytest-timeout's
                self.channel.close()
                Supervisor(theirs, session, bootstrap._own_output()).serve()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        theirs.close()

    def __enter__(self) -> Served:
        assert self.receive()["op"] == "hello"
        return self

    def __exit__(self, *_: object) -> None:
        if self.channel.fileno() >= 0:
            for process in psutil.Process(self.pid).children(recursive=True):
                process.kill()
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.channel.close()

    def send(self, **frame: Any) -> None:
        self.channel.sendall(pack(frame))

    def batch(self, *numbers: int, **env: str) -> None:
        entries = [[n, "", 0] for n in numbers]
        self.send(op="batch", entries=entries, spill="", env=env)

    def receive(self) -> Frame:
        while not self._waiting:
            ready, _, _ = select.select([self.channel], [], [], WAIT_S)
            assert ready, "the runner is silent"
            chunk = self.channel.recv(2**18)
            assert chunk, "the runner is gone"
            self._waiting = list(self._buffer.feed(chunk))
        return self._waiting.pop(0)

    def until(self, op: str) -> list[Frame]:
        """All frames up to the first of this kind."""
        frames = [self.receive()]
        while frames[-1]["op"] != op:
            frames.append(self.receive())
        return frames

    def run(self, *numbers: int, **env: str) -> list[Frame]:
        """Run a batch to its end."""
        self.batch(*numbers, **env)
        return self.until("batch_end")

    def hang_up(self) -> int:
        """Close the channel; the exit code."""
        self.channel.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Started(Served):
    """A runner that is started as a worker starts it, by its specification."""

    def __init__(self, spec: Frame, spill: str = "") -> None:
        self.channel, theirs = socket.socketpair()
        self._buffer, self._waiting = FrameBuffer(), []
        self._spill = spill
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", bootstrap.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.send(**spec)

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        try:
            self._process.wait(WAIT_S)
        finally:
            self._process.kill()

    def batch(self, *names: str) -> None:
        entries = [[number, name, 0] for number, name in enumerate(names)]
        self.send(op="batch", entries=entries, spill=self._spill)


def ran(frames: Sequence[Frame]) -> list[int]:
    return [frame["i"] for frame in frames if frame["op"] == "case"]


def told(frames: Sequence[Frame], number: int) -> Any:
    """What the function of this number returned."""
    [value] = [f["told"] for f in frames if f["op"] == "case" and f["i"] == number]
    return value


def crashes(frames: Sequence[Frame]) -> dict[int, str]:
    return {frame["i"]: frame["cause"] for frame in frames if frame["op"] == "crash"}


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process has ended, or does in time."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
