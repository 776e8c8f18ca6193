"""What is answered to whom: lists, results, refusals."""

from __future__ import annotations

import math
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from following import WAIT_S, asked, until
from site_room import TAG, SiteRoom, record

from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results import pages
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.web.paths import BASE

HOSTILE = "<script>alert(1)</script>\x1b[31m\x00\u202e\ud800&\"'"


def filled(folder: Path, run_id: str = "r1", at: float = 10.0) -> None:
    """A run on this node: passed, failed with a log, flaky, and a hostile name."""
    with ResultsStore.open(folder / "results.sqlite") as store:
        names = [CaseId(name) for name in ("a", "b", "c", HOSTILE)]
        run = Run(RunId(run_id), at, suite="suite", cases_planned=len(names))
        store.begin_run(run, names)
        store.add_attempts(
            run_id,
            [
                Attempt(names[0], 1, Outcome.PASSED, worker="w1", duration_s=2.0),
                Attempt(
                    *(names[1], 1, Outcome.FAILED),
                    worker="w-dead",
                    started_at=at,
                    exception="ValueError: no",
                    stdout="0123456789" * 30,
                    log=HOSTILE,
                ),
                Attempt(names[2], 1, Outcome.FAILED, worker="w1", detail="retried"),
                Attempt(
                    *(names[2], 2, Outcome.PASSED),
                    worker="w1",
                    artifacts=(
                        ArtifactRef("trace.txt", "ab" * 32, 12),
                        ArtifactRef(HOSTILE, "cd" * 32, 2**40),
                    ),
                ),
                Attempt(names[3], 1, Outcome.ERROR, worker=HOSTILE),
            ],
        )
        store.finish_run(run_id, status="failed", exit_code=1, finished_at=at + 5)


def items(room: SiteRoom, path: str) -> Any:
    answer = asked(room.address, path)
    assert answer.status == 200, answer
    return answer.json["items"]


def test_lists_are_filtered_sorted_and_cut_into_pages(room: SiteRoom) -> None:
    """Past the end there is nothing, and no error; the total is of what was asked."""
    room.begin(
        *(
            record("worker", f"w{n}", name=f"w{n}", host=f"h{n % 2}", threads=n)
            for n in range(10)
        ),
        record("load", "w3", cpu=0.5, memory=3),
        record("load", "w4", cpu=1.5, memory=2),
    )

    def names(query: str) -> list[str]:
        return [one["name"] for one in items(room, f"/workers{query}")]

    assert names("?limit=3") == ["w0", "w1", "w2"]
    assert names("?limit=3&offset=9") == ["w9"]
    assert names("?offset=10") == names("?offset=1000000") == []
    assert names("?sort=-name&limit=1") == ["w9"]
    assert names("?host=h1&limit=2") == ["w1", "w3"]
    assert names("?q=W7") == ["w7"]
    assert names("?sort=cpu&limit=3") == ["w3", "w4", "w0"]
    answer = asked(room.address, "/workers?host=h1&limit=2").json
    assert (answer["total"], answer["offset"], answer["limit"]) == (5, 0, 2)
    assert answer["id"] == "1:1"
    (loaded,) = [one for one in items(room, "/workers") if one["name"] == "w3"]
    assert (loaded["cpu"], loaded["memory_used"]) == (0.5, 3)
    assert loaded["load"]["memory"] == 3
    assert loaded["key"] == "worker/w3"
    assert names("?sort=-memory_used&limit=1&q=w3") == ["w3"]
    assert names("?q=worker/w7") == [], "a key is no text of what it names"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/workers?limit=0", "a whole number from 1 to 500"),
        ("/workers?limit=501", "a whole number from 1 to 500"),
        ("/workers?limit=%D9%A3", "a whole number from 1 to 500"),
        (f"/workers?offset={'9' * 300}", "a whole number from 0 to"),
        ("/workers?limit=1&limit=2", "say it once"),
        ("/workers?sort=salary", "one of name, -name"),
        ("/workers?where=1", "no parameter 'where' here: there are limit"),
        ("/workers?q=%ff", "no UTF-8"),
        (f"/workers?q={'x' * 5_000}", "a text of 1 to 4000 characters"),
        ("/workers?host=", "a text of 1 to 4000 characters"),
        (f"/runs?suite={'%00' * 4_001}", "a text of 1 to 4000 characters"),
        ("/runs?status=lost", "one of running, passed"),
        ("/queue?sort=--due", "one of due, -due"),
        ("/series?step=2", "step='2': say one of"),
        ("/timeline?start=-1", "a whole number from 0 to"),
        ("/runs/r1/cases?outcome=x", "one of passed, failed"),
        ("/snapshot?x=1", "there are none"),
        ("/runs/r1/attempts", "case is missing"),
        ("/runs/r1/log?case=a&number=-1", "a whole number from 1"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_what_would(
    room: SiteRoom, path: str, said: str
) -> None:
    """As a problem, which says what to say instead."""
    room.begin()
    answer = asked(room.address, path)
    assert answer.status == answer.json["status"] == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert said in answer.json["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8787"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost@evil.example"}, 400),
        ({"Host": "10.0.0.1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/snapshot", "/events", "/nothing"])
def test_who_comes_from_elsewhere_is_turned_away(
    room: SiteRoom, path: str, headers: dict[str, str], status: int
) -> None:
    """Pages of others, also under names that lead here; on every path."""
    room.begin()
    answer = asked(room.address, path, **headers)
    assert answer.status == status
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:1", "Origin": "http://localhost:1"},
        {"Host": "[::1]:80"},
        {"Host": "127.0.0.1"},
    ],
)
def test_who_works_here_is_let_in(room: SiteRoom, headers: dict[str, str]) -> None:
    """By whatever name this machine calls itself, through a tunnel too."""
    room.begin()
    assert asked(room.address, "/snapshot", **headers).status == 200


