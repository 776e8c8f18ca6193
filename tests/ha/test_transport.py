"""Messages between nodes: real sockets, real TLS, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from certificates import Authority, lab
from cryptography.x509.oid import ExtendedKeyUsageOID
from distributed import Security
from machine_pace import slowness
from network import FAST, Node, close, connected, run

from dtf_dask.errors import ConfigurationError
from dtf_dask.ha import dialing
from dtf_dask.ha.dialing import dial
from dtf_dask.ha.handshake import (
    Channel,
    Hello,
    NodeName,
    decode_hello,
    encode_hello,
    encode_refusal,
    encode_welcome,
    older_version,
)
from dtf_dask.ha.message_codec import MessageEncoder, join_messages
from dtf_dask.ha.node_tls import NodeCertificate, node_contexts
from dtf_dask.ha.raft.messages import Entry, EntryKind, Message, MessageKind, NodeId
from dtf_dask.ha.transport_limits import TransportLimits, reconnect_pause_s
from dtf_dask.ha.wire import frame


def test_messages_arrive_in_order_both_ways(tmp_path: Path) -> None:
    """Small ones by the hundred, a large one between them; three nodes at once."""

    async def main() -> None:
        nodes = [Node(number, tmp_path) for number in (1, 2, 3)]
        one, two, three = nodes
        async with connected(*nodes):
            payload = os.urandom(4 * 2**20)
            large = Message(
                *(MessageKind.APPEND, two.id, one.id),
                entries=[Entry(1, 1, EntryKind.NORMAL, payload)],
            )
            one.say(two, 1, count=300)
            one.transport.send([large])
            one.say(two, 301, count=300)
            two.say(one, 7)
            three.say(one, 8)
            await two.until(lambda: len(two.messages) == 601)
            await one.until(lambda: len(one.messages) == 2)
            assert two.messages.pop(300) == large
            assert [m.term for m in two.messages] == list(range(1, 601))
            assert {(m.sender, m.term) for m in one.messages} == {(2, 7), (3, 8)}
            assert one.refusals == two.refusals == three.refusals == []
            (status, _) = one.transport.status
            assert (status.peer, status.messages_sent, status.connected) == (
                2,
                601,
                True,
            )

    run(main())


def test_a_lost_connection_is_said_at_once_and_comes_back(tmp_path: Path) -> None:
    """Both sides hear of it in milliseconds; then messages flow again by themselves."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        async with connected(one, two):
            loop = asyncio.get_running_loop()
            one.events.clear()
            began = loop.time()
            two.transport.cut(one.id, "a test cuts it")
            await one.until(lambda: one.events.count(("lost", 2)) == 2)
            assert loop.time() - began < 2 * slowness()
            await one.until(lambda: ("connected", 2) in one.events)
            one.say(two, 5)
            await two.until(lambda: [m.term for m in two.messages] == [5])

    run(main())


