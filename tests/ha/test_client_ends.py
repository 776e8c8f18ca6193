"""Clients whose calls must end: closed meanwhile, or asking what no node can answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from certificates import lab
from node_room import WAIT_S, put
from serving_room import Hall, in_hall

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha import client_link, remote_ledger
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.node_tls import node_contexts
from dtf_dask.ha.raft.messages import NO_NODE
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.service_words import Op, Status, decode_request, encode_answer
from dtf_dask.ha.wire import frame


def client_of(*addresses: Address) -> RemoteLedger:
    """A client that was told these are the nodes."""
    nodes = dict(enumerate(addresses, 1))
    return RemoteLedger(nodes, lab().security("dtf://lab/client/tests"))


class Said(Connection):
    """A node that answers as a test wants it to."""

    asked: asyncio.Queue[Said]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read from now on."""
        super().connection_made(transport)
        self.numbers: list[int] = []
        self.serve(self._take_request)

    def _take_request(self, body: bytes) -> None:
        request = decode_request(body)
        if request.op is not Op.STATUS:
            self.numbers.append(request.number)
            self.asked.put_nowait(self)


async def listening(
    asked: asyncio.Queue[Said], uri: str = "dtf://lab/node/1"
) -> asyncio.Server:
    """Such a node."""
    kind = type("Said", (Said,), {"asked": asked})
    context = node_contexts(lab().security(uri))[0]
    loop = asyncio.get_running_loop()
    return await loop.create_server(kind, "127.0.0.1", 0, ssl=context)


def address_of(server: asyncio.Server) -> Address:
    """Where it listens."""
    host, port = server.sockets[0].getsockname()
    return host, port


def test_a_host_of_no_sense_is_a_node_that_is_not_reached() -> None:
    """Calls end at the end of their time, and say why nobody answered."""

    async def run() -> None:
        async with client_of(("node..lab", 8790)) as ledger:
            waiting = ledger.propose([put("a")], 0.3)
            (outcome,) = await asyncio.wait_for(waiting, WAIT_S)
            assert outcome.code is Code.NOT_DONE
            assert "node..lab:8790" in str(outcome.value)
            read = ledger.read(Get("tests", "a"), 0.3)
            assert await asyncio.wait_for(read, WAIT_S) is None

    asyncio.run(run())


def test_what_keeps_a_client_from_a_node_is_said_truly(tmp_path: Path) -> None:
    """TLS and the search for names number their errors as the system does not."""

    async def test(hall: Hall) -> None:
        node = hall.nodes[1].clients
        stranger = lab().security("dtf://lab/client/tests")
        async with RemoteLedger({1: node, 2: ("nohost.invalid", 1)}, stranger) as one:
            with pytest.raises(
                PeerUnavailableError, match=r"nohost\.invalid"
            ) as nobody:
                await one.status(2)
            assert "Unknown error" not in str(nobody.value)
        with socket.create_server(("127.0.0.1", 0)) as plain:
            plain.setblocking(False)
            async with client_of(plain.getsockname()) as two:
                asking = asyncio.create_task(two.status(1))
                loop = asyncio.get_running_loop()
                accepted, _ = await loop.sock_accept(plain)
                with accepted:
                    await loop.sock_sendall(accepted, b"no words of TLS\r\n" * 9)
                    with pytest.raises(PeerUnavailableError, match="SSL"):
                        await asking

    in_hall(tmp_path, 1, lambda hall: _started(hall, test))


def test_an_answer_of_no_sense_is_an_error_and_not_a_wait_for_ever() -> None:
    """Of a node that answers fewer commands than it was sent, say."""

    async def run() -> None:
        asked: asyncio.Queue[Said] = asyncio.Queue()
        async with (
            await listening(asked) as server,
            client_of(address_of(server)) as ledger,
        ):
            calls = [ledger.propose([put(f"k{n}")], WAIT_S) for n in range(2)]
            gathered = asyncio.gather(*calls, return_exceptions=True)
            node = await asked.get()
            outcomes = [(int(Code.OK), 7)]
            node.send(encode_answer(node.numbers[0], Status.OK, outcomes))
            first, second = await asyncio.wait_for(gathered, WAIT_S)
            assert first[0].code is Code.OK
            assert isinstance(second, Exception)

    asyncio.run(run())


def test_calls_with_much_time_are_no_nonsense_to_a_node(tmp_path: Path) -> None:
    """A node takes no time over an hour; who has a day asks for that."""

    async def test(hall: Hall) -> None:
        await hall.leader()
        async with hall.client() as ledger:
            day_s = 86_400.0
            (outcome,) = await ledger.propose([put("a")], day_s)
            assert outcome.code is Code.OK
            query = Get("tests", "a")
            assert await asyncio.wait_for(ledger.read(query, day_s, day_s), WAIT_S)

    in_hall(tmp_path, 1, lambda hall: _started(hall, test))


