"""Batches that are out on workers, and which of their cases have not ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Releasable(Protocol):
    """The part of a Dask future that matters here."""

    def release(self) -> None:
        """Let the scheduler forget the task."""


class OutBatches:
    """Keeps account; a case is in a batch until it ends or is taken back."""

    def __init__(self) -> None:
        self._left: dict[int, dict[int, None]] = {}
        self._slot: dict[int, str] = {}
        self._future: dict[int, Releasable] = {}
        self._begun: set[int] = set()

    def begin(
        self, batch: int, numbers: Iterable[int], slot: str, future: Releasable
    ) -> None:
        """A batch was handed to a slot."""
        self._left[batch] = dict.fromkeys(numbers)
        self._slot[batch] = slot
        self._future[batch] = future

    def __contains__(self, batch: object) -> bool:
        return batch in self._left

    def left(self, batch: int) -> list[int]:
        """Cases that have not ended, in the order in which they run."""
        return list(self._left.get(batch, ()))

    def slot(self, batch: int) -> str:
        """Name of the slot that has the batch; "" when it is over."""
        return self._slot.get(batch, "")

    def take(self, batch: int, number: int) -> bool:
        """One case has ended; whether that is news for this batch."""
        if batch in self._left:
            self._begun.add(batch)
        return self._leave(batch, number)

    def has_begun(self, batch: int) -> bool:
        """Whether a case of it has ended. It need not be the first of its slot."""
        return batch in self._begun

    def take_back(self, batch: int, numbers: Iterable[int]) -> list[int]:
        """Cases leave the batch without having been run; those that were in it."""
        return [number for number in numbers if self._leave(batch, number)]

    def end(self, batch: int) -> list[int]:
        """The batch is over; the cases that are left of it."""
        future = self._future.pop(batch, None)
        if future is not None:
            future.release()
        self._slot.pop(batch, None)
        self._begun.discard(batch)
        return list(self._left.pop(batch, ()))

    def end_all(self) -> None:
        for batch in list(self._left):
            self.end(batch)

    def _leave(self, batch: int, number: int) -> bool:
        return self._left.get(batch, {}).pop(number, _ABSENT) is None


_ABSENT = object()
