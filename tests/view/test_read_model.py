"""The read model: any order of changes, any reader, anywhere, ends with one state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import encode
from dtf_dask.view.read_model import Event, EventId, ReadModel
from dtf_dask.view.records import (
    COUNT_MAX,
    NAME_CHARS_MAX,
    PREFIX,
    SHAPES,
    VALUE_BYTES_MAX,
    Record,
    decoded,
    encoded,
    formed,
    kind_of,
    record_key,
)

Changes = list[tuple[str, bytes | None]]

names = st.sampled_from(["a", "b", "tcp://h:1", "ä\ud800", "x" * 500])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=8,
)


odd = st.sampled_from([0, 1.5, -1, None, True, "", "<b>", "x" * 300, [], {}, {1: {}}])


@st.composite
def a_record(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """One of any kind, with whatever its fields take."""
    kind = draw(st.sampled_from(sorted(SHAPES)))
    fields = {}
    for name, kept in SHAPES[kind].fields.items():
        for value in draw(st.lists(odd | plain, max_size=4)):
            with suppress(ValueError):
                fields[name] = kept.read(value)
    return kind, formed(kind, fields)


@st.composite
def a_change(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """A record that is put, is deleted, or is none."""
    kind = draw(st.sampled_from(["cluster", "class", "worker"]))
    key = PREFIX + record_key(kind, draw(names))
    what = draw(st.sampled_from(["put", "put", "gone", "broken", "strange", "other"]))
    if what == "gone":
        return key, None
    if what == "broken":
        return key, draw(st.binary(max_size=20))
    if what == "strange":
        return key, encode({"at": draw(odd), "name": draw(odd), "waiting": draw(odd)})
    if what == "other":
        return draw(st.sampled_from([PREFIX + "odd/1", PREFIX, "w/1", "x/z"])), b"1"
    number = draw(st.integers(0, 5))
    return key, encoded(formed(kind, {"at": number, "waiting": number, "new": 1}))


histories = st.lists(
    st.tuples(st.lists(a_change(), max_size=4), st.integers(0, 1)), max_size=12
)


def fold(changes: Changes) -> dict[str, Any]:
    """What there is after changes, by the plainest of ways."""
    found: dict[str, Any] = {}
    for key, value in changes:
        if not key.startswith(PREFIX):
            continue
        key = key.removeprefix(PREFIX)
        try:
            if value is None:
                raise ProtocolError("deleted")
            found[key] = decoded(kind_of(key), value)
        except ProtocolError:
            found.pop(key, None)
    return found


def entries(history: list[tuple[Changes, int]]) -> Iterator[tuple[EventId, Changes]]:
    """A history as entries of a ledger: terms never fall, indexes rise."""
    term = 1
    for index, (changes, next_term) in enumerate(history, start=1):
        term += next_term
        yield EventId(term, index), changes


def read(told: Event) -> dict[str, Any]:
    """An event as a reader has it."""
    found: dict[str, Any] = json.loads(told.json)
    return found


class Mirror:
    """What a reader has who does as he is told."""

    def __init__(self) -> None:
        self.id = ""
        self.records: dict[str, Record] = {}

    def hear(self, told: dict[str, Any]) -> None:
        """A snapshot, or an event."""
        self.id = told["id"]
        if "records" in told:
            self.records = dict(told["records"])
            return
        self.records.update(told["put"])
        for key in told["gone"]:
            self.records.pop(key, None)


def follow(model: ReadModel, mirror: Mirror) -> None:
    """What a reader does at any node, at any time."""
    since = EventId.of(mirror.id)
    events = None if since is None else model.delta(since)
    if events is None:
        mirror.hear(json.loads(model.snapshot().json))
    for event in events or ():
        mirror.hear(read(event))


@given(histories)
def test_what_is_there_is_what_was_put_last(history: list[tuple[Changes, int]]) -> None:
    """Applied in any number of steps it is the same, and what cannot be read is not."""
    model, all_changes = ReadModel(), []
    for id, changes in entries(history):
        model.apply(changes, id.term, id.index, at=0.0)
        all_changes += changes
    assert model.records() == fold(all_changes)
    told = json.loads(model.snapshot().json)
    assert told["records"] == model.records()
    assert told["id"] == str(model.id)
    for kind in SHAPES:
        assert model.count(kind) == len(list(model.of_kind(kind)))


@given(histories, st.data())
def test_a_reader_that_resumes_anywhere_ends_with_the_same(
    history: list[tuple[Changes, int]], data: st.DataObject
) -> None:
    """Two nodes take entries in other portions; a reader that wanders sees one state.

    It may be told less than there is by a node that is behind, or resume after so long
    that it must read all anew: in the end it has what is there.
    """
    kept = data.draw(st.integers(0, 4))
    nodes = [ReadModel(changes_kept_max=kept), ReadModel(changes_kept_max=kept)]
    waiting: list[list[tuple[EventId, Changes]]] = [[], []]
    mirror = Mirror()
    for entry in entries(history):
        for node, line in zip(nodes, waiting, strict=True):
            line.append(entry)
            if data.draw(st.booleans()):
                together = [one for _, changes in line for one in changes]
                id = line[-1][0]
                node.apply(together, id.term, id.index, at=1.0)
                line.clear()
        if data.draw(st.booleans()):
            follow(data.draw(st.sampled_from(nodes)), mirror)
    for node, line in zip(nodes, waiting, strict=True):
        if line:
            together = [one for _, changes in line for one in changes]
            id = line[-1][0]
            node.apply(together, id.term, id.index, at=2.0)
    last = data.draw(st.sampled_from(nodes))
    follow(last, mirror)
    assert (
        mirror.records == last.records() == fold([c for cs, _ in history for c in cs])
    )


@given(histories, st.integers(0, 3))
def test_snapshot_and_deltas_make_the_later_snapshot(
    history: list[tuple[Changes, int]], at: int
) -> None:
    """What changed since a snapshot turns it into the one of now."""
    model, mirror = ReadModel(), Mirror()
    for number, (id, changes) in enumerate(entries(history)):
        if number == at:
            mirror.hear(json.loads(model.snapshot().json))
        event = model.apply(changes, id.term, id.index, at=0.0)
        if number >= at and event is not None:
            mirror.hear(read(event))
    if len(history) > at:
        assert mirror.records == json.loads(model.snapshot().json)["records"]


def applied(count: int, *, term: int = 1, **bounds: int) -> ReadModel:
    """A model with so many changes."""
    model = ReadModel(**bounds)
    for index in range(1, count + 1):
        value = encoded(formed("class", {"name": "a", "waiting": index}))
        model.apply([(f"{PREFIX}class/a", value)], term, index * 10, at=float(index))
    return model


@pytest.mark.parametrize(
    ("since", "events"),
    [
        (EventId(1, 30), 0),
        (EventId(1, 25), 1),
        (EventId(1, 20), 1),
        (EventId(1, 0), None),  # no entry has this index
        (EventId(1, 31), None),  # the future
        (EventId(2, 20), None),  # another cluster's
        (EventId(0, 20), None),
        (EventId(2, 25), None),
    ],
)
def test_who_asks_for_what_is_not_known_reads_all_anew(
    since: EventId, events: int | None
) -> None:
    """The future, another cluster and what is long past are answered by a reset."""
    told = applied(3).delta(since)
    assert (None if told is None else len(told)) == events


@pytest.mark.parametrize(
    "bounds", [{"changes_kept_max": 3}, {"changes_bytes_max": 700}]
)
def test_what_changed_lately_is_bounded(bounds: dict[str, int]) -> None:
    """The oldest changes go, by number or bytes, and are never told in part."""
    model = applied(50, **bounds)
    known = [i for i in range(501) if model.delta(EventId(1, i)) is not None]
    assert known[-1] == 500
    assert known == list(range(known[0], 501))
    assert 10 <= 500 - known[0] <= 50
    told = model.delta(EventId(1, known[0]))
    assert told is not None
    assert [one.id.index for one in told] == list(range(known[0] + 10, 501, 10))


def test_readers_share_what_is_encoded() -> None:
    """An event, and a snapshot between two changes, are encoded once."""
    model = applied(2)
    assert model.snapshot() is model.snapshot()
    first, second = model.delta(EventId(1, 10)), model.delta(EventId(1, 10))
    assert first is not None
    assert second is not None
    assert first[0].json is second[0].json


def test_time_does_not_go_back() -> None:
    """A node that applies what is older is told so: its events would lie."""
    model = applied(3)
    with pytest.raises(ValueError, match="after"):
        model.apply([], 1, 29, at=0.0)
    with pytest.raises(ValueError, match="after"):
        model.apply([], 0, 40, at=0.0)
    assert model.apply([], 1, 40, at=9.0) is None
    assert model.at == 9.0


def test_all_anew_is_a_reset_for_readers() -> None:
    """After `replace` nobody is told changes of before."""
    model = applied(3)
    value = encoded(formed("class", {"name": "b"}))
    model.replace([(f"{PREFIX}class/b", value)], 1, 30, at=4.0)
    assert set(model.records()) == {"class/b"}
    assert model.delta(EventId(1, 20)) is None
    assert model.delta(EventId(1, 30)) == ()


def test_a_flood_of_records_is_bounded() -> None:
    """Of each kind there are so many; further ones are refused, and those stay."""
    model = ReadModel()
    value = encoded(formed("run", {"run": "r"}))
    most = COUNT_MAX["run"]
    model.apply([(f"{PREFIX}run/{n}", value) for n in range(most + 5)], 1, 1, at=0.0)
    assert model.count("run") == most
    assert model.refused == 5
    assert "more of run" in model.refusal
    model.apply([(f"{PREFIX}run/0", None), (f"{PREFIX}run/z", value)], 1, 2, at=0.0)
    assert model.get("run/z") is not None
    assert model.get("run/0") is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        encode([1]),
        encode(7),
        encode({"workers": -1}),
        encode({"workers": True}),
        encode({"workers": "many"}),
        encode({"workers": 2**60}),
        encode({"at": math.nan}),
        encode({"at": math.inf}),
        encode({"problem": 7}),
        encode({"tasks": [1]}),
        encode({"tasks": {"a": {}}}),
        encode({"tasks": {1: 1}}),
        encode({"pressure": 1}),
        encode({"problem": "x" * VALUE_BYTES_MAX}),
        "text",
    ],
)
def test_what_is_no_record_is_refused(value: Any) -> None:
    """Another kind, out of bounds or too long: refused with words, and nothing else."""
    with pytest.raises(ProtocolError):
        decoded("cluster", value)
    model = ReadModel()
    model.apply([(f"{PREFIX}cluster", encoded(formed("cluster", {})))], 1, 1, at=0.0)
    model.apply([(f"{PREFIX}cluster", value)], 1, 2, at=0.0)
    assert model.get("cluster") is None
    assert model.refused == 1


def test_texts_and_lists_are_cut() -> None:
    """A worker may call itself what it likes; who reads gets what fits."""
    name = "<b>\x1b[31m" + "y" * 10**6
    found = formed("worker", {"name": name, "labels": ["l" * 1000] * 1000})
    assert len(found["name"]) == 200
    assert found["name"].startswith("<b>\x1b[31m")
    assert len(found["labels"]) == 50
    assert all(len(one) == 100 for one in found["labels"])
    assert formed("worker", {"name": "\ud800"})["name"] == "�"


@settings(max_examples=200)
@given(st.sampled_from(sorted(SHAPES)), st.text(min_size=1, max_size=500))
def test_every_name_has_a_key_of_its_own(kind: str, name: str) -> None:
    """Keys are short, plain, and known again; other names have others."""
    key = record_key(kind, name)
    assert kind_of(key) == kind
    assert key.isascii()
    assert len(key) <= NAME_CHARS_MAX + 20
    if "/" in key:
        assert record_key(kind, name + "!") != key


@pytest.mark.parametrize(
    "key", ["", "worker", "worker/", "cluster/1", "odd/1", "run/ü"]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    """Only keys that `record_key` makes are those of records."""
    with pytest.raises(ProtocolError):
        kind_of(key)


@given(st.sampled_from(sorted(SHAPES)), plain)
def test_every_record_fits_its_own_reader(kind: str, value: Any) -> None:
    """What can be formed can be written and read again, the same, whatever it was."""
    try:
        found = formed(kind, dict.fromkeys(SHAPES[kind].fields, value))
    except ProtocolError:
        return
    assert decoded(kind, encoded(found)) == found


def test_what_is_too_long_in_all_loses_a_list() -> None:
    """Each field may be within its bounds, and all of them too many."""
    running = [{"key": "ü" * 200, "class": "ä" * 200, "since": 1}] * 64
    found = decoded("load", encoded(formed("load", {"cpu": 1.5, "running": running})))
    assert found["running"] == []
    assert found["cpu"] == 1.5


@given(a_record())
def test_records_are_written_as_json_has_them(one: tuple[str, dict[str, Any]]) -> None:
    """Whatever may be in one: nothing is refused when it is written, in ASCII."""
    kind, record = one
    model = ReadModel()
    event = model.apply([(PREFIX + record_key(kind, "x"), encoded(record))], 1, 1, 0.0)
    assert event is not None
    assert event.json.isascii()
    (found,) = json.loads(event.json)["put"].values()
    assert found == decoded(kind, encoded(record))
    assert json.loads(model.snapshot().json)["records"][event.keys[0]] == found