@pytest.mark.parametrize("path", ["/snapshot", "/nothing", "/runs?limit=0"])
def test_every_answer_says_how_it_may_be_used(room: SiteRoom, path: str) -> None:
    """Refusals too: it is kept nowhere, guessed nowhere, framed nowhere."""
    room.begin()
    headers = asked(room.address, path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/snapshot", "/events", "/runs/r1"])
def test_nothing_is_done_here(room: SiteRoom, path: str, method: str) -> None:
    """There is only reading, and it is said how."""
    room.begin()
    answer = asked(room.address, path, method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path",
    ["//snapshot", "/../snapshot", "/runs/../snapshot", "/runs//cases", "/%2e%2e/x"],
)
def test_odd_paths_lead_nowhere(room: SiteRoom, path: str) -> None:
    """No form of a path is another's."""
    room.begin()
    assert asked(room.address, path).status == 404


def test_hostile_names_are_data(room: SiteRoom, tmp_path: Path) -> None:
    """Of workers, cases and in logs: JSON of ASCII, in a form that no browser runs."""
    room.begin(record("worker", HOSTILE, name=HOSTILE, host="x" * 10**6))
    filled(tmp_path)
    (worker,) = items(room, "/workers")
    assert worker["name"].startswith("<script>")
    assert len(worker["host"]) <= 200
    (case,) = items(room, "/runs/r1/cases?outcome=error")
    assert case["case_id"] == HOSTILE
    for path in ("/workers", "/snapshot", "/runs/r1/cases", "/runs/r1/log?case=b"):
        with socket.create_connection(room.address, WAIT_S) as connection:
            connection.sendall(
                f"GET {BASE}{path} HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            raw = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert raw.isascii()
        assert b"\x1b" not in raw
        assert b"\x00" not in raw
        assert b"application/json" in raw


def test_runs_and_what_they_came_to(room: SiteRoom, tmp_path: Path) -> None:
    """Newest first; their cases by outcome, a flaky one by its own word."""
    room.begin()
    filled(tmp_path)
    filled(tmp_path, "r2", at=20.0)
    assert [one["run"] for one in items(room, "/runs")] == ["r2", "r1"]
    assert [one["run"] for one in items(room, "/runs?offset=1")] == ["r1"]
    assert items(room, "/runs?offset=2") == items(room, "/runs?suite=none") == []
    assert len(items(room, "/runs?status=failed&suite=suite")) == 2
    assert items(room, "/runs?status=running") == []
    run = asked(room.address, "/runs/r1").json
    assert (run["suite"], run["planned"], run["exit_code"]) == ("suite", 4, 1)
    assert run["counts"]["passed"] == 2
    assert asked(room.address, "/runs/last").json["run"] == "r2"

    def cases(query: str) -> list[str]:
        return [one["case_id"] for one in items(room, f"/runs/r1/cases{query}")]

    assert cases("?outcome=flaky") == ["c"]
    assert cases("?outcome=failed") == ["b"]
    assert cases("?sort=-duration_s&limit=1") == ["a"]
    assert cases("?sort=case_id")[1:] == ["a", "b", "c"]
    assert cases("?q=SCRIPT") == [HOSTILE]
    assert cases("?offset=4") == []
    assert asked(room.address, "/runs/r1/cases").json["total"] == 4
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        late = Attempt(CaseId("b"), 2, Outcome.FAILED, worker="w1")
        store.add_attempts("r1", [late])
    (failed,) = items(room, "/runs/r1/cases?outcome=failed")
    assert failed["attempts"] == 2, "more attempts are seen as they come"


def test_attempts_with_what_they_wrote(room: SiteRoom, tmp_path: Path) -> None:
    """Of a worker that is gone, too; long texts by their end, and how long they are."""
    room.begin()
    filled(tmp_path)
    filled(tmp_path, "r2", at=20.0)
    first, second = items(room, "/runs/r1/attempts?case=c")
    assert (first["number"], first["outcome"], second["outcome"]) == (
        *(1, "failed", "passed"),
    )
    assert items(room, "/runs/r1/attempts?case=nothing") == []
    left = items(room, "/runs/r1/artifacts?case=c")
    assert left[0] == {
        "number": 2,
        "worker": "w1",
        "name": "trace.txt",
        "digest": "ab" * 32,
        "size_bytes": 12,
    }
    assert (left[1]["name"], left[1]["size_bytes"]) == (HOSTILE, 2**40)
    assert items(room, "/runs/r1/artifacts?case=c&offset=1") == left[1:]
    assert items(room, "/runs/r1/artifacts?case=b") == []
    assert items(room, "/runs/r1/artifacts?case=nothing") == []
    log = asked(room.address, "/runs/r1/log?case=b&chars=8").json
    assert (log["worker"], log["why"]) == ("w-dead", "ValueError: no")
    assert log["stdout"] == {"text": "23456789", "chars": 300, "cut": True}
    whole = asked(room.address, "/runs/r1/log?case=b").json
    assert whole["log"]["text"] == HOSTILE
    assert not whole["stdout"]["cut"]
    history = items(room, "/history?suite=suite&case=b")
    assert [one["run"] for one in history] == ["r2", "r1"]
    assert items(room, "/history?suite=none&case=b") == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/runs/nope", "there is no run 'nope'"),
        ("/runs/r", "several runs begin with 'r'"),
        ("/runs/nope/cases", "there is no run 'nope'"),
        ("/runs/nope/artifacts?case=a", "there is no run 'nope'"),
        ("/runs/r1/log?case=nope", "has no attempt 1 of 'nope'"),
        ("/runs/r1/log?case=b&number=9", "has no attempt 9"),
        ("/runs/r1/log?case=b&worker=w1", "on that worker"),
        ("/runs/..%2f..%2fetc%2fpasswd", "there is no run"),
        ("/runs/%00", "no run can be called"),
        (f"/runs/{'x' * 10_000}", "there is no run 'xxx"),
        (f"/runs/r1/log?case={'x' * 3_900}", "has no attempt 1 of 'xxx"),
        ("/runs/nope/grid", "there is no run 'nope'"),
        ("/timeline?run=nope", "there is no run 'nope'"),
        ("/cluster", "wait until one leads"),
        ("/nothing", "openapi.json"),
    ],
)
def test_what_is_not_there_is_said_not_to_be(
    room: SiteRoom, tmp_path: Path, path: str, said: str
) -> None:
    """With what to do, if there is anything to be done."""
    room.begin()
    filled(tmp_path)
    filled(tmp_path, "r2", at=20.0)
    answer = asked(room.address, path)
    assert answer.status == 404
    assert said in answer.json["detail"]


