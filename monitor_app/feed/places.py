"""Which coordinator is read next, and after how long a wait. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from monitor_app.feed.place import Place

PAUSE_S = 0.25
PAUSE_MAX_S = 5.0
PLACES_MAX = 50


class Places:
    """Those that somebody named, and those that a cluster told of.

    Parameters
    ----------
    given
        Those that somebody named, the first to be tried first.

    Examples
    --------
    >>> here, there = Place("http", "h1", 1), Place("http", "h2", 1)
    >>> places = Places([here], Random(1))
    >>> places.learn([there, here])
    >>> places.next(), places.failed(), places.next()
    (Place(scheme='http', host='h1', port=1, prefix=''), 0.0, \
Place(scheme='http', host='h2', port=1, prefix=''))
    """

    def __init__(self, given: Iterable[Place], chance: Random) -> None:
        self._given = list(dict.fromkeys(given))
        self._learned: list[Place] = []
        self._chance = chance
        self._at = 0
        self._failures = 0

    @property
    def all(self) -> list[Place]:
        """All of them, those that were named first."""
        return [*self._given, *self._learned]

    def is_given(self, place: Place) -> bool:
        """Whether somebody named it."""
        return place in self._given

    def learn(self, found: Iterable[Place]) -> None:
        """The cluster says that it is served there, and nowhere else."""
        now = self.next()
        new = [one for one in dict.fromkeys(found) if one not in self._given]
        self._learned = new[:PLACES_MAX]
        known = self.all
        self._at = known.index(now) if now in known else 0

    def next(self) -> Place:
        """Where to go now."""
        known = self.all
        return known[self._at % len(known)]

    def reached(self) -> None:
        """It answers."""
        self._failures = 0

    def failed(self) -> float:
        """It does not: the next one is tried, after so many seconds.

        All are tried at once, and then all again after a wait that doubles.
        """
        self._at = (self._at + 1) % len(self.all)
        self._failures += 1
        rounds, left = divmod(self._failures, len(self.all))
        if left or not rounds:
            return 0.0
        pause_s = min(PAUSE_S * 2.0 ** min(rounds - 1, 10), PAUSE_MAX_S)
        # Many monitors do not come back in the same instant.
        return pause_s * (0.75 + self._chance.random() / 2)
