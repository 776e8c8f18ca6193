"""Nodes that serve clients over TLS, and clients that look for their leader."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import Authority, lab
from node_room import WAIT_S, put, value_at
from serving_room import free_addresses

from dtf_dask.errors import (
    MembershipError,
    NotChangedError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha import client_link
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.history import Changes
from dtf_dask.ha.ledger.kinds import (
    COMPARE_AND_SET,
    COMPARE_AND_SET_CONTENT,
    DELETE,
    PUT,
    PUT_CONTENT,
)
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get, Scan
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.service_words import Op, Status, decode_answer, encode_request
from dtf_dask.ha.serving import NodePlan, ServingNode
from dtf_dask.ha.wire import FrameCutter, frame


class Cluster:
    """Serving nodes in one process, each with its own certificate."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        addresses = free_addresses(count)
        self.peers = {NodeId(n + 1): one for n, one in enumerate(addresses)}
        self.nodes: dict[int, ServingNode] = {}
        self.failures: list[str] = []

    async def start(self, *nodes: int) -> None:
        """Start some of them."""
        for node in nodes:
            name = NodeName("lab", NodeId(node))
            plan = NodePlan(
                name, str(self.folder / str(node)), self.peers, ("127.0.0.1", 0)
            )
            options = NodeOptions(tick_s=0.03)
            made = ServingNode(plan, lab().node(node), self.failures.append, options)
            await made.start()
            self.nodes[node] = made

    def client(self, *, reads_from: int | None = None) -> RemoteLedger:
        """A client that knows all nodes that run."""
        addresses = {node: one.clients for node, one in self.nodes.items()}
        security = lab().security("dtf://lab/client/tests")
        return RemoteLedger(addresses, security, reads_from)

    async def stop(self, node: int) -> None:
        """End one."""
        await self.nodes.pop(node).close()

    async def close(self) -> None:
        """End all."""
        for node in [*self.nodes]:
            await self.stop(node)
        assert self.failures == []


def with_cluster(
    folder: Path, count: int, test: Callable[[Cluster], Awaitable[None]]
) -> None:
    """Run a test with a cluster that is closed after it."""

    async def run() -> None:
        cluster = Cluster(folder, count)
        try:
            async with asyncio.timeout(200):
                await cluster.start(*range(1, count + 1))
                await test(cluster)
        finally:
            await cluster.close()

    asyncio.run(run())


def test_clients_write_and_read_from_any_node(tmp_path: Path) -> None:
    """The leader is found; every node reads what was acknowledged."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            calls = (
                ledger.propose([put(f"k{n}", b"%d" % n)], WAIT_S) for n in range(300)
            )
            outcomes = await asyncio.gather(*calls)
            assert {one[0].code for one in outcomes} == {Code.OK}
        for node in (1, 2, 3):
            async with cluster.client(reads_from=node) as ledger:
                assert await value_at(ledger, "k299") == b"299"
                scan = await ledger.read(Scan("tests", "k1", limit=5), WAIT_S)
                assert scan is not None
                assert [key for key, _ in scan.records] == [
                    *("k1", "k10", "k100", "k101", "k102")
                ]
                assert scan.more
                status = await ledger.status(node)
                assert status["node"] == node
                assert status["voters"] == [1, 2, 3]

    with_cluster(tmp_path, 3, test)


def test_clients_go_on_when_the_leader_is_gone(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, and new writes are taken within the time given."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("before")], WAIT_S)
            status = await ledger.status(1)
            await cluster.stop(status["leader"])
            outcomes = await ledger.propose([put("after")], WAIT_S)
            while outcomes[0].code is Code.UNKNOWN:
                outcomes = await ledger.propose([put("after")], WAIT_S)
            assert outcomes[0].code is Code.OK
            assert await value_at(ledger, "before") == b"value"
            assert await value_at(ledger, "after") == b"value"

    with_cluster(tmp_path, 3, test)


def test_nodes_that_have_applied_as_much_have_the_same_hash(tmp_path: Path) -> None:
    """It is told with its index, and another state has another one."""

    async def hashes(ledger: RemoteLedger) -> tuple[int, str]:
        while True:
            told = {await ledger.state_hash(node) for node in (1, 2, 3)}
            if len({index for index, _ in told}) == 1:
                (found,) = told
                return found
            await asyncio.sleep(0.01)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("a")], WAIT_S)
            before = await hashes(ledger)
            await ledger.propose([put("a", b"other")], WAIT_S)
            after = await hashes(ledger)
            assert before[0] < after[0]
            assert before[1] != after[1]
            with pytest.raises(UsageError, match="no node 9"):
                await ledger.state_hash(9)

    with_cluster(tmp_path, 3, test)


def test_without_a_majority_clients_are_told_in_time(tmp_path: Path) -> None:
    """A write is refused or unknown, a read is None, at the end of the time given."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("before")], WAIT_S)
            for node in [*cluster.nodes][:2]:
                await cluster.stop(node)
            (outcome,) = await ledger.propose([put("after")], 1.0)
            assert outcome.code in (Code.NOT_DONE, Code.UNKNOWN)
            assert await ledger.read(Get("tests", "before"), 0.5) is None

    with_cluster(tmp_path, 3, test)


