"""The records to be seen, as one node has them, and what changed since when. Pure.

All nodes apply the same records in the same order, so readers may go on at another
node: a change is known by the term and the index of the ledger's entry that made it.
Nodes may apply several entries at once, and not the same ones: values are whole, so to
hear of a change twice does no harm.

What readers are told is encoded once, however many they are.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile

import orjson

from dtf_dask.errors import ProtocolError
from dtf_dask.view.records import COUNT_MAX, PREFIX, Record, decoded, kind_of

CHANGES_KEPT_MAX = 2_000
CHANGES_BYTES_MAX = 16 * 2**20
"""Of what changed lately: who was away for longer reads all anew."""

_ID = re.compile(r"(\d{1,19}):(\d{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class EventId:
    """When something was, in the order of the ledger.

    A scheduler without a ledger numbers what it tells itself, with the second in which
    it started for a term.
    """

    term: int
    index: int

    def __str__(self) -> str:
        return f"{self.term}:{self.index}"

    @classmethod
    def of(cls, text: str) -> EventId | None:
        """As it was written; None for anything else.

        Examples
        --------
        >>> EventId.of("3:1200"), EventId.of("yesterday")
        (EventId(term=3, index=1200), None)
        """
        found = _ID.fullmatch(text)
        return None if found is None else cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Event:
    """What changed, as readers are told.

    Parameters
    ----------
    json
        ``{"id": .., "at": .., "put": {key: record}, "gone": [key]}``.
    keys
        Of the records that were put or are gone.
    """

    id: EventId
    json: bytes
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is: ``{"id": .., "at": .., "records": {key: record}}``."""

    id: EventId
    json: bytes


