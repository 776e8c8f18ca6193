"""How the scheduler process of a node stands, for those who look after it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SchedulerRole = Literal["none", "starting", "shadow", "taking over", "leads", "pausing"]
"""``none``: the node has no scheduler; ``pausing``: its process ended, and is started
again in a while."""


_LATE_TICKS = 8


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """The scheduler process of a node.

    Parameters
    ----------
    role
        What it is now.
    listens_at
        Where it lets others in when it leads.
    pid
        0 while there is none.
    starts, crashes
        How often it was started, and ended though nobody ended it, since the node's
        process began.
    last_end
        Why the last one ended, in words.
    alarm
        That it ends again and again; empty if it does not.
    term
        In which this node's scheduler led last.
    led_at_s
        When this node was elected for that, in seconds since 1970.
    without_leader_s
        How long it had known of no leader then.
    leading_after_s, tasks
        How long after the node's election others were let in, and how many tasks were
        known.
    settled_after_s, workers, missing
        How long after it everybody was back, or given up: how many workers are, and how
        many are not.
    """

    role: SchedulerRole = "none"
    listens_at: str = ""
    pid: int = 0
    starts: int = 0
    crashes: int = 0
    last_end: str = ""
    alarm: str = ""
    term: int = 0
    led_at_s: float = 0.0
    without_leader_s: float = 0.0
    leading_after_s: float = -1.0
    tasks: int = 0
    settled_after_s: float = -1.0
    workers: int = 0
    missing: int = 0

    @property
    def late_ticks(self) -> int:
        """How much later its node stands for election than others: none is ready."""
        return _LATE_TICKS if self.role in ("starting", "pausing") else 0
