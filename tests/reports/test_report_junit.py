"""JUnit XML: valid for Jenkins and GitLab, named as pytest names, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from lxml import etree
from report_samples import HOSTILE_ID, RUN, attempt, attempts

from dtf_dask.model import Attempt, Outcome
from dtf_dask.runs.reports import junit

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit.xsd")))


def _document(found: Iterable[Attempt]) -> etree._Element:
    text = "".join(junit.render(RUN, found))
    root = etree.fromstring(text.encode("utf-8"))  # strict: lone surrogates fail
    SCHEMA.assertValid(root)
    return root


def _case(root: etree._Element, name: str) -> etree._Element:
    (found,) = root.xpath("//testcase[@name=$name]", name=name)
    return found


def test_is_valid_and_counts_agree() -> None:
    """Every kind of case validates, and the totals are those of the elements."""
    root = _document(attempts())
    suite = root[0]
    assert suite.get("tests") == str(len(suite.findall("testcase"))) == "8"
    for total, tag in (("failures", "failure"), ("errors", "error")):
        assert suite.get(total) == str(len(root.findall(f".//{tag}")))
    assert suite.get("skipped") == "1"
    assert suite.get("timestamp") == "2026-11-21T22:26:40"


def test_no_cases_and_running_runs_are_valid() -> None:
    """A run without cases, and one whose durations are nonsense, validate too."""
    assert _document([])[0].get("tests") == "0"
    odd = [
        attempt(f"t{n}", Outcome.PASSED, duration_s=s)
        for n, s in enumerate((float("nan"), float("inf"), -1.0))
    ]
    assert {case.get("time") for case in _document(odd).iter("testcase")} == {"0.000"}


def test_verdicts_are_told_apart() -> None:
    """An assertion is a failure; set-up, timeout and loss are errors that say so."""
    root = _document(attempts())
    failure = _case(root, "test_bad").find("failure")
    assert failure.get("type") == "AssertionError"
    assert "E  assert 1 == 2" in failure.text
    assert _case(root, "test_hang").find("error").get("message") == (
        "timeout: Timeout: still running after 30 s"
    )
    skipped = _case(root, "test_skip").find("skipped")
    assert (skipped.get("type"), skipped.text) == ("pytest.skip", "needs a GPU")


def test_earlier_attempts_and_properties_are_in_system_out() -> None:
    """What the schemas have no element for is told in words, and not lost."""
    root = _document(attempts())
    flaky = _case(root, "test_flaky")
    assert flaky.find("failure") is None
    said = flaky.findtext("system-out")
    assert "attempt 1: failed on gw0 of bench-1: OSError: no answer" in said
    assert "property seed = 7" in _case(root, "test_ok[1]").findtext("system-out")
    assert "core.dump (2.0 KiB" in _case(root, "test_bad").findtext("system-out")
    values = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert values["dtf.flaky"] == "1"
    assert values["environment.python"] == "3.11.9"


def test_characters_that_xml_cannot_hold_are_shown() -> None:
    """Illegal characters become visible escapes; legal ones survive a round trip."""
    root = _document(attempts())
    name = junit.address(HOSTILE_ID, "demo")[1]
    wanted = name.replace("\x1b", "#x1B").replace("\x00", "#x00")
    case = _case(root, wanted.replace("\ud800", "#xD800"))
    assert "\n" in case.get("name")
    assert "#x07#xD800#xFFFE]]>```\n# x\u2028" in case.findtext("system-out")


@pytest.mark.parametrize(
    "node_id",
    [
        "test_a.py::test_b",
        "a/b/test_c.py::TestD::TestE::test_f",
        "a/test_c.py::test_f[x::y/z.py]",
        "a/test_c.py::TestD::test_f[]",
        "doc/index.rst::index.rst",
    ],
)
def test_names_are_split_as_pytest_splits_them(node_id: str) -> None:
    """A dashboard that knew the suite from pytest's own report finds the same names."""
    from _pytest.junitxml import mangle_test_address

    names = mangle_test_address(node_id)
    assert junit.address(node_id, "s") == (".".join(names[:-1]), names[-1])


def test_output_is_bounded() -> None:
    """One case cannot fill the report, nor can many: GitLab refuses over 30 MB."""
    loud = [
        attempt(f"t{n}", Outcome.FAILED, stdout="x" * 200_000, stderr="y" * 200_000)
        for n in range(150)
    ]
    text = "".join(junit.render(RUN, loud))
    limit = junit.OUTPUT_TOTAL_CHARS_MAX + 2 * junit.OUTPUT_CHARS_MAX
    assert len(text) < limit + 150 * 1_000
    assert text.count("characters left out") > 100
