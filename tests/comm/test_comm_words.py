"""What is said and remembered of coordinators: greetings, answers, who led last."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.comm.address import parse_contact
from dtf_dask.comm.answers import GIVES_UP_AFTER_S, Answers
from dtf_dask.comm.greeting import (
    KEY,
    Greeting,
    Objection,
    foreign_tongue,
    read_first_message,
    read_greeting,
)
from dtf_dask.comm.known import CONTACTS_MAX, Known
from dtf_dask.comm.looks import FRESH_S, HANGS_S, TARGETS_MAX, Looks
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId

CONTACT = parse_contact("a:1,b:1,c:1")
A, B, C = CONTACT.coordinators
REFUSES = Objection("refuses connections")
WRONG = Objection("speaks HTTP", final=True)


def greeting(cluster: str = "lab", term: int = 1) -> Greeting:
    return Greeting(NodeName(cluster, NodeId(2)), term)


def test_a_greeting_is_read_from_the_handshake() -> None:
    """What one says the other reads, with whatever later versions add."""
    words = {**greeting(term=7).words(), "more": 1}
    body = msgpack.packb({"pickle-protocol": 5, KEY: words})
    message = read_first_message(body)
    assert not isinstance(message, Objection)
    assert read_greeting(message) == greeting(term=7)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({**greeting().words(), "version": 2}, "greets in version 2, and this"),
        ({**greeting().words(), "version": "x" * 999}, "greets in version x"),
        ({**greeting().words(), "term": -1}, "make no sense"),
        ({**greeting().words(), "term": True}, "make no sense"),
        ({**greeting().words(), "node": 0}, "make no sense"),
        ({**greeting().words(), "cluster": 5}, "make no sense"),
        ({**greeting().words(), "cluster": "a b"}, "make no sense"),
        ({"version": 1}, "make no sense"),
        ("text", "make no sense"),
        ([], "make no sense"),
        (None, "plain scheduler or worker of Dask"),
    ],
)
def test_words_that_are_no_greeting(words: object, reason: str) -> None:
    """A clear objection that waiting does not change, of bounded length."""
    found = read_greeting({KEY: words})
    assert isinstance(found, Objection)
    assert found.final
    assert reason in found.why
    assert len(found.why) < 300


@given(st.binary(max_size=200))
def test_a_hostile_first_message(body: bytes) -> None:
    """Whatever comes is an objection or plain values; nothing is raised."""
    found = read_first_message(body)
    if not isinstance(found, Objection):
        assert isinstance(read_greeting(found), Greeting | Objection)


def test_foreign_tongues() -> None:
    """What speaks otherwise is named, as far as it can be told."""
    assert foreign_tongue(b"HTTP/1.1").why == "speaks HTTP"
    assert "SSH-2.0-" in foreign_tongue(b"SSH-2.0-").why


def test_who_led_last_is_remembered_for_a_bounded_number_of_clusters() -> None:
    """The oldest are forgotten."""
    known = Known()
    known.met(CONTACT, B, greeting())
    assert known.leader(CONTACT) == B
    for port in range(1, CONTACTS_MAX + 1):
        known.met(parse_contact(f"x:{port}"), B, greeting())
    assert known.leader(CONTACT) is None


def test_a_leader_of_an_older_term_is_none() -> None:
    """It may become one again, so asking goes on."""
    known = Known()
    known.met(CONTACT, A, greeting(term=5))
    found = known.objection(CONTACT, greeting(term=4))
    assert found is not None
    assert not found.final
    assert "term 5" in found.why
    assert known.objection(CONTACT, greeting(term=5)) is None
    assert known.objection(CONTACT, greeting(term=6)) is None
    assert known.objection(parse_contact("x:1"), greeting(term=1)) is None


@pytest.mark.parametrize("address", ["a:1/lab", "a:1"])
def test_another_cluster_is_refused(address: str) -> None:
    """By its name in the address, or since another one was met before."""
    known, contact = Known(), parse_contact(address)
    known.met(contact, A, greeting("lab"))
    found = known.objection(contact, greeting("other", term=9))
    assert found is not None
    assert found.final
    assert "'other'" in found.why
    assert "'lab'" in found.why


def test_when_a_search_is_hopeless() -> None:
    """All say what waiting does not change; or some do, for a while."""
    answers = Answers(CONTACT, began=100.0)
    answers.note(A, WRONG)
    answers.note(B, WRONG)
    assert not answers.are_hopeless(100.0 + 10 * GIVES_UP_AFTER_S)  # C may lead
    answers.note(C, REFUSES)
    assert not answers.are_hopeless(100.0 + GIVES_UP_AFTER_S / 2)
    assert answers.are_hopeless(100.0 + GIVES_UP_AFTER_S)
    answers.note(C, WRONG)
    assert answers.are_hopeless(100.0)
    for one in (A, B, C):
        answers.note(one, REFUSES)
    assert not answers.are_hopeless(1e9)


def test_answers_in_words() -> None:
    """Each coordinator with what it said last, those that said nothing too."""
    answers = Answers(CONTACT, began=0.0)
    answers.note(B, WRONG)
    answers.note(A, WRONG)
    answers.note(A, REFUSES)
    assert answers.text() == (
        "no coordinator leads: a:1 refuses connections; b:1 speaks HTTP;"
        " c:1 did not answer yet"
    )


def test_looks_are_shared_while_they_are_fresh() -> None:
    """Another search takes the answer; a moment later somebody looks again."""
    looks = Looks()
    assert looks.heard("a", 10.0) is None
    number = looks.begin("a", 10.0)
    assert looks.heard("a", 10.0 + HANGS_S / 2) is None  # it may lead, so look too
    looks.end("a", number, 10.1, REFUSES)
    assert looks.heard("a", 10.1 + FRESH_S / 2) == REFUSES
    assert looks.heard("b", 10.1) is None
    assert looks.heard("a", 10.1 + FRESH_S) is None
    looks.end("a", looks.begin("a", 11.0), 11.0, None)  # it leads
    assert looks.heard("a", 11.0) is None


def test_nobody_looks_beside_a_look_that_hangs() -> None:
    """One waits for what is silent; when it has given up, another may."""
    looks = Looks()
    first, second = looks.begin("a", 10.0), looks.begin("a", 10.05)
    heard = looks.heard("a", 10.0 + 2 * HANGS_S)
    assert heard is not None
    assert not heard.final
    looks.end("a", first, 15.0, None)
    assert looks.heard("a", 15.0) is not None
    looks.end("a", second, 15.0, None)
    assert looks.heard("a", 15.0) is None


def test_looks_are_forgotten() -> None:
    """Of addresses that nobody asks for any more."""
    looks = Looks()
    waits = looks.begin("first", 0.0)
    for at in range(3 * TARGETS_MAX):
        looks.end(at, looks.begin(at, 1.0), 1.0, REFUSES)
    assert len(looks._targets) <= TARGETS_MAX + 1
    assert looks.heard("first", 9.0) is not None
    looks.end("first", waits, 9.0, None)
    assert looks.heard(0, 1.0) is None