def test_a_node_that_is_away_is_unreachable_until_it_is_back(tmp_path: Path) -> None:
    """What is sent meanwhile is dropped and said so; a restart on the port is found."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        await one.listen()
        await two.listen()
        port = two.address[1]
        one.knows(two)
        await one.until(lambda: ("connected", 2) in one.events)
        await two.transport.close()
        await one.until(lambda: ("lost", 2) in one.events)
        one.say(two, 1, count=3)
        await one.until(lambda: ("unreachable", 2) in one.events)
        assert one.transport.status[0].messages_dropped == 3
        one.transport.send([Message(MessageKind.HEARTBEAT, NodeId(9), one.id)])
        await one.until(lambda: ("unreachable", 9) in one.events)

        again = Node(2, tmp_path)
        await again.listen(port)
        one.events.clear()
        await one.until(lambda: ("connected", 2) in one.events)
        one.say(again, 2)
        await again.until(lambda: again.messages)
        assert [m.term for m in again.messages] == [2]
        await close([one, again])

    run(main())


def test_a_peer_that_does_not_read_costs_bounded_memory(tmp_path: Path) -> None:
    """The oldest appends are dropped, which is said; what is left arrives in order."""
    limits = TransportLimits(outbox_bytes_max=3 * 2**20, handshake_s=2.0)

    async def main() -> None:
        one, two = Node(1, tmp_path, limits=limits), Node(2, tmp_path)
        async with connected(one, two):
            (incoming,) = two.transport._incoming.values()
            assert incoming.transport is not None
            incoming.transport.pause_reading()
            payload = os.urandom(100_000)
            for number in range(1, 301):
                entry = Entry(1, number, EntryKind.NORMAL, payload)
                one.transport.send(
                    [Message(MessageKind.APPEND, two.id, one.id, entries=[entry])]
                )
                await asyncio.sleep(0)
            assert ("unreachable", 2) in one.events
            (status,) = one.transport.status
            assert status.bytes_waiting <= 3 * 2**20
            assert status.messages_dropped > 100
            incoming.transport.resume_reading()
            kept = 300 - status.messages_dropped
            await two.until(lambda: len(two.messages) == kept)
            indexes = [m.entries[0].index for m in two.messages]
            assert indexes == sorted(indexes)
            assert indexes[-1] == 300

    run(main())


def test_a_peer_that_comes_back_is_connected_to_at_once(tmp_path: Path) -> None:
    """However long it was away: it may be needed for the next election."""
    patient = replace(FAST, reconnect_s=3_600.0, reconnect_max_s=3_600.0)

    async def main() -> None:
        one, two = Node(1, tmp_path, limits=patient), Node(2, tmp_path)
        await one.listen()
        await two.listen()
        address = two.address
        await two.transport.close()
        one.knows(two)
        while not any(link.last_error for link in one.transport.status):
            await asyncio.sleep(0.01)
        again = Node(2, tmp_path)
        await again.listen(address[1])
        again.knows(one)
        await one.until(lambda: ("connected", 2) in one.events)
        await close([one, again])

    run(main())


def test_what_waited_when_a_connection_broke_is_not_sent_later(tmp_path: Path) -> None:
    """It is dropped, which is said: Raft has other things to say by then."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        async with connected(one, two):
            incoming = two.transport._incoming[one.id, Channel.MESSAGES]
            assert incoming.transport is not None
            incoming.transport.pause_reading()
            for number in range(1, 200):
                entry = Entry(1, number, EntryKind.NORMAL, bytes(100_000))
                one.transport.send(
                    [Message(MessageKind.APPEND, two.id, one.id, entries=[entry])]
                )
                await asyncio.sleep(0)
            (status,) = one.transport.status
            assert status.messages_waiting > 10
            one.events.clear()
            incoming.abort("a test cuts it")
            await one.until(lambda: ("connected", 2) in one.events)
            assert ("unreachable", 2) in one.events
            one.say(two, 7)
            await two.until(lambda: two.messages and two.messages[-1].term == 7)
            assert [m.kind for m in two.messages] == [MessageKind.HEARTBEAT]

    run(main())


