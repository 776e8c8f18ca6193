"""What the pages reckon, in the browser that does; and names that mean harm."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from browser import begun, chromium, page_of
from following import asked
from room_actions import room_actions
from site_room import SiteRoom, record, site_room
from test_api import filled

from dtf_dask.web.pages.assets import BOKEH, Assets, bokeh_folder

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\">\x1b[31m\u202e"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteRoom]:
    folder = tmp_path_factory.mktemp("site")
    with site_room(folder) as one:
        filled(folder, run_id="r1")
        one.begin(
            record("cluster", at=100.0, workers=1, threads=4, waiting=3, memory=8),
            record("class", HOSTILE, name=HOSTILE, waiting=3, since=90.0),
            record(
                *("worker", HOSTILE),
                name=HOSTILE,
                host=HOSTILE,
                status="running",
                threads=4,
                labels=[HOSTILE],
                facts={HOSTILE: HOSTILE},
            ),
            record(
                *("load", HOSTILE),
                at=100.0,
                cpu=1.0,
                running=[
                    {"key": HOSTILE * 20_000, "since": 90.0},
                    {"key": "dtf-batch-r-9-1"},
                ],
            ),
            record(
                *("kind", "k"),
                **{"class": HOSTILE, "tenant": HOSTILE, "next": HOSTILE},
                needs=HOSTILE,
                waits_for=HOSTILE,
                why=HOSTILE,
                help=HOSTILE,
                waiting=3,
            ),
            record("run", "r2", run=HOSTILE, suite=HOSTILE, status="running"),
            record("breaker", HOSTILE, name=HOSTILE, state="open", why=HOSTILE),
            record("failover", "3", term=3, node=HOSTILE, at=95.0),
        )
        one.stand(role="leader", leader=1, term=3, voters=[1, 2], quorum_left=1)
        yield one


def url(room: SiteRoom, path: str = "") -> str:
    host, port = room.address
    return f"http://{host}:{port}/dtf/{path}"


def test_what_is_asked_with_such_a_name_is_done_once(
    served: SiteRoom, browser: Any
) -> None:
    """A worker of that name: the dialog shows it as text, and it is asked for by that
    name, again with the same id as no answer comes; it is done once."""
    with page_of(browser) as page:
        page.goto(url(served, f"workers?worker={quote(HOSTILE)}"))
        begun(page)
        served.actions, done = room_actions()
        ids: list[str] = []

        def first_is_lost(route: Any) -> None:
            ids.append(route.request.headers["idempotency-key"])
            route.abort() if len(ids) == 1 else route.continue_()

        page.route("**/actions/retire-worker", first_is_lost)
        page.click("button:text-is('Retire…')")
        page.wait_for_selector("dialog h2:has-text('</script><img')")
        page.click("dialog button:text-is('Retire it')")
        said = "done (asked for by 127.0.0.1 at a)"
        page.wait_for_selector(f".outcome:has-text('{said}')")
        assert [one.subject for one in done] == [HOSTILE]
        assert len(ids) == 2
        assert len(set(ids)) == 1
        assert page.locator("img").count() == 0
        assert page.title() == "Workers · dtf"


PATHS = [
    *("", "runs", "runs?run=r1", "workers", "scheduling", "flaky", "coordinators"),
    "trends",
]


def test_names_that_are_markup_are_text(served: SiteRoom, browser: Any) -> None:
    """On every page, in tables, charts and what hovers over them; the policy of the
    document lets no script run that is not dtf's."""
    with page_of(browser) as page:
        for path in PATHS:
            page.goto(url(served, path))
            begun(page)
            assert page.locator("img, #page script").count() == 0
            assert page.title().endswith(" · dtf")
        page.goto(url(served, f"workers?worker={quote(HOSTILE)}"))
        page.wait_for_selector("dt:text('labels')")
        page.wait_for_selector("td:has-text(', tests of r-9') a:text-is('r-9')")
        page.wait_for_selector("text=\\x1b[31m")
        hovered = page.locator(".chart canvas").last.bounding_box()
        page.mouse.move(hovered["x"] + hovered["width"] - 40, hovered["y"] + 20)
        page.wait_for_selector(".bk-Tooltip :text('onerror')")
        assert page.locator("img").count() == 0
        assert page.title() == "Workers · dtf"
    policy = asked(served.address, "/../..").headers  # any answer of the API
    assert policy["Content-Security-Policy"].startswith("default-src 'none'")
    policies = set()
    for _ in range(2):
        with urlopen(url(served)) as answer:
            policies.add(answer.headers["Content-Security-Policy"])
    assert len(policies) == 2  # of a nonce each
    assert not any("unsafe" in one for one in policies)


LOGIC = (Path(__file__).parent / "pages_logic.js").read_text("utf-8")


def test_what_the_pages_reckon(served: SiteRoom, browser: Any) -> None:
    """Records are as they were told last; who leaves a node does so neither early nor
    late; numbers over time take the place of those told before; bars do not overlap;
    what a failover cost is what it cost. That is shown by browsers without shared
    workers, too, as those of some telephones."""
    with page_of(browser) as page:
        page.add_init_script("delete globalThis.SharedWorker")
        page.goto(url(served))
        begun(page)
        found = page.evaluate(LOGIC, Assets().own)
    assert found["mirror"] == ["1:2", 5, [{"n": 2}], {"cpu": 1}]
    assert found["runs"] == ["2026-r1", "", ""]
    assert found["elsewhere"] == ["http://127.0.0.1:2"]
    assert found["early"] == ["connect", "connect", "probe", "connect"]
    assert found["gone"] == {"go": "x"}
    assert (found["going"], found["again"]) == (False, "probe")
    assert found["back"] == []
    assert found["silent"] == [
        *([], ["check"], [], ["disconnect"], ["connect", "probe"])
    ]
    assert found["series"] == [11, 11, [5, None, 7, 8], [1, 1, 1, 1], ["a"]]
    assert found["stacked"] == [1, 1, 1, 1]
    assert math.isnan(found["gap"])
    assert found["anew"] == [100, [1]]
    half, whole = {"low": 0, "high": 0.5}, {"low": 0, "high": 1}
    assert found["lanes"] == [half, {"low": 0.5, "high": 1}, half, whole]
    assert found["words"] == ["250 ms", "61 s", "-90 s", "3.0 GiB", "a\\x202e\\x1b[1m⏎"]
    room = "room on workers that fit"
    assert found["groups"] == [["a GPU", 5, 5, "buy one"], [room, 3, 9, ""]]
    assert found["scarce"] == ["arm", "gpu"]
    assert found["changes"] == ["-50 %", "+0.1 %", "–", "none", "–"]
    assert shlex.split(found["command"]) == [
        *("cd", "/a b/below", "&&", "dtf", "rerun", "r-1", "--case", "t.py::t['$(x)']")
    ]
    assert found["touched"] == [
        ["b", "lost, and run again"],
        ["a", "nothing: it went on"],
    ]


def test_the_files_of_bokeh_are_those_that_are_installed() -> None:
    """Pages fetch nothing from elsewhere: BokehJS comes with Bokeh."""
    assets = Assets()
    for name in BOKEH:
        found = assets.get(assets.bokeh, name)
        assert found is not None
        assert found.body == (bokeh_folder() / name).read_bytes()
    assert assets.get(assets.bokeh, "bokeh.js") is None
    assert assets.get("static-other", "main.js") is None
    assert b"//" not in assets.shell.body
