"""What must not come, at nodes that run: refused in words, and nothing is lost.

Also elsewhere: two processes on one folder (`test_redundancy`), bad requests of clients
(`test_service`), an older node among newer ones and damaged folders
(`test_node_folder`), clocks (`test_clocks`), each frame and field by itself
(`test_transport`, `test_message_codec`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import lab
from distributed import Security
from node_room import put, value_at
from serving_room import Hall, free_addresses, in_hall

from dtf_dask.errors import ConfigurationError, LedgerFolderError
from dtf_dask.ha.backup import back_up_stopped, check_stopped
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import Channel, Hello, NodeName, encode_hello
from dtf_dask.ha.ledger.kinds import VERSION
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.message_codec import MessageEncoder, join_messages
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.node_tls import node_contexts
from dtf_dask.ha.peers import TERM_LEAP_MAX
from dtf_dask.ha.raft.messages import Message, MessageKind, NodeId
from dtf_dask.ha.serving import NodePlan, ServingNode
from dtf_dask.ha.wal_opening import LogIdentity
from dtf_dask.ha.wire import FRAME_BYTES_MAX, frame
from dtf_dask.security.authority import Authority

STRANGER = NodeId(9)
"""A node with a certificate of the cluster that is no member of it."""


async def speak(address: Address, security: Security, *said: bytes) -> bytes:
    """Connect as anybody and say something; what comes until the end."""
    _, context = node_contexts(security)
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        writer.write(b"".join(said))
        return await asyncio.wait_for(reader.read(2**20), 10)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def hello(
    to: int, node: int = STRANGER, cluster: str = "lab", version: int = 1
) -> bytes:
    """The first words of a node."""
    name = NodeName(cluster, NodeId(node))
    words = Hello(name, NodeId(to), Channel.MESSAGES, version=version)
    return frame(encode_hello(words))


def says(to: int, term: int, kind: MessageKind = MessageKind.HEARTBEAT) -> bytes:
    """A message of Raft as it travels."""
    message = Message(kind, NodeId(to), STRANGER, term=term)
    return frame(join_messages([MessageEncoder().encode(message)]))


async def goes_on(hall: Hall, terms: dict[int, int]) -> None:
    """Nothing is lost: what is written is read everywhere, and nobody was elected."""
    await hall.written("on")
    for node in hall.nodes:
        assert await value_at(hall.ledger(node), "on") == b"value"
        assert await value_at(hall.ledger(node), "before") == b"value"
    assert terms == terms_of(hall)


def terms_of(hall: Hall) -> dict[int, int]:
    """In which term each node is."""
    return {node: hall.node(node).raw.core.term for node in hall.nodes}


async def begun(hall: Hall) -> dict[int, int]:
    """A cluster that has written something; in which term."""
    await hall.start_all()
    await hall.written("before")
    for node in hall.nodes:
        assert await value_at(hall.ledger(node), "before") == b"value"
    return terms_of(hall)


BAD_FRAMES: dict[str, tuple[Callable[[int], bytes], str]] = {
    "too long": (
        lambda _: (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"x" * 1_000,
        "claims 16777217 bytes",
    ),
    "of no length": (lambda _: bytes(4), "claims 0 bytes"),
    "no msgpack": (lambda _: frame(b"\xc1" * 100), "cannot be read"),
    "for another node": (lambda to: says(to % 3 + 1, 1), "on a connection from 9"),
    "of term 2^63": (lambda to: says(to, 2**63), "message is refused"),
    "of a term far away": (
        lambda to: says(to, 2**63 - 1),
        "speaks of term 9223372036854775807",
    ),
    "a vote of a term far away": (
        lambda to: says(to, TERM_LEAP_MAX + 1_000, MessageKind.VOTE),
        "speaks of term 4294968296",
    ),
}


@pytest.mark.parametrize("bad", BAD_FRAMES)
def test_a_frame_that_makes_no_sense_ends_its_connection(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At each of three nodes: it is said why, and terms, leader and records stay."""
    made, why = BAD_FRAMES[bad]
    caplog.set_level(logging.INFO)

    async def test(hall: Hall) -> None:
        terms = await begun(hall)
        for node in hall.nodes:
            caplog.clear()
            address = hall.peers[NodeId(node)]
            await speak(address, lab().node(STRANGER), hello(node), made(node))
            assert why in caplog.text
        await goes_on(hall, terms)

    assert in_hall(tmp_path, 3, test) == {}


