"""Debian's Chromium, and what pages say that somebody should hear."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 60_000
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage"),
)
# Charts are hidden from readers, and the page's policy forbids to read their styles.
AXE = """async (options) => {
  const told = await axe.run(
    { exclude: [[".chart"]] },
    { preload: false, resultTypes: ["violations"], ...options },
  );
  const html = (one) => one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200));
  return told.violations.map((one) => [one.id, html(one)]);
}"""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; the tests are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (on Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=list(ARGUMENTS)
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(browser: Any, **options: Any) -> Iterator[Any]:
    """A page; what it reports as wrong in the end is a failure of the test."""
    context = browser.new_context(**{"viewport": WIDE, **options})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on(
        "console",
        lambda one: wrong.append(one.text) if one.type in ("error", "warning") else 0,
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
        # Of a node that is killed while it is read, and of pages that are left.
        found = [one for one in wrong if "net::ERR_" not in one]
        assert not found, "\n".join(found)
    finally:
        context.close()


def begun(page: Any) -> None:
    """Wait until it shows what a scheduler has seen."""
    page.wait_for_selector("html[data-begun]", state="attached")


def inaccessible(page: Any, *rules: str) -> list[Any]:
    """What an accessibility checker finds wrong, by all of its rules or by some."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.axe_script)
    return page.evaluate(AXE, {"runOnly": rules} if rules else {})  # type: ignore[no-any-return]
