"""What of an environment is gathered, what counts as a difference, and how it reads."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dtf_dask
from dtf_dask.environment_facts import facts, normalised
from dtf_dask.runs.environment import (
    DESCRIBED_MAX,
    TEXT_CHARACTERS_MAX,
    Difference,
    compare,
    describe,
)

HERE = {
    "dtf": "1.0",
    "python": "3.11.9",
    "implementation": "CPython",
    "platform": "Linux x86_64",
    "packages": {"numpy": "2.1", "attrs": "24", "mine": "0.1", "dtf-dask": "1.0"},
    "in_snapshot": ["mine"],
}


@pytest.mark.parametrize(
    ("changed", "text", "severity"),
    [
        ({"dtf": "1.1"}, "dtf: 1.0 here, 1.1 on the worker", "fatal"),
        ({"python": "3.12.0"}, "Python: 3.11.9 here, 3.12.0 on the worker", "severe"),
        ({"python": "3.1.9"}, "Python: 3.11.9 here, 3.1.9 on the worker", "severe"),
        ({"python": "3.11.2"}, "Python: 3.11.9 here, 3.11.2 on the worker", "notable"),
        (
            {"implementation": "PyPy"},
            "Python implementation: CPython here, PyPy on the worker",
            "severe",
        ),
        (
            {"platform": "Linux aarch64"},
            "platform: Linux x86_64 here, Linux aarch64 on the worker",
            "notable",
        ),
        (
            {"packages": {"numpy": "2.0", "attrs": "24", "mine": "0.1"}},
            "package numpy: 2.1 here, 2.0 on the worker",
            "notable",
        ),
        (
            {"packages": {"attrs": "24", "mine": "0.1"}},
            "package numpy: 2.1 here, missing on the worker",
            "severe",
        ),
        (
            {"packages": {"numpy": "2.1", "attrs": "24", "mine": "0.2"}},
            "package mine: 0.1 here, 0.2 on the worker",
            "notable",
        ),
    ],
)
def test_each_difference_has_words_and_a_weight(
    changed: dict[str, object], text: str, severity: str
) -> None:
    """One difference at a time: another dtf is fatal, another version notable."""
    (difference,) = compare(HERE, HERE | changed, None)
    assert difference.text() == text
    assert difference.severity == severity
    assert difference.is_severe == (severity != "notable")


def test_what_is_no_difference() -> None:
    """What only the worker has, the suite's own package, and packages not asked for."""
    assert compare(HERE, HERE, None) == ()
    there = HERE | {"packages": {"numpy": "2.1", "attrs": "24", "more": "1"}}
    assert compare(HERE, there, None) == ()
    assert compare(HERE, HERE | {"packages": {"numpy": "2.1"}}, {"numpy"}) == ()


def test_the_gravest_come_first_in_one_order() -> None:
    """Fatal, severe, notable; then by kind and name, whatever the order of facts."""
    there = {"dtf": "2", "python": "3.11.1", "packages": {"attrs": "25"}}
    differences = compare(HERE, there, None)
    reversed_here = dict(reversed(HERE.items()))
    assert differences == compare(reversed_here, there, None)
    assert [(d.severity, d.name) for d in differences] == [
        ("fatal", "dtf"),
        ("severe", "numpy"),
        ("severe", "Python implementation"),
        ("notable", "attrs"),
        ("notable", "platform"),
        ("notable", "Python"),
    ]


_anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(HERE)), _anything))
def test_a_worker_may_send_anything(there: dict[str, object]) -> None:
    """Facts of another form are differences, never an exception."""
    assert describe(compare(HERE, there, None), "w").count("\n") <= DESCRIBED_MAX + 1
    compare(there, HERE, None)


def test_the_block_is_bounded_and_printable() -> None:
    """Some lines, the number of the rest, no control characters, no endless line."""
    many = [
        Difference("package", f"p{n:03}", "1", "", "severe") for n in range(100)
    ] + [Difference("package", "q", "1", "2", "notable")]
    block = describe(many, "tcp://w:1\x1b[31m")
    lines = block.splitlines()
    assert lines[0] == "The environment of worker tcp://w:1?[31m differs from this one:"
    assert lines[1] == "  ! package p000: 1 here, missing on the worker"
    assert lines[-1] == "  and 81 more, 80 of them severe"
    assert len(lines) == DESCRIBED_MAX + 2
    long = Difference("package", "x\n" * 10_000, "1", "2", "notable").text()
    assert "\n" not in long
    assert len(long) <= TEXT_CHARACTERS_MAX + 3
    assert describe((), "w") == ""


