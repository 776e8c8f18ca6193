"""A process group of one case, that dies as a whole: by a timeout, or with its maker.

The group's leader is a guard: a shell that waits for the end of a pipe which only this
process holds. So the group goes even when this process is killed with SIGKILL, and its
id stays taken until all members are gone, so that no signal hits a stranger.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import psutil

POLL_INTERVAL_S = 0.25
LEAKED_SHOWN_MAX = 20

# `read` comes back at the end of the pipe; `kill 0` means the whole group.
_GUARD = "trap '' TERM INT HUP QUIT; read -r _; kill -KILL 0"


class Started(Protocol):
    """A running child: a `subprocess.Popen` or a `Fork`."""

    pid: int

    def wait(self) -> int:
        """Reap it: its exit code, or minus the signal that ended it."""


@dataclass(frozen=True, slots=True)
class End:
    """How a group's main process ended; ``exit_code`` is negative after a signal."""

    reason: Literal["exit", "timeout", "output"]
    exit_code: int
    leaked: tuple[str, ...] = ()


class Fork:
    """A forked child of this process that runs one function and ends."""

    def __init__(self, body: Callable[[], None], group: int) -> None:
        with warnings.catch_warnings():
            # Python 3.12 warns where threads run. The child does not return to them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                os.setpgid(0, group)
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                body()
                status = 0
            finally:
                os._exit(status)
        with contextlib.suppress(OSError):  # the child may have done it, or be gone
            os.setpgid(self.pid, group)

    def wait(self) -> int:
        """Reap the child."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class ProcessGroup:
    """The group; leaving its context kills whatever is left of it.

    Parameters
    ----------
    grace_s
        Seconds between SIGTERM and SIGKILL at a timeout.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def __enter__(self) -> Self:
        read_end, self._lifeline = os.pipe()
        try:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(read_end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGKILL)
        self._guard.wait()
        os.close(self._lifeline)

    def command(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
    ) -> Started:
        """Start a program in the group, without a shell and without input.

        Raises
        ------
        OSError, ValueError
            If the program cannot be started.
        """
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=self._guard.pid,
        )

    def fork(self, body: Callable[[], None]) -> Started:
        """Run a function in a forked child in the group."""

        def alone() -> None:
            os.close(self._lifeline)  # held here too, it would keep the guard waiting
            body()

        return Fork(alone, self._guard.pid)

    def run(
        self,
        start: Callable[[], Started],
        *,
        timeout_s: float | None,
        is_over_limit: Callable[[], bool],
    ) -> End:
        """Start the main process and wait for its end, or bring it about.

        ``is_over_limit`` is asked a few times a second whether what the group wrote
        is too much.
        """
        child = start()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        reason: Literal["exit", "timeout", "output"] = "exit"
        try:
            with _Watch(child.pid) as watch:
                while not watch.ended(_slice(deadline)):
                    if is_over_limit():
                        reason = "output"
                    elif deadline is not None and time.monotonic() >= deadline:
                        reason = "timeout"
                    else:
                        continue
                    self._signal(signal.SIGTERM)
                    watch.ended(self._grace_s)
                    break
            # The others of the group had no grace of their own: they get it as leaked.
            leaked = () if reason != "exit" else self._members(besides=child.pid)
        finally:
            self._signal(signal.SIGKILL)
            code = child.wait()
        return End(reason, code, leaked)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._guard.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone; or, on macOS, nothing but zombies. A set-uid program stays.
            pass

    def _members(self, besides: int) -> tuple[str, ...]:
        """Who is still in the group beside the guard and the main process, in words."""
        found = []
        for pid in psutil.pids():
            if pid in (self._guard.pid, besides):
                continue
            try:
                if os.getpgid(pid) == self._guard.pid:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(f"{process.name()} ({pid})")
            except (OSError, psutil.Error):
                continue
        return tuple(found[:LEAKED_SHOWN_MAX])


class _Watch:
    """Tells when a child has ended, without reaping it and without a busy loop."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except (AttributeError, OSError):  # not Linux, or an old kernel
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def ended(self, timeout_s: float) -> bool:
        if self._descriptor is not None:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            return bool(poll.poll(max(0, round(timeout_s * 1000))))
        deadline = time.monotonic() + timeout_s
        while True:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            if os.waitid(os.P_PID, self._pid, flags) is not None:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _slice(deadline: float | None) -> float:
    """How long to wait before the limits are looked at again."""
    if deadline is None:
        return POLL_INTERVAL_S
    return max(0.0, min(POLL_INTERVAL_S, deadline - time.monotonic()))