def test_half_a_frame_is_not_heard(tmp_path: Path) -> None:
    """Cut at each of its bytes by the end of the connection."""

    async def test(hall: Hall) -> None:
        terms = await begun(hall)
        whole = says(1, max(terms.values()) + 50)
        _, context = node_contexts(lab().node(STRANGER))
        for size in range(0, len(whole), 3):
            reader, writer = await asyncio.open_connection(
                *hall.peers[NodeId(1)], ssl=context
            )
            writer.write(hello(1) + whole[:size])
            await reader.readexactly(4)
            writer.close()
            await writer.wait_closed()
        await goes_on(hall, terms)

    assert in_hall(tmp_path, 3, test) == {}


@pytest.mark.parametrize(
    ("words", "security", "why"),
    [
        (
            lambda: hello(1, version=9),
            lambda: lab().node(STRANGER),
            b"speaks version 9 of the protocol between nodes",
        ),
        (
            lambda: hello(1, cluster="hall"),
            lambda: lab().node(STRANGER, "hall"),
            b"it is of cluster 'hall', not of 'lab'",
        ),
        (
            lambda: hello(1, node=2),
            lambda: lab().node(STRANGER),
            b"shows the certificate of dtf://lab/node/9",
        ),
        (
            lambda: hello(1, node=1),
            lambda: lab().node(1),
            b"it is node 1, as this one: an id belongs to one node",
        ),
        (
            lambda: hello(2),
            lambda: lab().node(STRANGER),
            b"it looks for node 2, and this is node 1",
        ),
        (
            lambda: hello(1),
            lambda: lab().security("dtf://lab/client/tests"),
            b"a node's is of dtf://CLUSTER/node/ID",
        ),
    ],
    ids=["version", "cluster", "id", "own id", "other node", "client"],
)
def test_who_is_another_than_he_says_is_not_let_in(
    tmp_path: Path,
    words: Callable[[], bytes],
    security: Callable[[], Security],
    why: bytes,
) -> None:
    """The answer says why; what he says after that is not heard."""

    async def test(hall: Hall) -> None:
        terms = await begun(hall)
        said = (words(), says(1, max(terms.values()) + 50))
        assert why in await speak(hall.peers[NodeId(1)], security(), *said)
        await goes_on(hall, terms)

    assert in_hall(tmp_path, 3, test) == {}


@pytest.mark.parametrize("raw", [b"\xff" * 64, bytes(8)], ids=["too long", "empty"])
def test_clients_that_send_no_frames_are_cut_off(tmp_path: Path, raw: bytes) -> None:
    """The others are served on."""

    async def test(hall: Hall) -> None:
        terms = await begun(hall)
        security = lab().security("dtf://lab/client/tests")
        async with hall.client() as client:
            for one in hall.nodes.values():
                assert await speak(one.clients, security, raw) == b""
            (outcome,) = await client.propose([put("client")], 10.0)
            assert outcome.code is Code.OK
        await goes_on(hall, terms)

    assert in_hall(tmp_path, 3, test) == {}


@pytest.mark.logs(r"node 1 stops: entry \d+ cannot be applied")
def test_a_node_stops_at_an_entry_that_it_does_not_know(tmp_path: Path) -> None:
    """In each life anew, at the same place; its log is whole, and no tool that reads
    it passes the entry over."""
    newer = bytes((VERSION + 1,)) + b"\x92\x00\x90"
    places: list[int] = []

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        await hall.written("before")
        raw = leader.node.raw
        raw.propose((newer,))
        raw.propose((b"",))
        leader.node.wake()
        for _ in range(2):
            node = hall.node(1)
            while not node.failure:
                await node.change()
            reason = f"version {VERSION + 1} of the commands; this node knows versions"
            assert reason in node.failure
            assert "with the version of dtf that the others have" in node.failure
            places.append(node.state.index)
            assert node.raw.core.log.last_index() >= node.state.index + 2
            await hall.stop(1)
            await hall.start(1)

    assert set(in_hall(tmp_path, 1, test)) == {1}
    assert places[0] == places[1]
    folder, identity = str(tmp_path / "1"), LogIdentity("lab", NodeId(1))
    for look in (
        lambda: check_stopped(folder, identity),
        lambda: back_up_stopped(folder, identity, str(tmp_path / "backup")),
    ):
        with pytest.raises(LedgerFolderError, match=f"entry {places[0] + 1} cannot"):
            look()
    assert not (tmp_path / "backup").exists()


