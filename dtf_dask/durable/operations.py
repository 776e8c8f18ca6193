"""What clients ask of a cluster for good, as bytes: the entries of its journal. Pure.

An operation is the msgpack array ``[kind, client, *body]``. A client packs it once; the
scheduler that leads has it written to the ledger as it came, before it acts; whoever
takes over acts on what the ledger has, in the same order. So what an operation does may
depend on the operations before it and on nothing else: on no clock, no worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.submission.table import CLIENT_LENGTH_MAX, Key, key_fault, shown

VERSION = 3
"""Of the set of operations. Each record of a journal says the oldest that knows it all,
so that older coordinators read what a newer one writes until there is something new."""

OPERATION_BYTES_MAX = 513 * 2**20
KEYS_MAX = 4_000_000
ASKED_KEYS_MAX = 10_000
ASKED_BYTES_MAX = 2**20
"""Of an operation of a client that is no table: what names more keys is cut."""

TABLE, DESIRE, RELEASE, CANCEL, RETRY, SCATTER = 1, 2, 3, 4, 5, 6
CLIENT_GONE, RESTART = 7, 8
ERRED, COUNTS, VOID, KEEPS = 16, 17, 18, 19
"""These the scheduler writes itself: what became of tasks, and of wishes for them."""


class Operation(NamedTuple):
    """One operation: its kind, whose it is (``""``: the scheduler's own), its body."""

    kind: int
    client: str
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of operation: what it is called, and what is wrong with a body.

    It is known ``since`` that version; with bodies of other lengths since others.
    """

    name: str
    body_wrong: Callable[[tuple[Any, ...]], str]
    from_clients: bool = True
    since: int = 1
    lengths_since: Mapping[int, int] = field(default_factory=dict)


def _keys_wrong(keys: object) -> str:
    if type(keys) is not tuple or len(keys) > KEYS_MAX:
        return f"takes up to {KEYS_MAX} keys"
    for key in keys:
        if why := key_fault(key):
            return f"the key {shown(key)} {why}"
    return ""


def _only_keys(body: tuple[Any, ...]) -> str:
    return _keys_wrong(body[0]) if len(body) == 1 else "takes keys"


def _table_wrong(body: tuple[Any, ...]) -> str:
    if len(body) != 2 or type(body[0]) is not bytes or not isinstance(body[1], Mapping):
        return "takes a table as bytes, and words on it"
    return ""


def _cancel_wrong(body: tuple[Any, ...]) -> str:
    if len(body) != 3 or type(body[1]) is not bool or type(body[2]) is not str:
        return "takes keys, whether others' wishes are void too, and a reason"
    return _keys_wrong(body[0])


def _scatter_wrong(body: tuple[Any, ...]) -> str:
    if len(body) != 2 or type(body[1]) is not tuple:
        return "takes keys, and a size for each"
    if type(body[0]) is not tuple or len(body[0]) != len(body[1]):
        return "has another number of sizes than of keys"
    if not all(type(size) is int and size >= 0 for size in body[1]):
        return "has a size that is no number of bytes"
    return _keys_wrong(body[0])


def _nothing(body: tuple[Any, ...]) -> str:
    return "takes nothing" if body else ""


def _erred_wrong(body: tuple[Any, ...]) -> str:
    if len(body) != 2 or not isinstance(body[1], Mapping):
        return "takes a key, and what became of it"
    return _keys_wrong((body[0],))


def _counts_wrong(body: tuple[Any, ...]) -> str:
    if len(body) not in (4, 5) or not all(
        type(column) is tuple and all(type(one) is int for one in column)
        for column in body[1:]
    ):
        return (
            "takes keys, the retries each has left, how often each was suspected, up to"
            " which run id its failures are counted in that, and the mark of its making"
        )
    if len({len(column) for column in body}) != 1:
        return "has columns of different lengths"
    return _keys_wrong(body[0])


def _void_wrong(body: tuple[Any, ...]) -> str:
    if len(body) != 2 or type(body[1]) is not float:
        return "takes keys, and up to when they were wished for"
    return _keys_wrong(body[0])


def _keeps_wrong(body: tuple[Any, ...]) -> str:
    if (
        len(body) != 3
        or type(body[0]) is not tuple
        or type(body[1]) is not tuple
        or len(body[0]) != len(body[1])
        or not all(type(mark) is int for mark in body[1])
        or type(body[2]) is not float
    ):
        return "takes keys, the mark of each one's making, and when they were known"
    return _keys_wrong(body[0])


KINDS: dict[int, Kind] = {
    TABLE: Kind("table", _table_wrong),
    DESIRE: Kind("desire", _only_keys),
    RELEASE: Kind("release", _only_keys),
    CANCEL: Kind("cancel", _cancel_wrong),
    RETRY: Kind("retry", _only_keys),
    SCATTER: Kind("scatter", _scatter_wrong),
    CLIENT_GONE: Kind("client-gone", _nothing, from_clients=False),
    RESTART: Kind("restart", _nothing),
    ERRED: Kind("erred", _erred_wrong, from_clients=False),
    COUNTS: Kind("counts", _counts_wrong, from_clients=False, lengths_since={5: 3}),
    VOID: Kind("void", _void_wrong, from_clients=False, since=2),
    KEEPS: Kind("keeps", _keeps_wrong, from_clients=False, since=3),
}
_KIND_AT, _LENGTH_BITS = 1, 0x0F
"""Of an operation as bytes, behind and in the head of its array: of one we packed."""


def encode_operation(kind: int, client: str, *body: Any) -> bytes:
    """An operation as bytes.

    Parameters
    ----------
    kind, client, body
        As `Operation`; ``TABLE`` takes what `encode_table` made and a mapping of plain
        words that say how the submission is to be seen (``submitting_task``,
        ``fifo_timeout``, ``actors``, ``code``, ``span``, ``at_s``).

    Raises
    ------
    UsageError
        It is none.

    Examples
    --------
    >>> read = decode_operation(encode_operation(RELEASE, "c-1", ("x", ("y", 0))))
    >>> read.client, read.body
    ('c-1', (('x', ('y', 0)),))
    """
    wrong = _wrong(kind, client, body)
    if wrong:
        raise UsageError(wrong)
    try:
        packed: bytes = msgpack.packb((kind, client, *body))
    except (ValueError, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise UsageError(f"an operation that cannot be sent: {error}") from error
    if len(packed) > OPERATION_BYTES_MAX:
        raise UsageError(f"an operation of {len(packed)} bytes")
    return packed


def kind_of(packed: bytes) -> int:
    """The kind of an operation, as `encode_operation` made it; of another anything."""
    return int.from_bytes(packed[_KIND_AT : _KIND_AT + 1], "big")


def encode_asked(
    kind: int, client: str, keys: Sequence[Key], *more: Any
) -> Iterator[bytes]:
    """Operations of a client, each within the bounds, that name all of these keys.

    Examples
    --------
    >>> many = [str(number) for number in range(ASKED_KEYS_MAX + 1)]
    >>> [len(decode_operation(one).body[0]) for one in encode_asked(RELEASE, "c", many)]
    [10000, 1]
    """
    for at in range(0, len(keys), ASKED_KEYS_MAX):
        some = tuple(keys[at : at + ASKED_KEYS_MAX])
        packed = encode_operation(kind, client, some, *more)
        if len(packed) <= ASKED_BYTES_MAX or len(some) == 1:
            yield packed
        else:
            half = len(some) // 2
            yield from encode_asked(kind, client, some[:half], *more)
            yield from encode_asked(kind, client, some[half:], *more)


def beyond_bounds(operation: Operation, size: int) -> str:
    """Why an operation of a client is too large to be taken; empty if it is not.

    Tables have bounds of their own. What is in a journal was taken, and is not asked.
    """
    keys = operation.body[0] if operation.body else ()
    if operation.kind == TABLE or (
        size <= ASKED_BYTES_MAX and len(keys) <= ASKED_KEYS_MAX
    ):
        return ""
    return (
        f"one that names {len(keys)} keys in {size} bytes; {ASKED_KEYS_MAX} in"
        f" {ASKED_BYTES_MAX} are the most: ask for them in several"
    )


def version_of(packed: bytes) -> int:
    """The oldest version that knows an operation, as `encode_operation` made it.

    Clients may pack otherwise, but nothing that is newer than the oldest version.

    Examples
    --------
    >>> version_of(encode_operation(RELEASE, "c-1", ("x",)))
    1
    >>> version_of(encode_operation(VOID, "c-1", ("x",), 1.5))
    2
    """
    known = KINDS.get(kind_of(packed))
    if known is None or known.from_clients:
        return 1
    body_length = (packed[0] & _LENGTH_BITS) - 2
    return known.lengths_since.get(body_length, known.since)


def decode_operation(packed: bytes) -> Operation:
    """What `encode_operation` wrote, checked; tables are left as bytes.

    Raises
    ------
    ProtocolError
        It is something else, or over a limit.
    """
    if len(packed) > OPERATION_BYTES_MAX:
        raise ProtocolError(f"an operation of {len(packed)} bytes")
    try:
        found = msgpack.unpackb(
            packed,
            use_list=False,
            strict_map_key=True,
            max_ext_len=0,
            max_array_len=KEYS_MAX,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"this is no operation: {error}") from error
    if type(found) is not tuple or len(found) < 2:
        raise ProtocolError("this is no operation")
    kind, client, *body = found
    wrong = _wrong(kind, client, tuple(body))
    if wrong:
        raise ProtocolError(wrong)
    return Operation(kind, client, tuple(body))


def _wrong(kind: object, client: object, body: tuple[Any, ...]) -> str:
    known = KINDS.get(kind) if type(kind) is int else None
    if known is None:
        return f"an operation of a kind that is not known here: {shown(kind)}"
    if type(client) is not str or len(client) > CLIENT_LENGTH_MAX:
        return f"a client's id has up to {CLIENT_LENGTH_MAX} characters"
    why = known.body_wrong(body)
    return f"{known.name} {why}" if why else ""
