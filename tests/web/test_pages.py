"""The pages in a real browser, of a real cluster whose leader is killed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from browser import NARROW, WIDE, begun, chromium, inaccessible, page_of
from following import asked

from dtf_dask import Case, Client
from dtf_dask.cli.free_ports import free_ports

_COORDINATORS = str(Path(__file__).parents[1] / "coordinators")
if _COORDINATORS not in sys.path:
    sys.path.append(_COORDINATORS)

from stage import FailoverCluster, Stage  # noqa: E402

HOSTILE = "test_of[<img src=x onerror=document.title='hacked'>]"
TOO_WIDE = """[...document.querySelectorAll("body *")].filter((one) =>
  one.getBoundingClientRect().right > innerWidth + 1
  && !one.closest("nav, .scroll, .unseen, .chart")
  ).map((one) => one.outerHTML.slice(0, 200))"""
TAIL = "/runs/r-talks/tail?case=talks"
# Of each page: its path, and a text that is there once it has its data.
PAGES = {
    "": "on 2 threads",
    "runs": "failed",
    "workers": "1 thread",
    "scheduling": "begins at once",
    "flaky": "test_passes",
    "coordinators": "leads in term",
    "trends": "result",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three coordinators that serve pages, two workers, and a run that has ended."""
    folder = tmp_path_factory.mktemp("pages")
    made = FailoverCluster(folder / "lab", tls=False)
    coordinators = [*made.coordinators.values()]
    ports = free_ports(len(coordinators))
    for one, port in zip(coordinators, ports, strict=True):
        one.config = replace(one.config, web=("127.0.0.1", port))
        one.config.write()
    stage = Stage(made)
    try:
        for name in ("w1", "w2"):
            made.start_worker(name)
        stage.do(made.__aenter__())
        stage.do(ran(made.contact, folder))
        yield stage
    finally:
        stage.end()


async def ran(contact: str, folder: Path) -> None:
    def fails() -> None:
        print("<b>what it wrote</b>")
        raise AssertionError("1 + 1 is 2")

    cases = [Case(f"test_passes[{n}]", fn=time.sleep, args=(0.05,)) for n in range(4)]
    cases += [Case("test_fails", fn=fails), Case(HOSTILE, fn=int)]
    async with Client(contact, asynchronous=True) as client:
        handle = client.run_cases(cases, results=str(folder / "kept.sqlite"))
        outcomes = Counter([attempt.outcome.value async for attempt in handle])
    assert outcomes == {"passed": 5, "failed": 1}


def place(stage: Stage, *, leads: bool) -> str:
    """Where the pages of one are that leads, or that does not."""
    leader = stage.do(stage.made.leader())
    chosen = next(
        one
        for one in stage.made.coordinators.values()
        if (one is leader) == leads and one.lives
    )
    host, port = chosen.config.web
    return f"http://{host}:{port}/dtf/"


def address(pages: str) -> tuple[str, int]:
    """Where the API of some pages is asked."""
    url = urlsplit(pages)
    return str(url.hostname), int(url.port or 0)


def test_every_page_shows_what_is_there(stage: Stage, browser: Any) -> None:
    """On any node, wide and narrow: with live data, how old that is, no error; nothing
    is wider than the window, and an accessibility checker finds nothing wrong, in
    light and dark."""
    with page_of(browser) as page:
        page.goto(place(stage, leads=False))
        begun(page)
        wrong: list[Any] = []
        looks = {"light": WIDE, "dark": NARROW}
        # The other look has other colours, of the same elements.
        rules: dict[str, tuple[str, ...]] = {"dark": (), "light": ("color-contrast",)}
        for path, words in PAGES.items():
            page.click(f"nav a[href='/dtf/{path}']")
            page.wait_for_selector(f"#page :text('{words}')", state="visible")
            assert page.locator("#age[data-level=good]").inner_text().endswith("old")
            assert page.locator("nav [aria-current=page]").count() == 1
            if page.locator(".chart").count():
                page.locator(".chart canvas").first.wait_for(state="attached")
            for theme in looks:
                page.set_viewport_size(looks[theme])
                while page.locator("html").get_attribute("data-theme") != theme:
                    page.click("#theme")
                assert page.evaluate(TOO_WIDE) == [], path
                wrong += [
                    (path, theme, *one) for one in inaccessible(page, *rules[theme])
                ]
            # The next page begins with what this one looks like.
            looks = dict(reversed(looks.items()))
        assert wrong == []


def test_dask_s_dashboard_and_the_pages_lead_to_each_other(stage: Stage) -> None:
    """The bar of the leader's dashboard has an entry for its pages."""
    pages = place(stage, leads=True)
    with urlopen(f"{pages}api/v1/cluster") as answer:
        dashboard = json.load(answer)["dashboard"]
    with urlopen(dashboard) as answer:
        assert b'href="dtf"' in answer.read()
    with urlopen(dashboard.replace("/status", "/dtf")) as answer:
        assert answer.url == pages.rstrip("/")
        assert b"<title>dtf</title>" in answer.read()


