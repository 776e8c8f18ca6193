"""How much a process has computed: whether it hangs, or is only not let run."""

from __future__ import annotations

import os

_UTIME, _STIME = 11, 12  # behind the name of the program, which may hold anything


def cpu_s(pid: int) -> float | None:
    """Seconds of CPU that a process has used; None if nobody says so."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
    except (OSError, ValueError, IndexError):
        return None  # it is gone, or this is not Linux
    return ticks / os.sysconf("SC_CLK_TCK")
