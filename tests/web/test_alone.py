"""What is to be seen of a scheduler without coordinators, and done there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from distributed import CancelledError
from following import WAIT_S, Answer, asked, following, until
from test_api import filled

from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.web_source import WebSource
from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster
from dtf_dask.ha.dialing import Address
from dtf_dask.model import Case
from dtf_dask.view.actions import ACTIONS
from dtf_dask.web.process import bound
from dtf_dask.web.server import served

_HOST = "127.0.0.1"


@contextmanager
def showing(scheduler: str, store: Path) -> Iterator[Address]:
    """Where the scheduler is to be seen that will be there."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    (listens,) = bound(f"{_HOST}:0")
    place: Address = listens.getsockname()

    async def serve() -> Any:
        source = WebSource(scheduler, f"{_HOST}:{place[1]}", str(store))
        server = served(source.site)
        server.add_sockets([listens])
        return source, server, asyncio.ensure_future(source.run())

    async def close(source: Any, server: Any, asking: Any) -> None:
        asking.cancel()
        await asyncio.wait([asking])
        server.stop()
        await server.close_all_connections()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        source.site.results.close()

    parts = asyncio.run_coroutine_threadsafe(serve(), loop).result(WAIT_S)
    try:
        yield place
    finally:
        asyncio.run_coroutine_threadsafe(close(*parts), loop).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def scheduler_at(port: int) -> LocalCluster:
    return LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tcp://",
        scheduler_port=port,
        scheduler_kwargs={"dashboard": True},
    )


def has(place: Address, path: str) -> Any:
    """The items of a list, if it is answered; none before."""
    answer = asked(place, path)
    return answer.json["items"] if answer.status == 200 else []


def act(place: Address, action: str, **said: Any) -> Answer:
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"once-{action}"}
    body = json.dumps(said).encode()
    return asked(place, f"/actions/{action}", "POST", body=body, **headers)


def test_a_scheduler_alone_is_seen_as_coordinators_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is there that is said; what is asked is done once, and a transfer is
    refused; Dask's dashboard leads to the pages; the next scheduler at the address is
    told anew, to who has seen the one before."""
    monkeypatch.chdir(tmp_path)  # where runs leave what they came to
    (port,) = free_ports(1)
    filled(tmp_path)
    with showing(f"tcp://{_HOST}:{port}", tmp_path / "results.sqlite") as place:
        (alert,) = until(lambda: has(place, "/alerts"))
        assert (alert["rule"], alert["level"]) == ("no-scheduler", "critical")
        assert f"tcp://{_HOST}:{port}" in alert["words"]
        assert asked(place, "/cluster").status == 404
        assert asked(place, "/coordinators").json["items"] == []
        assert [run["run"] for run in has(place, "/runs")] == ["r1"]
        with scheduler_at(port) as cluster, Client(cluster) as client:
            (worker,) = until(lambda: has(place, "/workers"))
            assert until(lambda: not has(place, "/alerts"))
            with following(place) as events:
                seen = next(events)
                assert seen.name == "snapshot"
                assert seen.json["records"]["cluster"]["workers"] == 1
            held = client.submit(sum, [1], hardware="gpu.count >= 9", timeout="1 min")
            assert until(lambda: has(place, "/queue"))
            for _ in range(2):
                told = act(place, "cancel", keys=[held.key], reason="it is odd")
                assert told.status == 200, told.json
                assert told.json["result"] == "1 task cancelled"
            with pytest.raises(CancelledError, match="it is odd"):
                held.result(WAIT_S)
            talks(place, client, tmp_path / "go")
            for action in ("quarantine", "release"):
                assert act(place, action, worker=worker["name"]).status == 200
            told = act(place, "transfer-leadership", node="1")
            assert (told.status, told.json["detail"]) == (
                *(409, "there are no coordinators: this scheduler is alone"),
            )
            done = until(lambda: has(place, "/actions"))
            assert {one["action"] for one in done} < ACTIONS.keys()
            until(lambda: leads_to(cluster.dashboard_link) == pages(place))
        until(lambda: has(place, "/alerts"))
        assert asked(place, "/cluster").status == 200
        with (
            following(place, seen.id) as events,
            scheduler_at(port),
        ):
            while next(events).name != "reset":
                pass
            anew = next(events)
            assert anew.name == "snapshot"
            assert anew.id.partition(":")[0] != seen.id.partition(":")[0]
            until(lambda: not has(place, "/alerts"))
            with following(place, seen.id) as late:
                assert next(late).name == "reset"


def talks(place: Address, client: Client, go: Path) -> None:
    """What a test has written so far is to be seen while it runs; then that it does
    not run any more."""
    loop = f"echo so far; echo oh >&2; until [ -e '{go}' ]; do sleep 0.1; done"
    run = client.run_cases([Case("talks", argv=("sh", "-c", loop))])

    def told() -> Any:
        items = has(place, "/runs/last/tail?case=talks")
        return items and items[0]["stderr"] and items

    (item,) = until(told)
    assert (item["stdout"], item["stderr"]) == ("so far\n", "oh\n")
    assert has(place, "/runs/last/tail?case=nope") == []
    go.touch()
    (attempt,) = run
    assert attempt.stdout == "so far\n"
    over = asked(place, f"/runs/{run.run.id}/tail?case=talks")
    assert over.json.get("items", []) == []


def pages(place: Address) -> str:
    return f"http://{place[0]}:{place[1]}/dtf"


def leads_to(dashboard: str) -> str | None:
    """Where the entry in the bar of Dask's dashboard leads to."""
    host = dashboard.removeprefix("http://").partition("/")[0]
    connection = HTTPConnection(host, timeout=WAIT_S)
    try:
        connection.request("GET", "/dtf")
        return connection.getresponse().getheader("Location")
    finally:
        connection.close()
