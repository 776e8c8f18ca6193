"""The time that a leader writes into entries. Pure.

It is not the time of any clock on a wall: it goes on from what the log says already, as
fast as the leader's monotonic clock, so that clocks that jump or disagree change
nothing. While there is no leader it stands still, and no session ends. Nor does it go
on while the leader's process or machine is stopped: of a longer pause between two looks
at the clock only a little counts, since nobody could reach the leader meanwhile.
"""

from __future__ import annotations

PAUSE_MS_MAX = 5_000
"""What counts of the time between two looks; a leader looks many times a second."""


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
    >>> clock.stamp(now_s=86_400.0)
    10250
    """

    def __init__(self, applied_time_ms: int, now_s: float) -> None:
        self._time_ms = float(applied_time_ms)
        self._looked_at_s = now_s

    def look(self, now_s: float) -> None:
        """Go on to this time: often, so that all of it counts."""
        passed_ms = (now_s - self._looked_at_s) * 1_000
        self._looked_at_s = now_s
        self._time_ms += min(max(passed_ms, 0.0), PAUSE_MS_MAX)

    def stamp(self, now_s: float) -> int:
        """The time of an entry that is proposed now; it never goes back."""
        self.look(now_s)
        return round(self._time_ms)
