"""The commands that a ledger knows: one row each, and nothing else decides. Pure.

To add a kind, raise `VERSION`, and add a row with a new number that is ``since`` then:
a node of an older version stops where the new kind first appears, rather than pass it
over. Until somebody uses it, nodes of both versions take part in one cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.records import Records
from dtf_dask.ha.ledger.references import Reference, reference_wrong
from dtf_dask.ha.ledger.sessions import Sessions

VERSION = 3
"""Of the set of commands and of what they do."""

NAMESPACE_CHARS_MAX = 128
KEY_CHARS_MAX = 1_024
VALUE_BYTES_MAX = 2**20
SESSION_ID_CHARS_MAX = 64
TTL_MS_MIN, TTL_MS_MAX = 1_000, 7 * 86_400_000
NUMBER_MAX = 2**63 - 1

SESSION_OPEN, SESSION_CLOSE, SESSION_RENEW = 1, 2, 3
PUT, DELETE, COMPARE_AND_SET = 16, 17, 18
PUT_CONTENT, COMPARE_AND_SET_CONTENT = 19, 20

REFERRING = frozenset({PUT_CONTENT, COMPARE_AND_SET_CONTENT})
"""Those that end in a digest and a size: see `Reference`."""


OF_RECORDS = REFERRING | {PUT, DELETE, COMPARE_AND_SET}
"""Those whose first argument is a namespace, the second a key."""


class Stage(Protocol):
    """What commands act on."""

    time_ms: int
    records: Records
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of command.

    Parameters
    ----------
    name : str
        What it is called where people read it.
    arguments : callable
        What is wrong with the arguments, in words; None if nothing is.
    apply : callable
        Carries it out: the stage, the id of the session, the arguments.
    numbered : bool
        Whether it can be a numbered command of a session, and so be done once.
    since : int
        The first version that knows it, or that does what it does now.
    """

    name: str
    arguments: Callable[[tuple[Any, ...]], str | None]
    apply: Callable[[Any, str, tuple[Any, ...]], Outcome]
    numbered: bool = True
    since: int = 3


def _key_wrong(namespace: object, key: object) -> str | None:
    if type(namespace) is not str or not 0 < len(namespace) <= NAMESPACE_CHARS_MAX:
        return f"a namespace is a name of 1 to {NAMESPACE_CHARS_MAX} characters"
    if type(key) is not str or not 0 < len(key) <= KEY_CHARS_MAX:
        return f"a key has 1 to {KEY_CHARS_MAX} characters"
    return None


def _value_wrong(value: object) -> str | None:
    if type(value) is not bytes or len(value) > VALUE_BYTES_MAX:
        return f"a value is at most {VALUE_BYTES_MAX} bytes"
    return None


def _put_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 3:
        return "put takes a namespace, a key and a value"
    namespace, key, value = arguments
    if (
        type(namespace) is type(key) is str
        and type(value) is bytes
        and 0 < len(namespace) <= NAMESPACE_CHARS_MAX
        and 0 < len(key) <= KEY_CHARS_MAX
        and len(value) <= VALUE_BYTES_MAX
    ):
        return None  # asked of every write on every node: the words are for others
    return _key_wrong(namespace, key) or _value_wrong(value)


def _delete_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 2:
        return "delete takes a namespace and a key"
    return _key_wrong(*arguments)


def _compare_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 4:
        return "compare_and_set takes a namespace, a key, a revision and a value"
    namespace, key, expected, value = arguments
    if type(expected) is not int or not 0 <= expected <= NUMBER_MAX:
        return "a revision is a number from 0 on"
    wrong = _key_wrong(namespace, key)
    return wrong or (None if value is None else _value_wrong(value))


def _put_content_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 4:
        return "put_content takes a namespace, a key, a digest and a size"
    return _key_wrong(*arguments[:2]) or reference_wrong(*arguments[2:])


def _compare_content_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 5:
        return (
            "compare_and_set_content takes a namespace, a key, a revision, a digest"
            " and a size"
        )
    return _compare_wrong((*arguments[:3], None)) or reference_wrong(*arguments[3:])


def _open_wrong(arguments: tuple[Any, ...]) -> str | None:
    if len(arguments) != 1:
        return "session_open takes a time to live"
    (ttl_ms,) = arguments
    if type(ttl_ms) is not int or not TTL_MS_MIN <= ttl_ms <= TTL_MS_MAX:
        return f"a session lives {TTL_MS_MIN} to {TTL_MS_MAX} ms"
    return None


def _close_wrong(arguments: tuple[Any, ...]) -> str | None:
    return "session_close takes nothing" if arguments else None


def _renew_wrong(arguments: tuple[Any, ...]) -> str | None:
    return "session_renew takes nothing" if arguments else None


def _put(stage: Stage, _: str, arguments: tuple[str, str, bytes]) -> Outcome:
    return stage.records.put(*arguments)


def _delete(stage: Stage, _: str, arguments: tuple[str, str]) -> Outcome:
    return stage.records.delete(*arguments)


def _compare(
    stage: Stage, _: str, arguments: tuple[str, str, int, bytes | None]
) -> Outcome:
    return stage.records.compare_and_set(*arguments)


def _put_content(
    stage: Stage, _: str, arguments: tuple[str, str, bytes, int]
) -> Outcome:
    namespace, key, digest, size = arguments
    return stage.records.put(namespace, key, Reference(digest, size))


def _compare_content(
    stage: Stage, _: str, arguments: tuple[str, str, int, bytes, int]
) -> Outcome:
    namespace, key, expected, digest, size = arguments
    reference = Reference(digest, size)
    return stage.records.compare_and_set(namespace, key, expected, reference)


def _open(stage: Stage, session_id: str, arguments: tuple[int]) -> Outcome:
    return stage.sessions.begin(session_id, arguments[0], stage.time_ms)


def _close(stage: Stage, session_id: str, _: tuple[()]) -> Outcome:
    return stage.sessions.close(session_id)


def _renew(_: Stage, __: str, ___: tuple[()]) -> Outcome:
    return Outcome(Code.OK)  # a numbered command prolongs its session, as all of them


KINDS: dict[int, Kind] = {
    SESSION_OPEN: Kind("session_open", _open_wrong, _open, numbered=False),
    SESSION_CLOSE: Kind("session_close", _close_wrong, _close, numbered=False),
    SESSION_RENEW: Kind("session_renew", _renew_wrong, _renew),
    PUT: Kind("put", _put_wrong, _put),
    DELETE: Kind("delete", _delete_wrong, _delete),
    COMPARE_AND_SET: Kind("compare_and_set", _compare_wrong, _compare),
    PUT_CONTENT: Kind("put_content", _put_content_wrong, _put_content),
    COMPARE_AND_SET_CONTENT: Kind(
        "compare_and_set_content", _compare_content_wrong, _compare_content
    ),
}
