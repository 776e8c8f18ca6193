"""What was told of a cluster, so that only what changed is told again. Pure.

Whoever looks at the cluster puts all that it sees here, as often as it likes. What is
as before is passed over, and so is, for a while, what changes all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.view.records import (
    COUNT_MAX,
    PREFIX,
    Record,
    decoded,
    encoded,
    formed,
    kind_of,
    record_key,
)

GONE_MAX = 5_000
"""So many that are gone are remembered; who was away for longer reads all anew."""

FLEETING = frozenset({"run", "failover", "action", "coordinator"})
"""Of these, the one that was told longest ago makes room for another."""

Differs = Callable[[Record, Record], bool]


@dataclass(slots=True)
class _Told:
    """A record as it was told last; none if it is gone."""

    record: Record | None
    value: bytes | None
    at: float
    number: int


class Board:
    """The records of one observer.

    Parameters
    ----------
    known
        What the ledger has already, with `PREFIX`, of whoever led before.

    Attributes
    ----------
    number
        Rises with each change.
    """

    def __init__(self, known: Iterable[tuple[str, bytes]] = ()) -> None:
        self.number = 0
        self._since = 0
        # In the order in which they were told.
        self._told: dict[str, _Told] = {}
        self._counts: dict[str, int] = {}
        self._gone = 0
        self._untaken: dict[str, bytes | None] = {}
        for ledger_key, value in known:
            key = ledger_key.removeprefix(PREFIX)
            try:
                kind = kind_of(key)
                record = decoded(kind, value)
            except ProtocolError:  # of another version: it is written anew, or goes
                self._untaken[ledger_key] = None
                continue
            self._tell(key, kind, record, value, 0.0)
        self._untaken = {k: v for k, v in self._untaken.items() if v is None}

    def put(
        self,
        kind: str,
        name: object,
        fields: Mapping[str, Any],
        now: float,
        *,
        rest_s: float = 0.0,
        differs: Differs | None = None,
    ) -> bool:
        """A record is so now.

        Parameters
        ----------
        rest_s
            So long after it was told it is not told again.
        differs
            Whether it differs, by more than is passed over; any difference, if none.

        Returns
        -------
        bool
            Whether it is told.

        Raises
        ------
        ProtocolError
            If it is none.
        """
        key = record_key(kind, name)
        told = self._told.get(key)
        before = None if told is None else told.record
        if told is not None and before is not None and now < told.at + rest_s:
            return False
        record = formed(kind, dict(fields))
        if before is not None:
            if record == before or (
                differs is not None and not differs(before, record)
            ):
                return False
        elif self._counts.get(kind, 0) >= COUNT_MAX[kind]:
            if kind not in FLEETING:
                return False
            oldest = next(key for key, _ in self.of_kind(kind))
            self._drop(oldest, kind, now)
        self._tell(key, kind, record, encoded(record), now)
        return True

    def drop(self, kind: str, name: object, now: float = 0.0) -> None:
        """A record is no more."""
        self._drop(record_key(kind, name), kind, now)

    def keep_only(self, kind: str, names: Iterable[object], now: float = 0.0) -> None:
        """Of this kind there are no others."""
        keys = {record_key(kind, name) for name in names}
        for key in [key for key, _ in self.of_kind(kind) if key not in keys]:
            self._drop(key, kind, now)

    def of_kind(self, kind: str) -> Iterator[tuple[str, Record]]:
        """The records of a kind, with their keys."""
        start = f"{kind}/"
        for key, told in self._told.items():
            if told.record is not None and (key == kind or key.startswith(start)):
                yield key, told.record

    def get(self, kind: str, name: object = "") -> Record | None:
        """A record as it was told last."""
        told = self._told.get(record_key(kind, name))
        return None if told is None else told.record

    def count(self, kind: str) -> int:
        """How many of a kind there are."""
        return self._counts.get(kind, 0)

    def take(self) -> dict[str, bytes | None]:
        """What changed since this was called last, for a ledger."""
        untaken, self._untaken = self._untaken, {}
        return untaken

    def untake(self, changes: Mapping[str, bytes | None]) -> None:
        """They were not written: to be taken later, unless they change again."""
        self._untaken = {**changes, **self._untaken}

    def since(self, number: int) -> list[tuple[str, bytes | None]] | None:
        """What changed since; None if that is not known, and all is to be read anew."""
        if not self._since <= number <= self.number:
            return None
        found: list[tuple[str, bytes | None]] = []
        for key in reversed(self._told):
            told = self._told[key]
            if told.number <= number:
                break
            found.append((PREFIX + key, told.value))
        found.reverse()
        return found

    def all(self) -> list[tuple[str, bytes]]:
        """All records there are."""
        return [
            (PREFIX + key, told.value)
            for key, told in self._told.items()
            if told.value is not None
        ]

    def _drop(self, key: str, kind: str, now: float) -> None:
        told = self._told.get(key)
        if told is not None and told.record is not None:
            self._tell(key, kind, None, None, now)

    def _tell(
        self, key: str, kind: str, record: Record | None, value: bytes | None, at: float
    ) -> None:
        before = self._told.pop(key, None)
        was_there = before is not None and before.record is not None
        self._counts[kind] = (
            self._counts.get(kind, 0) + (record is not None) - was_there
        )
        if before is not None and before.record is None:
            self._gone -= 1
        self.number += 1
        self._told[key] = _Told(record, value, at, self.number)
        self._untaken[PREFIX + key] = value
        if record is None:
            self._gone += 1
            if self._gone > GONE_MAX:
                self._forget_gone()

    def _forget_gone(self) -> None:
        """Forget the older half of those that are gone."""
        for key in [k for k, told in self._told.items() if told.record is None][
            : GONE_MAX // 2
        ]:
            self._since = max(self._since, self._told.pop(key).number)
            self._gone -= 1
