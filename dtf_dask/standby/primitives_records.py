"""Records of coordination: what a successor needs of each primitive, as bytes. Pure.

A record is found by its kind and what identifies it, under ``x/<kind>/<hash>``; what is
in it says both again. One that is too long for a record of the ledger is cut: its parts
come first, under another key each time, and the record that names them last, so that
what a successor finds is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.submission.table import Key, key_fault, shown

VERSION = 1
PREFIX = "x/"
_PARTS = "x/parts/"

RECORD_BYTES_MAX = 64 * 2**20
PART_BYTES_MAX = 256 * 2**10
BATCH_BYTES_MAX = 2**20
"""Of the records that are given to the ledger at once."""

_HASH_BYTES = 16
_NUMBER_DIGITS = 20


def _is_key(value: object) -> bool:
    return not key_fault(value)


def _are_keys(value: object) -> bool:
    return type(value) is tuple and all(map(_is_key, value))


def _is_text(value: object) -> bool:
    return type(value) is str


def _are_texts(value: object) -> bool:
    return type(value) is tuple and all(map(_is_text, value))


def _is_bytes(value: object) -> bool:
    return type(value) is bytes


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and value > 0)


def _is_holding(value: object) -> bool:
    """A key, or bytes: what a variable or a queue holds."""
    return type(value) is tuple and (
        (len(value) == 2 and value[0] == "Future" and _is_key(value[1]))
        or (len(value) == 2 and value[0] == "msgpack" and _is_bytes(value[1]))
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: so many of its first fields identify it, all are checked."""

    identified_by: int
    fields: tuple[Callable[[object], bool], ...]


KINDS: Mapping[str, Kind] = {
    "variable": Kind(1, (_is_key, _is_holding)),
    "queue": Kind(1, (_is_key, _is_number, _is_number)),
    "queue-item": Kind(2, (_is_key, _is_number, _is_holding)),
    "event": Kind(1, (_is_key,)),
    "semaphore": Kind(1, (_is_key, _is_number, _is_time)),
    "lease": Kind(2, (_is_key, _is_key)),
    "multi-lock": Kind(1, (_is_text, _are_texts)),
    "dataset": Kind(1, (_is_key, _are_keys, _is_bytes)),
    "worker-plugin": Kind(1, (_is_text, _is_number, _is_bytes)),
    "nanny-plugin": Kind(1, (_is_text, _is_number, _is_bytes)),
    "scheduler-plugin": Kind(1, (_is_text, _is_number, _is_bytes)),
    "metadata": Kind(1, (_are_keys, _is_number, _is_bytes)),
    "restrictions": Kind(1, (_is_key, _are_texts)),
    "request": Kind(2, (_is_text, _is_number, _is_bytes)),
}

PREFIXES = (*(f"{PREFIX}{kind}/" for kind in KINDS), _PARTS)
"""Of the keys of all these records."""


class Record(NamedTuple):
    """A record that was read."""

    kind: str
    fields: tuple[Any, ...]


def record_key(kind: str, *identity: Any) -> str:
    """Under which key a record is.

    Examples
    --------
    >>> record_key("event", "done") == record_key("event", "done")
    True
    >>> record_key("queue-item", "q", 7)[-3:]
    '007'
    """
    name, *more = identity
    hashed = hashlib.blake2b(_packed(name), digest_size=_HASH_BYTES).hexdigest()
    after = "".join(
        f"/{one:0{_NUMBER_DIGITS}}"
        if type(one) is int
        else f"/{hashlib.blake2b(_packed(one), digest_size=_HASH_BYTES).hexdigest()}"
        for one in more
    )
    return f"{PREFIX}{kind}/{hashed}{after}"


def encode_record(kind: str, *fields: Any) -> tuple[str, bytes]:
    """A record's key and value.

    Raises
    ------
    UsageError
        It is none, or is too long.
    """
    if wrong := _wrong(kind, fields):
        raise UsageError(wrong)
    packed = _packed((VERSION, *fields))
    if len(packed) > RECORD_BYTES_MAX:
        raise UsageError(
            f"{len(packed)} bytes are more than the {RECORD_BYTES_MAX} that are kept of"
            f" a {kind}: scatter what is large, and share the future"
        )
    return record_key(kind, *fields[: KINDS[kind].identified_by]), packed


