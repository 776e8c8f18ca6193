"""What stands in the line before the ledger, and the entries that are made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dtf_dask.durable.operations import Operation
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT
from dtf_dask.ha.scheduler_words import NAMESPACE


class Asker(Protocol):
    """Who hears what became of a numbered operation."""

    def done(self, seq: int) -> None:
        """Acted on, with all before it."""

    def refused(self, seq: int, why: str, keys: Sequence[Any]) -> None:
        """Not acted on, for good."""


@dataclass(slots=True)
class Asked:
    """An operation in the line; none if it is passed over, for a reason.

    Parameters
    ----------
    read
        What `prepare` made of it, if that was done.
    record
        What the ledger is to hold besides: a key, and a value or none.
    """

    operation: Operation | None
    packed: bytes
    read: Any = None
    asker: Asker | None = None
    seq: int = 0
    record: tuple[str, bytes | None] | None = None
    why: str = ""
    keys: Sequence[Any] = ()

    @property
    def size(self) -> int:
        """Bytes that it adds to the ledger."""
        return len(self.packed)


@dataclass(slots=True)
class Kept:
    """Records to be written; None for those that go."""

    records: Mapping[str, bytes | None]
    done: asyncio.Future[None] | None

    @property
    def size(self) -> int:
        """Bytes that they add to the ledger, at most."""
        return sum(len(value) for value in self.records.values() if value is not None)


@dataclass(slots=True)
class Entry:
    """One proposal: commands, and what is to be done when they are committed."""

    commands: list[bytes] = field(default_factory=list)
    size: int = 0
    items: list[Asked | Kept] = field(default_factory=list)
    number: int = 0
    """Of the journal's record that holds the operations; 0 if there are none."""
    count: int = 1
    operations: int = 0
    at_s: float = 0.0
    outcome: asyncio.Future[str] | None = None

    def put(self, key: str, value: bytes | None) -> None:
        """Write a record, or delete it."""
        command = (
            encode_command(DELETE, NAMESPACE, key)
            if value is None
            else encode_command(PUT, NAMESPACE, key, value)
        )
        self.commands.append(command)
        self.size += len(command)
