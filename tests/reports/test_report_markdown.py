"""The Markdown summary: short, bounded, and inert."""

from __future__ import annotations

import re
from dataclasses import replace

from report_samples import HOSTILE_ID, RUN, attempt, attempts

from dtf_dask.model import Outcome
from dtf_dask.runs.reports import markdown


def test_says_what_a_reviewer_asks_first() -> None:
    """Verdict, counts, failures with reason and traceback, flaky, slowest, run."""
    text = markdown.render(RUN, attempts(), url="https://example.org/r/1")
    assert text.startswith("## ✗ `demo`: 2 failed, 1 in error")
    assert "| ✗ failed | ! error |" in text
    assert "<code>AssertionError: assert 1 == 2</code>" in text
    assert ">  assert 1 == 2\nE  assert 1 == 2" in text
    assert "- `tests/test_a.py::test_flaky` passed at attempt 2" in text
    assert "- 30.0 s `tests/test_a.py::test_hang`" in text
    assert "Run `20261123-154012-7f3a9c`" in text
    assert "[Full report](https://example.org/r/1)" in text


def test_a_good_run_is_short() -> None:
    """Nothing to report is reported in a few lines."""
    good = replace(RUN, status="passed", cases_planned=1)
    text = markdown.render(good, [attempt("t", Outcome.PASSED)])
    assert text.startswith("## ✓ `demo`: 1 passed in 12.5 s\n")
    assert len(text.splitlines()) < 12
    assert "no cases" in markdown.render(replace(good, cases_planned=0), [])


def test_hostile_names_stay_text() -> None:
    """Outside code there is no markup, link, mention or line of a test's making."""
    text = markdown.render(RUN, attempts())
    fenced = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.M | re.S)
    # Spans of any number of backticks; then our own few HTML elements.
    bare = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", fenced)
    bare = re.sub(r"</?(details|summary|code|br)>", "", bare)
    assert not re.search(r"<[a-zA-Z/!]", bare)
    assert "\x1b" not in text
    assert "\n# x" not in bare
    assert not re.search(r"[\ud800-\udfff\u202e\x00]", text)
    text.encode()


def test_fence_is_longer_than_any_in_the_text() -> None:
    """A traceback cannot close its own block."""
    bad = [attempt("t", Outcome.FAILED, traceback="a\n`````\n# b")]
    text = markdown.render(RUN, bad)
    assert "\n``````text\na\n`````\n# b\n``````\n" in text


def test_is_bounded_whatever_fails() -> None:
    """However many and long the failures, GitHub takes the summary whole."""
    many = [
        attempt(
            f"tests/{'ä' * 400}.py::test_{n}",
            Outcome.FAILED,
            exception="é" * 5_000,
            traceback="日本語\n" * 5_000,
        )
        for n in range(2_000)
    ]
    flaky = [
        attempt(f"{'f' * 900}{n}", outcome, number)
        for n in range(100)
        for number, outcome in ((1, Outcome.FAILED), (2, Outcome.PASSED))
    ]
    text = markdown.render(RUN, many + flaky)
    assert len(text.encode()) <= markdown.BYTES_MAX
    assert re.search(r"and 1,9\d\d more failures", text)
    assert "### Flaky" in text
    assert text.count("<details>") == text.count("</details>")


def test_only_web_links_are_links() -> None:
    """A report's address that is no web address is left out."""
    assert "javascript" not in markdown.render(RUN, [], url="javascript:alert(1)")
    assert HOSTILE_ID not in markdown.render(RUN, attempts(), url=HOSTILE_ID)
