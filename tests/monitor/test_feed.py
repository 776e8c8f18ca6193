"""The feed: what it hears of a real server, and what it says of what is none."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_WEB = str(Path(__file__).parents[1] / "web")
if _WEB not in sys.path:
    sys.path.append(_WEB)

from site_room import SiteRoom, record, site_room  # noqa: E402

from dtf_dask.errors import ProtocolError, UsageError  # noqa: E402
from dtf_dask.ha.elapsed import elapsed_s  # noqa: E402
from monitor_app.feed import asked, follower  # noqa: E402
from monitor_app.feed.event_stream import EventStream  # noqa: E402
from monitor_app.feed.feed import Feed  # noqa: E402
from monitor_app.feed.inbox import Batch, Inbox, Line, read_told  # noqa: E402
from monitor_app.feed.place import Place, parse_place  # noqa: E402
from monitor_app.feed.pulse import NODE_SILENT_S, SILENT_S, Pulse  # noqa: E402

WAIT_S = 60.0


class Reading:
    """A feed, and all that it heard."""

    def __init__(self, *places: Place, **more: float) -> None:
        self.feed = Feed(places, **more)
        self._said = self.feed._inbox.line
        self.feed._inbox.line = self._line  # type: ignore[method-assign]
        self.records: dict[str, Any] = {}
        self.lines: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.wholes = 0
        self.answers: list[Any] = []
        self.coordinators: Any = None
        self.age_s: float | None = None

    def __enter__(self) -> Reading:
        self.feed.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.feed.close()

    def until(self, what: Callable[[], Any]) -> Any:
        ends = time.monotonic() + WAIT_S
        while not (found := what()):
            assert time.monotonic() < ends, (self.lines, self.notes)
            self._take(self.feed.take())
            time.sleep(0.01)
        return found

    def _line(self, line: Line) -> None:
        """Each of them: a window sees only the last."""
        self.lines.append((line.state, line.why))
        self._said(line)

    def _take(self, batch: Batch) -> None:
        if batch.whole is not None:
            self.wholes += 1
            self.records = dict(batch.whole)
        self.records.update(batch.put)
        for key in batch.gone:
            self.records.pop(key, None)
        if batch.awake_at is not None:
            self.age_s = elapsed_s() - batch.awake_at
        self.notes += batch.notes
        self.answers += batch.answers
        self.coordinators = batch.coordinators or self.coordinators


def place_of(room: SiteRoom) -> Place:
    return Place("http", *room.address)


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[tuple[SiteRoom, SiteRoom]]:
    """Two coordinators of one cluster."""
    with site_room(tmp_path) as first, site_room(tmp_path) as second:
        yield first, second


def test_it_goes_on_elsewhere_from_the_last_event(
    rooms: tuple[SiteRoom, SiteRoom],
) -> None:
    """When who is read falls silent for good, the next one tells what changed since."""
    first, second = rooms
    for room in rooms:
        room.begin(record("cluster", at=1.0, workers=1))
    with Reading(place_of(first)) as reading:
        reading.until(lambda: "cluster" in reading.records)
        host, port = second.address
        for room in rooms:
            told = record("coordinator", "2", node=2, name="b", web=f"{host}:{port}")
            room.change(told)
        first.stand(term=1, role="leader", leader=1, voters=[1, 2])
        reading.until(lambda: reading.coordinators)
        for room in rooms:
            room.change(record("worker", "w1", name="w1"))
        reading.until(lambda: "worker/w1" in reading.records)
        first.within(first.server.stop)
        for reader in first.within(lambda: [*first.site.readers._all]):
            first.within(reader._stream.close)
        second.change(record("worker", "w2", name="w2"), ("x/view/worker/w1", None))
        reading.until(lambda: "worker/w2" in reading.records)
        assert "worker/w1" not in reading.records
        assert reading.wholes == 1, "it began anew instead of going on"
        assert reading.lines[-1][0] == "live"


def test_what_only_the_leader_knows_is_asked_of_it(
    rooms: tuple[SiteRoom, SiteRoom],
) -> None:
    """How far the others are and how many may fail, while another one is read."""
    first, second = rooms
    host, port = second.address
    web = record("coordinator", "2", node=2, name="b", web=f"{host}:{port}")
    for room in rooms:
        room.begin(record("cluster", at=1.0), web)
    stands = {"term": 4, "leader": 2, "voters": [1, 2, 3]}
    first.stand(**stands, role="follower")
    second.stand(**stands, role="leader", lag={3: 7}, active=[3], quorum_left=1)
    with Reading(place_of(first)) as reading:
        told = reading.until(
            lambda: (
                (reading.coordinators or {}).get("quorum_left") and reading.coordinators
            )
        )
        assert [(one["node"], one["lag"]) for one in told["items"]][2] == (3, 7)
        assert told["items"][0]["here"]
        assert reading.lines[-1][0] == "live"


def test_a_stall_of_the_server_costs_nothing_but_age(tmp_path: Path) -> None:
    """While a server hangs the window's side is never waited for, and goes on after."""
    with site_room(tmp_path) as room:
        room.begin(record("cluster", at=1.0))
        with Reading(place_of(room)) as reading:
            reading.until(lambda: "cluster" in reading.records)
            stalled, stall_s = threading.Event(), 3.0

            def stall() -> None:
                stalled.set()
                time.sleep(stall_s)

            thread = threading.Thread(target=room.within, args=(stall,))
            thread.start()
            assert stalled.wait(WAIT_S)
            reading.feed.ask(asked.one("/cluster"))
            took = 0.0
            while thread.is_alive():
                began = time.monotonic()
                batch = reading.feed.take()
                took = max(took, time.monotonic() - began)
                reading._take(batch)
                time.sleep(0.02)
            thread.join()
            assert took < stall_s / 2
            room.change(record("worker", "w1", name="w1"))
            reading.until(lambda: "worker/w1" in reading.records and reading.answers)
            assert reading.answers[0].value["key"] == "cluster"


