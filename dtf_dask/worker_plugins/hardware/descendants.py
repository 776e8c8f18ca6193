"""What the processes below a worker take: those in which tests run, and theirs.

Dask measures a worker's own process, in which no test runs. Linux tells of others in
/proc, at once; of other systems nothing is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dtf_dask.kernel import children

_PROC = Path("/proc")
_COUNT_MAX = 500
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_CPU_TIMES = slice(11, 15)  # after the name: its own, and of those that it waited for


class Descendants:
    """Of one process, by default this one."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid or os.getpid()
        self._ticks = 0
        self._at: float | None = None

    def measure(self, now: float) -> dict[str, Any]:
        """How many threads they kept busy since this was asked last, and their bytes.

        Empty if there are none. Memory that some share since they were forked counts
        for each.
        """
        ticks = size = 0
        found = False
        for pid in self._below():
            try:
                stat = (_PROC / str(pid) / "stat").read_bytes()
                pages = (_PROC / str(pid) / "statm").read_bytes().split()
            except OSError:  # it has ended
                continue
            found = True
            ticks += sum(map(int, stat.rpartition(b")")[2].split()[_CPU_TIMES]))
            size += (int(pages[1]) - int(pages[2])) * _PAGE
        before, at = self._ticks, self._at
        self._ticks, self._at = ticks, now
        if not found:
            return {}
        busy = 0.0
        if at is not None and now > at:
            busy = max(0, ticks - before) / _TICKS / (now - at)
        return {"cpu": round(busy, 2), "memory": max(0, size)}

    def _below(self) -> Iterator[int]:
        found = [self._pid]
        for pid in found:
            if len(found) > _COUNT_MAX:
                return
            with suppress(OSError):
                for child in children(pid):
                    found.append(child)
                    yield child
