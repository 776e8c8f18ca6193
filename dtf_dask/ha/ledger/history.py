"""The latest changes of records, for those who follow them. Pure.

Who follows asks again and again for what came after an index. So nothing is kept for
each follower, and a slow one costs nothing: if what it asks for is gone, it is told
where to begin anew.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from dtf_dask.ha.ledger.records import Change
from dtf_dask.ha.ledger.references import value_bytes

CHANGES_MAX = 100_000
CHANGES_BYTES_MAX = 16 * 2**20
CHANGE_BYTES = 224
"""What a change takes beside its key and value: the objects that it is made of."""

_ANSWER_CHANGES_MAX = 10_000
_ANSWER_BYTES = 4 * 2**20
_TRIMMED_AT_ONCE = 1_024


class Changes(NamedTuple):
    """What changed after the index that was asked for, up to ``upto`` inclusive.

    Ask for what came after ``upto`` next. All changes of an entry come together.
    """

    changes: tuple[Change, ...]
    upto: int


class Compacted(NamedTuple):
    """What was asked for is not held any more.

    Read the records as of ``restart_at`` or later, then follow from the index of that
    reading.
    """

    restart_at: int


class ChangeHistory:
    """Changes by the index of their entries, the oldest dropped as new ones come.

    Parameters
    ----------
    floor : int
        Of nothing up to this index are the changes known.
    changes_max, bytes_max : int
        How much is held.
    """

    def __init__(
        self,
        floor: int = 0,
        changes_max: int = CHANGES_MAX,
        bytes_max: int = CHANGES_BYTES_MAX,
    ) -> None:
        self.floor = floor
        self._changes_max = changes_max
        self._bytes_max = bytes_max
        self._indexes: list[int] = []
        self._changes: list[Change] = []  # of the index in the same place
        self._start = 0  # what is before has been dropped, and goes in one piece later
        self._held_bytes = 0

    def __len__(self) -> int:
        """How many changes are held."""
        return len(self._changes) - self._start

    def add(self, index: int, changes: Sequence[Change]) -> None:
        """Take in the changes of an entry, in order."""
        self._changes += changes
        self._indexes += [index] * len(changes)
        held = self._held_bytes
        for change in changes:
            held += CHANGE_BYTES + len(change.key)
            if change.value is not None:
                held += value_bytes(change.value)
        self._held_bytes = held
        if len(self) > self._changes_max or held > self._bytes_max:
            self._drop()

    def _drop(self) -> None:
        """Drop whole entries from the oldest on, until the rest fits."""
        start, held = self._start, self._held_bytes
        indexes, changes = self._indexes, self._changes
        end = len(changes)
        while start < end and (
            end - start > self._changes_max
            or held > self._bytes_max
            or indexes[start] == self.floor
        ):
            change = changes[start]
            held -= CHANGE_BYTES + len(change.key)
            if change.value is not None:
                held -= value_bytes(change.value)
            self.floor = indexes[start]
            start += 1
        self._start, self._held_bytes = start, held
        if start >= _TRIMMED_AT_ONCE:
            del indexes[:start], changes[:start]
            self._start = 0

    def after(
        self,
        index: int,
        namespace: str,
        prefix: str,
        applied: int,
        limit: int = _ANSWER_CHANGES_MAX,
    ) -> Changes | Compacted:
        """The changes of some keys after an index, or that they are gone.

        Parameters
        ----------
        index : int
            What the follower has seen; what is to come may be asked for.
        namespace, prefix : str
            Of which keys.
        applied : int
            The last entry that was applied.
        limit : int
            How many changes to answer before stopping at the end of an entry. It stops
            too after that with which there are 4 MiB of them.
        """
        if index < self.floor:
            return Compacted(applied)
        indexes = self._indexes
        found: list[Change] = []
        room = _ANSWER_BYTES
        for at in range(bisect_right(indexes, index, self._start), len(indexes)):
            full = len(found) >= limit or room <= 0
            if full and indexes[at] != indexes[at - 1]:
                return Changes(tuple(found), indexes[at - 1])
            change = self._changes[at]
            if change.namespace == namespace and change.key.startswith(prefix):
                found.append(change)
                room -= len(change.key)
                if change.value is not None:
                    room -= value_bytes(change.value)
        return Changes(tuple(found), max(index, applied))

    def index_of(self, change: Change) -> int:
        """The index of the entry that a change came with, which is held."""
        at = bisect_left(
            self._changes, change.revision, self._start, key=lambda one: one.revision
        )
        return self._indexes[at]