@pytest.mark.parametrize("uri", ["dtf://lab/node/2", "dtf://lab/client/one"])
def test_a_client_asks_nobody_who_is_not_the_node_it_looks_for(uri: str) -> None:
    """Of the cluster's authority are others too: what they say was done was not."""

    async def run() -> None:
        asked: asyncio.Queue[Said] = asyncio.Queue()
        async with (
            await listening(asked, uri) as server,
            client_of(address_of(server)) as ledger,
        ):
            (outcome,) = await ledger.propose([put("a")], 0.3)
            assert outcome.code is Code.NOT_DONE
            assert uri in str(outcome.value)
            assert asked.empty()

    asyncio.run(run())


def test_a_client_that_is_closed_asks_nobody_any_more() -> None:
    """Who waits is told at once, who follows too, and no connection is made."""

    async def run() -> None:
        asked: asyncio.Queue[Said] = asyncio.Queue()
        async with await listening(asked) as server:
            ledger = client_of(address_of(server))
            follow = ledger.follow("tests", "", 0)
            reading = asyncio.ensure_future(ledger.read(Get("tests", "a"), 300.0))
            sending = asyncio.ensure_future(ledger.propose([put("a")], 300.0))
            following = asyncio.ensure_future(anext(follow))
            for _ in range(3):
                node = await asked.get()
            async with asyncio.timeout(WAIT_S):
                await ledger.close()
                assert await sending == [UNKNOWN]
                for waiting in (reading, following):
                    with pytest.raises(PeerUnavailableError, match="client is done"):
                        await waiting
                with pytest.raises(PeerUnavailableError, match="client is done"):
                    await ledger.read(Get("tests", "a"), 300.0)
                await node.closed
            assert asked.empty()

    asyncio.run(run())


def test_a_long_answer_over_a_slow_way_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While parts of it come the node does not hang."""
    monkeypatch.setattr(client_link, "QUIET_S", 0.1)
    monkeypatch.setattr(client_link, "ANSWER_S", 0.2)

    async def run() -> None:
        asked: asyncio.Queue[Said] = asyncio.Queue()
        async with (
            await listening(asked) as server,
            client_of(address_of(server)) as ledger,
        ):
            reading = asyncio.ensure_future(ledger.state_hash(1))
            node = await asked.get()
            await _drip(node, encode_answer(node.numbers[0], Status.OK, 9, "a"))
            assert await reading == (9, "a")

    asyncio.run(run())


async def _drip(node: Said, body: bytes) -> None:
    whole = frame(body)
    for at in range(len(whole)):
        assert node.transport is not None
        node.transport.write(whole[at : at + 1])
        await asyncio.sleep(0.06)


def test_a_connection_to_a_machine_that_is_gone_ends(tmp_path: Path) -> None:
    """Where nothing is written the kernel asks: else clients that are gone would count
    as clients for ever."""

    async def test(hall: Hall) -> None:
        async with hall.client() as ledger:
            await ledger.status(1)
            service = hall.nodes[1].service
            assert service is not None
            (client,) = service._clients
            assert client.transport is not None
            sock = client.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60

    in_hall(tmp_path, 1, lambda hall: _started(hall, test))


def test_who_follows_leaves_a_node_that_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that knows no leader hears of no changes: another one is asked."""
    monkeypatch.setattr(remote_ledger, "_FOLLOW_S", 0.2)

    async def test(hall: Hall) -> None:
        leader = (await hall.leader()).node
        removed, other = [one for one in (1, 2, 3) if one != leader.node][:2]
        members = hall.nodes[leader.node].members
        assert members is not None
        await members.remove_node(removed, WAIT_S)
        while hall.node(removed).raw.core.lead != NO_NODE:
            await asyncio.sleep(0.01)
        nodes = {one: hall.nodes[one].clients for one in (removed, other)}
        security = lab().security("dtf://lab/client/tests")
        async with RemoteLedger(nodes, security) as ledger:
            follow = ledger.follow("tests", "late", hall.node(removed).state.index)
            following = asyncio.ensure_future(anext(follow))
            await hall.written("late")
            found = await asyncio.wait_for(following, WAIT_S)
            assert [one.key for one in found.changes] == ["late"]

    in_hall(tmp_path, 3, lambda hall: _started(hall, test))


def test_a_node_that_was_silent_is_not_dialled_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that is stopped goes on taking connections, and followers name it until
    they notice: a client that believed them would wait once more."""
    monkeypatch.setattr(client_link, "_DIAL_S", 0.2)

    async def test(hall: Hall) -> None:
        leader = (await hall.leader()).node.node
        others = [one for one in (1, 2, 3) if one != leader]
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            addresses = {one: hall.nodes[one].clients for one in others}
            nodes = {leader: silent.getsockname(), **addresses}
            security = lab().security("dtf://lab/client/tests")
            async with RemoteLedger(nodes, security) as ledger:
                (outcome,) = await ledger.propose([put("a")], timeout_s=2.0)
            assert outcome.code is Code.NOT_DONE
            assert outcome.value == "this node does not lead"
            with silent.accept()[0]:
                pass
            with pytest.raises(BlockingIOError):
                silent.accept()

    in_hall(tmp_path, 3, lambda hall: _started(hall, test))


async def _started(hall: Hall, test: Callable[[Hall], Awaitable[None]]) -> None:
    await hall.start_all()
    await test(hall)
