"""``dtf watch``: a run as it goes, to its end; and who leads, in ``dtf top``."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from dtf_dask.cli import watch as watching
from dtf_dask.cli.main import main
from dtf_dask.cli.top_coordinators import coordinators
from dtf_dask.cli.view_link import ViewLink
from dtf_dask.cli.watch_screen import watched
from dtf_dask.cluster import LocalCluster
from dtf_dask.errors import UsageError
from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.view.records import formed

NOW = 1.8e9
HOSTILE = "\x1b[31m<b>\r\n\t\x07" + "ü" * 500
STATUS: dict[str, Any] = {
    "node": 1,
    "role": "leader",
    "leader": 1,
    "voters": [1, 2, 3],
    "learners": [],
    "lag": {2: 0, 3: 4_000},
    "active": [2],
    "quorum_left": 0,
}


def lines(found: list[Text] | Iterator[Text]) -> list[str]:
    return [line.plain for line in found]


@pytest.mark.parametrize("name", ["r1", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_run_fits_every_terminal(name: str, columns: int) -> None:
    """Whatever it is called; how old it is is said when it is old."""
    run = formed(
        "run",
        {
            **dict.fromkeys(("run", "suite"), name),
            "status": "running",
            "started_at": NOW - 60,
            "planned": 40,
            "counts": {"passed": 9, "failed": 1},
            "flaky": 2,
        },
    )
    shown = lines(watched(run, NOW, 30.0, "no answer", columns))
    assert all(len(one) <= columns for one in shown)
    assert not any(set(one) & set("\x1b\r\n\t\x07") for one in shown)
    if columns == 200:
        text = "\n".join(shown)
        assert "10 of 40 cases" in text
        assert "some 3 min left" in text
        assert "30 s old: no answer" in text


def test_who_leads_is_in_dtf_top_and_who_may_fail() -> None:
    """One that is not heard of is said to be; a scheduler alone has no such table."""
    standing = {"names": {"1": "a", "2": "b"}, "node": 1, "status": STATUS}
    told = lines(coordinators(standing, {2: "127.0.0.1:8801"}, 100))
    assert [one.split()[0] for one in told] == ["COORDINATOR", "a", "b", "3"]
    assert told[1].split()[1:2] == ["leads"]
    assert "no more may fail" in told[1]
    assert "127.0.0.1:8801" in told[2]
    assert "not heard of" in told[3]
    assert "4,000" in told[3]
    alone = {**standing, "status": {**STATUS, "voters": [1]}}
    assert coordinators(alone, {}, 100) == coordinators({}, {}, 100) == []
    link = ViewLink("dtf://h")
    link.standing = standing
    assert [one.rule for one in link.alerts()] == ["quorum"]


def test_it_ends_with_the_run_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON a line for each change; a run that nobody knows is said to be so."""
    monkeypatch.setattr(watching, "_BEGINS_S", 0.2)

    def watch(*argv: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["watch", *argv])
        return (ended.value.code, *capsys.readouterr())

    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        code, out, err = watch("--address", address)
        assert (code, out) == (4, "")
        assert "no run 'last' is known there: only coordinators know of runs" in err
        observer = Observer.install(cluster.scheduler)
        run = {"run": "r-1", "planned": 2, "started_at": 1.0, "status": "running"}

        def put(**fields: Any) -> None:
            cluster.scheduler.loop.add_callback(
                observer.put, "run", "r-1", {**run, **fields}
            )

        put()
        ends = threading.Timer(
            1.0, put, kwargs={"status": "failed", "exit_code": 1, "finished_at": 2.0}
        )
        ends.start()
        code, out, err = watch("r", "--address", address, "--json")
        ends.join()
        assert (code, err) == (1, "")
        told = [json.loads(line) for line in out.splitlines()]
        assert [one["status"] for one in told] == ["running", "failed"]
        observer.put("run", "r-2", {**run, "run": "r-2"})
        code, out, err = watch("r", "--address", address)
        assert code == 4
        assert "2 runs begin with 'r'" in err


def test_it_goes_on_under_the_next_leader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody leads it waits; of coordinators that know of no run it says so."""
    monkeypatch.setattr(watching, "_BEGINS_S", 0.0)
    sys.path.insert(0, str(Path(__file__).parents[1] / "standby"))
    from one_node import leading, with_ledger

    run = {"run": "r-1", "planned": 2, "started_at": 1.0, "status": "running"}

    async def check(ledger: Any, port: int) -> None:
        async with leading(ledger, port) as leader:
            observer = Observer.install(leader.role.scheduler)
            link = ViewLink(leader.address)
            await link.ask()
            with pytest.raises(UsageError, match="there: none has begun yet"):
                await watching._begun(link, "last")
            observer.put("run", "r-1", run)
            observer.look()
            await leader.role.durability.settled()
            following = asyncio.ensure_future(
                watching._watch(link, "last", live=False, as_json=True)
            )
            while not link.model.count("run"):
                await asyncio.sleep(0.02)
        async with leading(ledger, port) as leader:
            observer = Observer.install(leader.role.scheduler)
            while observer.seen("run", "r-1") is None:
                await asyncio.sleep(0.02)
            observer.put("run", "r-1", {**run, "status": "passed", "exit_code": 0})
            assert (await following)["status"] == "passed"
            assert link.standing["node"] == 1

    with_ledger(tmp_path, check)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in told] == ["running", "passed"]
