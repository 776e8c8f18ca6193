"""Attempts that nobody wants any more, and that may still run on their worker. Pure.

A worker cannot end a thread, and says nothing when a task that was taken back is over.
So it is asked, again and again and ever less often, until it no longer knows the task;
until then its place stays taken.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from dtf_dask.scheduler_plugins.engine.terms import Ending

FIRST_S = 0.01
LONGEST_S = 1.0
GROWTH = 1.5
SILENCE_MAX_S = 60.0
"""A worker that answers nothing for so long is taken to have given the place back."""

_STILL_THERE = frozenset({"executing", "long-running", "cancelled", "resumed"})


@dataclass(slots=True)
class Farewell:
    """One attempt, and where it was."""

    key: Hashable
    worker: str
    address: str
    ending: Ending
    heard_at: float
    next_at: float
    pause_s: float = FIRST_S
    number: int = 0


class Farewells:
    """All of them, by key: one attempt of a task at a time."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Farewell] = {}
        self._asked = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Farewell]:
        return iter(self._by_key.values())

    def get(self, key: Hashable) -> Farewell | None:
        """The attempt of this task that may still run."""
        return self._by_key.get(key)

    def add(
        self, key: Hashable, worker: str, address: str, ending: Ending, now: float
    ) -> None:
        """Begin to ask."""
        self._by_key[key] = Farewell(key, worker, address, ending, now, now + FIRST_S)

    def drop(self, key: Hashable) -> Farewell | None:
        """Ask no more."""
        return self._by_key.pop(key, None)

    def at(self, address: str) -> list[Farewell]:
        """Those on one worker."""
        return [one for one in self._by_key.values() if one.address == address]

    def due(self, now: float) -> tuple[list[Farewell], list[Farewell]]:
        """Whom to ask about what now, and of which no answer is expected any more."""
        ask, silent = [], []
        for one in self._by_key.values():
            if one.next_at > now:
                continue
            if now - one.heard_at > SILENCE_MAX_S:
                silent.append(one)
                continue
            self._asked += 1
            one.number = self._asked
            one.next_at = now + one.pause_s
            one.pause_s = min(LONGEST_S, one.pause_s * GROWTH)
            ask.append(one)
        for one in silent:
            del self._by_key[one.key]
        return ask, silent

    def answered(
        self, key: Hashable, number: int, state: str | None, now: float
    ) -> Farewell | None:
        """The attempt that is over by this answer, if it is."""
        one = self._by_key.get(key)
        if one is None or one.number != number:
            return None
        one.heard_at = now
        if state in _STILL_THERE:
            return None
        return self._by_key.pop(key)

    def wake_at(self) -> float | None:
        """When to ask next."""
        return min((one.next_at for one in self._by_key.values()), default=None)
