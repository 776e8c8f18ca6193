"""Where in a log's segments each entry stands, and what holds at its end. Pure.

A later record with a lower first index replaces what it overlaps: the suffix that it
cuts off stays in the file and is out of the index.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from dtf_dask.errors import LedgerDamagedError
from dtf_dask.ha.raft.messages import HardState, SnapshotPoint
from dtf_dask.ha.wal_format import Batch

MARK_BYTES = 64 * 2**10
"""How far apart the remembered places of a segment are."""


class Mark(NamedTuple):
    """From here on, entries follow each other up to the next mark."""

    first: int
    segment: int
    offset: int


@dataclass(slots=True)
class LogIndex:
    """What a log holds; `apply` is told of its records in their order.

    ``next_index`` is the index that follows the last entry, or the snapshot.
    """

    state: HardState = field(default_factory=HardState)
    point: SnapshotPoint = field(default_factory=SnapshotPoint)
    next_index: int = 1
    marks: list[Mark] = field(default_factory=list)

    @property
    def first_index(self) -> int:
        """The first entry that the log holds, or the one it would."""
        return self.marks[0].first if self.marks else self.next_index

    def objection(self, batch: Batch) -> str:
        """Why a batch cannot follow; empty if it can."""
        point, state = batch.point, batch.state or self.state
        next_index, commit = self.next_index, self.state.commit
        if point is not None:
            if point.index < self.point.index:
                return f"a snapshot at {point.index} after one at {self.point.index}"
            if batch.resets:
                next_index = point.index + 1
            elif point.index >= next_index:
                return f"a snapshot at {point.index}, past the end of the log"
            commit = max(commit, point.index)
        if batch.length:
            if batch.first > next_index:
                return f"entry {batch.first} where {next_index} is the next"
            if batch.first <= commit:
                return f"entry {batch.first} in the place of a committed one"
            next_index = batch.first + batch.length
        if state.term < self.state.term:
            return f"term {state.term} after term {self.state.term}"
        if state.commit < self.state.commit:
            return f"commit {state.commit} after commit {self.state.commit}"
        if state.commit >= next_index:
            return f"commit {state.commit}, past the end of the log"
        return ""

    def apply(self, batch: Batch, segment: int, offset: int) -> None:
        """Take in the record at an offset of a segment.

        Raises
        ------
        LedgerDamagedError
            It cannot follow what is there.
        """
        objection = self.objection(batch)
        if objection:
            raise LedgerDamagedError(f"the log holds {objection}")
        if batch.state is not None:
            self.state = batch.state
        if batch.point is not None:
            self.point = batch.point
            if batch.resets:
                self.marks.clear()
                self.next_index = batch.point.index + 1
        if batch.length:
            self._place(batch.first, segment, offset)
            self.next_index = batch.first + batch.length

    def span(self, index: int) -> tuple[Mark, int]:
        """The mark from which an entry is found, and where its reach ends."""
        at = bisect_right(self.marks, index, key=lambda mark: mark.first) - 1
        if at < 0 or index >= self.next_index:
            raise IndexError(f"the log holds no entry {index}")
        return self.marks[at], self._reach(at)

    def oldest_needed(self, index: int, active: int) -> int:
        """The first segment that is still needed when all up to ``index`` may go."""
        for at, mark in enumerate(self.marks):
            if self._reach(at) > index + 1:
                return mark.segment
        return active

    def forget(self, segment: int) -> None:
        """The segments before this one are gone."""
        self.marks = [mark for mark in self.marks if mark.segment >= segment]

    def _reach(self, at: int) -> int:
        """The index after the last one that a mark leads to."""
        last = at + 1 == len(self.marks)
        return self.next_index if last else self.marks[at + 1].first

    def _place(self, first: int, segment: int, offset: int) -> None:
        marks = self.marks
        follows = first == self.next_index
        while marks and marks[-1].first >= first:
            marks.pop()
        if not (
            follows
            and marks
            and marks[-1].segment == segment
            and offset - marks[-1].offset < MARK_BYTES
        ):
            marks.append(Mark(first, segment, offset))
