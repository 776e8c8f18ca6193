"""What is asked of a cluster over HTTP: who may ask, what is read, what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from following import Answer, asked
from room_actions import room_actions
from site_room import SiteRoom, record

from dtf_dask.view.actions import Asked
from dtf_dask.view.records import SHAPES
from dtf_dask.web import acting

HOSTILE = "<script>\x1b[31m\u202e"


def post(room: SiteRoom, action: str, said: Any, **headers: str) -> Answer:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {"Content-Type": "application/json", **headers}
    return asked(room.address, f"/actions/{action}", "POST", body=body, **headers)


def test_asked_twice_it_is_done_once(room: SiteRoom) -> None:
    """With the id that who asks chose; without one each time is another."""
    room.begin()
    room.actions, done = room_actions()
    first, again = (
        post(room, "release", {"worker": HOSTILE}, Idempotency_Key="k-1")
        for _ in range(2)
    )
    assert first.status == 200
    assert first.json == again.json
    assert first.json.keys() == {"key", *SHAPES["action"].fields}
    assert (first.json["id"], first.json["state"]) == ("k-1", "done")
    assert first.json["by"] == "127.0.0.1 at a"
    assert [one.subject for one in done] == [HOSTILE]
    other = post(room, "release", {"worker": "other"}, Idempotency_Key="k-1")
    assert (other.status, len(done)) == (409, 1)
    ids = {post(room, "release", {"worker": "w"}).json["id"] for _ in range(2)}
    assert (len(ids), len(done)) == (2, 3)


def test_what_is_not_there_is_told_as_a_problem(room: SiteRoom) -> None:
    """As it was refused by who leads."""
    room.begin()
    room.actions, done = room_actions()
    told = post(room, "release", {"worker": "nobody"})
    assert (told.status, told.json["detail"]) == (404, "there is no nobody")
    assert done == []


def test_while_nobody_leads_it_waits_and_then_says_so(
    room: SiteRoom,
) -> None:
    """With the id with which to ask again, and when."""
    room.begin()
    room.site.acting._patience_s = 0.3
    told = post(room, "release", {"worker": "w"}, Idempotency_Key="k-1")
    assert (told.status, told.headers["Retry-After"]) == (503, "2")
    assert "Idempotency-Key: k-1" in told.json["detail"]
    room.actions, done = room_actions()
    room.site.acting._patience_s = acting.PATIENCE_S
    assert post(room, "release", {"worker": "w"}, Idempotency_Key="k-1").status == 200
    assert len(done) == 1


def test_what_was_done_is_said_though_nobody_answers(room: SiteRoom) -> None:
    """Who is to hand over cannot say that he has: the record of it does, of this and of
    nothing else that has its id."""
    room.begin()
    room.site.acting._patience_s = 0.6
    asked_for = Asked("k-1", "transfer-leadership", "me", {"node": "b"})

    def seen(state: str) -> tuple[str, bytes]:
        fields = {"id": "k-1", "action": "transfer-leadership", "result": "b leads"}
        digest = asked_for.digest.hex()
        return record("action", "k-1", **fields, state=state, asked=digest)

    def told(node: str) -> Answer:
        return post(room, "transfer-leadership", {"node": node}, Idempotency_Key="k-1")

    room.change(seen("begun"))
    assert told("b").status == 503
    room.change(seen("done"))
    found = told("b")
    assert (found.status, found.json["result"]) == (200, "b leads")
    assert told("c").status == 503


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 400),
        ({"Content-Type": ""}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Idempotency-Key": "a b"}, 400),
        ({"Idempotency-Key": "x" * 101}, 400),
        ({"Idempotency-Key": "x\u00e9"}, 400),
    ],
)
def test_a_page_of_another_place_has_nothing_done(
    room: SiteRoom, headers: dict[str, str], status: int
) -> None:
    """Nor who names it in a way that nobody can find again."""
    room.begin()
    room.actions, done = room_actions()
    told = post(room, "release", {"worker": "w"}, **headers)
    assert (told.status, told.json["status"]) == (status, status)
    assert "Access-Control-Allow-Origin" not in told.headers
    assert done == []


@pytest.mark.parametrize(
    ("action", "said", "why"),
    [
        ("release", b"", "Expecting value"),
        ("release", b"[" * 50_000, ""),
        ("release", b"\xff\xfe", ""),
        ("release", [], "say an object"),
        ("release", {}, "worker is missing"),
        ("release", {"worker": ""}, "a text of 1 to 500"),
        ("release", {"worker": "\ud800"}, "surrogates"),
        ("release", {"worker": "w" * 501}, "a text of 1 to 500"),
        ("release", {"worker": "w", "salary": 1}, "no field 'salary'"),
        ("cancel", {"keys": []}, "a list of 1 to 200 texts"),
        ("cancel", {"keys": ["k"] * 201}, "a list of 1 to 200 texts"),
        ("cancel", {"keys": "k"}, "a list of 1 to 200 texts"),
        ("reprioritize", b'{"keys": ["k"], "priority": NaN}', "NaN"),
        ("reprioritize", {"keys": ["k"], "priority": 1e300}, "a number from"),
        ("reprioritize", {"keys": ["k"], "priority": True}, "a number from"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    room: SiteRoom, action: str, said: Any, why: str
) -> None:
    """Before anybody is asked to do it."""
    room.begin()
    room.actions, done = room_actions()
    told = post(room, action, said)
    assert (told.status, done) == (400, [])
    assert why in told.json["detail"]


def test_actions_are_posted(room: SiteRoom) -> None:
    """Only; and there are no others."""
    room.begin()
    for method in ("GET", "PUT", "DELETE"):
        told = asked(room.address, "/actions/cancel", method)
        assert (told.status, told.headers["Allow"]) == (405, "POST, OPTIONS")
    assert post(room, "explode", {}).status == 405
    assert asked(room.address, "/actions/explode").status == 404


def test_it_is_said_where_each_coordinator_serves(room: SiteRoom) -> None:
    """As the ledger has it, so that who follows one finds the others."""
    room.begin(record("coordinator", "2", node=2, name="b", web="127.0.0.1:9"))
    room.stand(role="follower", leader=2, term=3, voters=[1, 2])
    told = asked(room.address, "/coordinators").json["items"]
    assert [one["web"] for one in told] == ["127.0.0.1:0", "127.0.0.1:9"]


def test_who_follows_tells_of_the_others_what_the_leader_says(room: SiteRoom) -> None:
    """Who is heard of, how far behind each is, and that no more may fail; of nobody
    who leads it tells nothing that was."""
    nodes = {"voters": [1, 2, 3], "active": [1, 2], "quorum_left": 0, "lag": {"1": 4}}
    room.begin(record("cluster", at=100.0, coordinators=nodes))
    room.stand(role="follower", leader=2, term=3, voters=[1, 2, 3])
    told = asked(room.address, "/coordinators").json
    assert told["quorum_left"] == 0
    items = told["items"]
    assert [one["heard_of"] for one in items] == [True, True, False]
    assert [one["lag"] for one in items] == [4, 0, None]
    (alert,) = asked(room.address, "/alerts").json["items"]
    assert (alert["rule"], alert["level"]) == ("quorum", "critical")
    room.stand(role="follower", leader=0, term=3, voters=[1, 2, 3])
    told = asked(room.address, "/coordinators").json
    assert (told["quorum_left"], told["items"][2]["heard_of"]) == (None, None)
    (alert,) = asked(room.address, "/alerts").json["items"]
    assert alert["rule"] == "no-leader"