def test_what_runs_have_come_to_is_kept_however_many_go_on(
    room: SiteRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not counted again while nothing comes; and if that takes long, seldom.

    Who asks for one run is told what is so now.
    """
    room.begin()
    case = CaseId("a")
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        for n in range(9):
            store.begin_run(Run(RunId(f"r{n}"), 10.0, suite="s"), [case])
            store.add_attempts(f"r{n}", [Attempt(case, 1, Outcome.PASSED, worker="w")])
        counted: list[int] = []
        count = pages.count_outcomes

        def noted(found: Any) -> Any:
            counted.append(len(found))
            return count(found)

        monkeypatch.setattr(pages, "count_outcomes", noted)
        monkeypatch.setattr(pages, "_LONG_S", math.inf)
        for _ in range(3):
            assert all(one["counts"]["passed"] == 1 for one in items(room, "/runs"))
            assert len(counted) == 9
        monkeypatch.setattr(pages, "_LONG_S", -1.0)
        monkeypatch.setattr(pages, "_SHARE", 1e-9)  # whatever it took, that was long
        store.add_attempts("r3", [Attempt(case, 2, Outcome.SKIPPED, worker="w")])
        assert sum(one["counts"]["skipped"] for one in items(room, "/runs")) == 1
        store.add_attempts("r3", [Attempt(case, 3, Outcome.FAILED, worker="w")])
        assert sum(one["counts"]["failed"] for one in items(room, "/runs")) == 0
        assert asked(room.address, "/runs/r3").json["counts"]["failed"] == 1


def test_a_node_without_results_answers(room: SiteRoom) -> None:
    """No run has come yet: there are none, and it is no defect."""
    room.begin()
    assert items(room, "/runs") == items(room, "/history?suite=s&case=c") == []
    answer = asked(room.address, "/runs/last")
    assert "no runs on this node yet" in answer.json["detail"]


def test_a_store_that_is_damaged_is_said_to_be(room: SiteRoom, tmp_path: Path) -> None:
    """The rest is answered all the same."""
    (tmp_path / "results.sqlite").write_bytes(b"no database at all" * 100)
    room.begin()
    answer = asked(room.address, "/runs")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "results store of this node cannot be read" in answer.json["detail"]
    assert asked(room.address, "/snapshot").status == 200


def test_large_answers_are_packed_for_who_unpacks_them(room: SiteRoom) -> None:
    """The same either way."""
    import gzip
    import json
    from http.client import HTTPConnection

    room.begin(*(record("run", f"r{n}", run=f"r{n}") for n in range(100)))
    plain = asked(room.address, "/snapshot")
    connection = HTTPConnection(*room.address, timeout=WAIT_S)
    connection.request(
        "GET", f"{BASE}/snapshot", headers={"Accept-Encoding": "gzip, br"}
    )
    answer = connection.getresponse()
    packed = answer.read()
    connection.close()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert json.loads(gzip.decompress(packed)) == plain.json
    assert plain.json["id"] == "1:1"
    assert TAG not in plain.json["id"]


def test_there_is_a_bound_on_connections(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says nothing takes one of them, and no other is let in beyond them."""
    monkeypatch.setattr("dtf_dask.web.server.CONNECTIONS_MAX", 2)
    room.begin()
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(room.address, WAIT_S))
        beyond = stack.enter_context(socket.create_connection(room.address, WAIT_S))
        assert beyond.recv(1) == b""
    until(lambda: room.within(lambda: len(room.server._connections)) == 0)
    assert asked(room.address, "/snapshot").status == 200


