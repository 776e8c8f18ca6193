"""What clients of the ledger ask its nodes, and the answers, as frames. Pure.

A request is ``[number, op, *arguments]``, an answer ``[number, status, *values]``. The
number is the client's own: answers come as they are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.ledger.entries import COMMAND_BYTES_MAX, ENTRY_COMMANDS_MAX
from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.kinds import NUMBER_MAX
from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.queries import Answer, Get, Query, Scan, query_wrong
from dtf_dask.ha.ledger.records import Change, Record
from dtf_dask.ha.ledger.references import decode_value, reference_wrong

QUERIES_MAX = 1_000
TIMEOUT_MS_MAX = 3_600_000
HOST_CHARS_MAX = 255
CONTENT_CHUNK_BYTES_MAX = 2**20

_CODES = {int(code): code for code in Code}

_new = tuple.__new__
"""Of a named tuple, at a fraction of its price: answers come by the ten thousand."""


class Op(IntEnum):
    """What is asked."""

    PROPOSE = 1
    READ = 2
    STATUS = 3
    FOLLOW = 4
    SNAPSHOT = 5
    TRANSFER = 6
    ADD = 7
    REMOVE = 8
    HASH = 9
    CONTENT_ADD = 10
    CONTENT_KEEP = 11
    CONTENT_READ = 12


class Status(IntEnum):
    """How it was answered."""

    OK = 0
    NOT_DONE = 1
    """Nothing was done: another node may do it, or this one later."""
    UNKNOWN = 2
    """Nobody can say whether it was done."""
    WRONG = 3
    """It makes no sense: nobody will do it."""


class Request(NamedTuple):
    """One request; ``arguments`` are as `ARGUMENTS` says, checked."""

    number: int
    op: Op
    arguments: tuple[Any, ...]


def encode_request(number: int, op: Op, *arguments: Any) -> bytes:
    """A request as the body of a frame."""
    packed: bytes = msgpack.packb((number, int(op), *arguments))
    return packed


def encode_answer(number: int, status: Status, *values: Any) -> bytes:
    """An answer as the body of a frame."""
    packed: bytes = msgpack.packb((number, int(status), *values))
    return packed


def decode_request(body: bytes) -> Request:
    """What `encode_request` made; `ProtocolError` for anything else."""
    words = _words(body)
    if len(words) < 2 or type(words[0]) is not int or not 0 <= words[0] <= NUMBER_MAX:
        raise ProtocolError("a request has a number and what is asked")
    number, op, *rest = words
    if type(op) is not int or op not in _CHECKS:
        raise ProtocolError(f"a request of a kind that this node does not know: {op!r}")
    arguments = tuple(rest)
    if not _CHECKS[op](arguments):
        raise ProtocolError(f"a request to {Op(op).name} with wrong arguments")
    return Request(number, Op(op), arguments)


def decode_answer(body: bytes) -> tuple[int, Status, tuple[Any, ...]]:
    """What `encode_answer` made; `ProtocolError` for anything else."""
    words = _words(body)
    try:
        number, status, *values = words
        return int(number), Status(status), tuple(values)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"an answer that makes no sense: {error}") from error


def plain_query(query: Query) -> tuple[Any, ...]:
    """A query as msgpack holds it."""
    return (0, *query) if isinstance(query, Get) else (1, *query)


def decode_query(plain: Any) -> Query | str:
    """A query, or what is wrong with it."""
    if type(plain) is not tuple or len(plain) not in (3, 5):
        return "a query is an array"
    if len(plain) == 3 and plain[0] == 0 and type(plain[1]) is type(plain[2]) is str:
        return _new(Get, plain[1:])
    query: Query = Get(*plain[1:]) if len(plain) == 3 else Scan(*plain[1:])
    if plain[0] != isinstance(query, Scan):
        return "a query of a kind that this node does not know"
    return query_wrong(query) or query


def plain_outcomes(outcomes: Sequence[Outcome]) -> list[tuple[int, Any]]:
    """Outcomes as msgpack holds them."""
    return [(int(code), value) for code, value in outcomes]


def decode_outcomes(plain: Sequence[tuple[int, Any]]) -> list[Outcome]:
    """Outcomes from an answer."""
    codes = _CODES
    return [_new(Outcome, (codes[code], value)) for code, value in plain]


def decode_answered(plain: tuple[Any, ...]) -> Answer:
    """The answer to a query, from an answer."""
    applied, time_ms, records, more = plain
    found = []
    for key, (value, revision) in records:
        if type(value) is not bytes:
            value = decode_value(value)
        found.append((key, _new(Record, (value, revision))))
    return _new(Answer, (applied, time_ms, tuple(found), more))


def plain_changes(found: Changes | Compacted) -> tuple[Any, ...]:
    """What came after an index, as msgpack holds it."""
    if isinstance(found, Compacted):
        return (True, found.restart_at, ())
    return (False, found.upto, found.changes)


def decode_changes(plain: tuple[Any, ...]) -> Changes | Compacted:
    """What came after an index, from an answer."""
    compacted, index, changes = plain
    if compacted:
        return Compacted(index)
    return Changes(tuple(map(_decode_change, changes)), index)


def _decode_change(plain: tuple[Any, ...]) -> Change:
    namespace, key, value, revision = plain
    decoded = None if value is None else decode_value(value)
    return Change(namespace, key, decoded, revision)


def _words(body: bytes) -> tuple[Any, ...]:
    try:
        words = msgpack.unpackb(body, use_list=False, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a frame that cannot be read: {error}") from error
    if type(words) is not tuple:
        raise ProtocolError("a frame that holds no array")
    return words


def as_timeout_ms(limit_s: float) -> int:
    """A time as requests have it: no node takes a longer one than an hour.

    Examples
    --------
    >>> as_timeout_ms(0.25), as_timeout_ms(86_400.0), as_timeout_ms(-1.0)
    (250, 3600000, 0)
    """
    return int(max(0.0, min(limit_s * 1_000, TIMEOUT_MS_MAX)))


def _timeout(value: Any) -> bool:
    return type(value) is int and 0 <= value <= TIMEOUT_MS_MAX


def _proposes(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 2 or type(arguments[0]) is not tuple:
        return False
    commands, timeout_ms = arguments
    return (
        _timeout(timeout_ms)
        and 0 < len(commands) <= ENTRY_COMMANDS_MAX
        and all(type(one) is bytes for one in commands)
        and sum(map(len, commands)) <= COMMAND_BYTES_MAX
    )


def _reads(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 3 or type(arguments[0]) is not tuple:
        return False
    queries, timeout_ms, stale_ms = arguments
    return (
        _timeout(timeout_ms)
        and (stale_ms is None or _timeout(stale_ms))
        and 0 < len(queries) <= QUERIES_MAX
    )


def _follows(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 4:
        return False
    namespace, prefix, after, timeout_ms = arguments
    return (
        type(namespace) is str
        and type(prefix) is str
        and type(after) is int
        and 0 <= after <= NUMBER_MAX
        and _timeout(timeout_ms)
    )


def _names_a_node(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 2 or type(arguments[0]) is not int:
        return False
    node, timeout_ms = arguments
    return 0 < node <= NUMBER_MAX and _timeout(timeout_ms)


def _names_a_place(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 4:
        return False
    node, host, port, timeout_ms = arguments
    return (
        _names_a_node((node, timeout_ms))
        and type(host) is str
        and len(host) <= HOST_CHARS_MAX
        and type(port) is int
    )


def _adds(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 4:
        return False
    *reference, offset, chunk = arguments
    return (
        not reference_wrong(*reference)
        and type(offset) is int
        and 0 <= offset <= NUMBER_MAX
        and type(chunk) is bytes
        and len(chunk) <= CONTENT_CHUNK_BYTES_MAX
    )


def _keeps(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 3:
        return False
    *reference, timeout_ms = arguments
    return not reference_wrong(*reference) and _timeout(timeout_ms)


def _reads_content(arguments: tuple[Any, ...]) -> bool:
    if len(arguments) != 5:
        return False
    *reference, offset, length, timeout_ms = arguments
    return (
        _keeps((*reference, timeout_ms))
        and type(offset) is int
        and type(length) is int
        and 0 <= offset < reference[1]
        and 0 < length <= CONTENT_CHUNK_BYTES_MAX
    )


def _nothing(arguments: tuple[Any, ...]) -> bool:
    return not arguments


_CHECKS: dict[int, Callable[[tuple[Any, ...]], bool]] = {
    Op.PROPOSE: _proposes,
    Op.READ: _reads,
    Op.STATUS: _nothing,
    Op.FOLLOW: _follows,
    Op.SNAPSHOT: _nothing,
    Op.TRANSFER: _names_a_node,
    Op.ADD: _names_a_place,
    Op.REMOVE: _names_a_node,
    Op.HASH: _nothing,
    Op.CONTENT_ADD: _adds,
    Op.CONTENT_KEEP: _keeps,
    Op.CONTENT_READ: _reads_content,
}