def test_from_a_run_to_what_an_attempt_wrote(stage: Stage, browser: Any) -> None:
    """By keyboard alone: to the run, its failed case, its traceback and its output; a
    test's name that is markup is text, and what it wrote is, too; all of it is as wide
    as a narrow window."""
    with page_of(browser) as page:
        page.goto(place(stage, leads=True) + "runs")
        begun(page)
        page.wait_for_selector("tbody a")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached(page, "tbody a")
        page.wait_for_selector("text=onerror")
        assert page.locator("img").count() == 0
        assert page.title() == "Runs · dtf"
        reached(page, "button:text-is('failed')")
        page.wait_for_selector("[aria-pressed=true]:text-is('failed')")
        page.wait_for_selector("text=1 to 1 of 1")
        reached(page, "tbody th a:text('test_fails')")
        page.wait_for_selector("pre:has-text('AssertionError: 1 + 1 is 2')")
        reached(page, "summary:text('stdout')")
        page.wait_for_selector("pre:text('<b>what it wrote</b>')", state="visible")
        page.set_viewport_size(NARROW)
        assert page.evaluate(TOO_WIDE) == []
        page.go_back()
        page.wait_for_selector("h2:text('Run ')")


def test_what_a_test_writes_is_read_at_a_node_that_follows(
    stage: Stage, browser: Any, tmp_path: Path
) -> None:
    """While it runs: by the API, which asks who leads and not its own scheduler; on
    the page of the case, where its attempt stands when it has ended, by itself."""
    go, follows = tmp_path / "go", place(stage, leads=False)
    loop = f"echo '<b>so far</b>'; until [ -e '{go}' ]; do sleep 0.1; done; echo end"

    async def begin() -> tuple[Any, Any]:
        client = await Client(stage.made.contact, asynchronous=True)
        case = Case("talks", argv=("sh", "-c", loop))
        kept = str(tmp_path / "kept.sqlite")
        return client, client.run_cases([case], results=kept, run_id="r-talks")

    async def outcomes() -> list[str]:
        async with client:
            return [attempt.outcome.value async for attempt in handle]

    client, handle = stage.do(begin())
    at = address(follows)
    # Of a run that is just begun a node that follows is told some moments later.
    while asked(at, "/runs/r-talks/attempts?case=talks").status == 404:
        time.sleep(0.05)
    with page_of(browser) as page:
        page.goto(follows + "runs?run=r-talks&case=talks")
        begun(page)
        page.wait_for_selector("h3:text-matches('Runs now on w[12]')")
        page.wait_for_selector("pre:has-text('<b>so far</b>')")
        told = asked(at, TAIL)
        assert [one["stdout"] for one in told.json["items"]] == ["<b>so far</b>\n"]
        go.touch()
        assert stage.do(outcomes()) == ["passed"]
        page.wait_for_selector("h3:text-matches('Attempt 1 on w[12]: ')")
        page.wait_for_selector("h3:text-matches('Runs now on')", state="detached")
        page.click("summary:text('stdout')")
        page.wait_for_selector("pre:text('end')", state="visible")


def test_actions_are_done_once_whichever_node_is_asked(stage: Stage) -> None:
    """Of one that follows, of the one that leads, of one that led: with the same id
    each is done once, and answered with its first outcome."""

    def ask(at: str, action: str, id: str, **fields: Any) -> Any:
        told = asked(
            *(address(at), f"/actions/{action}", "POST"),
            body=json.dumps(fields).encode(),
            Content_Type="application/json",
            Idempotency_Key=id,
        )
        assert told.status == 200, told.json
        return told.json

    leads, follows = place(stage, leads=True), place(stage, leads=False)
    first = ask(follows, "quarantine", "q-1", worker="w2", reason="it is odd")
    assert (first["state"], first["by"][:10]) == ("done", "127.0.0.1 ")
    again = ask(leads, "quarantine", "q-1", worker="w2", reason="it is odd")
    assert again == first
    ask(follows, "release", "q-2", worker="w2")

    async def cancelled() -> None:
        async with Client(stage.made.contact, asynchronous=True) as client:
            future = client.submit(time.sleep, 600, key="sleeps")
            await client.flush()
            told = [
                await asyncio.to_thread(ask, at, "cancel", "c-1", keys=["sleeps"])
                for at in (follows, leads)
            ]
            assert told[0] == told[1]
            assert told[0]["result"] == "1 task cancelled"
            while future.status != "cancelled":
                await asyncio.sleep(0.02)

    stage.do(cancelled())
    stage.do(stage.made.whole())
    to = next(
        one.config.names[one.config.node]
        for one in stage.made.coordinators.values()
        if one is not stage.do(stage.made.leader())
    )
    # Who leads until then ends its scheduler by it, and says all the same what came
    # of it; so do the others, and nothing is handed over again.
    handed = [ask(at, "transfer-leadership", "t-1", node=to) for at in (leads, follows)]
    assert handed[0] == handed[1]
    assert handed[0]["result"] == f"{to} leads"
    leader = stage.do(stage.made.leader())
    assert leader.config.names[leader.config.node] == to


