"""Runs commands of suites, and tells what they took and what their tests came to."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RUN_S_MAX = 600
_ORPHAN_GRACE_S = 2.0
_SHOWN_CHARS = 4000
_PR_SET_CHILD_SUBREAPER = 36

# pytest's own verdicts: all tests passed, some failed. Anything else is a broken run.
EXIT_CODES_FINE = (0, 1)

Outcomes = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One command run once; times in seconds, CPU of it and all its children."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    exit_code: int
    orphans: int
    outcomes: Outcomes
    output: str

    @property
    def output_end(self) -> str:
        """What is shown of a command that broke."""
        return self.output[-_SHOWN_CHARS:]


def adopt_orphans() -> None:
    """Processes whose parents end become children of this one from now on."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(
    command: list[str],
    folder: Path,
    *,
    more: Mapping[str, str] | None = None,
    alone: bool = True,
) -> Measured:
    """Run a command to its end, then wait for what it left behind.

    Parameters
    ----------
    more
        Is added to its environment.
    alone
        Whether this process has no children that are to live on: those that there are
        in the end are orphans of the command, if `adopt_orphans` was called.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "outcomes.jsonl"
        output = Path(scratch) / "output.txt"
        environment = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("PYTEST_", "DTF_"))
        }
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parent)
        environment["DTF_OUTCOME_LOG"] = str(log)
        environment.update(more or {})
        with output.open("wb") as stream:
            started = time.perf_counter()
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            wall_s, code, cpu_s, rss_mb = _wait(child, started)
        orphans, orphans_cpu_s = _reap_orphans() if alone else (0, 0.0)
        text = output.read_text(errors="replace")
        return Measured(
            wall_s, cpu_s + orphans_cpu_s, rss_mb, code, orphans, _read(log), text
        )


def _wait(
    child: subprocess.Popen[bytes], started: float
) -> tuple[float, int, float, float]:
    deadline = started + _RUN_S_MAX
    pidfd = os.pidfd_open(child.pid)
    try:
        # Wakes at the end of the child and not at the next tick of a poll.
        ready, _, _ = select.select([pidfd], [], [], deadline - time.perf_counter())
        if not ready:
            os.killpg(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        os.close(pidfd)
    wall_s = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    return wall_s, child.returncode, cpu_s, usage.ru_maxrss / 1024


def _reap_orphans() -> tuple[int, float]:
    """Wait for processes whose parents ended; kill and count those that stay.

    Their CPU time is counted, which it would not be if others adopted them.
    """
    cpu_s = 0.0
    left = 0
    deadline = time.monotonic() + _ORPHAN_GRACE_S
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return left, cpu_s
        if pid:
            cpu_s += usage.ru_utime + usage.ru_stime
        elif time.monotonic() < deadline:
            time.sleep(0.02)
        else:
            for orphan in _children():
                os.kill(orphan, signal.SIGKILL)
                left += 1
            deadline = time.monotonic() + _ORPHAN_GRACE_S


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def _read(log: Path) -> Outcomes:
    counted: Outcomes = Counter()
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            report = json.loads(line)
            counted[report["nodeid"], report["outcome"]] += 1
    return counted


def differences(plain: Outcomes, other: Outcomes) -> list[str]:
    """Every (test, outcome) that the two do not have equally often, in words."""
    lines = [
        f"only plain: {key[1]} {key[0]} x{n}" for key, n in (plain - other).items()
    ]
    lines += [
        f"only other: {key[1]} {key[0]} x{n}" for key, n in (other - plain).items()
    ]
    return sorted(lines)