class Wire:
    """A way to a server, which may be cut: then nothing comes, and nobody says so."""

    def __init__(self, to: Place) -> None:
        self._to = (to.host, to.port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.whole = True
        self.place = Place("http", *self._server.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            there = socket.create_connection(self._to)
            self._ends += [here, there]
            for ends in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, end: socket.socket, other: socket.socket) -> None:
        try:
            while piece := end.recv(65_536):
                if self.whole:
                    other.sendall(piece)
        except OSError:
            pass

    def close(self) -> None:
        for one in (self._server, *self._ends):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def test_a_line_that_is_cut_is_left(rooms: tuple[SiteRoom, SiteRoom]) -> None:
    """Nobody hangs up: who does not answer is left, and the next tells the rest."""
    first, second = rooms
    for room in rooms:
        room.begin(record("cluster", at=1.0))
    wire = Wire(place_of(first))
    try:
        with Reading(wire.place, place_of(second)) as reading:
            reading.until(lambda: "cluster" in reading.records)
            wire.whole = False
            for room in rooms:
                room.change(record("worker", "w1", name="w1"))
            reading.until(lambda: "worker/w1" in reading.records)
            assert ("waiting", "it does not answer") in reading.lines
            assert reading.wholes == 1
    finally:
        wire.close()


def test_who_hangs_is_told_from_who_is_slow() -> None:
    """One is left who neither answers nor tells, or whose node says nothing."""
    slow, hung, beside = Pulse(0.0), Pulse(0.0), Pulse(0.0)
    for tenth in range(100):
        now = tenth / 10
        if slow.due(now):
            slow.unanswered(now)  # he has so much to tell
            hung.unanswered(now)
            beside.answered(7.0, now)
        slow.heard(now)
        assert slow.wrong(now) == ""
        assert hung.wrong(now) == ("it does not answer" if now >= SILENT_S else "")
        assert beside.wrong(now) == ("its node hangs" if now >= NODE_SILENT_S else "")
    hung.answered(8.0, 10.0)
    beside.answered(8.0, 10.0)
    assert hung.wrong(10.0) == beside.wrong(10.0) == ""


def test_after_a_sleep_it_connects_anew_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was there has hung up, and is not waited for; nothing is lost."""
    slept = 0.0
    monkeypatch.setattr(follower, "elapsed_s", lambda: elapsed_s() + slept)
    with site_room(tmp_path) as room:
        room.begin(record("cluster", at=1.0))
        with Reading(place_of(room)) as reading:
            reading.until(lambda: "cluster" in reading.records)
            slept = 8 * 3600.0
            reading.until(
                lambda: ("waiting", "this machine was asleep") in reading.lines
            )
            room.change(record("worker", "w1", name="w1"))
            reading.until(lambda: "worker/w1" in reading.records)
            assert reading.lines[-1][0] == "live"
            assert reading.wholes == 1


@pytest.mark.parametrize("jump_s", [-86_400.0, 3_600.0])
def test_a_clock_that_is_set_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """Ages and limits are those of a clock that nobody sets."""
    with site_room(tmp_path) as room:
        room.begin(record("cluster", at=1.0))
        with Reading(place_of(room)) as reading:
            reading.until(lambda: "cluster" in reading.records)
            lines, clock = list(reading.lines), time.time
            monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
            for n in range(3):
                room.change(record("worker", f"w{n}", name="w"))
                reading.until(lambda n=n: f"worker/w{n}" in reading.records)
            assert reading.lines == lines
            assert reading.age_s is not None
            assert 0 <= reading.age_s < WAIT_S


def test_a_feed_that_jumps_back_is_read_anew(tmp_path: Path) -> None:
    """A cluster that begins again at the same address replaces all that was seen."""
    with site_room(tmp_path) as room:
        room.begin(record("worker", "w1", name="w1"), index=900)
        with Reading(place_of(room)) as reading:
            reading.until(lambda: "worker/w1" in reading.records)
            room.begin(record("worker", "w2", name="w2"), index=3)
            reading.until(lambda: "worker/w2" in reading.records)
            assert "worker/w1" not in reading.records


@contextmanager
def answering(reply: bytes, *, keep: bool = False) -> Iterator[Place]:
    """A server that answers all that comes with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.recv(65_536)
            connection.sendall(reply)
            if keep:
                held.append(connection)
            else:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Place("http", *server.getsockname())
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for one in held:
            one.close()


def http(status: str, body: str, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (http("401 No", '{"detail": "say who you are"}'), "refused", "who you are"),
        (http("403 No", "no"), "refused", "asks for a token"),
        (http("200 OK", "<html>", "text/html"), "refused", "no dtf"),
        (
            http("404 No", '{"detail": "nothing is at \'/dtf/api/v1/events\'"}'),
            "refused",
            "versions that do not go together",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "refused", "does not speak HTTP"),
        (b"", "waiting", "hung up"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            b'id: 1:2:x\nevent: snapshot\ndata: {"id": "1:2", "at": 1, "rec',
            "waiting",
            "hung up",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            b"id: 1:2:x\nevent: snapshot\ndata: {]\n\n",
            "waiting",
            "no JSON",
        ),
    ],
)
def test_whoever_is_no_coordinator_is_named(
    reply: bytes, state: str, words: str
) -> None:
    """What is wrong is said in words, and it is tried again without an end."""
    with answering(reply) as place, Reading(place) as reading:
        reading.until(lambda: any(state == one for one, _ in reading.lines))
        assert any(one == state and words in why for one, why in reading.lines)


