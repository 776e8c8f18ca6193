"""How much a process has computed: whether it hangs, or is only not let run."""

from __future__ import annotations

import os

START_MAX_S = 600.0
"""So long a process may take to start that computes on."""

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


class Start:
    """A process that is not ready yet: one that computes comes up, however slowly.

    Parameters
    ----------
    pid
        Its number; one of which nobody says what it computes is held to hang.
    now
        When it was started.
    idle_s
        How long it may compute nothing.
    """

    def __init__(self, pid: int, now: float, idle_s: float) -> None:
        self._pid, self._idle_s = pid, idle_s
        self._ends_at = now + START_MAX_S
        self._cpu_s: float | None = None
        self.moves(now)

    def moves(self, now: float) -> None:
        """What it does was not seen until now."""
        self._idle_at = now + self._idle_s

    def hangs(self, now: float) -> str:
        """Why it is not waited for any longer; empty if it is."""
        before_s, self._cpu_s = self._cpu_s, cpu_s(self._pid)
        if before_s != self._cpu_s:
            self.moves(now)
        if now > self._ends_at:
            return f"it was not ready within {START_MAX_S:g} s"
        if now > self._idle_at:
            return f"it was not ready, and did nothing for {self._idle_s:g} s"
        return ""
