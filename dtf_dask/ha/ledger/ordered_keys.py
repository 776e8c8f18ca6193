"""Keys in order, cheap to add to: sorted only when somebody asks. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

_GONE_MIN = 1_000  # below that, sorting anew saves nothing


class OrderedKeys:
    """A set of strings that can be walked in order from any place."""

    __slots__ = ("_gone", "_new", "_sorted")

    def __init__(self) -> None:
        self._sorted: list[str] = []  # with those of `_gone`, without those of `_new`
        self._new: set[str] = set()
        self._gone: set[str] = set()

    def add(self, key: str) -> None:
        """Take in a key that is not there."""
        if key in self._gone:
            self._gone.remove(key)
        else:
            self._new.add(key)

    def remove(self, key: str) -> None:
        """Take out a key that is there."""
        if key in self._new:
            self._new.remove(key)
        else:
            self._gone.add(key)

    def walk(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """Keys that begin with a prefix, in order; only those behind ``after``."""
        self._settle()
        keys, gone = self._sorted, self._gone
        start = bisect_left(keys, prefix)
        if after is not None:
            start = max(start, bisect_right(keys, after))
        for at in range(start, len(keys)):
            key = keys[at]
            if not key.startswith(prefix):
                return
            if key not in gone:
                yield key

    def _settle(self) -> None:
        if self._new:
            # Two ascending runs: merging them is what this sort is best at.
            self._sorted += sorted(self._new)
            self._sorted.sort()
            self._new.clear()
        if len(self._gone) > max(_GONE_MIN, len(self._sorted) // 2):
            self._sorted = [key for key in self._sorted if key not in self._gone]
            self._gone.clear()
