"""What workers say about themselves, kept within bounds: dtf_dask.facts."""

from __future__ import annotations

import re
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.facts import (
    FACTS_COUNT_MAX,
    NAME_LENGTH_MAX,
    NAMES_COUNT_MAX,
    PROBLEMS_COUNT_MAX,
    TASK_FACTS,
    TEXT_LENGTH_MAX,
    WORKER_FACTS,
    Checked,
    Kind,
    canonical_name,
    checked,
    kind_of,
)
from dtf_dask.versions import VERSION_LENGTH_MAX, family, version_key, version_text

SAMPLE = {
    "os.name": "Linux",
    "os.distribution": "ubuntu",
    "os.version": "22.04",
    "os.kernel": "6.8.0",
    "cpu.features": ["sse4_2", "avx2", "avx2"],
    "cpu.threads": 16,
    "memory": 2**36,
    "gpu.count": 0,
    "gpu.throttled": False,
    "python.version": "3.12.4",
    "package.Scikit_Learn": "1.5.0",
    "label.board": "rpi4",
    "resource.GPU": 0.5,
}


def test_facts_come_out_plain_in_order_and_unchanged_the_second_time():
    """Names sorted, lower case where facts have it, package names as PyPI's."""
    found = checked(SAMPLE)
    assert found.problems == ()
    assert found.facts == {
        "cpu.features": ("avx2", "sse4_2"),
        "cpu.threads": 16,
        "gpu.count": 0,
        "gpu.throttled": False,
        "label.board": "rpi4",
        "memory": 2**36,
        "os.distribution": "ubuntu",
        "os.kernel": "6.8.0",
        "os.name": "linux",
        "os.version": "22.04",
        "package.scikit-learn": "1.5.0",
        "python.version": "3.12.4",
        "resource.GPU": 0.5,
    }
    assert list(found.facts) == sorted(found.facts)
    assert checked(found.facts) == found
    assert checked(msgpack.unpackb(msgpack.packb(found.facts))) == found
    hash(tuple(found.facts.items()))  # so that workers alike can be grouped


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("gpu.count", 10**9, "gpu.count = 1000000000: expected a number from 0 to 102"),
        pytest.param(
            "gpu.count", 10**5000, "gpu.count = a huge number: expected", id="huge"
        ),
        ("gpu.count", -1, "gpu.count = -1: expected a number from 0"),
        ("gpu.count", 1.5, "expected a whole number"),
        ("gpu.count", True, "gpu.count = True: expected a number"),
        ("gpu.count", "2", "gpu.count = '2': expected a number"),
        ("memory", float("nan"), "memory = nan: expected a size from 0"),
        ("memory", float("inf"), "memory = inf: expected a size from 0"),
        ("memory", 2**61, "expected a size from 0"),
        ("memory", {"total": 1}, "memory = a value of type dict: expected a size"),
        pytest.param("host", "x" * 2**20, "expected 1 to 200 printable", id="long"),
        ("host", "x" * (TEXT_LENGTH_MAX + 1), "expected 1 to 200"),
        ("host", "a\x1b[31m", "host = 'a\\x1b[31m': expected 1 to 200 printable"),
        ("host", "a\ud800", "printable"),
        ("host", "", "expected 1 to 200"),
        ("host", b"a", "host = a value of type bytes: expected a text"),
        ("host", ["a"], "host = a value of type list: expected a text"),
        ("cpu.features", "avx2", "cpu.features = 'avx2': expected a list of names"),
        ("cpu.features", ["a", 3], "cpu.features = 3: expected a text"),
        ("cpu.features", ["a", ["b"]], "a value of type list: expected a text"),
        ("cpu.features", ["a"] * (NAMES_COUNT_MAX + 1), "1001 names are over"),
        ("python.version", "new", "expected a version such as '3.12.1'"),
        ("python.version", 3.12, "python.version = 3.12: expected a version"),
        ("python.version", "1" * (VERSION_LENGTH_MAX + 1), "expected a version"),
        ("python.version", "1.2\n", "expected a version"),
        ("gpu.throttled", 1, "gpu.throttled = 1: expected true or false"),
        ("cpu.cout", 3, "'cpu.cout': no such fact; did you mean 'cpu.cores'?"),
        ("label.", "x", "'label.': no such fact; write label. and a name after it"),
        ("label.a b", "x", "'label.a b': no such fact"),
        ("label." + "x" * NAME_LENGTH_MAX, "y", "a name has at most 100 characters"),
        (7, "x", "facts: expected a name, not a value of type int"),
    ],
)
def test_what_cannot_be_true_is_left_out_and_told(name, value, problem):
    """One wrong fact costs that fact alone; the message is short."""
    found = checked({"cpu.threads": 2, name: value})
    assert found.facts == {"cpu.threads": 2}
    (told,) = found.problems
    assert problem in told
    assert len(told) < 300
    assert told.isprintable()