def test_a_client_leaves_a_node_that_hangs_before_it_lets_anybody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel takes the connection, and nothing more comes: the next call asks
    another node, however long connections may take."""
    monkeypatch.setattr(client_link, "_DIAL_S", 4 * WAIT_S)

    async def test(cluster: Cluster) -> None:
        security = lab().security("dtf://lab/client/tests")
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            nodes = {9: deaf.getsockname(), 1: cluster.nodes[1].clients}
            async with RemoteLedger(nodes, security) as ledger:
                (outcome,) = await ledger.propose([put("a")], 0.2)
                assert outcome.code is Code.NOT_DONE
                (outcome,) = await ledger.propose([put("a")], 20.0)
                assert outcome.code is Code.OK

    with_cluster(tmp_path, 1, test)


def test_changes_are_followed_over_the_network(tmp_path: Path) -> None:
    """In order, each once."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            seen: list[str] = []

            async def watch() -> None:
                async for found in ledger.follow("tests", "w", 1):
                    assert isinstance(found, Changes)
                    seen.extend(change.key for change in found.changes)
                    if "w9" in seen:
                        return

            watching = asyncio.create_task(watch())
            for n in range(10):
                await ledger.propose([put(f"w{n}")], WAIT_S)
            await asyncio.wait_for(watching, WAIT_S)
            assert seen == [f"w{n}" for n in range(10)]

    with_cluster(tmp_path, 1, test)


def test_clients_change_the_members_and_the_leader(tmp_path: Path) -> None:
    """A node is added and votes, another is made to lead, one is removed."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("early")], WAIT_S)
            (address,) = free_addresses(1)
            name = NodeName("lab", NodeId(2))
            peers = {**cluster.peers, NodeId(2): address}
            folder = str(cluster.folder / "2")
            plan = NodePlan(name, folder, peers, ("127.0.0.1", 0), joins=True)
            options = NodeOptions(tick_s=0.03)
            added = ServingNode(plan, lab().node(2), cluster.failures.append, options)
            await added.start()
            cluster.nodes[2] = added
            await ledger.add_node(2, address, WAIT_S)
            ledger.set_address(2, added.clients)
            assert (await ledger.status(1))["voters"] == [1, 2]
            await ledger.transfer_leader(2, WAIT_S)
            while (await ledger.status(2))["role"] != "leader":
                await asyncio.sleep(0.01)
            async with cluster.client(reads_from=2) as other:
                assert await value_at(other, "early") == b"value"
            await ledger.remove_node(1, WAIT_S)
            assert (await ledger.status(2))["voters"] == [2]
            with pytest.raises(UsageError, match="the only one"):
                await ledger.remove_node(2, WAIT_S)
            (outcome,) = await ledger.propose([put("late")], WAIT_S)
            assert outcome.code is Code.OK

    with_cluster(tmp_path, 1, test)


def test_a_change_of_which_nothing_was_done_says_so(tmp_path: Path) -> None:
    """At once, by the leader's word; and it says so too when nobody was reached."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger, cluster.client() as other:
            await ledger.propose([put("early")], WAIT_S)
            adding = asyncio.create_task(ledger.add_node(4, ("127.0.0.1", 1), WAIT_S))
            leader = (await ledger.status(1))["leader"]
            while 4 not in (await ledger.status(leader))["learners"]:
                await asyncio.sleep(0.01)
            with pytest.raises(NotChangedError, match="4 is being added: one change"):
                await other.remove_node(leader, WAIT_S)
            for node in [*cluster.nodes]:
                await cluster.stop(node)
            with pytest.raises(MembershipError, match="may have come about") as raised:
                await adding
            assert raised.type is MembershipError
            with pytest.raises(
                NotChangedError, match=r"nothing was done: not in 0\.3 s"
            ):
                await other.transfer_leader(2, 0.3)

    with_cluster(tmp_path, 3, test)