def test_who_does_not_take_his_answer_is_left(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What he asked for is not kept for him, though he stays."""
    monkeypatch.setattr("dtf_dask.web.readers.STUCK_S", 0.5)
    texts = dict.fromkeys(("name", "host", "address", "kind", "shut"), "x" * 200)
    # More than the kernel holds for him.
    room.begin(*(record("worker", f"w{n}", **texts) for n in range(5_000)))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(room.address)
        deaf.sendall(
            f"GET {BASE}/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert deaf.recv(10).startswith(b"HTTP/1.1 2")
        until(lambda: room.within(lambda: len(room.server._connections)) == 0)


def test_a_request_that_is_too_large_is_refused(room: SiteRoom) -> None:
    """Of its head no more is read than there may be, and its body not at all."""
    room.begin()
    for head in (b"X: " + b"x" * 50_000, b"Content-Length: 99999999999"):
        with socket.create_connection(room.address, WAIT_S) as connection:
            connection.sendall(
                f"GET {BASE}/snapshot HTTP/1.1\r\nHost: localhost\r\n".encode()
                + head
                + b"\r\n\r\n"
            )
            assert b" 200 " not in connection.recv(1_000)
    assert asked(room.address, "/snapshot").status == 200


def test_the_snapshot_is_packed_once_until_it_is_another(room: SiteRoom) -> None:
    """However many ask for it."""
    room.begin(*(record("worker", f"w{n}", name=f"w{n}") for n in range(50)))

    def packed() -> bytes:
        body = room.site.model.snapshot().json
        return room.site.packed(body)

    first = room.within(packed)
    assert room.within(packed) is first
    assert len(first) < len(room.site.model.snapshot().json) / 4
    room.change(record("worker", "w0", name="w0", threads=2))
    assert room.within(packed) is not first
    assert room.within(lambda: room.site.packed(b"x" * 9)) != first
