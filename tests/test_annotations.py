"""What a task may tell the scheduler: dtf_dask.annotations."""

from __future__ import annotations

import datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.annotations import (
    AFTER_COUNT_MAX,
    EXPRESSION_LENGTH_MAX,
    KEYS,
    validate,
    validate_marker,
)
from dtf_dask.errors import UsageError

FULL = {
    "hardware": "gpu.count >= 1 and gpu.memory >= '16 GiB'",
    "prefer": "gpu.arch == 'hopper'",
    "class": "interactive",
    "deadline": "10 min",
    "timeout": "5 min",
    "tenant": "team-a",
    "retries": 2,
    "after": ["first", "second", "first"],
}


def test_everything_becomes_plain_data_that_validates_to_itself():
    """What comes out is msgpack-able, and validating it again changes nothing."""
    plain = validate(FULL)
    assert plain == {
        "hardware": "gpu.count >= 1 and gpu.memory >= '16 GiB'",
        "prefer": "gpu.arch == 'hopper'",
        "priority_class": "interactive",
        "deadline": 600.0,
        "timeout": 300.0,
        "tenant": "team-a",
        "retries": 2,
        "after": ["first", "second"],
    }
    assert msgpack.unpackb(msgpack.packb(plain)) == plain
    assert validate(plain) == plain
    assert tuple(plain) == KEYS


@pytest.mark.parametrize(
    ("deadline", "plain"),
    [
        (90, 90.0),
        ("1.5 h", 5400.0),
        (datetime.timedelta(minutes=2), 120.0),
        ("2030-01-31T18:00:00+02:00", "2030-01-31T16:00:00+00:00"),
        (
            datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
            "2030-01-01T00:00:00+00:00",
        ),
    ],
)
def test_a_deadline_is_seconds_or_a_point_in_time_in_utc(deadline, plain):
    """A duration counts from submission; a point in time needs its time zone."""
    assert validate({"deadline": deadline}) == {"deadline": plain}
    assert validate(validate({"deadline": deadline})) == {"deadline": plain}


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"harware": "x"}, "did you mean 'hardware'"),
        ({"zzz": 1}, "known are hardware, prefer"),
        ({3: 1}, "unknown annotation 3"),
        ({"hardware": ""}, "expected an expression"),
        ({"hardware": 7}, "expected an expression"),
        ({"hardware": "a\nb"}, "one line"),
        ({"hardware": "x" * (EXPRESSION_LENGTH_MAX + 1)}, "over the limit of 1000"),
        ({"class": "two words"}, "expected a name"),
        ({"tenant": "x" * 101}, "expected a name"),
        ({"class": "a", "priority_class": "b"}, "one thing"),
        ({"deadline": "soon"}, "duration"),
        ({"deadline": 0}, "more than 0"),
        ({"deadline": -1}, "not negative"),
        ({"deadline": float("nan")}, "finite"),
        ({"deadline": "2030-13-01"}, "point in time"),
        ({"deadline": "2030-01-31T18:00"}, "time zone"),
        ({"deadline": datetime.datetime(2030, 1, 1)}, "time zone"),
        ({"timeout": True}, "duration"),
        ({"timeout": "400 days"}, "at most 366 days"),
        ({"retries": 1.5}, "whole number"),
        ({"retries": 101}, "from 0 to 100"),
        ({"retries": True}, "whole number"),
        ({"after": [1]}, "list of names"),
        ({"after": ["x"] * (AFTER_COUNT_MAX + 1)}, "over the limit"),
        ({"after": [""]}, "1 to 1000"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(annotations, words):
    """Each wrong key or value is a UsageError that says what was expected."""
    with pytest.raises(UsageError) as caught:
        validate(annotations)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_none_means_not_given():
    """Keywords that a caller passes through as None leave no trace."""
    assert validate(dict.fromkeys(KEYS)) == {}


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*KEYS, "class"]), st.text(max_size=5)),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=20),
            st.lists(st.text(max_size=3), max_size=3),
            st.datetimes(),
        ),
        max_size=4,
    )
)
def test_any_input_is_accepted_or_a_usage_error(annotations):
    """Nothing but UsageError ever comes out, and what is accepted is a fixed point."""
    try:
        plain = validate(annotations)
    except UsageError:
        return
    assert validate(plain) == plain
    msgpack.packb(plain)


def test_a_marker_takes_the_same_keywords():
    """@pytest.mark.dtf(...) speaks the same language, and says where it was wrong."""
    assert validate_marker((), {"hardware": "cpu.cores >= 2"}) == {
        "hardware": "cpu.cores >= 2"
    }
    for args, kwargs, words in (
        (("gpu",), {}, "keywords only"),
        ((), {}, "says nothing"),
        ((), {"deadlin": 3}, "@pytest.mark.dtf: unknown annotation 'deadlin'"),
        ((), {"timeout": "x"}, "@pytest.mark.dtf: timeout"),
    ):
        with pytest.raises(UsageError, match=words):
            validate_marker(args, kwargs)
