"""The language of demands and preferences: dtf_dask.demand."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_pace import cpu_s

from dtf_dask.annotations import validate
from dtf_dask.demand import (
    contradictory,
    parse,
    parse_demand,
    parse_preference,
)
from dtf_dask.demand_grammar import DEPTH_MAX, TERMS_COUNT_MAX
from dtf_dask.demand_tokens import EXPRESSION_LENGTH_MAX
from dtf_dask.errors import DemandError, UsageError
from dtf_dask.facts import TASK_FACTS, WORKER_FACTS, Kind, checked

GIB = 2**30
WORKER = checked(
    {
        "os.name": "Linux",
        "cpu.arch": "x86_64",
        "cpu.threads": 16,
        "cpu.features": ["avx2", "sse4_2"],
        "memory": 64 * GIB,
        "gpu.count": 2,
        "gpu.memory": 24 * GIB,
        "gpu.arch": "ampere",
        "gpu.capability": "8.6",
        "gpu.throttled": True,
        "python.version": "3.11.7",
        "package.torch": "2.5.1+cu121",
        "label.board": "rpi4",
        "resource.GPU": 2,
    }
).facts


@pytest.mark.parametrize(
    "text",
    [
        "gpu.count >= 1 and gpu.memory >= '16 GiB'",
        "gpu.memory >= 16 GiB",
        "gpu.memory >= 16GiB",
        "16 GiB <= gpu.memory",
        "memory == '64 GiB'",
        "memory > '68.7 GB' and memory < '68.8 GB'",
        "gpu.memory != 0",
        "cpu.arch in ['x86_64', 'aarch64']",
        "cpu.arch not in ['aarch64']",
        "cpu.features has 'avx2'",
        "cpu.features has 'AVX2'",
        "'avx2' in cpu.features",
        "not cpu.features has 'avx512f'",
        "python.version >= '3.9'",
        "python.version >= 3.9",
        "python.version == '3.11.*'",
        "python.version in ['3.10.*', '3.11.*']",
        "python.version != '3.1.*'",
        "python.version < '3.12.0rc1'",
        "package.torch == 2.5.1",
        "package.Torch",
        "not package.jax",
        "package.jax != '0.4'",
        "gpu.capability >= 8.0",
        "os.name == 'LINUX'",
        "gpu.throttled",
        "gpu.throttled == true",
        "gpu.throttled != false",
        "label.board == 'rpi4'",
        "label.board != 'rpi5'",
        "label.site != 'x'",
        "label.site not in ['x', 'y']",
        "label.board",
        "not label.site",
        "resource.GPU >= 1.5",
        "resource.TPU == 0",
        "rocm.count == 0",
        "not (rocm.count > 0)",
        "not not gpu.count > 1",
        "gpu.count in [1, 2, 4]",
        "gpu.count >= 8 or cpu.threads >= 16",
        "gpu.count >= 8 or gpu.count == 2 and not rocm.count >= 1",
        "(gpu.count >= 8 or cpu.threads >= 16) and memory >= '1 MB'",
        "true",
        'cpu.arch == "x86_64"',
    ],
)
def test_what_holds_on_a_worker(text):
    """Each form of the language, where it is true; `lacks` then has nothing to say."""
    found = parse(text)
    assert found.evaluate(WORKER)
    assert found.lacks(WORKER) == ()
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("gpu.count >= 4", ["needs gpu.count >= 4, has 2"]),
        ("rocm.count >= 1", ["needs rocm.count >= 1, has 0"]),
        ("resource.TPU >= 1", ["needs resource.TPU >= 1, has 0"]),
        ("gpu.memory >= '32 GiB'", ["needs gpu.memory >= 32 GiB, has 24 GiB"]),
        ("python.version >= '3.12'", ["needs python.version >= 3.12, has 3.11.7"]),
        ("python.version == '3.12.*'", ["needs python.version == 3.12.*, has 3.11.7"]),
        ("python.version != '3.11.*'", ["needs python.version != 3.11.*, has 3.11.7"]),
        ("package.torch >= 3", ["needs package.torch >= 3, has 2.5.1+cu121"]),
        ("package.jax", ["needs package.jax, not installed"]),
        ("package.jax < '2'", ["needs package.jax < 2, not installed"]),
        ("not package.jax < '2'", ["needs package.jax >= 2, not installed"]),
        ("not package.torch", ["needs no package.torch, has 2.5.1+cu121"]),
        ("label.site == 'x'", ["needs label.site == 'x', not set"]),
        ("label.board == 'x'", ["needs label.board == 'x', has 'rpi4'"]),
        ("gpu.driver >= 535", ["needs gpu.driver >= 535, not reported"]),
        ("not gpu.throttled", ["needs gpu.throttled to be false, has true"]),
        ("cpu.features has 'amx'", ["needs 'amx' in cpu.features, does not have it"]),
        ("browsers has 'firefox'", ["needs 'firefox' in browsers, not reported"]),
        (
            "not cpu.features has 'avx2'",
            ["needs cpu.features without 'avx2', has it"],
        ),
        (
            "cpu.arch in ['arm64', 'aarch64']",
            ["needs cpu.arch in ['aarch64', 'arm64'], has 'x86_64'"],
        ),
        (
            "gpu.count >= 4 and memory >= '1 GiB' and python.version >= '3.12'",
            ["needs gpu.count >= 4, has 2", "needs python.version >= 3.12, has 3.11.7"],
        ),
        (
            "gpu.count >= 4 or memory >= '1 TiB' and cpu.threads >= 2",
            ["needs memory >= 1 TiB (has 64 GiB) or gpu.count >= 4 (has 2)"],
        ),
        (
            "gpu.count >= 4 or memory >= '1 TiB' and cpu.threads >= 32",
            [
                "needs (cpu.threads >= 32 (has 16) and memory >= 1 TiB (has 64 GiB)) "
                "or gpu.count >= 4 (has 2)"
            ],
        ),
        ("false", ["can hold on no worker"]),
    ],
)
def test_what_is_lacking_is_said_in_words(text, lacks):
    """Only the parts that make it false, with what is needed and what is there."""
    found = parse(text)
    assert not found.evaluate(WORKER)
    assert list(found.lacks(WORKER)) == lacks
    assert parse(str(found)) == found


def test_a_lack_that_rounding_would_hide_is_shown_in_bytes():
    """Nobody is told that 16 GiB are needed and 16 GiB are there."""
    almost = 16 * GIB - 1
    assert parse("memory >= '16 GiB'").lacks({"memory": almost}) == (
        f"needs memory >= 16 GiB, has {almost} B",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "memory >= '1 GiB' and gpu.cout >= 1",
            "column 23: no fact is called 'gpu.cout'; did you mean 'gpu.count'?\n"
            "    memory >= '1 GiB' and gpu.cout >= 1\n"
            "                          ^",
        ),
        (
            "memory >= 'abc'",
            "column 11: memory is a size: expected one such as '16 GiB', not 'abc'\n"
            "    memory >= 'abc'\n"
            "              ^",
        ),
        (
            "memory >= 16",
            "column 11: memory is a size: write its unit, such as '16 GiB'\n"
            "    memory >= 16\n"
            "              ^",
        ),
        (
            "cpu.arch < 'x'",
            "column 10: cpu.arch is a text: compare it by ==, !=, in, not by <\n"
            "    cpu.arch < 'x'\n"
            "             ^",
        ),
    ],
)
def test_an_error_shows_its_place(text, message):
    """The column, what is wrong, what would be right, and a caret below it."""
    with pytest.raises(DemandError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("memory > 16 GiX", 10, "expected one such as '16 GiB', not 16 GiX"),
        ("memory > '16' GiB", 10, "write its unit, such as '16 GiB'"),
        ("memory > '16 GiB' GiB", 19, "expected 'and', 'or' or the end, not 'GiB'"),
        ("memory > '9999 PiB'", 10, "expected at most '1024 PiB'"),
        ("gpu.count >= '2'", 14, "gpu.count is a number: expected one such as 2"),
        ("gpu.count >= 1.2.3", 14, "gpu.count is a number"),
        ("gpu.count >= 1e99", 14, "expected at most"),
        ("gpu.count >= 2GiB", 14, "'GiB' means nothing behind its value"),
        ("2 GiB <= gpu.count", 1, "'GiB' means nothing behind its value"),
        ("gpu.count >= 2 GiB", 16, "expected 'and', 'or' or the end, not 'GiB'"),
        ("gpu.count > -1", 13, "no fact is negative"),
        ("gpu.count = 1", 11, "write == to compare"),
        ("gpu.count > 1 && memory > 0", 15, "write and"),
        ("gpu.count > 1 || memory > 0", 15, "write or"),
        ("gpu.count > 1 AND memory > 0", 15, "write 'and'"),
        ("gpu.count >= cpu.cores", 14, "not with another fact"),
        ("cpu.arch == x86_64", 13, "put it in quotes: 'x86_64'"),
        ("cpu.arch == 'x", 13, "this quote is never closed"),
        ("cpu.arch == ''", 13, "none is like ''"),
        ("cpu.arch == 3", 13, "expected one such as 'text', not 3"),
        ("cpu.arch has 'x'", 10, "compare it by ==, !=, in, not by has"),
        ("cpu.arch in 'x'", 13, "expected a list, '['"),
        ("cpu.arch in []", 14, "expected a value such as 'text', not ']'"),
        ("cpu.arch in ['x'", 17, "expected ',' or ']', not the end"),
        ("'x' in cpu.arch", 8, "nothing is in it"),
        ("'x' in 'y'", 8, "expected a fact, not 'y'"),
        ("cpu.features", 1, "such as cpu.features has 'name'"),
        ("cpu.features == 'a'", 14, "compare it by has, not by =="),
        ("gpu.count", 1, "such as gpu.count >= 2"),
        ("gpu.throttled == 1", 18, "expected one such as true, not 1"),
        ("gpu.throttled > true", 15, "compare it by ==, !="),
        ("1 <= gpu.count <= 3", 16, "comparisons do not chain"),
        ("python.version >= 3.12rc1", 19, "write '3.12rc1' in quotes"),
        ("python.version >= '3.12.*'", 19, "goes with == and !="),
        ("python.version >= 'new'", 19, "expected one such as '3.12', not 'new'"),
        ("label == 'x'", 1, "write label. and a name after it"),
        ("cpu.count >= 2", 1, "did you mean 'cpu.cores'?"),
        ("zzzz == 2", 1, "they begin with os, host, cpu"),
        ("(gpu.count > 1", 1, "this parenthesis is never closed"),
        ("gpu.count > 1)", 14, "expected 'and', 'or' or the end, not ')'"),
        ("gpu.count > 1 memory > 0", 15, "expected 'and', 'or' or the end"),
        ("gpu.count >", 12, "expected a value such as 2, not the end"),
        ("not", 4, "expected a fact of the worker, not the end"),
        ("and", 1, "expected a fact of the worker, not 'and'"),
        ("3", 1, "expected a comparison of this with a fact"),
        ("gpu.count > 1: 3", 14, "has a meaning in preferences only"),
        ("timeout < '5 min'", 1, "no fact is called 'timeout'"),
        ("__import__('os')", 1, "no fact is called '__import__'"),
        ("memory.__class__ == 1", 1, "no fact is called"),
    ],
)
def test_what_is_refused_says_where_and_what_would_do(text, column, words):
    """Every slip that a person makes is found as the expression is read."""
    with pytest.raises(DemandError) as caught:
        parse(text)
    first, excerpt, caret = str(caught.value).split("\n")
    assert first.startswith(f"column {column}: ")
    assert words in first
    assert excerpt == f"    {text}"
    assert caret.index("^") == 4 + column - 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected an expression such as"),
        ("   ", "expected an expression such as"),
        (3, "not 3"),
        (None, "not None"),
        ("memory\n> 0", "one line of printable characters"),
        ("memory\x00", "one line of printable characters"),
        ("m" * (EXPRESSION_LENGTH_MAX + 1), "1001 characters are over the limit"),
        ("(" * (DEPTH_MAX + 1), "more than 20 parentheses deep"),
        ("(" * 900, "more than 20 parentheses deep"),
        ("true or " * TERMS_COUNT_MAX + "true", "more than 64 comparisons"),
        (
            "python.version in [" + "'3.*'," * TERMS_COUNT_MAX + "'3.*']",
            "more than 64 comparisons",
        ),
        (
            f"label.{'x' * 90} == 'y' or package.{'y' * 80} in ["
            + ", ".join(f"'{n}.*'" for n in range(30))
            + "]",
            "over the limit of 1000",
        ),
    ],
)
def test_size_has_limits(text, words):
    """Length, depth, comparisons, and what it becomes written out."""
    with pytest.raises(DemandError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_at_the_limits_it_still_works():
    """The deepest and the longest that are allowed; "not" does not count as depth."""
    deep = "(not " * DEPTH_MAX + "gpu.count > 1" + ")" * DEPTH_MAX
    assert str(parse(deep)) == "gpu.count > 1"
    assert str(parse("not " * 201 + "gpu.count > 1")) == "gpu.count <= 1"
    wide = " or ".join(f"host=='{chr(62 + n)}'" for n in range(TERMS_COUNT_MAX))
    found = parse(wide)
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpu.count >= 1 and memory > '1 GiB'", "memory>1024 MiB and 1 <= gpu.count"),
        ("2 <= gpu.count and 3 > cpu.cores", "gpu.count >= 2 and cpu.cores < 3"),
        ("2 >= gpu.count and 3 < cpu.cores", "gpu.count <= 2 and cpu.cores > 3"),
        ("2 == gpu.count and 3 != cpu.cores", "gpu.count == 2 and cpu.cores != 3"),
        ("not (gpu.count < 1 or label.x)", "gpu.count >= 1 and not label.x"),
        ("python.version >= '3.12'", "python.version >= 3.12.0"),
        ("package.a_b", "package.A.B"),
        ("gpu.count in [2, 1, 1.0]", "gpu.count in [1, 2]"),
        ("gpu.count in [1]", "gpu.count == 1"),
        ("gpu.throttled == false", "not gpu.throttled"),
        ("(gpu.count > 1) and (gpu.count > 1)", "gpu.count > 1"),
        ("true and gpu.count > 1", "gpu.count > 1 or false"),
        (
            "not (cpu.arch == 'a' and cpu.arch in ['b'])",
            "cpu.arch!='b' or cpu.arch!='a'",
        ),
    ],
)
def test_what_means_the_same_is_equal(one, other):
    """Demands are interned by their one form, whatever the order and spelling."""
    assert parse(one) == parse(other)
    assert hash(parse(one)) == hash(parse(other))
    assert parse(one) is parse(one)


def test_an_expression_travels():
    """It pickles, and names the facts that it asks for."""
    found = parse("gpu.count >= 1 and (label.x == 'y' or gpu.count > 3)")
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.evaluate({"gpu.count": 4})
    assert found.names == {"gpu.count", "label.x"}
    wish = pickle.loads(pickle.dumps(parse_preference("gpu.count > 1: 2, memory > 0")))
    assert wish.names == {"gpu.count", "memory"}
    assert str(wish) == "gpu.count > 1: 2, memory > 0"


def test_facts_that_are_not_there():
    """They equal nothing and are ordered nowhere; devices and resources count as 0."""
    nothing = {}
    for holds in (
        *("gpu.count == 0", "not (gpu.count > 0)", "gpu.memory < '1 GiB'"),
        *("label.x != 'a'", "not label.x == 'a'", "label.x not in ['a', 'b']"),
        *("not gpu.throttled", "not package.x", "not cpu.features has 'a'"),
        *("package.x != '1.*'", "package.x != 1"),
    ):
        assert parse(holds).evaluate(nothing), holds
    for fails in (
        *("memory < '1 GiB'", "not memory < '1 GiB'", "memory >= 0"),
        *("label.x == 'a'", "label.x in ['a']", "package.x < 1", "package.x >= 0"),
        *("package.x", "gpu.throttled", "cpu.features has 'a'", "package.x == '1.*'"),
    ):
        assert not parse(fails).evaluate(nothing), fails


def test_a_worker_accepts_by_the_facts_of_tasks():
    """The other side speaks the same language over another vocabulary."""
    accept = parse("class == 'release' and timeout <= 5 min", TASK_FACTS)
    assert str(accept) == "class == 'release' and timeout <= '5 min'"
    assert accept.evaluate({"class": "release", "timeout": 300.0})
    assert accept.lacks({"class": "release", "timeout": 360.0}) == (
        "needs timeout <= 5 min, has 6 min",
    )
    assert not accept.evaluate({"class": "release"})
    assert parse("timeout < 90", TASK_FACTS).evaluate({"timeout": 60})
    with pytest.raises(DemandError, match="they begin with class, tenant"):
        parse("qqqqqqqq", TASK_FACTS)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("gpu.count >= 2 and gpu.count < 2", "gpu.count < 2 and gpu.count >= 2"),
        (
            "memory > 0 and cpu.arch == 'x86_64' and cpu.arch == 'arm64'",
            "cpu.arch == 'arm64' and cpu.arch == 'x86_64'",
        ),
        ("gpu.count < 0", "gpu.count < 0"),
        ("gpu.throttled and not gpu.throttled", "gpu.throttled and not gpu.throttled"),
        ("not label.x and label.x == 'a'", "label.x == 'a' and not label.x"),
        ("cpu.arch in ['a', 'b'] and cpu.arch != 'a' and cpu.arch != 'b'", None),
        ("cpu.features has 'a' and not cpu.features has 'a'", None),
        ("python.version == '3.11.*' and python.version >= '3.12'", None),
        ("python.version == '3.11.*' and python.version == '3.12.*'", None),
        ("python.version == '3.11.4' and python.version != '3.11.*'", None),
        ("memory > '2 GiB' and memory <= '2 GiB'", None),
        ("(gpu.count < 0 or memory < 0) and gpu.count > 1", None),
        ("false", None),
    ],
)
def test_what_nothing_can_meet_is_refused(text, part):
    """A demand that would wait for ever is refused as it is submitted."""
    found = contradictory(parse(text))
    assert found is not None
    with pytest.raises(DemandError, match="no worker can meet") as caught:
        parse_demand(text)
    assert str(caught.value) == f"no worker can meet {part or found}"


@pytest.mark.parametrize(
    "text",
    [
        "gpu.count >= 2 and gpu.count <= 2",
        "gpu.count > 1 and gpu.count < 2",
        "gpu.count > 5 or gpu.count < 3",
        "label.x != 'a' and not label.x",
        "not package.x and package.x != '1'",
        "python.version == '3.11.*' and python.version >= '3.11.4'",
        "cpu.features has 'a' and cpu.features has 'b'",
        "gpu.count < 0 or true",
        "gpu.count == 0 and gpu.memory == 0",
    ],
)
def test_what_may_be_met_is_not_refused(text):
    """Only what is certain is refused."""
    assert contradictory(parse(text)) is None
    assert parse_demand(text) is parse(text)


def test_a_preference_scores_by_its_weights():
    """The share of the weights that are met, rounded down, from 0 to 100."""
    wish = parse_preference(
        "gpu.arch == 'hopper': 3, cpu.arch in ['a', 'b'], memory > 0: 3"
    )
    assert str(wish) == "gpu.arch == 'hopper': 3, cpu.arch in ['a', 'b'], memory > 0: 3"
    assert wish.score({}) == 0
    assert wish.score({"gpu.arch": "hopper"}) == 42
    assert wish.score({"gpu.arch": "hopper", "cpu.arch": "a", "memory": 1}) == 100
    assert parse_preference("gpu.throttled").score({"gpu.throttled": True}) == 100


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("gpu.count > 1: 0", 16, "expected a weight, a whole number from 1 to 100"),
        ("gpu.count > 1: 101", 16, "not 101"),
        ("gpu.count > 1: 1.5", 16, "not 1.5"),
        ("gpu.count > 1: x", 16, "not 'x'"),
        ("gpu.count > 1:", 15, "not the end"),
        ("gpu.count > 1,", 15, "expected a fact"),
        ("gpu.count > 1: 2 memory > 0", 18, "',' or the end"),
        ("gpu.count > 1; memory > 0", 14, "';' is not understood"),
    ],
)
def test_a_preference_is_refused_with_its_column(text, column, words):
    """Weights are small whole numbers, parts are separated by commas."""
    with pytest.raises(DemandError) as caught:
        parse_preference(text)
    assert str(caught.value).startswith(f"column {column}: ")
    assert words in str(caught.value)


def test_annotations_are_read_as_they_are_submitted():
    """A slip is refused at the client, with its place, as bad usage."""
    with pytest.raises(UsageError) as caught:
        validate({"hardware": " gpu.cout >= 1"}, where="here: ")
    assert str(caught.value) == (
        "here: hardware: column 1: no fact is called 'gpu.cout'; "
        "did you mean 'gpu.count'?\n    gpu.cout >= 1\n    ^"
    )
    with pytest.raises(DemandError, match="prefer: column 16: expected a weight"):
        validate({"prefer": "gpu.count > 1: 0"})
    with pytest.raises(DemandError, match="hardware: no worker can meet"):
        validate({"hardware": "gpu.count < 0"})


# Properties.

SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
PLACES = st.sampled_from(["a", "b", "A", "it's"])


def quoted(text):
    return f'"{text}"' if "'" in text else f"'{text}'"


def comparison(name, values, signs=SIGNS):
    one = st.builds("{} {} {}".format, st.just(name), signs, values)
    listed = st.lists(values, min_size=1, max_size=3).map(", ".join)
    some = st.builds(
        "{} {} [{}]".format, st.just(name), st.sampled_from(["in", "not in"]), listed
    )
    return one | some


numbers = st.sampled_from(["0", "1", "2", "3", "0.5", "1e-3"])
sizes = st.sampled_from(["0", "1 B", "'1.5 GiB'", "2 GB", "'3 KiB'"])
versions = st.sampled_from(["3", "'3.1'", "3.11", "'3.1rc1'", "'3.11.4.post1'"])
equality = st.sampled_from(["==", "!="])
families = st.sampled_from(["'3.*'", "'3.11.*'", "'3.0.*'", "'0.*'"])
ATOMS = st.one_of(
    comparison("gpu.count", numbers),
    comparison("resource.x", numbers),
    comparison("memory", sizes),
    comparison("python.version", versions),
    comparison("package.x", versions | families, equality),
    comparison("label.x", PLACES.map(quoted), equality),
    comparison("os.name", PLACES.map(quoted), equality),
    st.builds("cpu.features has {}".format, PLACES.map(quoted)),
    st.sampled_from(["gpu.throttled", "label.x", "package.x", "true", "false"]),
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.lists(inner, min_size=1, max_size=3).map(" and ".join).map("({})".format),
        st.lists(inner, min_size=1, max_size=3).map(" or ".join).map("({})".format),
    ),
    max_leaves=8,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "gpu.count": st.sampled_from([0, 1, 2, 3, 5]),
        "resource.x": st.sampled_from([0, 0.5, 1, 7]),
        "memory": st.sampled_from([0, 1, 3 * 1024, 2 * 10**9, 3 * 2**29, 2**40]),
        "python.version": st.sampled_from(["3", "3.1", "3.1rc1", "3.11", "3.11.4"]),
        "package.x": st.sampled_from(["0.1", "3.0.1", "3.11.2", "4"]),
        "label.x": PLACES,
        "os.name": PLACES,
        "cpu.features": st.lists(PLACES),
        "gpu.throttled": st.booleans(),
    },
).map(lambda raw: checked(raw).facts)


# The first text of a fresh checkout waits for the table of all characters.
@given(EXPRESSIONS)
def test_an_expression_reads_as_it_is_written(text):
    """The one form of an expression is an expression, and the same one."""
    found = parse(text)
    assert parse(str(found)) == found
    assert str(parse(str(found))) == str(found)


@given(EXPRESSIONS, FACTS)
def test_lacks_is_empty_where_it_holds_and_nowhere_else(text, facts):
    """Whether and why never disagree, and neither ever raises."""
    found = parse(text)
    assert (found.lacks(facts) == ()) is found.evaluate(facts)
    assert parse(str(found)).evaluate(facts) is found.evaluate(facts)
    assert parse_preference(text).score(facts) == (100 if found.evaluate(facts) else 0)


@given(EXPRESSIONS, EXPRESSIONS, FACTS)
def test_groups_mean_what_logic_says(one, other, facts):
    """Both, either, De Morgan, and "not" twice, on whatever facts there are."""
    first, second = parse(one).evaluate(facts), parse(other).evaluate(facts)
    assert parse(f"({one}) and ({other})").evaluate(facts) is (first and second)
    assert parse(f"({one}) or ({other})").evaluate(facts) is (first or second)
    assert parse(f"not (({one}) and ({other}))") == parse(
        f"not ({one}) or not ({other})"
    )
    assert parse(f"not not ({one})") == parse(one)


COMPLETE = {
    "gpu.count": 1,
    "resource.x": 1,
    "memory": 1,
    "python.version": "3.11",
    "package.x": "3.0.1",
    "label.x": "a",
    "os.name": "a",
    "cpu.features": ["a"],
}


@given(EXPRESSIONS, FACTS)
def test_not_is_the_opposite_where_every_fact_is_there(text, facts):
    """Only a fact that is missing can make both an expression and its "not" false."""
    complete = checked({**COMPLETE, **facts}).facts
    opposite = parse(f"not ({text})")
    assert opposite.evaluate(complete) is not parse(text).evaluate(complete)
    assert not (opposite.evaluate(facts) and parse(text).evaluate(facts))


@given(EXPRESSIONS, FACTS)
@settings(max_examples=200)
def test_what_is_refused_as_impossible_holds_nowhere(text, facts):
    """Sound: no facts meet what `contradictory` finds."""
    found = parse(text)
    if contradictory(found) is not None:
        assert not found.evaluate(facts)


VOCABULARIES = st.sampled_from([WORKER_FACTS, TASK_FACTS])
WORDS = st.sampled_from(
    [
        *("and", "or", "not", "in", "has", "true", "false", "(", ")", "[", "]", ","),
        *(":", "==", "!=", "<", ">=", "1", "3.12", "'3.*'", "'x'", '"', "'", "GiB"),
        *("gpu.count", "memory", "label.x", "cpu.features", "package.x", "timeout"),
        *("python.version", "gpu.throttled", "class", "nonsense", "2 GiB", "'5 min'"),
    ]
)


@given(st.text(max_size=60) | st.lists(WORDS, max_size=20).map(" ".join), VOCABULARIES)
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text, vocabulary):
    """Nothing but DemandError ever comes out, and what is read works."""
    for read in (parse, parse_demand, parse_preference):
        try:
            found = read(text, vocabulary)
        except DemandError:
            continue
        assert str(read(str(found), vocabulary)) == str(found)


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 1000, "not " * 249 + "true", "a" * 1000, "9" * 1000, "'" * 1000),
        *("gpu.count in [" + "1," * 490 + "1]", "1." * 500, "memory > " + "9" * 990),
        *("python.version > '" + "1.a" * 300 + "'", "package.x > " + "1" * 900),
        " or ".join(["(gpu.count>1 and (memory>0 or not (label.x and true)))"] * 16),
    ],
)
def test_long_texts_are_done_quickly(text):
    """No text within the limit takes noticeable time, whatever becomes of it."""

    def read():
        with contextlib.suppress(DemandError):
            parse(text)

    assert cpu_s(read, 1) < 0.3


def test_evaluation_is_quick():
    """Two comparisons take about two microseconds at most (here with room)."""
    found = parse("gpu.count >= 1 and python.version >= '3.11'")
    assert cpu_s(lambda: found.evaluate(WORKER), 10_000) < 10e-6


def test_every_kind_has_facts_to_try():
    """The vocabularies use every kind; a new one needs its reader and its tests."""
    known = {
        fact.kind
        for vocabulary in (WORKER_FACTS, TASK_FACTS)
        for facts in (vocabulary.facts, vocabulary.families)
        for fact in facts.values()
    }
    assert known == set(Kind)