class ReadModel:
    """What is to be seen.

    Attributes
    ----------
    id
        Of what was applied last.
    at
        When that was, by the clock of whoever applied it; 0 before.
    refused
        How many records could not be read.
    refusal
        Why the last of them could not.
    """

    def __init__(
        self,
        *,
        changes_kept_max: int = CHANGES_KEPT_MAX,
        changes_bytes_max: int = CHANGES_BYTES_MAX,
    ) -> None:
        self.id = EventId(0, 0)
        self.at = 0.0
        self.refused = 0
        self.refusal = ""
        self._records: dict[str, Record] = {}
        self._encoded: dict[str, bytes] = {}
        self._counts: Counter[str] = Counter()
        self._kept: deque[Event] = deque()
        self._kept_bytes = 0
        self._kept_max = changes_kept_max
        self._kept_bytes_max = changes_bytes_max
        self._since = self.id
        """Whoever has seen this, or later, can be told what changed."""
        self._snapshot: Snapshot | None = None

    # What happens.

    def replace(
        self, records: Iterable[tuple[str, bytes]], term: int, index: int, at: float
    ) -> None:
        """Forget all, and begin with these: readers are told to do the same."""
        self._records.clear()
        self._encoded.clear()
        self._counts.clear()
        self._kept.clear()
        self._kept_bytes = 0
        self.id = self._since = EventId(term, index)
        self.at = at
        self._snapshot = None
        self._put(records)

    def apply(
        self,
        changes: Iterable[tuple[str, bytes | None]],
        term: int,
        index: int,
        at: float,
    ) -> Event | None:
        """Records were written or deleted, up to this index; others' are passed over.

        Parameters
        ----------
        changes
            Keys of the ledger, with `PREFIX`, and values; None for what is deleted.
        term, index
            Of the ledger's last entry of these.
        at
            Now, by the clock of whoever calls.

        Returns
        -------
        Event or None
            What readers are to be told; None if that is nothing.

        Raises
        ------
        ValueError
            If it is older than what was applied before.
        """
        id = EventId(term, index)
        if index < self.id.index or term < self.id.term:
            raise ValueError(f"{id} is applied after {self.id}")
        touched = self._put(changes)
        self.id, self.at = id, at
        self._snapshot = None
        if not touched:
            return None
        event = self._event(touched)
        self._kept.append(event)
        self._kept_bytes += len(event.json)
        while self._kept and (
            len(self._kept) > self._kept_max or self._kept_bytes > self._kept_bytes_max
        ):
            oldest = self._kept.popleft()
            self._kept_bytes -= len(oldest.json)
            self._since = oldest.id
        return event

    # What is asked.

    def snapshot(self) -> Snapshot:
        """All there is; encoded once until something changes."""
        if self._snapshot is None:
            body = b'{%b,"records":{%b}}' % (self._head(), _members(self._encoded))
            self._snapshot = Snapshot(self.id, body)
        return self._snapshot

    def is_snapshot(self, body: bytes) -> bool:
        """Whether that is the JSON of all there is, as it was encoded last."""
        return self._snapshot is not None and self._snapshot.json is body

    def delta(self, since: EventId) -> tuple[Event, ...] | None:
        """What changed since; None if that is not known, and all is to be read anew.

        So it is if it was too long ago, if it is still to come here, and if it was in
        another cluster: its term does not go with its index.
        """
        if not self._since.index <= since.index <= self.id.index:
            return None
        later = tuple(dropwhile(lambda one: one.id.index <= since.index, self._kept))
        seen = len(self._kept) - len(later)
        before = self._kept[seen - 1].id if seen else self._since
        after = later[0].id if later else self.id
        for known in (before, after):
            if known.index == since.index:
                return later if known.term == since.term else None
        return later if before.term <= since.term <= after.term else None

    def get(self, key: str) -> Record | None:
        """A record, by its key without `PREFIX`."""
        return self._records.get(key)

    def json(self, key: str) -> bytes:
        """The same as JSON, as it was encoded for all; KeyError if there is none."""
        return self._encoded[key]

    def of_kind(self, kind: str) -> Iterator[tuple[str, Record]]:
        """The records of a kind, with their keys, in no order that says anything."""
        start = f"{kind}/"
        return (
            (key, record)
            for key, record in self._records.items()
            if key == kind or key.startswith(start)
        )

    def records(self) -> Mapping[str, Record]:
        """All of them, by key; not to be changed."""
        return self._records

    def count(self, kind: str) -> int:
        """How many records of a kind there are."""
        return self._counts[kind]

    def _put(self, changes: Iterable[tuple[str, bytes | None]]) -> dict[str, bool]:
        """Change the records; the keys that were told, and whether they are there now.

        What cannot be read is as if it was deleted, so that the same is to be seen
        wherever one began to look. What is as before is told all the same: a reader
        from another node may have seen what was between.
        """
        touched: dict[str, bool] = {}
        for ledger_key, value in changes:
            if not ledger_key.startswith(PREFIX):
                continue
            key = ledger_key[len(PREFIX) :]
            kind, record = "", None
            try:
                kind = kind_of(key)
                if value is not None:
                    if key not in self._records and self._full(kind):
                        raise ProtocolError(f"more of {kind} than there may be")
                    record = decoded(kind, value)
            except ProtocolError as error:
                self.refused += 1
                self.refusal = str(error)
            if record is not None:
                if key not in self._records:
                    self._counts[kind] += 1
                self._records[key] = record
                self._encoded[key] = as_json(record)
                touched[key] = True
            elif kind:
                if self._records.pop(key, None) is not None:
                    del self._encoded[key]
                    self._counts[kind] -= 1
                touched[key] = False
        return touched

    def _full(self, kind: str) -> bool:
        return self._counts[kind] >= COUNT_MAX[kind]

    def _event(self, touched: Mapping[str, bool]) -> Event:
        put = _members({k: self._encoded[k] for k, stays in touched.items() if stays})
        gone = orjson.dumps([key for key, stays in touched.items() if not stays])
        body = b'{%b,"put":{%b},"gone":%b}' % (self._head(), put, gone)
        return Event(self.id, body, tuple(touched))

    def _head(self) -> bytes:
        return b'"id":"%b","at":%b' % (str(self.id).encode(), orjson.dumps(self.at))


def as_json(record: Record) -> bytes:
    """In ASCII: a name with codes for terminals does nothing there either."""
    written = orjson.dumps(record)
    return written if written.isascii() else json.dumps(record).encode()


def _members(encoded: Mapping[str, bytes]) -> bytes:
    # Keys are plain: nothing in them is written in another way.
    return b",".join([b'"%b":%b' % (k.encode(), one) for k, one in encoded.items()])
