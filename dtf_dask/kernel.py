"""What the Linux kernel is asked for a process; elsewhere it comes to nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def die_with_parent(wanted: bool = True) -> None:
    """Whether to be killed with the thread that started this process, even if stopped.

    For as long as nobody watches the channel: a suite may hang as it is imported.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if wanted else 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children(pid: int | str) -> Iterator[int]:
    """The processes that a process has started, by the kernel's own list.

    Raises
    ------
    OSError
        If it has ended, or there is no such list.
    """
    tasks = f"/proc/{pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/children") as file:
            yield from map(int, file.read().split())


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
