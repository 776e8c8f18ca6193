"""What can be asked of the records, and how an answer looks. Pure."""

from __future__ import annotations

from typing import NamedTuple

from dtf_dask.ha.ledger.records import Record

SCAN_LIMIT_MAX = 10_000


class Get(NamedTuple):
    """One record."""

    namespace: str
    key: str


class Scan(NamedTuple):
    """Records of keys that begin with a prefix, in the order of keys.

    To go on where an answer with ``more`` ended, ask ``after`` its last key.
    """

    namespace: str
    prefix: str = ""
    after: str | None = None
    limit: int = 1_000


Query = Get | Scan


class Answer(NamedTuple):
    """Records as of the last entry applied, and whether there are more of them.

    An answer that holds megabytes ends early, with ``more``.
    """

    applied: int
    time_ms: int
    records: tuple[tuple[str, Record], ...]
    more: bool


def query_wrong(query: Query) -> str | None:
    """What is wrong with a query from outside; None if nothing is."""
    if type(query.namespace) is not str:
        return "a namespace is a name"
    if isinstance(query, Get):
        return None if type(query.key) is str else "a key is text"
    if type(query.prefix) is not str:
        return "a prefix is text"
    if query.after is not None and type(query.after) is not str:
        return "the key to begin after is text"
    if type(query.limit) is not int or not 0 < query.limit <= SCAN_LIMIT_MAX:
        return f"a limit is a number from 1 to {SCAN_LIMIT_MAX}"
    return None
