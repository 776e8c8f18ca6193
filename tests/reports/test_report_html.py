"""The HTML page: one file, nothing loaded, nothing run but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_samples import RUN, attempt, attempts

from dtf_dask.model import Attempt, Outcome
from dtf_dask.runs.reports import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class _Page(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data

    @property
    def embedded(self) -> dict[str, Any]:
        """What the page's script reads."""
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def _page(found: list[Attempt], **options: Any) -> _Page:
    text = "".join(html.render(RUN, found, **options))
    text.encode()  # nothing in it that UTF-8 lacks
    return _Page(text)


def test_refers_to_nothing_outside() -> None:
    """No element loads anything, and the page's policy forbids it besides."""
    page = _page(attempts())
    for _, attributes in page.tags:
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    css = html._asset("page.css")
    assert "url(" not in css
    assert "@import" not in css


def test_policy_allows_exactly_the_pages_own_script() -> None:
    """The script's hash is in the policy; inline scripts are not allowed as such."""
    page = _page(attempts())
    digest = hashlib.sha256(page.scripts[1].encode()).digest()
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy is not None
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert len(page.scripts) == 2


def test_every_case_is_embedded_inert() -> None:
    """Hostile names neither end the script element nor break its JSON."""
    page = _page(attempts())
    cases = page.embedded["cases"]
    assert len(cases) == 8
    hostile = cases[-1]
    assert hostile["id"].isprintable()
    assert "</script><script>document.title='OWNED'" in hostile["id"]
    assert hostile["attempts"][0]["stdout"].startswith("</script><!--<b>red\\x00")
    assert cases[0]["attempts"][0]["properties"][0] == ["loss", "nan"]


def test_attempts_phases_and_artifacts_are_all_there() -> None:
    """What a case left is on the page; an artifact is a link where one is known."""
    digest = "ab" * 32
    page = _page(attempts(), artifact_url=lambda found: f"artifacts/{found}")
    cases = {case["id"]: case for case in page.embedded["cases"]}
    bad = cases["tests/test_a.py::TestB::test_bad"]["attempts"][0]
    assert bad["artifacts"][0]["href"] == f"artifacts/{digest}"
    assert ["phases", "setup 100 ms, call 900 ms (failed), teardown 0 ms"] in (
        bad["facts"]
    )
    assert len(cases["tests/test_a.py::test_flaky"]["attempts"]) == 2
    first = cases["tests/test_a.py::test_flaky"]["attempts"][0]
    assert ["worker", "gw0 of bench-1"] in first["facts"]
    # No SHA-256, no link: the name of a file cannot lead elsewhere.
    assert page.embedded["cases"][-1]["attempts"][0]["artifacts"][0]["href"] == ""
    runs = _page(attempts(), artifact_url=lambda found: "javascript:alert(1)")
    assert "javascript:" not in json.dumps(runs.embedded)


def test_size_is_bounded() -> None:
    """A run with endless output makes a page that still opens."""
    loud = [
        attempt(f"t{n}", Outcome.FAILED, stdout="<" * 300_000, log="x" * 300_000)
        for n in range(400)
    ]
    # "<" is six characters as JSON in a page.
    size = sum(len(piece.replace("\\u003c", "<")) for piece in html.render(RUN, loud))
    assert size < html.TEXT_TOTAL_CHARS_MAX + 2_000_000


def test_chatty_passes_leave_room_for_failures() -> None:
    """What failed after many loud tests passed keeps its whole traceback."""
    chatty = [
        attempt(f"t{n}", Outcome.PASSED, stdout="x" * 9_000) for n in range(3_000)
    ]
    bad = attempt("bad", Outcome.FAILED, traceback="y" * 9_000)
    cases = _page([*chatty, bad]).embedded["cases"]
    assert len(cases[-1]["attempts"][0]["traceback"]) == 9_000
    assert len(cases[2_999]["attempts"][0]["stdout"]) < 500


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_ten_thousand_cases_in_a_browser(tmp_path: Path) -> None:
    """Only the rows in sight are drawn, the worst first, and no name runs."""
    many = [attempt(f"a.py::t[{n}]", Outcome.PASSED) for n in range(10_000)]
    path = tmp_path / "report.html"
    path.write_text("".join(html.render(RUN, many + attempts())), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync"
        " --window-size=390,844 --virtual-time-budget=2000 --dump-dom"
    )
    assert CHROMIUM is not None
    dom = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path}/u", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    rows = re.findall(r'<li class="(\w+)" data-at', dom)
    assert 5 < len(rows) < 60
    assert rows[:2] == ["failed", "failed"]
    assert "10,008 cases" in dom
    assert "<title>OWNED" not in dom
    assert "<img" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S)