def test_too_many_facts_do_not_crowd_out_those_of_their_own_name():
    """A flood is cut at the limit, quickly, and told in few words."""
    flood = {f"label.x{number}": "x" for number in range(100_000)}
    assert cpu_s(lambda: checked({**flood, "memory": 5}), 1) < 1
    found = checked({**flood, "memory": 5})
    assert found.facts["memory"] == 5
    assert len(found.facts) == FACTS_COUNT_MAX
    assert found.problems == (
        "facts: 100001 are over the limit of 4000; some were left out",
    )


def test_problems_are_few():
    """A thousand wrong facts are told in a bounded number of lines."""
    found = checked({f"wrong{number}": number for number in range(1000)})
    assert found.facts == {}
    assert len(found.problems) == PROBLEMS_COUNT_MAX + 1
    assert found.problems[-1] == "and 980 more"


def test_nothing_found_is_no_problem_and_no_mapping_is_one():
    """None says that a probe found nothing."""
    assert checked({"gpu.model": None}) == Checked({})
    for raw in (None, [], "memory", 3):
        assert checked(raw).facts == {}
        assert "expected a mapping" in checked(raw).problems[0]


def test_a_name_written_twice_counts_once():
    """Spellings of one package do not overwrite each other."""
    found = checked({"package.a_b": "1", "package.A.B": "2"})
    assert found.facts == {"package.a-b": "1"}
    assert found.problems == ("package.a-b: given more than once",)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    plain
    | st.dictionaries(
        st.sampled_from([*WORKER_FACTS.facts, "package.x", "resource.y", "label.z"])
        | st.text(max_size=8)
        | st.integers(),
        plain,
        max_size=6,
    )
)
def test_whatever_is_sent_comes_out_as_facts(raw):
    """Never an exception; what comes out is of its kind and passes again unchanged."""
    found = checked(raw)
    assert checked(found.facts) == Checked(found.facts)
    assert all(kind_of(name) is not None for name in found.facts)
    msgpack.packb(found.facts)


def test_each_side_has_its_vocabulary():
    """Workers are asked for hardware, tasks for class, tenant, timeout and prefix."""
    assert kind_of("gpu.count") is Kind.NUMBER
    assert kind_of("package.torch") is Kind.VERSION
    assert kind_of("resource.GPU") is Kind.NUMBER
    assert kind_of("timeout") is None
    assert kind_of("timeout", TASK_FACTS) is Kind.DURATION
    assert kind_of("gpu.count", TASK_FACTS) is None
    assert kind_of("package") is None
    assert checked({"class": "release", "timeout": 5}, TASK_FACTS).problems == ()


@given(st.text(max_size=30))
def test_a_canonical_name_is_canonical(name):
    """Writing a name the one way twice changes nothing."""
    assert canonical_name(canonical_name(name)) == canonical_name(name)


def test_versions_are_ordered_as_their_projects_mean_it():
    """Numbers by value, pre-releases before, post-releases after."""
    rising = [
        *("1.0.dev1", "1.0a1.dev2", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0.post1"),
        *("1.0.1", "1.9", "1.10", "2"),
    ]
    keys = [version_key(text) for text in rising]
    assert None not in keys
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    for same in (("3", "3.0", "3.0.0"), ("2.5.1+cu121", "2.5.1"), ("1rc1", "1.0-RC.1")):
        assert len({version_key(text) for text in same}) == 1


@pytest.mark.parametrize(
    "text", ["", "x", "1.", ".1", "1..2", "1-generic", "1.0a1x", "1 2", "1+", "٣", "v1"]
)
def test_what_is_no_version_has_no_key(text):
    """Better no fact than one that compares wrongly."""
    assert version_key(text) is None


@given(st.text(alphabet="0123456789.abcrdevpost-_+*", max_size=80))
def test_a_version_is_written_as_it_is_read(text):
    """The text of a key has that key; families hold what begins like them."""
    key = version_key(text)
    if key is not None:
        assert version_key(version_text(key)) == key
    range_ = family(text)
    if range_ is not None:
        stem = version_key(text.removesuffix(".*"))
        assert range_[0] < stem < range_[1]


def test_the_document_lists_the_facts_that_there_are():
    """docs/hardware.md has a row for each fact, with its kind, and no others."""
    document = Path(__file__).parents[1] / "docs" / "hardware.md"
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \|", document.read_text("utf-8"), re.M)
    defined = {
        name: fact.kind.value
        for vocabulary in (WORKER_FACTS, TASK_FACTS)
        for name, fact in (
            *vocabulary.facts.items(),
            *((f"{first}.NAME", fact) for first, fact in vocabulary.families.items()),
        )
    }
    assert dict(rows) == defined
    assert len(rows) == len(defined)
