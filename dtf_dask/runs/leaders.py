"""That another scheduler leads, as a run tells it and keeps it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dtf_dask.runs.scheduler_line import Led

KEPT_MAX = 100  # of one run; who leads changes seldom
KEY = "leaders"
"""Under which a run's environment has them, the first ones of the run."""


@dataclass(frozen=True, slots=True)
class LeaderNote:
    """From when on another one led, or the same again, and what that cost.

    Parameters
    ----------
    node, term
        Who leads and since which term; empty and 0 if it did not say.
    at
        Seconds since the epoch.
    away_s
        For how long the run had no scheduler.
    running
        Slots whose tests went on meanwhile.
    """

    node: str
    term: int
    at: float
    away_s: float
    running: int

    @property
    def text(self) -> str:
        """One line for a terminal.

        Examples
        --------
        >>> note = LeaderNote("b", 7, 0.0, 0.21, 12)
        >>> note.text.partition(", after ")[2]
        '0.2 s; 12 tests went on running'
        """
        at = time.strftime("%H:%M:%S", time.localtime(self.at))
        if self.node:
            said = f"coordinator {self.node} leads since {at}"
        else:
            said = f"the scheduler is there again since {at}"
        said += f", after {self.away_s:.1f} s"
        if self.running:
            tests = "test" if self.running == 1 else "tests"
            said += f"; {self.running:,} {tests} went on running"
        return said

    def words(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "node": self.node,
            "term": self.term,
            "at": self.at,
            "away_s": round(self.away_s, 3),
            "running": self.running,
        }


def noted(kept: list[dict[str, Any]], led: Led, at: float, running: int) -> str:
    """Keep that another one leads now; the line for a terminal."""
    note = LeaderNote(led.node, led.term, at, led.away_s, running)
    if len(kept) < KEPT_MAX:
        kept.append(note.words())
    return note.text


def away_text(since: float) -> str:
    """One line, while nobody leads."""
    at = time.strftime("%H:%M:%S", time.localtime(since))
    return f"no coordinator leads since {at}; what runs goes on, the rest waits"


def no_leader_text(address: str) -> str:
    """One line, while a run that has not begun waits for somebody who leads."""
    return f"no coordinator leads at {address}; the run begins when one does"
