"""A clock for how old something is: it goes on while the machine sleeps."""

from __future__ import annotations

import sys
import time

# On Linux the monotonic clock stands still in a sleep, on macOS this one goes on.
_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def elapsed_s() -> float:
    """Seconds since some time in the past; no clock on a wall, so it never jumps."""
    return time.clock_gettime(_CLOCK)