def test_a_node_that_connects_again_replaces_its_old_connection(tmp_path: Path) -> None:
    """Its machine may have gone down without a word; that is no loss, nor a second."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        _, context = node_contexts(lab().node(2))
        own, peer = NodeName("lab", NodeId(2)), NodeName("lab", one.id)
        old, new = [
            await dial(own, peer, one.address, Channel.MESSAGES, context, 5.0)
            for _ in range(2)
        ]
        async with asyncio.timeout(60):
            await old.closed
        new.send(heartbeat())
        await one.until(lambda: one.messages)
        assert one.events == []
        assert one.transport.heard == [2]
        new.abort("the test ends it")
        await one.until(lambda: one.events == [("lost", 2)])
        await one.transport.close()

    run(main())


async def speak(
    node: Node, security: Security, *bodies: bytes, raw: bytes = b""
) -> bytes:
    """Connect as anybody, say something, and return what comes until the end."""
    _, context = node_contexts(security)
    reader, writer = await asyncio.open_connection(*node.address, ssl=context)
    try:
        writer.write(b"".join(map(frame, bodies)) + raw)
        return await asyncio.wait_for(reader.read(2**20), 10)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


HELLO = Hello(NodeName("lab", NodeId(2)), NodeId(1), Channel.MESSAGES)


def heartbeat(to: int = 1, sender: int = 2) -> bytes:
    message = Message(MessageKind.HEARTBEAT, NodeId(to), NodeId(sender), term=3)
    return join_messages([MessageEncoder().encode(message)])


@pytest.mark.parametrize(
    ("after_hello", "raw", "why"),
    [
        ((), b"\xff\xff\xff\xff", "claims 4294967295 bytes"),
        ((), b"\0\0\0\0", "claims 0 bytes"),
        ((), b"GET / HTTP/1.1\r\n\r\n", "claims"),
        ((b"\xc1",), b"", "cannot be read"),
        ((b"\x91" * 3_000,), b"", "cannot be read"),
        ((b"\xdd\xff\xff\xff\xff",), b"", "cannot be read"),
        ((b"\x2a",), b"", "no list of messages"),
        ((heartbeat(sender=3),), b"", "from 3 to 1, on a connection from 2"),
        ((heartbeat(to=3),), b"", "from 2 to 3, on a connection from 2 to 1"),
    ],
)
def test_garbage_after_the_handshake_ends_the_connection(
    tmp_path: Path, after_hello: tuple[bytes, ...], raw: bytes, why: str
) -> None:
    """Whatever it is: the reason is said to the node, which serves its peers on."""

    async def main() -> None:
        one, three = Node(1, tmp_path), Node(3, tmp_path)
        async with connected(one, three):
            body = encode_hello(HELLO)
            await speak(one, lab().node(2), body, *after_hello, raw=raw)
            await one.until(lambda: one.refusals or one.losses)
            assert why in (one.refusals + one.losses)[0]
            assert NodeId(2) not in one.transport.heard
            three.say(one, 4)
            await one.until(lambda: [m.term for m in one.messages] == [4])

    run(main())


def test_a_frame_that_never_ends_ends_with_its_connection(tmp_path: Path) -> None:
    """Half a frame, then nothing and a close: nothing of it is heard."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        half = frame(heartbeat())[:-3]
        _, context = node_contexts(lab().node(2))
        _, writer = await asyncio.open_connection(*one.address, ssl=context)
        writer.write(frame(encode_hello(HELLO)) + half)
        await writer.drain()
        async with asyncio.timeout(60):
            while not one.transport.heard:
                await asyncio.sleep(0.001)
        writer.transport.abort()
        await one.until(lambda: ("lost", 2) in one.events)
        assert one.messages == []
        await one.transport.close()

    run(main())


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (
            Hello(NodeName("lab", NodeId(3)), NodeId(1), Channel.MESSAGES),
            "says that it is dtf://lab/node/3, and shows the certificate of"
            " dtf://lab/node/2",
        ),
        (
            Hello(NodeName("lab", NodeId(2)), NodeId(7), Channel.MESSAGES),
            "looks for node 7, and this is node 1",
        ),
        (
            Hello(NodeName("lab", NodeId(2)), NodeId(1), Channel.BULK, version=9),
            "speaks version 9 of the protocol between nodes, this node 1",
        ),
    ],
)
def test_a_hello_that_is_not_true_is_answered_with_why(
    tmp_path: Path, hello: Hello, why: str
) -> None:
    """Another id than the certificate's, another node than this, another version."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        answer = await speak(one, lab().node(2), encode_hello(hello))
        assert why.encode() in answer
        assert any(why in reason for reason in one.refusals)
        assert one.transport.heard == []
        await one.transport.close()

    run(main())


@pytest.mark.parametrize(
    ("security", "why"),
    [
        (lambda: lab().security(), "names 0 URIs"),
        (lambda: lab().security(common_name="dtf://lab/node/2"), "names 0 URIs"),
        (
            lambda: lab().security("dtf://lab/node/2", "dtf://lab/node/3"),
            "names 2 URIs",
        ),
        (lambda: lab().security("dtf://lab/user/2"), "dtf://lab/user/2"),
        (lambda: lab().security("dtf://lab/node/0"), "dtf://lab/node/0"),
        (lambda: lab().security(f"dtf://lab/node/{2**63}"), "a node's is of"),
        (
            lambda: lab().node(2, cluster="field"),
            "shows the certificate of dtf://field",
        ),
    ],
)
def test_a_certificate_that_is_no_nodes_is_refused(
    tmp_path: Path, security: object, why: str
) -> None:
    """No URI, two, a user's, a number that no node has, another cluster's."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        shown = security()  # type: ignore[operator]
        answer = await speak(one, shown, encode_hello(HELLO))
        assert why.encode() in answer
        assert one.transport.heard == []
        await one.transport.close()

    run(main())