def test_a_worker_is_quarantined_on_its_page(stage: Stage, browser: Any) -> None:
    """By keyboard: it is asked about first, and nothing is done if it is left; what
    came of it and who asked stands there, and an accessibility checker finds nothing
    wrong while it is asked."""
    with page_of(browser) as page:
        page.goto(place(stage, leads=False) + "workers?worker=w1")
        begun(page)
        reached(page, "button:text-is('Quarantine…')")
        page.wait_for_selector("dialog[open] :text('Quarantine w1?')")
        assert page.evaluate("document.activeElement.textContent") == "No, leave it"
        assert inaccessible(page) == []
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert page.evaluate("document.activeElement.textContent") == "Quarantine…"
        assert page.locator(".outcome").count() == 0
        page.keyboard.press("Enter")
        page.fill("dialog input", "<b>too</b> hot")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        said = "it gets nothing until it is released (asked for by 127.0.0.1 at "
        page.wait_for_selector(f".outcome:has-text('{said}')")
        page.wait_for_selector("dd:text('it is quarantined: <b>too</b> hot')")
        page.wait_for_selector("td:has-text('127.0.0.1 at ')")
        reached(page, "button:text-is('Release')")
        page.wait_for_selector(".outcome:has-text('it gets work again')")
        page.wait_for_selector("button:text-is('Release')", state="hidden")


@pytest.mark.drill
def test_a_run_is_stopped_and_a_worker_retired_on_their_pages(
    stage: Stage, browser: Any, tmp_path: Path
) -> None:
    """The run ends as interrupted, for who began it, too; the worker's process ends."""

    async def begin() -> tuple[Any, Any]:
        client = await Client(stage.made.contact, asynchronous=True)
        case = Case("sleeps", fn=time.sleep, args=(600,))
        kept = str(tmp_path / "kept.sqlite")
        return client, client.run_cases([case], results=kept, run_id="r-stopped")

    async def outcomes() -> list[str]:
        async with client:
            return [attempt.outcome.value async for attempt in handle]

    client, handle = stage.do(begin())
    with page_of(browser) as page:
        page.goto(place(stage, leads=False) + "runs")
        page.click("tbody a:text-is('r-stopped')")
        page.click("button:text-is('Stop…')")
        page.click("dialog button:text-is('Stop it')")
        page.wait_for_selector(".outcome:has-text('Stop: it is interrupted')")
        page.wait_for_selector("#page .mark:has-text('interrupted')")
        assert "passed" not in stage.do(outcomes())
        page.click("nav a[href='/dtf/workers']")
        page.click("tbody a:text-is('w2')")
        page.click("button:text-is('Retire…')")
        page.click("dialog button:text-is('Retire it')")
        page.wait_for_selector(
            ".outcome:has-text('handed over what it held, and ends')"
        )
        page.wait_for_selector("button:text-is('Retire…')", state="hidden")
        assert stage.made.workers["w2"].wait(timeout=60) == 0


def test_another_coordinator_is_made_to_lead_on_a_page(
    stage: Stage, browser: Any
) -> None:
    """A page of the one that led goes on, and says who leads now."""
    stage.do(stage.made.whole())  # one whose scheduler is not ready does not lead
    with page_of(browser) as page:
        page.goto(place(stage, leads=True) + "coordinators")
        begun(page)
        row = page.locator("tr:has(button)").first
        name = row.locator("th").inner_text().split()[0]
        row.locator("button").click()
        page.click("dialog button:text-is('Hand over')")
        page.wait_for_selector(f"#leader:text-is('{name} leads')")
        page.wait_for_selector(f".outcome:has-text('): {name} leads')")
        page.locator("td:has-text('Hand over leadership')").first.wait_for()


def reached(page: Any, selector: str) -> None:
    """Go there by the tab key, and press enter."""
    found = page.locator(selector).first
    found.wait_for()
    for _ in range(120):
        page.keyboard.press("Tab")
        if found.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{selector} is not reached by the keyboard")


def test_who_watches_the_leader_die_goes_on_at_another_node(
    stage: Stage, browser: Any
) -> None:
    """A page of the node that dies is read from another one soon, at the same place; a
    page of a node that lives goes on; both show the next leader and its data, and how
    long nobody led."""
    leads, lives = place(stage, leads=True), place(stage, leads=False)
    leader = stage.do(stage.made.leader())
    with page_of(browser) as page, page_of(browser) as other:
        page.goto(leads + "coordinators")
        other.goto(lives)
        for one in (page, other):
            begun(one)
        page.locator("#page tbody tr").nth(2).wait_for()
        page.click("#theme")
        leader.kill()
        page.wait_for_url(lambda url: not url.startswith(leads))
        assert "/dtf/coordinators" in page.url
        begun(page)
        assert "does not answer" in page.locator("#notes").inner_text()
        assert page.locator("#theme").inner_text() == "Theme: light"
        name = leader.config.names[leader.config.node]
        for one in (page, other):
            led = f"^(?!{name} |nobody ).+ leads$"
            one.wait_for_selector(f"#leader:text-matches('{led}')")
            one.wait_for_selector("#age[data-level=good]")
        assert other.url == lives
        page.wait_for_selector("text=shown below")
