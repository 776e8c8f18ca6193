"""The processes that ``dtf dev`` has beside it, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import IO

Part = subprocess.Popen[bytes]

_END_S = 10.0
_LEVEL = "DASK_LOGGING__DISTRIBUTED"
"""What they log: each says in a dozen lines that it starts, if nobody says less."""


def started(command: str, *words: str, stdout: int | IO[bytes] | None = None) -> Part:
    """A command of dtf, which ends when this process does."""
    return subprocess.Popen(
        [sys.executable, "-m", "dtf_dask.cli.dev_child", command, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        env={_LEVEL: "warning", **os.environ},
        start_new_session=True,
    )


def started_workers(address: str, count: int) -> list[Part]:
    """The process of workers, if there are any: they look for a scheduler there.

    Pages of their own would take each a second to load, of the two that it starts in.
    Their names are the same the next time, and tell them apart: w-0, w-1 ...
    """
    words = (address, "--nworkers", str(count), "--name", "w", "--no-dashboard")
    return [started("worker", *words)] if count else []


def end(part: Part) -> None:
    """End one, kindly at first."""
    if part.stdin is None or part.stdin.closed:
        return
    part.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        part.wait(_END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(part.pid, signal.SIGKILL)
    part.wait()
    part.stdin.close()