@pytest.mark.parametrize(
    "security",
    [
        lambda: Authority("another").security("dtf://lab/node/2", trusts=lab()),
        lambda: lab().security("dtf://lab/node/2", seconds=-60),
        lambda: lab().security(
            "dtf://lab/node/2", usages=(ExtendedKeyUsageOID.SERVER_AUTH,)
        ),
    ],
)
def test_what_the_authority_did_not_sign_for_ends_in_tls(
    tmp_path: Path, security: object
) -> None:
    """Another authority's, one that has ended, one that is for serving only."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        shown = security()  # type: ignore[operator]
        try:
            answer = await speak(one, shown, encode_hello(HELLO))
        except ssl.SSLError:
            answer = b""
        assert answer == b""
        await one.until(lambda: one.refusals)
        assert one.transport.heard == []
        await one.transport.close()

    run(main())


def test_a_server_that_is_another_node_is_not_spoken_to(tmp_path: Path) -> None:
    """Node 3 at the address of node 2, node 2 of another cluster, a user's server."""

    async def main() -> None:
        for security, why in (
            (
                lab().node(3),
                "the certificate of dtf://lab/node/3, not of dtf://lab/node/2",
            ),
            (lab().node(2, cluster="field"), "dtf://field/node/2, not of"),
            (lab().security("dtf://lab/user/ada"), "a node's is of"),
        ):
            one, other = Node(1, tmp_path), Node(2, tmp_path, security=security)
            await other.listen()
            one.knows(other)
            async with asyncio.timeout(60):
                while not one.transport.status[0].last_error:
                    await asyncio.sleep(0.005)
            assert why in one.transport.status[0].last_error
            assert one.events == []
            one.say(other)
            await one.until(lambda one=one: ("unreachable", 2) in one.events)
            await close([one, other])
            assert other.messages == []

    run(main())


def test_a_node_that_is_not_wanted_is_told_so(tmp_path: Path) -> None:
    """As one that was removed: it hears why, both have it in their status."""

    async def main() -> None:
        reason = "node 2 was removed from the cluster"
        one = Node(1, tmp_path, admits=lambda node: reason if node == 2 else "")
        two = Node(2, tmp_path)
        await one.listen()
        two.knows(one)
        await one.until(lambda: one.refusals)
        async with asyncio.timeout(60):
            while not two.transport.status[0].last_error:
                await asyncio.sleep(0.005)
        assert reason in two.transport.status[0].last_error
        assert reason in one.refusals[0]
        await close([one, two])

    run(main())


def test_a_thousand_silent_connections_keep_no_node_out(tmp_path: Path) -> None:
    """Nothing said, half a TLS handshake: bounded, ended, and a node gets in."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        await one.listen()
        silent: list[asyncio.StreamWriter] = []
        try:
            for number in range(1_000):
                _, writer = await asyncio.open_connection(*one.address)
                if number % 2:
                    writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
                silent.append(writer)
                assert one.transport._listener.waiting <= 64
            two.knows(one)
            await two.until(lambda: ("connected", 1) in two.events)
            two.say(one, 6)
            await one.until(lambda: one.messages)
            async with asyncio.timeout(60):
                while one.transport._listener.waiting:
                    await asyncio.sleep(0.02)
            assert any("said nothing within 2 s" in why for why in one.refusals)
        finally:
            for writer in silent:
                writer.transport.abort()
            await close([one, two])

    run(main())


def test_who_stops_within_the_handshake_is_given_seconds(tmp_path: Path) -> None:
    """After TLS, before the hello: as one that is silent from the start."""
    limits = TransportLimits(handshake_s=0.3)

    async def main() -> None:
        one = Node(1, tmp_path, limits=limits)
        await one.listen()
        began = asyncio.get_running_loop().time()
        assert await speak(one, lab().node(2)) == b""
        assert 0.2 < asyncio.get_running_loop().time() - began < 60
        assert one.transport._listener.waiting == 0
        await one.transport.close()

    run(main())


def test_a_node_that_stops_ends_whom_it_is_about_to_accept(tmp_path: Path) -> None:
    """However far that is: the socket is closed, and nothing is left open."""
    for turns in range(6):

        async def check(turns: int = turns) -> socket.socket:
            one = Node(turns + 1, tmp_path)
            await one.listen()
            stranger = socket.create_connection(one.address)
            for _ in range(turns):
                await asyncio.sleep(0)
            await one.transport.close()
            return stranger

        with asyncio.run(check()) as stranger:
            stranger.settimeout(60)
            with suppress(ConnectionResetError):
                assert stranger.recv(1) == b"", turns
        gc.collect()


def test_a_connection_ends_with_the_certificate_that_opened_it(tmp_path: Path) -> None:
    """A live one too: nothing is heard from the node after that."""

    async def main() -> None:
        security = lab().security("dtf://lab/node/2", seconds=4)
        one, two = Node(1, tmp_path), Node(2, tmp_path, security=security)
        await one.listen()
        await two.listen()
        two.knows(one)
        await two.until(lambda: ("connected", 1) in two.events)
        await one.until(lambda: ("lost", 2) in one.events)
        assert one.losses == ["the peer's certificate has ended"]
        await one.until(lambda: any("expired" in why for why in one.refusals))
        await close([one, two])

    run(main())


def test_tls_is_1_3_with_certificates_on_both_sides_or_nothing() -> None:
    """No tickets, nothing older; without certificates a node does not even start."""
    serving, connecting = node_contexts(lab().node(1))
    for context in (serving, connecting):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert serving.num_tickets == 0
    with pytest.raises(ConfigurationError, match="nodes speak TLS only"):
        node_contexts(Security())
    with pytest.raises(ConfigurationError, match="TLS between nodes"):
        node_contexts(
            Security(
                tls_ca_file="nowhere.pem",
                tls_scheduler_cert="nowhere.pem",
                tls_scheduler_key="nowhere.pem",
            )
        )
    old = lab().node(1)
    old.tls_max_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigurationError, match=r"TLS 1\.3"):
        node_contexts(old)


def test_contexts_of_files_are_as_strict(tmp_path: Path) -> None:
    """A node's process makes its contexts without Dask: nothing else is different."""
    security = lab().node(1)
    names = ("tls_ca_file", "tls_scheduler_cert", "tls_scheduler_key")
    for name in names:
        (tmp_path / name).write_text(getattr(security, name))
    files = NodeCertificate(*(str(tmp_path / name) for name in names))
    for made, known in zip(node_contexts(files), node_contexts(security), strict=True):
        for what in (
            *("minimum_version", "verify_mode", "verify_flags", "check_hostname"),
            *("options", "num_tickets", "protocol"),
        ):
            assert getattr(made, what) == getattr(known, what), what
        assert made.cert_store_stats() == known.cert_store_stats()
    with pytest.raises(ConfigurationError, match="TLS between nodes"):
        node_contexts(replace(files, key="nowhere.pem"))


