"""Whether a scheduler that leads hears its node, and so may answer. Pure.

What it writes counts only while its node leads: the ledger sees to that. What it only
reads it answers by itself; so it ends when it cannot know any more that nobody else
leads: its node is silent, or it was stopped itself, while others may have elected one.
"""

from __future__ import annotations

LIMIT_S = 3.0
LOOK_S = 0.25
"""How often to look. A longer pause is its own: the node was not heard for that."""

_COUNTED_MAX_S = 2 * LOOK_S
_IDLE_SHARE = 0.02
"""Who computes less of the time than that was stopped, rather than busy."""


class Silence:
    """How long a node has been silent, for as long as somebody listened.

    Parameters
    ----------
    now_s, cpu_s
        The time, and the CPU that this process has used.

    Examples
    --------
    >>> silence = Silence(now_s=0.0, cpu_s=0.0)
    >>> silence.look(0.25, 0.1)
    ''
    >>> silence.look(10.25, 0.11)
    'it did not run for 10.0 s'
    """

    def __init__(self, now_s: float, cpu_s: float) -> None:
        self._now_s, self._cpu_s = now_s, cpu_s
        self._silent_s = 0.0

    def heard(self) -> None:
        """The node said something."""
        self._silent_s = 0.0

    def look(self, now_s: float, cpu_s: float) -> str:
        """Why the scheduler must end, as of now; empty if it need not."""
        passed_s, used_s = now_s - self._now_s, cpu_s - self._cpu_s
        self._now_s, self._cpu_s = now_s, cpu_s
        if passed_s > LIMIT_S and used_s < _IDLE_SHARE * passed_s:
            return f"it did not run for {passed_s:.1f} s"
        self._silent_s += min(passed_s, _COUNTED_MAX_S)
        if self._silent_s > LIMIT_S:
            return f"its node has said nothing for {self._silent_s:.1f} s"
        return ""
