"""Health checks of a worker: asked again and again, each with bounded time.

A check that fails several times in a row has the scheduler send the worker nothing;
one that passes again lets it try one task. A check may hang, raise, answer nonsense or
print without end: each has a thread of its own that nobody waits for longer than the
limit, and a command is killed with all that it has started.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any, Protocol

from dtf_dask.quantities import format_duration, format_size
from dtf_dask.worker_plugins.hardware.health_record import HealthRecord
from dtf_dask.worker_plugins.hardware.probes import (
    PROBLEM_LENGTH_MAX,
    in_one_line,
)

ENTRY_POINTS = "dtf_dask.health_checks"
CHECKS_MAX = 64
_KEPT_BYTES_MAX = 4096  # of what a check says, and of what a command prints last
_CHUNK = 65536
_LOOK_S = 0.02


class HealthCheck(Protocol):
    """Tells whether a worker is fit for work.

    Others can be installed: an entry point of the group ``dtf_dask.health_checks``
    names a class or function that makes one when called without arguments.
    """

    @property
    def name(self) -> str:
        """What the reason calls it."""

    def problem(self) -> str | None:
        """What is wrong, in words; None or "" if nothing is.

        What it raises is a problem too. Called from changing threads, never from two
        at once.
        """


class DiskFree:
    """Room on the disk that holds a folder.

    Parameters
    ----------
    least
        Bytes that have to be free.
    """

    name = "disk"

    def __init__(self, folder: str, least: int) -> None:
        self._folder, self._least = folder, least

    def problem(self) -> str | None:
        """Nothing, or how little is free."""
        status = os.statvfs(self._folder)
        free = status.f_bavail * status.f_frsize
        if free >= self._least:
            return None
        return (
            f"{format_size(free)} are free at {self._folder}, and "
            f"{format_size(self._least)} have to be (hardware.disk-free-min)"
        )


class Command:
    """A line for the shell that ends with code 0 if all is well.

    Parameters
    ----------
    timeout_s
        After so long it is killed, with all that it has started.
    """

    def __init__(self, line: str, timeout_s: float) -> None:
        self.name = line
        self._timeout_s = timeout_s

    def problem(self) -> str | None:
        """Nothing, or how it ended and the last line of what it printed."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", self.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + self._timeout_s
        with process:
            try:
                printed = _last_of(process, deadline)
            except TimeoutError:
                return f"it was killed after {format_duration(self._timeout_s)}"
            finally:  # not waited for yet, so that its number is still its own
                _kill_group(process.pid)
        assert process.returncode is not None
        if process.returncode == 0:
            return None
        lines = printed.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if process.returncode < 0:
            ended = f"killed by {signal.Signals(-process.returncode).name}"
        else:
            ended = f"exit code {process.returncode}"
        return f"{ended}: {last}" if last else ended


def _last_of(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The end of what a command prints; returns when it has ended."""
    assert process.stdout is not None
    kept, number, is_open = b"", process.stdout.fileno(), True
    with selectors.DefaultSelector() as selector:
        selector.register(number, selectors.EVENT_READ)
        while (left_s := deadline - time.monotonic()) > 0:
            patience_s = min(left_s, _LOOK_S)
            if not is_open:
                time.sleep(patience_s)
            elif selector.select(patience_s):
                piece = os.read(number, _CHUNK)
                kept = (kept + piece)[-_KEPT_BYTES_MAX:]
                is_open = bool(piece)
                if is_open:
                    continue
            # What it has left behind may hold the pipe open.
            if _has_ended(process.pid):
                return kept
    raise TimeoutError


def _has_ended(pid: int) -> bool:
    """Asked without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


class HealthWatch:
    """Asks checks at an interval; on the worker's loop, but for the checks themselves.

    Parameters
    ----------
    checks
        At most `CHECKS_MAX`; of several of one name only the last counts.
    interval_s
        Between an answer and the next question.
    timeout_s
        Time to answer; longer is a failure, and so it is each time that a check still
        has not answered.
    failures
        So many in a row make the worker unhealthy.
    changed
        Called when `problems` are others.
    """

    def __init__(
        self,
        checks: Iterable[HealthCheck],
        *,
        interval_s: float,
        timeout_s: float,
        failures: int,
        changed: Callable[[], None],
    ) -> None:
        named = list({one.name: one for one in checks}.items())[:CHECKS_MAX]
        self._checks = dict(named)
        self._records = {name: HealthRecord(name, failures) for name in self._checks}
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._changed = changed
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask."""
        self._tasks = [
            asyncio.create_task(self._watch(name), name=f"dtf-health-{name[:40]}")
            for name in self._checks
        ]

    def stop(self) -> None:
        """Ask no more. A check that hangs is left to itself."""
        for task in self._tasks:
            task.cancel()

    @property
    def problems(self) -> list[str]:
        """Why the worker is not fit for work; empty if it is."""
        return [one.words for one in self._records.values() if one.words]

    async def _watch(self, name: str) -> None:
        record, attempt = self._records[name], None
        while True:
            attempt = attempt or _Attempt(self._checks[name])
            problem = await attempt.answer(self._timeout_s)
            if attempt.over:
                attempt = None
            if record.heard(problem):
                self._changed()
            await asyncio.sleep(self._interval_s)


class _Attempt:
    """One check at work in a thread of its own."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[str] = self._loop.create_future()
        self._began = time.monotonic()
        thread = threading.Thread(
            target=self._work, name=f"dtf-health-{check.name[:40]}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the process ends
            self._answer.set_result(in_one_line(error))

    @property
    def over(self) -> bool:
        """Whether it has answered."""
        return self._answer.done()

    async def answer(self, timeout_s: float) -> str:
        """What is wrong, if it says so in time; else that it does not answer."""
        await asyncio.wait([self._answer], timeout=timeout_s)
        if self._answer.done():
            return self._answer.result()
        age_s = time.monotonic() - self._began
        return f"it has not answered within {format_duration(round(age_s, 1))}"

    def _work(self) -> None:
        try:
            said = self._check.problem()
            if said is None or isinstance(said, str):
                words = (said or "")[:_KEPT_BYTES_MAX].split()
                problem = " ".join(words)[:PROBLEM_LENGTH_MAX]
            else:
                what = type(said).__name__
                problem = f"it answered with {what}, and not text or None"
        except BaseException as error:  # whatever it does is not the worker's end
            problem = in_one_line(error)
        try:
            self._loop.call_soon_threadsafe(self._tell, problem)
        except RuntimeError:
            pass  # the worker is gone

    def _tell(self, problem: str) -> None:
        if not self._answer.done():
            self._answer.set_result(problem)


def installed_checks() -> tuple[Sequence[HealthCheck], Sequence[str]]:
    """Checks that other packages bring, by name, and what is wrong with some."""
    checks: list[HealthCheck] = []
    problems = []
    points = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda p: p.name)
    for point in points[:CHECKS_MAX]:
        try:
            check: Any = point.load()()
            if not isinstance(check.name, str) or not callable(check.problem):
                raise TypeError("expected a name (text) and a method problem()")
        except Exception as error:
            where = f"{point.name} ({point.value})"
            text = f"health check {where} cannot be used: {in_one_line(error)}"
            problems.append(text[:PROBLEM_LENGTH_MAX])
        else:
            checks.append(check)
    return checks, problems
