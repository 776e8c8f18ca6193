"""Calls of a client of the ledger that travel together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


class Batch:
    """Calls that travel together: what they ask, and who waits for which part."""

    __slots__ = ("calls", "items", "sent", "size")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.calls: list[tuple[int, asyncio.Future[list[Any]]]] = []
        self.size = 0
        self.sent = 0
        """The node that was asked and has not said that it did nothing; 0 for none."""

    def answer(self, answers: Sequence[Any]) -> None:
        """Give everybody what is his."""
        at = 0
        for count, waiter in self.calls:
            if not waiter.done():
                one = count == 1
                waiter.set_result(
                    [answers[at]] if one else list(answers[at : at + count])
                )
            at += count

    def fail(self, error: Exception) -> None:
        """Nobody gets anything."""
        for _, waiter in self.calls:
            if not waiter.done():
                waiter.set_exception(error)
