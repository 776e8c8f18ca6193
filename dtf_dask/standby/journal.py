"""The journal of a scheduler as records of the ledger, and back. Pure.

A record holds a batch of operations and the time at which the leader wrote it. What is
too large for one record is cut into parts, which are records with numbers of their own:
the first byte of a value says what it is. A journal of which the last parts are missing
ends before them: nobody was told that they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgpack

from dtf_dask.durable.operations import VERSION, version_of
from dtf_dask.errors import ProtocolError
from dtf_dask.submission.table import shown

PREFIX = "j/"
_DIGITS = 20
PART_BYTES_MAX = 512 * 1024
WHOLE, BEGINS, GOES_ON, ENDS = b"\0", b"\1", b"\2", b"\3"
BATCH_OPERATIONS_MAX = 4_000
APART_S = 1e-6
"""Operations of a batch stand in their order as if each had come so much later."""
_TERM_BITS = 36
_OLDEST, _SAYS_TIMES = 1, 2


class Batch(NamedTuple):
    """Operations that were written together.

    Parameters
    ----------
    number
        Of the first record that holds it.
    records
        How many it takes.
    at_s
        When the leader wrote it, in seconds since 1970.
    operations
        As `dtf_dask.durable.operations` packs them.
    times
        When each stood in its place, where others beside it are gone.
    """

    number: int
    records: int
    at_s: float
    operations: tuple[bytes, ...]
    times: tuple[float, ...] = ()

    def time_of(self, place: int) -> float:
        """When the operation at a place was written: no two have the same time."""
        return self.times[place] if self.times else self.at_s + place * APART_S


class Remaining:
    """What is left of a record, which is gone through from its beginning.

    Operations may be alike: those that the record has times of are known by them.

    Examples
    --------
    >>> left = Remaining((b"same",), (2.0,))
    >>> left.holds(b"same", 1.0), left.holds(b"same", 2.0), left.holds(b"same", 3.0)
    (False, True, False)
    """

    def __init__(
        self, operations: Sequence[bytes] = (), times: Sequence[float] = ()
    ) -> None:
        self._operations, self._times = operations, times
        self._at = 0

    def holds(self, packed: bytes, at_s: float) -> bool:
        """Whether the next operation, which was written at this time, is left."""
        at = self._at
        if at == len(self._operations) or self._operations[at] != packed:
            return False
        if self._times and self._times[at] != at_s:
            return False
        self._at += 1
        return True


def first_number(term: int) -> int:
    """Of the records that the leader of a term writes.

    No two leaders ever use the same: who has acted on a record, which was removed then,
    would take one of the same number for it.
    """
    return term << _TERM_BITS


def term_begins(number: int) -> int:
    """The first number of the term in which a record of this number was written."""
    return first_number(number >> _TERM_BITS)


def key_of(number: int) -> str:
    """The key of the record with a number.

    Examples
    --------
    >>> key_of(7)
    'j/00000000000000000007'
    >>> number_of(key_of(7))
    7
    """
    return f"{PREFIX}{number:0{_DIGITS}}"


def number_of(key: str) -> int:
    """The number of a record of the journal.

    Raises
    ------
    ProtocolError
        It is none.
    """
    digits = key.removeprefix(PREFIX)
    if len(key) != len(PREFIX) + _DIGITS or not digits.isdecimal():
        raise ProtocolError(f"{key[:60]!r} is no record of a journal")
    return int(digits)


def parts_of(
    at_s: float, operations: Sequence[bytes], times: Sequence[float] = ()
) -> list[bytes]:
    """Values of the records that hold a batch, in their order; see `Batch`."""
    more = (list(times),) if times else ()
    oldest = _SAYS_TIMES if times else _OLDEST
    version = max(map(version_of, operations), default=oldest)
    body: bytes = msgpack.packb((max(version, oldest), at_s, list(operations), *more))
    if len(body) < PART_BYTES_MAX:
        return [WHOLE + body]
    cut = [body[at : at + PART_BYTES_MAX] for at in range(0, len(body), PART_BYTES_MAX)]
    marks = [BEGINS, *[GOES_ON] * (len(cut) - 2), ENDS]
    return [mark + part for mark, part in zip(marks, cut, strict=True)]


class JournalReader:
    """Makes batches of records, which are given in the order of their numbers."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._begun_at = 0

    @property
    def unfinished(self) -> range:
        """Numbers of records of a batch whose end has not come."""
        return range(self._begun_at, self._begun_at + len(self._begun))

    def read(self, number: int, value: bytes) -> Batch | None:
        """Take in a record; answers a batch if it is whole now.

        A batch of which another begins before its end is none: its leader died.

        Raises
        ------
        ProtocolError
            It is no record of a journal, or one of another version.
        """
        mark, body = value[:1], value[1:]
        if mark in (WHOLE, BEGINS):
            self._begun, self._begun_at = [body], number
        elif mark in (GOES_ON, ENDS):
            if not self._begun or number != self.unfinished.stop:
                self._begun = []  # parts of a batch that is given up
                return None
            self._begun.append(body)
        else:
            raise ProtocolError("a record of the journal that is none")
        if mark in (BEGINS, GOES_ON):
            return None
        parts, self._begun = self._begun, []
        return _batch(self._begun_at, len(parts), b"".join(parts))


def batches(records: Iterable[tuple[str, bytes]]) -> Iterator[Batch]:
    """Batches of a journal's records, whatever order they are in."""
    reader = JournalReader()
    for number, value in sorted((number_of(key), value) for key, value in records):
        batch = reader.read(number, value)
        if batch is not None:
            yield batch


def _batch(number: int, count: int, body: bytes) -> Batch:
    try:
        found = msgpack.unpackb(body, use_list=False, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a record of the journal: {error}") from error
    if type(found) is not tuple or not found:
        raise ProtocolError(f"record {number} of the journal makes no sense")
    if found[0] not in range(_OLDEST, VERSION + 1):
        raise ProtocolError(
            f"record {number} of the journal is of version {shown(found[0])}, and this"
            f" process reads {VERSION}: run the same version of dtf on all nodes"
        )
    if (
        len(found) not in (3, 4)
        or type(found[1]) is not float
        or type(found[2]) is not tuple
        or any(type(one) is not bytes for one in found[2])
        or not _are_times(found[3:], len(found[2]))
    ):
        raise ProtocolError(f"record {number} of the journal makes no sense")
    return Batch(number, count, *found[1:])


def _are_times(more: tuple[Any, ...], count: int) -> bool:
    return not more or (
        type(more[0]) is tuple
        and len(more[0]) == count
        and all(type(one) is float for one in more[0])
    )