def test_the_versions_are_those_that_the_metadata_say() -> None:
    """Names of folders tell the same as reading every METADATA does."""
    expected: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        expected.setdefault(normalised(one.name), one.version)
    here = facts()
    assert here["packages"] == expected
    assert here["dtf"] == dtf_dask.__version__
    assert json.loads(json.dumps(here)) == here


def test_the_suite_s_distributions_are_found_by_their_modules() -> None:
    """By name, by top-level module of another name; not the library's nor tests'."""
    import yaml  # of PyYAML, whose name differs

    used = facts(["_pytest.config", yaml.__name__, "json", __name__])["packages"]
    assert set(used) == {"pytest", "pyyaml"}
    assert set(facts([yaml.__name__])["packages"]) == {"pyyaml"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions, first on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, entry: str, **files: str) -> None:
    (site / entry).mkdir()
    for name, content in files.items():
        (site / entry / name.replace("__", ".")).write_text(content)


def test_every_form_of_an_installed_distribution(site: Path) -> None:
    """Wheels, eggs with a Python tag, folders installed in place, single-file eggs."""
    install(site, "My_Wheel.x-1.0+local.dist-info")
    install(site, "old_egg-2.0-py3.11.egg-info")
    install(site, "in_place.egg-info", **{"PKG-INFO": "Name: in-place\nVersion: 3.0\n"})
    install(site, "broken.dist-info")
    (site / "file_egg-4.0.egg-info").write_text("Metadata-Version: 1.0")
    install(site, "pytest-0.0.dist-info")  # hides the one that comes later
    packages = facts()["packages"]
    expected = {
        "broken": "",
        "file-egg": "4.0",
        "in-place": "3.0",
        "my-wheel-x": "1.0+local",
        "old-egg": "2.0",
    }
    assert {name: packages.get(name) for name in expected} == expected
    assert packages["pytest"] == "0.0"


def test_modules_are_found_in_records_and_lists(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RECORD (packages, modules, extensions) and top_level.txt of old eggs."""
    install(site, "one-1.dist-info", RECORD='pkg_a/__init__.py,,\n"mod_b.py",,\n')
    install(site, "two-1.dist-info", RECORD="ext_c.cpython-311-x.so,,\n")
    install(site, "three-1.egg-info", top_level__txt="pkg_d\n")
    for name, place in (("pkg_a", "pkg_a/__init__.py"), ("ext_c", "ext_c.so")):
        module = types.ModuleType(name)
        module.__file__ = str(site / place)
        if "/" in place:
            module.__path__ = [str(site / "pkg_a")]
        monkeypatch.setitem(sys.modules, name, module)
    assert set(facts(["pkg_a.x"])["packages"]) == {"one"}
    assert set(facts(["ext_c"])["packages"]) == {"two"}
    assert set(facts(["mod_b", "pkg_d"])["packages"]) == {"one", "three"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"url": "file://ROOT/src", "dir_info": {"editable": true}}', ["mine"]),
        ('{"url": "file://ROOT", "dir_info": {"editable": true}}', ["mine"]),
        ('{"url": "file://ROOT", "dir_info": {}}', []),
        ('{"url": "file://ROOTED", "dir_info": {"editable": true}}', []),
        ('{"url": "https://example.org/ROOT", "dir_info": {"editable": true}}', []),
        ('{"url": 5, "dir_info": {"editable": true}}', []),
        ("[]", []),
        ("{", []),
    ],
)
def test_what_is_installed_from_the_root_in_place(
    site: Path, tmp_path: Path, said: str, expected: list[str]
) -> None:
    """Its code travels with the snapshot: a worker need not have it."""
    root = tmp_path / "a b"
    said = said.replace("ROOT", str(root).replace(" ", "%20"))
    install(site, "mine-1.dist-info", direct_url__json=said)
    assert [n for n in facts(root=root)["in_snapshot"] if n == "mine"] == expected