def test_a_leader_does_not_remove_who_is_needed(tmp_path: Path) -> None:
    """The client hears it at once, as something of which nothing was done."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("early")], WAIT_S)
            leader = (await ledger.status(1))["leader"]
            away, needed = (node for node in (1, 2, 3) if node != leader)
            await cluster.stop(away)
            progress = cluster.nodes[leader].node.raw.core.tracker.progress
            while progress[NodeId(away)].active:
                await asyncio.sleep(0.01)
            with pytest.raises(NotChangedError, match="that is no majority"):
                await ledger.remove_node(needed, WAIT_S)

    with_cluster(tmp_path, 3, test)


def test_a_node_that_hangs_is_not_asked_again(tmp_path: Path) -> None:
    """It keeps its connections open: who waited in vain asks another one next."""

    async def test(cluster: Cluster) -> None:
        silent: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        context = lab().node(9).get_listen_args("scheduler")["ssl_context"]
        hung = await asyncio.start_server(
            lambda _, writer: silent.put_nowait(writer), "127.0.0.1", 0, ssl=context
        )
        host, port = hung.sockets[0].getsockname()
        addresses = {9: (host, port), 1: cluster.nodes[1].clients}
        security = lab().security("dtf://lab/client/tests")
        async with RemoteLedger(addresses, security) as ledger:
            (outcome,) = await ledger.propose([put("a")], 0.5)
            assert outcome.code is Code.UNKNOWN
            (outcome,) = await ledger.propose([put("a")], WAIT_S)
            assert outcome.code is Code.OK
        silent.get_nowait().close()
        hung.close()

    with_cluster(tmp_path, 1, test)


def test_a_node_that_was_removed_while_it_was_away_is_told(tmp_path: Path) -> None:
    """Nobody lets it in; it says why it refuses, in its status too."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await ledger.propose([put("early")], WAIT_S)
            await cluster.stop(3)
            await ledger.remove_node(3, WAIT_S)
            await cluster.start(3)
            node = cluster.nodes[3].node
            while not node.removed:
                await asyncio.sleep(0.01)
            assert "node 3 was removed from the cluster" in node.refusal
            assert node.raw.status().config.voters == (1, 2, 3)
            (outcome,) = await ledger.propose([put("late")], WAIT_S)
            assert outcome.code is Code.OK

    with_cluster(tmp_path, 3, test)


def test_strangers_are_refused(tmp_path: Path) -> None:
    """Another authority, another cluster, or no name at all: nothing is answered."""

    async def test(cluster: Cluster) -> None:
        addresses = {1: cluster.nodes[1].clients}
        strangers = [
            Authority().security("dtf://lab/client/x", trusts=lab()),
            lab().security("dtf://other/client/x"),
            lab().security(),
            lab().security("dtf://lab/client/x", "dtf://lab/client/y"),
        ]
        for security in strangers:
            async with RemoteLedger(addresses, security) as ledger:
                with pytest.raises(PeerUnavailableError):
                    await ledger.status(1)
        async with cluster.client() as ledger:
            assert (await ledger.status(1))["role"] == "leader"

    with_cluster(tmp_path, 1, test)


def test_who_is_about_to_be_let_in_is_not_forgotten(tmp_path: Path) -> None:
    """By a node that stops: however far that is, the connection is ended."""
    for turns in range(6):
        strangers: list[socket.socket] = []

        async def test(
            cluster: Cluster, turns: int = turns, at: list[socket.socket] = strangers
        ) -> None:
            at.append(socket.create_connection(cluster.nodes[1].clients))
            for _ in range(turns):
                await asyncio.sleep(0)

        with_cluster(tmp_path / str(turns), 1, test)
        with strangers.pop() as stranger:
            stranger.settimeout(WAIT_S)
            with suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
        gc.collect()


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x90",
        b"garbage",
        encode_request(1, Op.READ, [], 1, None),
        encode_request(1, Op.READ, [[0, "a", "b"]], -1, None),
        encode_request(1, Op.PROPOSE, ["text"], 1_000),
        encode_request(2**63, Op.STATUS),
        encode_request(1, 99),  # type: ignore[arg-type]
        encode_request(1, Op.FOLLOW, "n", "", -1, 10),
    ],
)
def test_requests_of_no_sense_end_the_connection(tmp_path: Path, body: bytes) -> None:
    """With an answer that says why; the node goes on to serve."""

    async def test(cluster: Cluster) -> None:
        context = lab().security("dtf://lab/client/x").get_connection_args("scheduler")
        reader, writer = await asyncio.open_connection(
            *cluster.nodes[1].clients, ssl=context["ssl_context"]
        )
        writer.write(frame(body))
        cutter = FrameCutter(2**16)
        cutter.feed(await asyncio.wait_for(reader.read(), WAIT_S))
        answer = cutter.next()
        assert answer is not None
        number, status, values = decode_answer(answer)
        assert (number, status) == (0, Status.WRONG)
        assert values[0]
        writer.close()
        async with cluster.client() as ledger:
            assert (await ledger.status(1))["node"] == 1

    with_cluster(tmp_path, 1, test)


