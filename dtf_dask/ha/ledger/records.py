"""The records of the ledger: a value and a revision for each key of a namespace. Pure.

A revision counts the changes of all records. The one that a record carries is that of
its last change, so that who has read it can ask for a change of just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dtf_dask.ha.ledger.ordered_keys import OrderedKeys
from dtf_dask.ha.ledger.outcomes import Code, Outcome, refused
from dtf_dask.ha.ledger.references import (
    Reference,
    References,
    Value,
    value_bytes,
)

RECORDS_BYTES_MAX = 2**30
"""Names, keys and values together. Every node must have the same limit."""

RECORD_BYTES = 64
"""What a record counts beside its key and value."""

_FULL = refused(f"the ledger is full: {RECORDS_BYTES_MAX} bytes of records")

_new = tuple.__new__
"""Of a named tuple, at a fraction of its price: writes come by the ten thousand."""


class Record(NamedTuple):
    """A value, and the revision at which it came."""

    value: Value
    revision: int


class Change(NamedTuple):
    """What became of one record; ``value`` is None if it was deleted."""

    namespace: str
    key: str
    value: Value | None
    revision: int


class Namespace:
    """The records under one name."""

    __slots__ = ("order", "records")

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.order = OrderedKeys()


class Records:
    """All records, and the changes since somebody took them."""

    __slots__ = ("_namespaces", "changes", "held_bytes", "references", "revision")

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self.changes: list[Change] = []
        self.references = References()
        self.held_bytes = 0
        self.revision = 0

    def get(self, namespace: str, key: str) -> Record | None:
        """A record, or None."""
        found = self._namespaces.get(namespace)
        return None if found is None else found.records.get(key)

    def walk(
        self, namespace: str, prefix: str, after: str | None = None
    ) -> Iterator[tuple[str, Record]]:
        """Keys and records in the order of keys; nothing may change meanwhile."""
        found = self._namespaces.get(namespace)
        if found is not None:
            for key in found.order.walk(prefix, after):
                yield key, found.records[key]

    def put(self, namespace: str, key: str, value: Value) -> Outcome:
        """Write a record, whatever was there: its new revision."""
        found = self._namespaces.get(namespace)
        old = None if found is None else found.records.get(key)
        plain = old is not None and type(value) is type(old.value) is bytes
        if old is not None and plain:
            added = len(value) - len(old.value)
        else:
            added = _size(key, value) - (_size(key, old.value) if old else 0)
        if added > 0 and self.held_bytes + added > RECORDS_BYTES_MAX:
            return _FULL
        if found is None:
            found = self._namespaces[namespace] = Namespace()
        if old is None:
            found.order.add(key)
        if not plain:
            self._refer(value, old)
        self.held_bytes += added
        self.revision = revision = self.revision + 1
        found.records[key] = _new(Record, (value, revision))
        self.changes.append(_new(Change, (namespace, key, value, revision)))
        return _new(Outcome, (Code.OK, revision))

    def _refer(self, value: Value, old: Record | None) -> None:
        """A value is taken up in the place of another."""
        if isinstance(value, Reference):
            self.references.add(value)
        if old is not None and isinstance(old.value, Reference):
            self.references.drop(old.value)

    def delete(self, namespace: str, key: str) -> Outcome:
        """Take a record out: its last revision, 0 if there is none."""
        found = self._namespaces.get(namespace)
        old = None if found is None else found.records.pop(key, None)
        if found is None or old is None:
            return Outcome(Code.OK, 0)
        found.order.remove(key)
        if not found.records:
            del self._namespaces[namespace]
        if isinstance(old.value, Reference):
            self.references.drop(old.value)
        self.held_bytes -= _size(key, old.value)
        self.revision = revision = self.revision + 1
        self.changes.append(Change(namespace, key, None, revision))
        return Outcome(Code.OK, old.revision)

    def compare_and_set(
        self, namespace: str, key: str, expected: int, value: Value | None
    ) -> Outcome:
        """Write or delete a record of that revision; 0 stands for none."""
        old = self.get(namespace, key)
        revision = 0 if old is None else old.revision
        if revision != expected:
            return Outcome(Code.CONFLICT, revision)
        if value is None:
            return self.delete(namespace, key)
        return self.put(namespace, key, value)

    def copied(self) -> dict[str, dict[str, Record]]:
        """The records as they are now, whatever comes."""
        return {name: one.records.copy() for name, one in self._namespaces.items()}

    def load(self, namespace: str, key: str, record: Record) -> None:
        """Take in a record of a snapshot, which is no change."""
        found = self._namespaces.get(namespace)
        if found is None:
            found = self._namespaces[namespace] = Namespace()
        found.order.add(key)
        found.records[key] = record
        if isinstance(record.value, Reference):
            self.references.add(record.value)
        self.held_bytes += _size(key, record.value)


def _size(key: str, value: Value) -> int:
    return RECORD_BYTES + len(key) + value_bytes(value)
