"""What one test takes of the machine: CPU time and the most memory, by the kernel.

The most memory of a process is counted from its start; Linux lets a process begin to
count anew (`clear_refs`), so that it is that of the test and not of what ran before.
"""

from __future__ import annotations

import resource
from contextlib import suppress

_ANEW = b"5"
_PEAK = b"VmHWM:"
_open, _getrusage = (
    open,
    resource.getrusage,
)  # a test may replace them, and leave them so


class Usage:
    """Of this process and of what it has started and waited for, since `begin`."""

    def __init__(self) -> None:
        self._cpu_s = 0.0
        self._children_kib = 0
        self._can_begin = True

    def begin(self) -> None:
        """Count from now on."""
        if self._can_begin:
            try:
                with _open("/proc/self/clear_refs", "wb", buffering=0) as file:
                    file.write(_ANEW)
            except OSError:  # not Linux, or it is forbidden here
                self._can_begin = False
        self._cpu_s = _cpu_s()
        self._children_kib = _children_kib()

    def taken(self) -> dict[str, float]:
        """``cpu_s``, and ``memory``: bytes, of the largest process."""
        found: dict[str, float] = {"cpu_s": max(0.0, _cpu_s() - self._cpu_s)}
        peak_kib = _peak_kib() if self._can_begin else 0
        children_kib = _children_kib()
        if children_kib > self._children_kib:  # one that was larger than all before
            peak_kib = max(peak_kib, children_kib)
        if peak_kib:
            found["memory"] = peak_kib * 1024
        return found


def _cpu_s() -> float:
    own = _getrusage(resource.RUSAGE_SELF)
    others = _getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _children_kib() -> int:
    return _getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _peak_kib() -> int:
    with suppress(OSError, ValueError), _open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(_PEAK):
                return int(line.split()[1])
    return 0