def test_a_client_of_tls_1_2_is_refused(tmp_path: Path) -> None:
    """Whatever certificate it has."""

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        security = lab().node(2)
        context = security.get_connection_args("scheduler")["ssl_context"]
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*one.address, ssl=context)
        await one.transport.close()

    run(main())


def test_pauses_grow_and_differ() -> None:
    """From one failure to the next, up to a limit, and never the same twice."""
    limits = TransportLimits(reconnect_s=0.1, reconnect_max_s=3.0)
    random = Random(1)
    for failures, longest in ((0, 0.1), (1, 0.2), (3, 0.8), (5, 3.0), (10_000, 3.0)):
        pauses = [reconnect_pause_s(limits, failures, random) for _ in range(100)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
        assert len({*pauses}) == 100


def test_nothing_listens_on_all_interfaces_by_mistake(tmp_path: Path) -> None:
    """An empty host would mean that."""

    async def main() -> None:
        one = Node(1, tmp_path)
        with pytest.raises(ValueError, match="all interfaces"):
            await one.transport.listen("", 0)
        await one.transport.close()

    run(main())


def test_the_limits_of_words_hold_before_a_node_is_known(tmp_path: Path) -> None:
    """A first frame over 4 kB is cut off as it is announced."""

    async def main() -> None:
        one = Node(1, tmp_path, limits=FAST)
        await one.listen()
        assert await speak(one, lab().node(2), raw=b"\0\0\x10\x01") == b""
        assert any("from 1 to 4096" in why for why in one.refusals)
        await one.transport.close()

    run(main())
    assert decode_hello(encode_hello(HELLO)) == HELLO


def test_a_newer_node_speaks_the_version_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused first, hears which version the other one speaks, and comes back
    with that."""
    # Of the one that dials only: the other reads its own.
    newer = SimpleNamespace(PROTOCOL_VERSION=2)
    monkeypatch.setattr(dialing, "handshake", newer)

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        own, peer = NodeName("lab", NodeId(2)), NodeName("lab", one.id)
        _, context = node_contexts(lab().node(2))
        connection = await dialing.dial(
            own, peer, one.address, Channel.MESSAGES, context, 5.0
        )
        connection.send(heartbeat())
        await one.until(lambda: one.messages)
        assert any("speaks version 2" in reason for reason in one.refusals)
        connection.abort("the test ends it")
        await one.transport.close()

    run(main())


def test_a_version_that_is_not_spoken_any_more_is_not_taken_up() -> None:
    """Of a refusal for another reason none is, nor of a welcome, nor a newer one."""
    own = NodeName("lab", NodeId(1))
    refusal = encode_refusal(own, "it speaks version 2")
    assert older_version(refusal, 2) == 1
    assert older_version(refusal, 1) is None
    assert older_version(refusal.replace(b"\x01", b"\x00", 1), 2) is None
    assert older_version(encode_welcome(own), 2) is None
