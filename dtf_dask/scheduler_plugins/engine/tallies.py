"""How many tasks of each class run, and how many have ended, and how. Pure.

Counted as it happens: who looks at a cluster often must not walk over its tasks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from dtf_dask.scheduler_plugins.engine.terms import Ending


@dataclass(slots=True)
class Tally:
    """Of one class; what ended and what failed are attempts since the start.

    Parameters
    ----------
    missed
        Deadlines of tasks that are done.
    """

    running: int = 0
    ended: int = 0
    failed: int = 0
    missed: int = 0


class Tallies:
    """Of all classes, by name."""

    def __init__(self) -> None:
        self.of: defaultdict[str, Tally] = defaultdict(Tally)

    def ended(self, name: str, ending: Ending) -> None:
        """An attempt has ended by itself, or otherwise."""
        if ending == "done" or ending == "failed":
            tally = self.of[name]
            tally.ended += 1
            tally.failed += ending == "failed"
