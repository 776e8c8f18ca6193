"""The time that a leader writes into entries. Pure.

It is not the time of any clock on a wall: it goes on from what the log says already, as
fast as the leader's monotonic clock, so that clocks that jump or disagree change
nothing. While there is no leader it stands still, and no session ends.
"""

from __future__ import annotations


class LogClock:
    """The leader's time. Made anew with each term of leadership.

    Parameters
    ----------
    applied_time_ms : int
        The state machine's time when leadership began.
    now_s : float
        The monotonic clock then.

    Examples
    --------
    >>> clock = LogClock(applied_time_ms=5_000, now_s=100.0)
    >>> clock.stamp(now_s=100.25)
    5250
    """

    def __init__(self, applied_time_ms: int, now_s: float) -> None:
        self._base_ms = applied_time_ms
        self._base_s = now_s
        self._last_ms = applied_time_ms

    def stamp(self, now_s: float) -> int:
        """The time of an entry that is proposed now; it never goes back."""
        elapsed_ms = int((now_s - self._base_s) * 1_000)
        self._last_ms = max(self._last_ms, self._base_ms + elapsed_ms)
        return self._last_ms