def test_reads_and_changes_of_many_bytes_are_answered_in_parts(tmp_path: Path) -> None:
    """What is asked for together may be more than one frame holds."""

    async def test(cluster: Cluster) -> None:
        count, size = 24, 2**20
        async with cluster.client() as ledger:
            middle = None
            for n in range(count):
                await ledger.propose([put(f"k{n:02}", bytes([n]) * size)], WAIT_S)
                if n == 11:
                    middle = await ledger.read(Get("tests", "k11"), WAIT_S)
            keys = [f"k{n:02}" for n in range(count)]
            calls = (ledger.read(Get("tests", key), WAIT_S) for key in keys)
            found = [answer for answer in await asyncio.gather(*calls) if answer]
            values = [answer.records[0][1].value for answer in found]
            assert values == [bytes([n]) * size for n in range(count)]
            assert middle is not None
            seen: list[str] = []
            parts = 0
            async with asyncio.timeout(WAIT_S):
                async for changes in ledger.follow("tests", "k", middle.applied):
                    assert isinstance(changes, Changes)
                    seen += [change.key for change in changes.changes]
                    parts += 1
                    if seen[-1] == keys[-1]:
                        break
            assert seen == keys[12:]
            assert parts == 3

    with_cluster(tmp_path, 1, test)


def test_a_client_that_does_not_read_is_not_answered(tmp_path: Path) -> None:
    """Until it does: answers wait as what they are made of, not as bytes."""

    async def test(cluster: Cluster) -> None:
        count, size = 150, 2**20
        async with cluster.client() as ledger:
            await ledger.propose([put("big", bytes(size))], WAIT_S)
        service = cluster.nodes[1].service
        assert service is not None
        while service._clients:
            await asyncio.sleep(0.001)
        context = lab().security("dtf://lab/client/x").get_connection_args("scheduler")
        reader, writer = await asyncio.open_connection(
            *cluster.nodes[1].clients, ssl=context["ssl_context"], limit=2**16
        )
        query = [[0, "tests", "big"]]
        requests = (
            encode_request(n, Op.READ, query, 60_000, None) for n in range(count)
        )
        writer.write(b"".join(map(frame, requests)))
        while not service._clients:
            await asyncio.sleep(0.001)
        (client,) = service._clients
        assert client.transport is not None
        while client.writable:
            await asyncio.sleep(0.001)
        held = []
        for _ in range(50):
            await asyncio.sleep(0.002)
            held.append(client.transport.get_write_buffer_size())
        assert max(held) < 8 * size
        cutter, numbers = FrameCutter(2 * size), []
        while len(numbers) < count:
            cutter.feed(await asyncio.wait_for(reader.read(2**20), WAIT_S))
            while (body := cutter.next()) is not None:
                number, status, values = decode_answer(body)
                assert status is Status.OK
                assert len(values[0]) == 1
                numbers.append(number)
        assert sorted(numbers) == list(range(count))
        writer.close()

    with_cluster(tmp_path, 1, test)


def test_a_command_of_no_sense_is_an_error_to_who_sent_it(tmp_path: Path) -> None:
    """The client says so itself, before anything is sent."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            with pytest.raises(UsageError, match="no msgpack"):
                await ledger.propose([b"\xc1"], WAIT_S)

    with_cluster(tmp_path, 1, test)


@pytest.mark.parametrize("namespace", ["dask", "dtf.nodes", "dtf.new"])
def test_clients_do_not_write_the_clusters_own_records(
    tmp_path: Path, namespace: str
) -> None:
    """What schedulers and nodes rely on nobody else changes; it may be read."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as client:
            for command in (
                encode_command(PUT, namespace, "k", b"value"),
                encode_command(DELETE, namespace, "k"),
                encode_command(COMPARE_AND_SET, namespace, "k", 0, b"value"),
                encode_command(PUT_CONTENT, namespace, "k", bytes(32), 1),
                encode_command(
                    COMPARE_AND_SET_CONTENT, namespace, "k", 0, bytes(32), 1
                ),
            ):
                with pytest.raises(UsageError, match="the cluster's own"):
                    await client.propose([put("with it"), command], WAIT_S)
            assert await value_at(client, "with it") is None
            answer = await client.read(Get(namespace, "k"), WAIT_S)
            assert answer is not None
            assert answer.records == ()

    with_cluster(tmp_path, 1, test)
