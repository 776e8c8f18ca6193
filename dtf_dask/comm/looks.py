"""Who looked at a coordinator just now: several searches share what they hear. Pure.

A process may want a hundred connections at once while nobody leads. Looking is then one
search's work at a time, or the coordinators would be stormed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from dtf_dask.comm.greeting import Objection

FRESH_S = 0.015
"""So long an answer is as good as a new one. A search looks less often than that."""
HANGS_S = 0.1
"""A look that takes longer is worth none beside it."""
TARGETS_MAX = 256


@dataclass(slots=True)
class _Target:
    begun: dict[int, float]
    heard_at: float = float("-inf")
    heard: Objection | None = None


class Looks:
    """The looks of a process, by what they look at."""

    def __init__(self) -> None:
        self._targets: dict[Hashable, _Target] = {}
        self._number = 0

    def heard(self, target: Hashable, now: float) -> Objection | None:
        """What another look has just brought; None if it is time for a look."""
        found = self._targets.get(target)
        if found is None:
            return None
        if found.heard is not None and now - found.heard_at < FRESH_S:
            return found.heard
        if not found.begun:
            return None
        # Somebody looks: until that is known it is as it was.
        if found.heard is None and now - min(found.begun.values()) >= HANGS_S:
            return Objection("did not answer yet")
        return found.heard

    def begin(self, target: Hashable, now: float) -> int:
        """A look begins; returns its number."""
        self._number += 1
        self._targets.setdefault(target, _Target({})).begun[self._number] = now
        self._forget()
        return self._number

    def end(
        self, target: Hashable, number: int, now: float, heard: Objection | None
    ) -> None:
        """It has ended; None if it found the leader, or was given up."""
        found = self._targets.get(target)
        if found is None:
            return
        found.begun.pop(number, None)
        found.heard = heard
        found.heard_at = now

    def _forget(self) -> None:
        """Leave out what was looked at longest ago, and is looked at no more."""
        if len(self._targets) > TARGETS_MAX:
            idle = [one for one, target in self._targets.items() if not target.begun]
            for one in idle[: len(self._targets) - TARGETS_MAX]:
                del self._targets[one]
