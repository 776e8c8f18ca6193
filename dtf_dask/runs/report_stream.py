"""Each event of a worker once and in order, whatever of them is lost on the way. Pure.

A worker numbers the events of a run (`worker_plugins.runner.kept_events`). What arrives
twice is passed over; what arrives before its turn waits until the worker, asked, has
said again what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

_E = TypeVar("_E")

WAITING_MAX = 1000  # events before their turn; more are asked for again


class ReportStream(Generic[_E]):
    """The events of one stream.

    Attributes
    ----------
    heard
        All up to this number have been given out, or are known to be gone.

    Examples
    --------
    >>> stream = ReportStream()
    >>> stream.hear(1, "a"), stream.hear(1, "a"), stream.hear(3, "c")
    (['a'], [], [])
    >>> stream.misses
    True
    >>> stream.mend([(2, "b"), (3, "c")], upto=3), stream.misses
    (['b', 'c'], False)
    """

    def __init__(self) -> None:
        self.heard = 0
        self._latest = 0
        self._waiting: dict[int, _E] = {}

    @property
    def misses(self) -> bool:
        """Whether something is known to have been said, and has not come."""
        return self._latest > self.heard

    def hear(self, number: int, event: _E) -> list[_E]:
        """An event has come; those whose turn it is now."""
        self._latest = max(self._latest, number)
        if number > self.heard and len(self._waiting) < WAITING_MAX:
            self._waiting.setdefault(number, event)
        elif number == self.heard + 1:
            self._waiting[number] = event
        return self._due()

    def mend(self, events: Iterable[tuple[int, _E]], upto: int) -> list[_E]:
        """The worker has said all again that it has up to a number; what is due now."""
        for number, event in events:
            if number > self.heard:
                self._waiting.setdefault(number, event)
        due = self._due()
        # What else there is up to it is kept no longer. No step for each number: the
        # worker says how many there are.
        for number in sorted(one for one in self._waiting if one <= upto):
            if number > self.heard:
                self.heard = number - 1
                due += self._due()
        self.heard = max(self.heard, upto)
        due += self._due()
        self._latest = max(self._latest, self.heard)
        return due

    def last_words(self) -> list[_E]:
        """The worker is gone, and nobody can be asked: what waited for its turn."""
        waiting, self._waiting = sorted(self._waiting.items()), {}
        self.heard = self._latest
        return [event for _, event in waiting]

    def _due(self) -> list[_E]:
        due = []
        while (number := self.heard + 1) in self._waiting:
            due.append(self._waiting.pop(number))
            self.heard = number
        return due
