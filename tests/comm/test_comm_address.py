"""Addresses of coordinators: what is read, and what is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.comm.address import (
    COORDINATORS_MAX,
    Contact,
    Coordinator,
    is_contact,
    parse_contact,
)


@pytest.mark.parametrize(
    ("text", "coordinators", "cluster"),
    [
        ("dtf://a:1", [("a", 1)], ""),
        ("a:1,b:65535", [("a", 1), ("b", 65535)], ""),
        ("dtf://B.lab:8786,a:1/lab", [("b.lab", 8786), ("a", 1)], "lab"),
        ("[::1]:1,[0:0::2]:1,1.2.3.4:1", [("::1", 1), ("::2", 1), ("1.2.3.4", 1)], ""),
        ("a:1,a:2", [("a", 1), ("a", 2)], ""),
        ("my_host-1:08786", [("my_host-1", 8786)], ""),
        ("[fe80::1%eth0]:1", [("fe80::1%eth0", 1)], ""),
    ],
)
def test_what_is_read(
    text: str, coordinators: list[tuple[str, int]], cluster: str
) -> None:
    """Coordinators keep their order; hosts are written in one way."""
    found = parse_contact(text)
    assert [(one.host, one.port) for one in found.coordinators] == coordinators
    assert found.cluster == cluster
    assert parse_contact(str(found)) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no coordinator"),
        ("dtf://", "names no coordinator"),
        ("dtf:///lab", "names no coordinator"),
        ("a", "'a' has no port: a:8786"),
        ("a:1,b", "'b' has no port"),
        ("a:1,,b:1", "nothing between two commas"),
        ("a:1,", "after the last"),
        ("a:1,A:1", "a:1 is named twice"),
        ("[::1]:1,[0::1]:1", "[::1]:1 is named twice"),
        ("::1:8786", "IPv6 needs brackets"),
        ("[::1]", "has no port: [::1]:8786"),
        ("[::1", "has no port"),
        ("[::x]:1", "'::x' is no IPv6 address"),
        ("[1.2.3.4]:1", "is no IPv6 address"),
        ("a:0", "'0' is no port"),
        ("a:65536", "'65536' is no port"),
        ("a:-1", "'-1' is no port"),
        ("a:", "'' is no port"),
        ("a:\u0661", "is no port"),
        ("a: 1", "is no port"),
        (":1", "'' is no host"),
        ("a:1, b:1", "' b' is no host"),
        ("user@a:1", "'user@a' is no host"),
        ("-a:1", "'-a' is no host"),
        ("a\n:1", "is no host"),
        ("a" * 254 + ":1", "is no host"),
        ("tcp://a:1", "is no name for a cluster"),
        ("a:1/", "'' is no name for a cluster"),
        ("a:1/lab/node/1", "is no name for a cluster"),
        ("a:1?x", "is no port"),
        (",".join(f"a:{port}" for port in range(1, 11)), "10 coordinators; 9"),
        ("a" * 5000, "5000 characters"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """Each error says what is wrong, and quotes no more than fits a line or two."""
    with pytest.raises(ValueError) as caught:
        parse_contact(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 900


@given(st.text(max_size=300) | st.text("a1:,[]./%-_", max_size=40))
def test_hostile_text_is_read_or_refused(text: str) -> None:
    """Whatever is given: a contact that reads as itself again, or a ValueError."""
    try:
        found = parse_contact(text)
    except ValueError:
        return
    assert 1 <= len(found.coordinators) <= COORDINATORS_MAX
    assert parse_contact(str(found)) == found


_HOSTS = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?\Z") | st.ip_addresses(
    v=6
).map(str)
_COORDINATORS = st.builds(Coordinator, _HOSTS, st.integers(1, 65535))


@given(
    st.lists(_COORDINATORS, min_size=1, max_size=9, unique=True),
    st.just("") | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"),
)
def test_what_is_written_is_read(found: list[Coordinator], cluster: str) -> None:
    """An address survives being written and read."""
    contact = Contact(tuple(found), cluster)
    assert parse_contact(str(contact)) == contact


def test_what_is_no_contact() -> None:
    """Where somebody listens is not taken for a list."""
    assert not is_contact("10.0.0.1:0")
    assert is_contact("a:1,b:1")
    assert is_contact("a:1/lab")