def test_a_removed_node_that_comes_back_is_kept_out(tmp_path: Path) -> None:
    """With its old disk, and though it was away when it was removed; what it asks for
    it is refused with that reason, and the others do not notice."""

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        await hall.written("before")
        gone = next(n for n in (1, 2, 3) if n != leader.node.node)
        await hall.stop(gone)
        async with hall.client() as client:
            await client.remove_node(gone, 20.0)
        await hall.written("without it")
        terms = terms_of(hall)
        back = await hall.start(gone)
        while not back.node.removed:
            await back.node.change()
        (outcome,) = await back.propose([put("x")], 5.0)
        assert outcome.code is Code.NOT_DONE
        assert f"node {gone} was removed from the cluster" in outcome.value
        assert back.node.failure == ""
        await hall.stop(gone)
        await goes_on(hall, terms)

    assert in_hall(tmp_path, 3, test) == {}


def test_a_voter_that_lost_its_log_does_not_begin_anew(tmp_path: Path) -> None:
    """It would have forgotten its votes, and what it has acknowledged: it says what to
    do. As a node that joins, removed before, it may."""

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        await hall.written("before")
        lost = next(n for n in (1, 2, 3) if n != leader.node.node)
        await hall.stop(lost)
        for name in ("log", "snapshots", "contents"):
            shutil.rmtree(tmp_path / str(lost) / name, ignore_errors=True)
        for _ in range(2):
            with pytest.raises(LedgerFolderError, match="has no log any more"):
                await hall.start(lost)
        await hall.written("without it")
        async with hall.client() as client:
            await client.remove_node(lost, 60.0)
            back = await hall.start(lost, joins=True)
            await client.add_node(lost, hall.peers[NodeId(lost)], 60.0)
        assert await value_at(back, "without it") == b"value"

    assert in_hall(tmp_path, 3, test) == {}


@pytest.mark.parametrize("whose", ["log", "certificate"])
def test_what_belongs_to_another_node_is_not_used(tmp_path: Path, whose: str) -> None:
    """A folder that was copied to the wrong host: the node does not start, and says
    whose it is."""
    addresses = free_addresses(4)
    peers = {NodeId(n + 1): addresses[n] for n in range(2)}
    clients = {NodeId(n + 1): addresses[2 + n] for n in range(2)}
    authority = Authority(tmp_path / "authority")
    authority.create("lab")
    configs = {}
    for node in (1, 2):
        own = tmp_path / str(node)
        authority.issue(f"dtf://lab/node/{node}", own)
        configs[node] = NodeConfig(own, "lab", NodeId(node), peers, clients)
        configs[node].write()
    if whose == "log":
        asyncio.run(_started_once(configs[1]))
        (tmp_path / "1" / "log").rename(tmp_path / "2" / "log")
        (tmp_path / "1" / "snapshots").rename(tmp_path / "2" / "snapshots")
        code, why = 41, "belongs to node 1 of cluster 'lab', not to node 2 of 'lab'"
    else:
        for name in ("certificate.pem", "certificate.key"):
            (tmp_path / "1" / name).replace(tmp_path / "2" / name)
        code, why = 9, "is that of dtf://lab/node/1, and this is dtf://lab/node/2"
    done = subprocess.run(
        [sys.executable, "-m", "dtf_dask.ha.node_process", str(tmp_path / "2")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert why in done.stderr


async def _started_once(config: NodeConfig) -> None:
    serving = ServingNode(config.plan, config.security(), lambda _: None)
    await serving.start()
    await serving.close()


@pytest.mark.parametrize(
    ("security", "why"),
    [
        (lambda: lab().node(1, "hall"), "that of dtf://hall/node/1"),
        (lambda: lab().security("dtf://lab/client/x"), "of 'dtf://lab/client/x'"),
        (
            lambda: lab().security("dtf://lab/node/1", seconds=-5),
            "certificate has expired",
        ),
    ],
    ids=["cluster", "client", "ended"],
)
def test_a_node_looks_at_its_own_certificate_first(
    tmp_path: Path, security: Callable[[], Security], why: str
) -> None:
    """Nobody would let it in: it says so at once, and makes nothing in its folder."""
    own, clients = free_addresses(2)
    name = NodeName("lab", NodeId(1))
    plan = NodePlan(name, str(tmp_path / "1"), {NodeId(1): own}, clients)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=why):
            await ServingNode(plan, security(), lambda _: None).start()

    asyncio.run(main())
    assert not (tmp_path / "1").exists()