def test_nobody_listens() -> None:
    """A wrong port is said to be one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = Place("http", *free.getsockname())
    with Reading(place) as reading:
        reading.until(lambda: any("nobody listens" in why for _, why in reading.lines))


def test_what_another_version_tells_is_read_as_far_as_it_is_known() -> None:
    """Unknown kinds and fields are left out, odd values too, and nothing is lost."""
    told = {
        "id": "4:5",
        "at": 7.5,
        "records": {
            "cluster": {"at": 1.0, "of a later version": [1]},
            "worker/w": {"threads": "many"},
            "planet/x": {"at": 1},
            "load/w": None,
        },
    }
    heard = read_told(told)
    assert heard.whole is not None
    assert heard.whole.keys() == {"cluster"}
    assert (heard.odd, heard.whole["cluster"]["waiting"]) == (3, 0)
    for odd in (None, [], {}, {"id": 1}, {"id": "1:1", "at": 1, "put": [], "gone": []}):
        with pytest.raises(ProtocolError):
            read_told(odd)


def test_the_inbox_holds_no_more_than_there_is_to_see() -> None:
    """However long nobody looks, changes of one thing are one, and the last counts."""
    inbox = Inbox()
    for n in range(1_000):
        told = {"id": f"1:{n}", "at": 1.0, "put": {"worker/w": {"threads": n}}}
        inbox.hear(read_told({**told, "gone": ["worker/v"]}), 0.0)
    batch = inbox.take()
    assert {key: row["threads"] for key, row in batch.put.items()} == {"worker/w": 999}
    assert batch.gone == {"worker/v"}
    assert not inbox.take().has_records


def test_events_are_the_same_however_they_are_cut() -> None:
    """A stream that comes byte by byte tells what it tells in one piece."""
    text = b'id: 1:2:x\r\nevent: changes\ndata: {"a":\ndata: 1}\n\n: there\n\n'
    text += b"data: 2\n\n"
    whole, parts = EventStream(), EventStream()
    found = [told for n in range(len(text)) for told in parts.feed(text[n : n + 1])]
    assert found == whole.feed(text)
    assert [one.text for one in found] == [b'{"a":\n1}', b"2"]
    with pytest.raises(ProtocolError):
        EventStream(event_bytes_max=100).feed(b"data: " + b"x" * 200)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dtf://127.0.0.1:8786", "schedulers are there"),
        ("ftp://x", "neither http"),
        ("http://", "no machine"),
        ("http://a:b@x", "password"),
        ("x:99999999", "no address"),
        ("http://[::1", "no address"),
    ],
)
def test_what_is_no_address_is_explained(text: str, words: str) -> None:
    """Each with its own reason."""
    with pytest.raises(UsageError, match=words):
        parse_place(text)
