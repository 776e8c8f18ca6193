"""The log over a storage that lags behind it, against a plain list; windows; limits."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.ha.raft.inflights import Inflights
from dtf_dask.ha.raft.log import Log
from dtf_dask.ha.raft.messages import Entry, EntryKind, Snapshot, SnapshotPoint
from dtf_dask.ha.raft.storage import (
    ENTRY_BYTES,
    MemoryStorage,
    entries_bytes,
    high_within,
    limited,
)

UNLIMITED = 2**63 - 1
START = SnapshotPoint(5, 1)


def fresh() -> tuple[MemoryStorage, Log]:
    storage = MemoryStorage()
    storage.restore(Snapshot(START))
    return storage, Log(storage, UNLIMITED)


def entry(term: int, index: int, payload: bytes = b"") -> Entry:
    return Entry(term, index, EntryKind.NORMAL, payload)


operations = st.lists(
    st.one_of(
        # from how many before the end, and how many new ones
        st.tuples(st.just("append"), st.integers(0, 4), st.integers(1, 4)),
        st.tuples(st.just("accept"), st.just(0), st.just(0)),
        st.tuples(st.just("store"), st.just(0), st.just(0)),
        st.tuples(st.just("commit"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("compact"), st.integers(1, 3), st.just(0)),
    ),
    max_size=40,
)


@given(operations)
def test_a_log_is_one_list_however_far_the_disk_is(
    steps: list[tuple[str, int, int]],
) -> None:
    """Replaced, written late, compacted: it reads as what was taken up last."""
    storage, log = fresh()
    model: list[Entry] = []
    term = 1
    writing: deque[tuple[list[Entry], int, int]] = deque()
    for what, first, count in steps:
        last = START.index + len(model)
        if what == "append":
            term += 1
            low = max(last - first, log.commit) + 1
            new = [entry(term, low + i, b"%d" % term) for i in range(count)]
            log.append(new)
            model[low - START.index - 1 :] = new
        elif what == "accept":
            entries = log.unstable.next_entries()
            log.unstable.accept()
            if entries:
                writing.append((entries, entries[-1].index, entries[-1].term))
        elif what == "store" and writing:
            entries, index, written_term = writing.popleft()
            storage.append(entries)
            log.unstable.stored(index, written_term)
        elif what == "commit":
            log.commit = min(log.commit + first, last)
        elif what == "compact":
            on_disk = min(log.commit, log.unstable.offset - 1)
            storage.compact(min(storage.start.index + first, on_disk))
        check(log, model)


def check(log: Log, model: list[Entry]) -> None:
    """Every index and every range is as the list says, where it is still held."""
    last = START.index + len(model)
    assert log.last_index() == last
    first = log.first_index()
    for index in range(first - 1, last + 1):
        expected = START.term
        if index > START.index:
            expected = model[index - START.index - 1].term
        assert log.term(index) == expected
    assert log.term(last + 1) is None
    assert log.term(first - 2) is None
    for low in range(first, last + 2):
        held = model[low - START.index - 1 :]
        assert list(log.slice(low, last + 1, UNLIMITED) or ()) == held
        page = log.page(low, UNLIMITED)
        assert page is not None
        assert list(page[0]) == held
        short = log.slice(low, last + 1, 2 * ENTRY_BYTES + 5) or ()
        assert list(short) == held[: len(short)]
        assert len(short) >= min(len(held), 1)
        assert entries_bytes(short) <= 2 * ENTRY_BYTES + 5 or len(short) == 1
    if first - 1 > START.index:
        assert log.slice(first - 1, last + 1, UNLIMITED) is None


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=8).map(sorted),
    st.lists(st.integers(1, 5), min_size=1, max_size=8).map(sorted),
)
def test_entries_conflict_where_their_terms_first_differ(
    here: list[int], there: list[int]
) -> None:
    """By comparison one by one, over what is here and beyond."""
    _, log = fresh()
    log.append([entry(term, 6 + i) for i, term in enumerate(here)])
    incoming = [entry(term, 6 + i) for i, term in enumerate(there)]
    expected = None
    for i, term in enumerate(there):
        if i >= len(here) or here[i] != term:
            expected = 6 + i
            break
    assert log.conflict(incoming) == expected


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=10).map(sorted),
    st.integers(0, 14),
    st.integers(0, 6),
)
def test_the_logs_agree_nowhere_after_the_hint(
    terms: list[int], index: int, term: int
) -> None:
    """The hint is the last entry that is not of a later term; all after it are."""
    _, log = fresh()
    log.append([entry(one, 6 + i) for i, one in enumerate(terms)])
    index = min(index, log.last_index())
    hint, hint_term = log.agreement_before(index, term)
    assert hint <= index
    for after in range(max(hint + 1, 5), index + 1):
        assert (log.term(after) or 0) > term
    if hint_term:
        assert log.term(hint) == hint_term <= term
    else:
        assert log.term(hint) is None or hint == 0


def test_what_was_replaced_while_it_was_written_is_not_on_disk() -> None:
    """The storage answers late, for an entry of the same index and another term."""
    _, log = fresh()
    log.append([entry(2, 6), entry(2, 7)])
    log.unstable.accept()
    log.append([entry(3, 7)])
    assert not log.unstable.stored(7, 2)
    assert log.unstable.next_entries() == [entry(3, 7)]
    assert log.unstable.stored(6, 2)
    assert log.unstable.entries == [entry(3, 7)]
    assert not log.unstable.stored(6, 2)


def test_what_is_handed_out_is_not_handed_out_again() -> None:
    """Portions follow on to each other, and stop at the limit until some is applied."""
    _, log = fresh()
    log.apply_bytes_max = 2 * ENTRY_BYTES
    log.append([entry(1, 6 + i) for i in range(5)])
    log.commit = 10
    first = log.next_committed(unstable=True)
    assert [one.index for one in first] == [6, 7]
    log.accept_applying(first, unstable=True)
    assert not log.has_committed(unstable=True)
    assert log.next_committed(unstable=True) == ()
    log.applied_to(7, entries_bytes(first))
    assert [one.index for one in log.next_committed(unstable=True)] == [8, 9]


def test_nothing_is_handed_out_while_the_limit_is_reached() -> None:
    """Everything was handed out and fills the limit: what is committed then waits."""
    _, log = fresh()
    log.apply_bytes_max = 2 * ENTRY_BYTES
    log.append([entry(1, 6), entry(1, 7), entry(1, 8)])
    log.commit = 7
    log.accept_applying(log.next_committed(unstable=True), unstable=True)
    log.commit = 8
    assert not log.has_committed(unstable=True)
    log.applied_to(6, ENTRY_BYTES)
    assert [one.index for one in log.next_committed(unstable=True)] == [8]


def test_what_is_not_on_disk_is_not_applied_with_asynchronous_storage() -> None:
    """Committed by others, it may still be lost here."""
    storage, log = fresh()
    log.append([entry(1, 6), entry(1, 7)])
    log.commit = 7
    assert not log.has_committed(unstable=False)
    log.unstable.accept()
    storage.append([entry(1, 6)])
    log.unstable.stored(6, 1)
    assert [one.index for one in log.next_committed(unstable=False)] == [6]


def test_changes_of_the_configuration_are_found() -> None:
    """In the range and not outside of it; what cannot be read may be one."""
    _, log = fresh()
    log.append([entry(1, 6), Entry(1, 7, EntryKind.CONFIG_CHANGE, b"x"), entry(1, 8)])
    assert log.has_config_change(6, 9)
    assert log.has_config_change(7, 8)
    assert not log.has_config_change(6, 7)
    assert not log.has_config_change(8, 9)
    assert not log.has_config_change(7, 7)
    assert log.has_config_change(4, 6)


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 300))
def test_the_first_entries_that_fit_and_at_least_one(
    sizes: list[int], bytes_max: int
) -> None:
    """No more than the limit, and no fewer than could be."""
    entries = [entry(1, i, bytes(size)) for i, size in enumerate(sizes)]
    taken = limited(entries, bytes_max)
    assert list(taken) == entries[: len(taken)]
    assert len(taken) >= min(len(entries), 1)
    assert entries_bytes(taken) <= bytes_max or len(taken) == 1
    if len(taken) < len(entries):
        assert entries_bytes(entries[: len(taken) + 1]) > bytes_max
    clipped = entries[: high_within(0, len(entries), bytes_max)]
    assert limited(clipped, bytes_max) == taken


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 10)), max_size=40),
    st.integers(1, 5),
    st.integers(0, 20),
)
def test_a_window_counts_what_is_not_acknowledged(
    steps: list[tuple[bool, int]], messages_max: int, bytes_max: int
) -> None:
    """Against a list of what is on its way."""
    window = Inflights(messages_max, bytes_max)
    model: list[tuple[int, int]] = []
    index = 0
    for adds, amount in steps:
        if adds:
            index += amount
            window.add(index, amount)
            model.append((index, amount))
        else:
            acknowledged = index - amount
            window.acknowledge(acknowledged)
            model = [one for one in model if one[0] > acknowledged]
        size = sum(one[1] for one in model)
        assert (len(window), window.bytes) == (len(model), size)
        over = bool(bytes_max) and size >= bytes_max
        assert window.full == (len(model) >= messages_max or over)
    window.clear()
    assert (len(window), window.bytes, window.full) == (0, 0, False)


def test_a_storage_in_memory_has_no_gaps() -> None:
    """What would leave one is refused; what is compacted already is passed over."""
    storage, _ = fresh()
    with pytest.raises(ValueError, match="no entries before 8"):
        storage.append([entry(1, 8)])
    storage.append([entry(1, 6), entry(1, 7), entry(1, 8)])
    storage.compact(7)
    with pytest.raises(ValueError, match="nothing is held at 9"):
        storage.compact(9)
    storage.append([entry(2, 7), entry(2, 8)])
    assert (storage.first_index(), storage.last_index()) == (8, 8)
    assert storage.term(8) == 2
    storage.append([entry(3, 6), entry(3, 7)])
    assert storage.term(8) == 2
    assert not storage.restore(Snapshot(START))
    assert storage.restore(Snapshot(SnapshotPoint(20, 4)))
    assert (storage.first_index(), storage.last_index()) == (21, 20)
    assert storage.term(20) == 4