def decode_record(key: str, packed: bytes) -> Record:
    """What `encode_record` made.

    Raises
    ------
    ProtocolError
        It is something else.
    """
    kind = key.removeprefix(PREFIX).partition("/")[0]
    try:
        found = msgpack.unpackb(packed, use_list=False, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"{key} is no record: {error}") from error
    if type(found) is not tuple or not found:
        raise ProtocolError(f"{key} is no record")
    if found[0] != VERSION:
        raise ProtocolError(
            f"{key} is of version {shown(found[0])}, and this process reads {VERSION}:"
            " run the same version of dtf on all nodes"
        )
    fields = found[1:]
    if wrong := _wrong(kind, fields):
        raise ProtocolError(f"{key}: {wrong}")
    if record_key(kind, *fields[: KINDS[kind].identified_by]) != key:
        raise ProtocolError(f"{key} is the record of another thing")
    return Record(kind, fields)


def _packed(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise UsageError(f"{shown(value)} cannot be kept: {error}") from error
    return packed


def _wrong(kind: str, fields: tuple[Any, ...]) -> str:
    known = KINDS.get(kind)
    if known is None:
        return f"a record of a kind that is not known here: {shown(kind)}"
    if len(fields) != len(known.fields):
        return f"a {kind} has {len(known.fields)} fields"
    for at, (check, field) in enumerate(zip(known.fields, fields, strict=True)):
        if not check(field):
            return f"{shown(field)} cannot be field {at} of a {kind}"
    return ""


@dataclass(frozen=True, slots=True)
class Cut:
    """A record's value as the ledger takes it: what comes first, and the value."""

    parts: tuple[tuple[str, bytes], ...]
    head: bytes


def cut(key: str, value: bytes, generation: int) -> Cut:
    """Cut a value that is too long; ``generation`` is new each time.

    Examples
    --------
    >>> made = cut("x/event/1", bytes(600_000), 1)
    >>> len(made.parts), len(made.head) < 20
    (3, True)
    """
    if len(value) <= PART_BYTES_MAX:
        return Cut((), _packed((generation, 0, value)))
    parts = tuple(
        (part_key(key, generation, number), value[at : at + PART_BYTES_MAX])
        for number, at in enumerate(range(0, len(value), PART_BYTES_MAX))
    )
    return Cut(parts, _packed((generation, len(parts), b"")))


def part_key(key: str, generation: int, number: int) -> str:
    """Under which key a part of a record is."""
    return f"{_PARTS}{key.removeprefix(PREFIX)}/{generation:0{_NUMBER_DIGITS}}/{number}"


class Joined(NamedTuple):
    """Records that were cut, whole again.

    Parameters
    ----------
    values
        By key.
    parts
        Of those that have any: their generation, and how many.
    lost
        Keys of what nothing names, or that make no sense, with why: ``""`` for what
        a successor of one that was killed may find.
    """

    values: dict[str, bytes]
    parts: dict[str, tuple[int, int]]
    lost: dict[str, str]


def joined(records: Iterable[tuple[str, bytes]]) -> Joined:
    """What `cut` made, of many records, whole again."""
    heads: dict[str, bytes] = {}
    pieces: dict[str, bytes] = {}
    for key, value in records:
        (pieces if key.startswith(_PARTS) else heads)[key] = value
    found = Joined({}, {}, {})
    for key, head in heads.items():
        try:
            generation, count, whole = msgpack.unpackb(head, use_list=False)
            named = [part_key(key, generation, number) for number in range(count)]
            value = b"".join(pieces.pop(one) for one in named) if count else whole
            if type(value) is not bytes:
                raise ValueError("no bytes")
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            found.lost[key] = f"{type(error).__name__}: {error}"
            continue
        found.values[key] = value
        if count:
            found.parts[key] = (generation, count)
    found.lost.update(dict.fromkeys(pieces, ""))
    return found


def batches(
    changes: Mapping[str, bytes | None],
) -> list[dict[str, bytes | None]]:
    """Changes in their order, in portions that the ledger takes at once."""
    found: list[dict[str, bytes | None]] = []
    size = BATCH_BYTES_MAX + 1
    for key, value in changes.items():
        more = len(key) + len(value or b"") + 64
        if size + more > BATCH_BYTES_MAX:
            found.append({})
            size = 0
        found[-1][key] = value
        size += more
    return found


def key_of_text(name: Any) -> Key:
    """A name as Dask gives it, as the key of a record: lists become tuples."""
    made = tuple(map(key_of_text, name)) if isinstance(name, list | tuple) else name
    if why := key_fault(made):
        raise UsageError(f"the name {shown(name)} {why}")
    found: Key = made
    return found
