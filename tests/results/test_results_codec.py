"""Attempts and runs survive JSON, and what is no attempt is refused within bounds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.errors import ProtocolError
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Phase, Run, RunId
from dtf_dask.runs import codec

any_text = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("\x00\x1a\ud83d\ude000d8")
)
seconds = st.floats(-1e12, 1e12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | seconds | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)
attempts = st.builds(
    Attempt,
    case_id=any_text.map(CaseId),
    number=st.integers(1, 2**31 - 1),
    outcome=st.sampled_from(Outcome),
    worker=st.text(),
    host=st.text(),
    detail=st.text(),
    started_at=seconds,
    duration_s=seconds,
    cpu_s=st.none() | seconds,
    memory=st.none() | st.integers(0, 2**63 - 1),
    gpu_memory=st.none() | st.integers(0, 2**63 - 1),
    dask_worker=st.text(),
    phases=st.lists(
        st.builds(
            Phase,
            st.sampled_from(["setup", "call", "teardown"]),
            st.sampled_from(["passed", "failed", "skipped"]),
            seconds,
        ),
        max_size=3,
    ).map(tuple),
    exception=st.text(),
    stdout=st.text(),
    properties=st.dictionaries(st.text(), plain, max_size=3),
    artifacts=st.lists(
        st.builds(ArtifactRef, st.text(), st.text(max_size=64), st.integers(0, 2**60)),
        max_size=2,
    ).map(tuple),
)


@given(any_text, any_text)
def test_escaped_text_is_another_only_for_another(a: str, b: str) -> None:
    """Escaping loses nothing, and what it makes is storable everywhere."""
    escaped = codec.escape_text(a)
    assert codec.unescape_text(escaped) == a
    assert "\x00" not in escaped
    escaped.encode()
    assert (a == b) == (escaped == codec.escape_text(b))


@given(attempts)
def test_an_attempt_survives_json(attempt: Attempt) -> None:
    """An attempt comes back equal from its line of strict ASCII JSON."""
    line = codec.json_line(codec.attempt_to_json(attempt))
    assert line.isascii()
    assert "\n" not in line
    assert codec.attempt_from_json(json.loads(line)) == attempt


def test_a_run_survives_json() -> None:
    """A run comes back equal, ended or not."""
    run = Run(RunId("r"), 1.5, command=("a", "é"), policy={"dist": "load"})
    ended = Run(RunId("r"), 1.5, "failed", 2.5, 1, suite="s", cases_planned=3)
    for value in (run, ended):
        line = codec.json_line(codec.run_to_json(value))
        assert codec.run_from_json(json.loads(line)) == value


def test_what_json_cannot_hold_is_shown_instead() -> None:
    """Properties are free: odd values become words, never an error."""
    endless: list[Any] = []
    endless.append(endless)

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    odd = {
        "nan": math.nan,
        "inf": -math.inf,
        "huge": 10**5000,
        "object": object,
        "endless": endless,
        "broken": Broken(),
        1: {"tuple": (1, 2)},
    }
    attempt = Attempt(
        CaseId("t"), 1, Outcome.PASSED, duration_s=math.nan, properties=odd
    )
    found = json.loads(codec.json_line(codec.attempt_to_json(attempt)))
    assert found["properties"]["nan"] == "nan"
    assert found["properties"]["1"] == {"tuple": [1, 2]}
    assert found["properties"]["broken"] == "<Broken>"
    assert "duration_s" not in found


GOOD = {"case_id": "t", "number": 1, "outcome": "passed"}


@pytest.mark.parametrize(
    "change",
    [
        {"case_id": 5},
        {"case_id": "x" * (codec.CASE_ID_CHARS_MAX + 1)},
        {"number": 0},
        {"number": True},
        {"number": 2**31},
        {"number": "1"},
        {"outcome": "great"},
        {"outcome": None},
        {"duration_s": "1"},
        {"duration_s": math.nan},
        {"started_at": 10**400},
        {"phases": {}},
        {"phases": [["setup"]]},
        {"phases": [["lunch", "passed", 1]]},
        {"phases": [[[], {}, 1]]},
        {"stdout": None},
        {"properties": []},
        {"artifacts": [{"name": "a", "digest": "b", "size_bytes": -1}]},
        {"artifacts": "abc"},
        {"artifacts": [None] * (codec.ITEMS_MAX + 1)},
    ],
    ids=lambda change: f"{change}"[:40],
)
def test_what_is_no_attempt_is_refused(change: dict[str, Any]) -> None:
    """Every field has a type and a bound."""
    codec.attempt_from_json(GOOD)
    with pytest.raises(ProtocolError):
        codec.attempt_from_json(GOOD | change)


@given(plain)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """Nothing but ProtocolError comes out of bad input."""
    for read in (codec.attempt_from_json, codec.run_from_json):
        with pytest.raises(ProtocolError):
            read(value)
