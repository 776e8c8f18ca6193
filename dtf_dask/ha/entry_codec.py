"""Entries of the log to bytes and back, in a disk's records and in messages. Pure.

Written by the column, so that none of it is a loop in Python: terms as runs, kinds only
where one is not normal, lengths, payloads. Indexes follow each other, or are all 0 (of
entries that are proposed, and have none yet).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise, repeat

from dtf_dask.ha.raft.messages import NUMBER_MAX, Entry, EntryKind

_HEAD = struct.Struct("<BQII")
_RUN = struct.Struct("<QI")
_HAS_KINDS = 1
_KINDS = tuple(EntryKind)


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """One or more entries as bytes.

    Raises
    ------
    ValueError
        Their indexes neither follow each other nor are all 0.

    Examples
    --------
    >>> entries = [Entry(2, index, EntryKind.NORMAL, b"x") for index in (7, 8)]
    >>> decode_entries(encode_entries(entries)) == entries
    True
    """
    terms, indexes, kinds, payloads = zip(*entries, strict=True)
    first, count = indexes[0], len(indexes)
    if indexes != (tuple(range(first, first + count)) if first else (0,) * count):
        raise ValueError("the indexes of entries do not follow each other")
    flags = 0
    parts: list[bytes] = [b""]
    if terms.count(terms[0]) == count:
        parts.append(_RUN.pack(terms[0], count))
    else:
        for term, same in groupby(terms):
            parts.append(_RUN.pack(term, len(list(same))))
    runs = len(parts) - 1
    kind_bytes = bytes(kinds)
    if kind_bytes.count(0) != count:
        flags |= _HAS_KINDS
        parts.append(kind_bytes)
    parts.append(struct.pack(f"<{count}I", *map(len, payloads)))
    parts += payloads
    parts[0] = _HEAD.pack(flags, first, count, runs)
    return b"".join(parts)


def entries_span(encoded: bytes, at: int = 0) -> tuple[int, int]:
    """The first index and the number of encoded entries, without reading them."""
    try:
        _, first, count, _ = _HEAD.unpack_from(encoded, at)
    except struct.error as error:
        raise ValueError("entries without a head") from error
    return first, count


def decode_entries(encoded: bytes, at: int = 0) -> list[Entry]:
    """The entries that `encode_entries` wrote, from an offset to the end.

    Raises
    ------
    ValueError
        It is anything else. No more memory is taken than the bytes are long.
    """
    end = len(encoded)
    try:
        flags, first, count, runs = _HEAD.unpack_from(encoded, at)
        at += _HEAD.size
        if not count or flags > 1 or 4 * count + _RUN.size * runs > end - at:
            raise ValueError("entries that are shorter than they claim")
        if first + count > NUMBER_MAX:
            raise ValueError("an index over the limit")
        terms: list[int] = []
        for _ in range(runs):
            term, same = _RUN.unpack_from(encoded, at)
            if term > NUMBER_MAX or len(terms) + same > count:
                raise ValueError("a term over the limit, or of too many entries")
            terms += [term] * same
            at += _RUN.size
        kinds: Sequence[EntryKind] = [EntryKind.NORMAL] * count
        if flags & _HAS_KINDS:
            kinds = [_KINDS[kind] for kind in encoded[at : at + count]]
            at += count
        lengths = struct.unpack_from(f"<{count}I", encoded, at)
        ends = list(accumulate(lengths, initial=at + 4 * count))
        if ends[-1] != end:
            raise ValueError("entries that are longer or shorter than they claim")
        payloads = [encoded[start:stop] for start, stop in pairwise(ends)]
        indexes = range(first, first + count) if first else repeat(0, count)
        lines = zip(terms, indexes, kinds, payloads, strict=True)
        # As `Entry(...)`, at a third of the time: a log is read by the million.
        return list(map(tuple.__new__, repeat(Entry), lines))
    except (IndexError, struct.error) as error:
        raise ValueError(f"entries that make no sense: {error}") from error
