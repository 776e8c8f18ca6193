"""The whole state as bytes, one way only: equal states give equal bytes. Pure.

A stream of msgpack objects: a head with the counts of what follows; for each namespace,
in order, its name and count, then its records in the order of keys; for each session,
in order, what it holds. Integrity on disk is the business of who writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack

from dtf_dask.ha.ledger.kinds import NUMBER_MAX, VERSION
from dtf_dask.ha.ledger.outcomes import Code, Outcome, Unreadable
from dtf_dask.ha.ledger.records import Record, Records
from dtf_dask.ha.ledger.references import decode_value
from dtf_dask.ha.ledger.sessions import Session, Sessions

_MAGIC = "dtf-ledger"
_CHUNK_BYTES = 256 * 1024


class Empty(Protocol):
    """A state that nothing has been applied to."""

    index: int
    time_ms: int
    records: Records
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class Frozen:
    """A state that does not change any more, so that another thread can write it."""

    index: int
    time_ms: int
    revision: int
    records: dict[str, dict[str, Record]]
    sessions: dict[str, Session]

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the state, some hundred thousand at a time."""
        pack = msgpack.Packer().pack
        waiting: list[bytes] = []
        size = 0
        for piece in self._objects():
            packed = pack(piece)
            waiting.append(packed)
            size += len(packed)
            if size >= _CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)

    def hash(self) -> str:
        """What two nodes compare, as of the same `index`."""
        return state_hash(self.chunks())

    def _objects(self) -> Iterator[object]:
        counts = (len(self.records), len(self.sessions))
        yield (_MAGIC, VERSION, self.index, self.time_ms, self.revision, *counts)
        for namespace, records in sorted(self.records.items()):
            yield (namespace, len(records))
            for key in sorted(records):
                value, revision = records[key]
                yield (key, value, revision)
        for session_id, one in sorted(self.sessions.items()):
            done = [(n, int(o.code), o.value) for n, o in sorted(one.outcomes.items())]
            yield (session_id, one.ttl_ms, one.expires_at_ms, one.first, done)


def state_hash(chunks: Iterable[bytes]) -> str:
    """A hash of a state's bytes, however they are cut."""
    digest = hashlib.blake2b(digest_size=32)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def load(
    chunks: Iterable[bytes], state: Empty, version: int = VERSION
) -> Unreadable | None:
    """Put what a snapshot holds into an empty state; or say why it cannot be read.

    Then the state is of no use.
    """
    try:
        return _load(_Objects(chunks), state, version)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        return Unreadable(f"a snapshot that is damaged: {error}")


def _load(objects: _Objects, state: Empty, version: int) -> Unreadable | None:
    head = objects.take(None)
    if len(head) < 2 or head[0] != _MAGIC:
        return Unreadable("no snapshot of a ledger")
    if not 1 <= _number(head[1]) <= version:
        return Unreadable(
            f"a snapshot of version {head[1]}; this node knows versions up to {version}"
        )
    _, _, *numbers = head
    index, time_ms, revision, namespaces, sessions = map(_number, numbers)
    state.index, state.time_ms = index, time_ms
    state.records.revision = revision
    before = ""
    for _ in range(namespaces):
        namespace, count = objects.take(2)
        _ascends(before, namespace)
        _load_namespace(objects, state.records, namespace, _number(count))
        before = namespace
    before = ""
    for _ in range(sessions):
        session_id, *rest = objects.take(5)
        _ascends(before, session_id)
        state.sessions.load(session_id, _session(*rest))
        before = session_id
    objects.end()
    return None


def _load_namespace(
    objects: _Objects, records: Records, namespace: str, count: int
) -> None:
    if not count:
        raise ValueError(f"a namespace without records: {namespace!r}")
    before = ""
    for _ in range(count):
        key, value, revision = objects.take(3)
        _ascends(before, key)
        if _number(revision) > records.revision:
            raise ValueError(f"the record {key!r} of {namespace!r}")
        records.load(namespace, key, Record(decode_value(value), revision))
        before = key


def _session(ttl_ms: Any, expires_at_ms: Any, first: Any, done: Any) -> Session:
    outcomes = {_number(n): Outcome(Code(code), value) for n, code, value in done}
    return Session(_number(ttl_ms), _number(expires_at_ms), _number(first), outcomes)


def _ascends(before: str, name: Any) -> None:
    if type(name) is not str or name <= before:
        raise ValueError(f"{name!r} after {before!r}")


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{value!r} where a number should be")
    return value


class _Objects:
    """The objects of a stream, however it is cut."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._unpacker = msgpack.Unpacker(use_list=False)
        self._chunks = iter(chunks)
        self._fed = 0

    def take(self, fields: int | None) -> tuple[Any, ...]:
        """The next one, which must be an array, of so many fields."""
        while True:
            try:
                taken = self._unpacker.unpack()
                break
            except msgpack.OutOfData:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise ValueError("it ends too early") from None
                self._unpacker.feed(chunk)
                self._fed += len(chunk)
        if type(taken) is not tuple or (fields is not None and len(taken) != fields):
            raise ValueError(f"no array of {fields} fields where one should be")
        return taken

    def end(self) -> None:
        """Nothing comes after."""
        self._fed += sum(map(len, self._chunks))
        if self._unpacker.tell() != self._fed:
            raise ValueError("it goes on behind its end")
