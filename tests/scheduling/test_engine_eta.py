"""About when the next task of a kind begins, as it is shown, by a real engine."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Bench, ask, need

from dtf_dask.scheduler_plugins.adapter.whys import Whys

WALL = 1e9
"""Seconds since 1970 when the engine's clock begins."""


def etas(bench: Bench) -> dict[str, float | None]:
    """Of the kinds that wait, the most urgent first: in how many seconds."""
    engine, found = bench.engine, {}
    for row in engine.tables.kind_rows(bench.now, 100):
        whys = Whys()  # of now: one that is kept reckons a few at a look
        whys.begin()
        eta = whys.of(engine, row, WALL + bench.now, bench.now).eta
        found[row["next"]] = None if eta is None else eta - WALL - bench.now
    return found


def busy(**more: Any) -> Bench:
    """One thread, which something takes for 30 s."""
    bench = Bench(**more)
    bench.worker("w", facts={"label.x": 1})
    bench.learn("long", 30.0)
    bench.learn("short", 2.0)
    bench.ready(ask("first", name="long"))
    assert bench.pump() == ["first"]
    return bench


def test_what_is_more_urgent_begins_earlier() -> None:
    """Each behind what runs and what goes before it, in the order in which they then
    are granted."""
    bench = busy()
    bench.ready(
        *(ask(("n", n), name="long", priority_class="normal") for n in range(2)),
        ask("nightly", name="short", priority_class="nightly"),
        ask("urgent", name="short", priority_class="interactive"),
    )
    bench.pump()
    found = etas(bench)
    assert list(found) == ["urgent", "('n', 0)", "nightly"]
    assert list(found.values()) == [
        pytest.approx(30.0, rel=0.5),
        pytest.approx(32.0, rel=0.5),
        pytest.approx(92.0, rel=0.5),
    ]
    assert found == dict(sorted(found.items(), key=lambda item: item[1] or 0.0))
    bench.end("first")
    assert bench.order(["urgent", ("n", 0), ("n", 1), "nightly"]) == [
        *("urgent", ("n", 0), ("n", 1), "nightly")
    ]


def test_it_comes_nearer_as_time_goes_by() -> None:
    """And is never before now, however late the one is that runs."""
    bench = busy()
    bench.ready(ask("next", name="short"))
    bench.pump()
    seen = []
    for bench.now in (0.0, 10.0, 25.0, 300.0):
        (eta,) = etas(bench).values()
        assert eta is not None
        seen.append(eta)
    assert seen[0] > seen[1] > seen[2]
    assert min(seen) >= 0.0


def test_nobody_can_say_when_what_cannot_run_begins() -> None:
    """What no worker can run, waits for tokens, or finds all workers shut: None, not
    now, though threads are free; it is told again when that is over."""
    bench = Bench()
    bench.worker("w", threads=2, tokens={"board": 1.0})
    assert bench.pump() == []
    token = need(tokens={"board": 1.0})
    bench.ready(ask("plan9", need("os.name == 'plan9'")))
    bench.ready(ask("holds", token), ask("waits", token))
    assert bench.pump() == ["holds"]
    assert etas(bench) == {"plan9": None, "waits": None}
    bench.end("holds")
    assert bench.pump() == ["waits"]
    bench.engine.quarantine("w", "it is odd", bench.now)
    bench.ready(ask("shut out"))
    assert bench.pump() == []
    assert etas(bench) == {"plan9": None, "shut out": None}
    bench.engine.quarantine("w", "", bench.now)
    assert etas(bench)["shut out"] == 0.0
    assert bench.pump() == ["shut out"]


def test_what_is_held_back_is_counted_by_class() -> None:
    """Apart from what waits for a worker: behind other tasks, or for its gang."""
    bench = busy()
    after = ask("after", after=("first",))
    bench.engine.admit([after], bench.now)
    bench.ready(
        after,
        ask("alone", gang=("g", 2), priority_class="nightly"),
        ask("waits"),
    )
    bench.pump()
    rows = bench.engine.tables.class_rows()
    seen = {name: (row["waiting"], row["held"]) for name, row in rows.items()}
    assert seen == dict.fromkeys(rows, (0, 0)) | {"normal": (1, 1), "nightly": (0, 1)}
    bench.end("first")
    bench.pump()
    rows = bench.engine.tables.class_rows()
    assert rows["normal"]["held"] == 0
