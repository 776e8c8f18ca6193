"""Whom a worker serves, and whom it would: terms, and how long it has waited. Pure."""

from __future__ import annotations

from typing import Literal

Call = Literal["stale", "known", "newer"]


class Standing:
    """A worker's relation to those who lead, one after the other.

    Parameters
    ----------
    patience_s
        So long it waits for a leader.

    Attributes
    ----------
    term
        Of the leader that it serves, or served last; 0 before the first.
    newest
        The newest term that it heard of. Whoever leads an older one is not obeyed.

    Examples
    --------
    >>> standing = Standing(patience_s=600)
    >>> standing.joined(3)
    >>> standing.called(4), standing.called(2)
    ('newer', 'stale')
    >>> standing.may_join(3)
    False
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None
        self.has_joined = False
        self.term = 0
        self.newest = 0

    @property
    def away(self) -> bool:
        """Whether it has lost a leader, and serves none."""
        return self._since is not None

    def joined(self, term: int) -> None:
        """It serves whoever leads this term."""
        self.has_joined = True
        self._since = None
        self.term = term
        self.newest = max(self.newest, term)

    def lost(self, now: float) -> None:
        """It serves nobody any more."""
        if self._since is None:
            self._since = now

    def called(self, term: int) -> Call:
        """Somebody says that he leads this term."""
        if term < self.newest:
            return "stale"
        newer = term > self.newest
        self.newest = term
        return "newer" if newer else "known"

    def may_join(self, term: int) -> bool:
        """Whether who leads this term is no leader of old."""
        return term >= self.newest

    def away_s(self, now: float) -> float:
        """For how long it has served nobody."""
        return 0.0 if self._since is None else now - self._since

    def waits_s(self, now: float) -> float:
        """How much patience is left; 0 or less if none is."""
        return self._patience_s - self.away_s(now)
