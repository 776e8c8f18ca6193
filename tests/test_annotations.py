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
    "name": "train-resnet",
    "hardware": "gpu.count >= 1 and gpu.memory >= '16 GiB'",
    "prefer": "gpu.arch == 'hopper'",
    "memory": "2 GiB",
    "cpus": 4,
    "gpus": 1,
    "gpu_memory": "8 GiB",
    "resources": {"rig": 2, "unused": 0},
    "tokens": {"simulator": 1},
    "exclusive": False,
    "gang": {"size": 3, "name": "ring"},
    "class": "interactive",
    "tenant": "team-a",
    "deadline": "10 min",
    "on_late": "refuse",
    "expected": "1 min",
    "guessed": True,
    "timeout": "5 min",
    "lease": "2 h",
    "retries": 2,
    "preemptible": True,
    "after": ["first", "second", "first", ("array", 0, 1)],
    "on_upstream_failure": "skip",
}


def test_everything_becomes_plain_data_that_validates_to_itself():
    """What comes out is msgpack-able, and validating it again changes nothing."""
    plain = validate(FULL)
    assert plain == {
        "name": "train-resnet",
        "hardware": "gpu.count >= 1 and gpu.memory >= '16 GiB'",
        "prefer": "gpu.arch == 'hopper'",
        "memory": 2 * 2**30,
        "cpus": 4,
        "gpus": 1,
        "gpu_memory": 8 * 2**30,
        "resources": {"rig": 2.0},
        "tokens": {"simulator": 1.0},
        "exclusive": False,
        "gang": {"name": "ring", "size": 3},
        "priority_class": "interactive",
        "tenant": "team-a",
        "deadline": 600.0,
        "on_late": "refuse",
        "expected": 60.0,
        "guessed": True,
        "timeout": 300.0,
        "lease": 7200.0,
        "retries": 2,
        "preemptible": True,
        "after": ["first", "second", ["array", 0, 1]],
        "on_upstream_failure": "skip",
    }
    assert msgpack.unpackb(msgpack.packb(plain)) == plain
    assert validate(plain) == plain
    assert tuple(plain) == KEYS


def test_failures_upstream_have_one_word_or_one_for_each_key():
    """Plain data of it are pairs, for keys may be tuples; a word for all is a word."""
    given = {"load": "run", ("x", 0): "fail", "*": "skip"}
    plain = validate({"on_upstream_failure": given})
    pairs = [["load", "run"], [["x", 0], "fail"], ["*", "skip"]]
    assert plain == {"on_upstream_failure": pairs}
    assert msgpack.unpackb(msgpack.packb(plain)) == plain
    assert validate(plain) == plain
    word = {"on_upstream_failure": "skip"}
    assert validate({"on_upstream_failure": {"*": "skip"}}) == word


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
        ({"zzz": 1}, "known are name, hardware"),
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
        ({"after": [(0, "x")]}, "list of names"),
        ({"after": [("x", 1.5)]}, "list of names"),
        ({"after": [("x",) * 9]}, "list of names"),
        ({"memory": "much"}, "expected a size"),
        ({"memory": 1e16}, "expected a size"),
        ({"gpu_memory": -1}, "not negative"),
        ({"gpus": 1.5}, "whole number"),
        ({"gpus": 10**9}, "from 0 to 1024"),
        ({"cpus": -1}, "from 0 to 4096"),
        ({"resources": ["rig"]}, "names with amounts"),
        ({"resources": {3: 1}}, "expected names of 1 to 100"),
        ({"resources": {"rig": True}}, "expected a number for 'rig'"),
        ({"tokens": {"x": float("nan")}}, "expected 0 to 1e+15 for 'x'"),
        ({"tokens": {str(n): 1 for n in range(33)}}, "over the limit of 32"),
        ({"exclusive": 1}, "true or false"),
        ({"preemptible": "yes"}, "true or false"),
        ({"gang": "ring"}, "a name and a size"),
        ({"gang": {"name": "ring"}}, "a name and a size"),
        ({"gang": {"name": "ring", "size": 0}}, "of 1 to 10000"),
        ({"name": ""}, "1 to 1000 printable"),
        ({"name": 7}, "1 to 1000 printable"),
        ({"name": "a\nb"}, "1 to 1000 printable"),
        ({"name": "x" * 1001}, "1 to 1000 printable"),
        ({"on_late": "later"}, "expected one of run, refuse, cancel"),
        ({"on_upstream_failure": True}, "expected one of skip, run, fail"),
        ({"on_upstream_failure": "rerun"}, "expected one of skip, run, fail, or keys"),
        ({"on_upstream_failure": {}}, "or keys with one each"),
        ({"on_upstream_failure": {"a": "rerun"}}, "one of skip, run, fail for 'a'"),
        ({"on_upstream_failure": {3: "run"}}, "a name or a list of names"),
        ({"on_upstream_failure": [("a", "run"), ("a", "skip")]}, "one word for 'a'"),
        ({"on_upstream_failure": [("a", "run", "skip")]}, "keys with words"),
        (
            {"on_upstream_failure": dict.fromkeys(map(str, range(1001)), "run")},
            "1001 names are over the limit of 1000",
        ),
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
            st.dictionaries(st.text(max_size=3), st.floats() | st.integers()),
            st.fixed_dictionaries({"name": st.text(), "size": st.integers()}),
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
