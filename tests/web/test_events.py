"""Events: who goes on from where, who is too slow, who does not read at all."""

from __future__ import annotations

import socket
import time
from itertools import islice

import pytest
from following import Told, asked, following, until
from site_room import TAG, WAIT_S, SiteRoom, record

from dtf_dask.view import feed_words
from dtf_dask.web import readers
from dtf_dask.web.paths import BASE


def changed(room: SiteRoom, count: int, first: int = 0, chars: int = 1) -> None:
    """Changes of one entry each, numbered in ``waiting``."""
    for n in range(first, first + count):
        room.change(
            record("class", "c", waiting=n), record("run", "r", suite="s" * chars)
        )


def waiting(event: Told) -> int:
    """The number of a change, or of what there is."""
    records = event.json["records" if event.name == "snapshot" else "put"]
    return int(records["class/c"]["waiting"])


def test_a_new_reader_is_told_all_there_is_and_then_what_changes(
    room: SiteRoom,
) -> None:
    """Ids go up by the entries of the ledger, and what is gone is said to be."""
    room.begin(record("class", "c", waiting=7), term=3, index=20)
    with following(room.address) as events:
        first = next(events)
        assert (first.name, first.id, waiting(first)) == (
            "snapshot",
            f"3:20:{TAG}",
            7,
        )
        changed(room, 3)
        assert [waiting(one) for one in islice(events, 3)] == [0, 1, 2]
        room.change(("x/view/class/c", None), term=4)
        last = next(events)
        assert (last.id, last.json["gone"]) == (f"4:24:{TAG}", ["class/c"])


def test_who_was_here_before_is_told_what_came_after(room: SiteRoom) -> None:
    """Nothing twice, nothing left out; said in a header or in the query."""
    room.begin(record("class", "c", waiting=99))
    changed(room, 10)
    with following(room.address, f"1:6:{TAG}") as events:
        assert [waiting(one) for one in islice(events, 5)] == [5, 6, 7, 8, 9]
        changed(room, 1, first=10)
        assert waiting(next(events)) == 10
    assert asked(room.address, "/events?since=").status == 400


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (f"1:999:{TAG}", "too long ago, or never here"),
        (f"7:3:{TAG}", "too long ago, or never here"),
        ("1:6:aaaa", "no id of this cluster"),
        ("yesterday", "no id of this cluster"),
        (f"1:-6:{TAG}", "no id of this cluster"),
        (f"1:{'9' * 400}:{TAG}", "no id of this cluster"),
        (f"1:1:{TAG}", "too long ago, or never here"),
    ],
    ids=["future", "term", "other cluster", "words", "negative", "huge", "too old"],
)
def test_who_cannot_go_on_is_told_so_and_all_there_is(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch, last: str, why: str
) -> None:
    """From the future, of another cluster, nonsense, or longer ago than is kept."""
    monkeypatch.setattr("dtf_dask.web.site.CATCHING_UP_S", 0.1)
    room.begin(index=5)
    changed(room, 5)
    with following(room.address, last) as events:
        told, snapshot = islice(events, 2)
        assert (told.name, snapshot.name) == ("reset", "snapshot")
        assert why in told.json["why"]
        assert waiting(snapshot) == 4
        changed(room, 1, first=5)
        assert waiting(next(events)) == 5


def test_who_comes_from_a_node_that_is_ahead_is_waited_with(room: SiteRoom) -> None:
    """This one applies the same entry a moment later: then it goes on."""
    room.begin()
    changed(room, 1)
    with following(room.address, f"1:4:{TAG}") as events:
        changed(room, 4, first=1)
        assert [waiting(one) for one in islice(events, 2)] == [3, 4]


def test_all_are_told_when_the_node_begins_anew(room: SiteRoom) -> None:
    """As it does when the process was too slow for what changed."""
    room.begin(record("class", "c", waiting=1))
    with following(room.address) as events:
        next(events)
        room.begin(record("class", "c", waiting=8), term=2, index=90)
        told, snapshot = islice(events, 2)
        assert (told.name, snapshot.id, waiting(snapshot)) == (
            "reset",
            f"2:90:{TAG}",
            8,
        )


