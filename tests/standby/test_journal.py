"""Journals: what is written as records is read as it was, whole or not at all."""

from __future__ import annotations

import pytest

from dtf_dask.errors import ProtocolError
from dtf_dask.standby.journal import (
    PART_BYTES_MAX,
    Batch,
    JournalReader,
    batches,
    key_of,
    number_of,
    parts_of,
)


def records(first: int, *operations: bytes) -> list[tuple[str, bytes]]:
    parts = parts_of(5.0, operations)
    return [(key_of(first + at), part) for at, part in enumerate(parts)]


def test_a_batch_is_read_as_it_was_written() -> None:
    """Small ones are one record; large ones are parts, none over the limit."""
    large = bytes(range(256)) * 8_192
    small, cut = records(1, b"a", b"b"), records(2, large, b"c")
    assert len(small) == 1
    assert len(cut) == 5
    assert max(len(value) for _, value in cut) <= PART_BYTES_MAX + 1
    assert list(batches([*reversed(cut), *small])) == [
        Batch(1, 1, 5.0, (b"a", b"b")),
        Batch(2, 5, 5.0, (large, b"c")),
    ]


def test_a_batch_without_its_end_is_none() -> None:
    """Its leader died: what the next one wrote is read; the rest is told of."""
    cut = records(1, b"x" * 3 * PART_BYTES_MAX)
    reader = JournalReader()
    for key, value in cut[:-1]:
        assert reader.read(number_of(key), value) is None
    assert list(reader.unfinished) == [1, 2, 3]
    (after,) = records(4, b"y")
    assert list(batches([*cut[:-1], after])) == [Batch(4, 1, 5.0, (b"y",))]
    assert list(batches([*cut[1:], (key_of(9), after[1])])) == [
        Batch(9, 1, 5.0, (b"y",))
    ]


@pytest.mark.parametrize("value", [b"", b"\0", b"\7x", b"\0\x93\xff\x01\x90"])
def test_what_is_no_journal_is_refused(value: bytes) -> None:
    """A leader that read something else into it would lose what was acknowledged."""
    with pytest.raises(ProtocolError):
        list(batches([(key_of(1), value)]))
    with pytest.raises(ProtocolError):
        number_of("j/1")