def test_coordinators_are_told_when_they_stand_otherwise(room: SiteRoom) -> None:
    """Not with every figure that moves, and without an id, which numbers records."""
    room.begin()
    standing = {"role": "follower", "leader": 2, "term": 1, "voters": [1, 2]}
    with following(room.address) as events:
        next(events)
        room.stand(**standing)
        room.stand(**standing, applied=12)
        room.stand(**{**standing, "leader": 0})
        first, second = islice(events, 2)
        assert (first.name, first.id, first.json["leader"]) == ("coordinators", "", 2)
        assert second.json["leader"] is None
    (alert,) = asked(room.address, "/alerts").json["items"]
    assert "no coordinator leads" in alert["words"]


def test_a_reader_who_never_reads_costs_a_bounded_row_and_is_left(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others hear all of it meanwhile; he is cut off in the end."""
    monkeypatch.setattr(readers, "STUCK_S", 0.5)
    monkeypatch.setattr(readers, "WAITING_BYTES_MAX", 400_000)
    room.begin(record("class", "c", waiting=0))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(room.address)
        deaf.sendall(f"GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with following(room.address) as events:
            next(events)
            ends = time.monotonic() + WAIT_S
            n = most = 0
            # What the kernel holds for him is filled first.
            while len(room.site.readers) == 2 and time.monotonic() < ends:
                for _ in range(5):
                    room.change(
                        record("class", "c", waiting=n),
                        *(record("run", f"{k}", suite="s" * 200) for k in range(400)),
                    )
                    assert waiting(next(events)) == n
                    n += 1
                    rows = [one._bytes for one in room.site.readers._all]
                    most = max(most, *rows)
            assert len(room.site.readers) == 1
            assert 0 < most < 800_000


def test_a_slow_reader_is_told_all_there_is_in_place_of_what_he_missed(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; and he goes on from there."""
    monkeypatch.setattr(readers, "WAITING_BYTES_MAX", 10_000)
    room.begin(record("class", "c", waiting=0))
    with following(room.address) as events:
        next(events)

        def burst() -> None:
            """All of them before the reader's turn comes."""
            for n in range(200):
                changes = [
                    record("class", "c", waiting=n),
                    record("run", "r", suite="s" * 200),
                ]
                room.site.hear(feed_words.changes(1, 10 + n, changes))

        room.within(burst)
        room.index = 500
        told = next(events)
        while told.name == "changes":
            told = next(events)
        assert told.name == "reset"
        assert "slowly" in told.json["why"]
        assert waiting(next(events)) == 199
        changed(room, 1, first=1_000)
        assert waiting(next(events)) == 1_000


def test_a_line_that_is_quiet_is_kept_alive(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By comments, which no reader takes for an event."""
    monkeypatch.setattr(readers, "HEARTBEAT_S", 0.05)
    room.begin()
    with socket.create_connection(room.address, WAIT_S) as connection:
        connection.sendall(
            f"GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        heard = b""
        while heard.count(b"\n: nothing new\n") < 3:
            heard += connection.recv(10_000)


def test_who_waits_to_be_told_where_to_begin_takes_a_place(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many who say that they come from a node that is ahead are no way around it; and
    readers are among all that are connected."""
    monkeypatch.setattr(readers, "READERS_MAX", 1)
    monkeypatch.setattr("dtf_dask.web.site.CATCHING_UP_S", WAIT_S)
    room.begin()
    with following(room.address, f"1:999:{TAG}"):
        assert asked(room.address, "/events").status == 503
        monkeypatch.setattr("dtf_dask.web.server.CONNECTIONS_MAX", 1)
        with socket.create_connection(room.address, WAIT_S) as beyond:
            assert beyond.recv(1) == b""


def test_all_there_is_is_one_for_all(room: SiteRoom) -> None:
    """However many are told it, it is held once until something changes."""
    room.begin(record("class", "c", waiting=1))
    first, second = room.within(lambda: (room.site.whole(), room.site.whole()))
    assert first is second
    changed(room, 1)
    assert room.within(room.site.whole) != first


def test_there_is_a_bound_on_readers(
    room: SiteRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes then is told to follow another node."""
    monkeypatch.setattr(readers, "READERS_MAX", 1)
    room.begin()
    with following(room.address) as events:
        next(events)
        answer = asked(room.address, "/events")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    # Who is gone is no reader any more.
    until(lambda: room.within(lambda: len(room.site.readers)) == 0)
