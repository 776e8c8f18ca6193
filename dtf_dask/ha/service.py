"""How a node serves clients of the ledger in other processes, over mutual TLS.

A client's certificate is of the cluster's authority and names the cluster. Requests of
one client are answered as they are ready; a client that asks for more than it reads is
not read from until it does.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgpack

from dtf_dask.errors import (
    MembershipError,
    NotChangedError,
    NotLeadingError,
    ProtocolError,
    UsageError,
)
from dtf_dask.ha.connection import Connection, close_server
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import named_uris
from dtf_dask.ha.ledger.entries import command_wrong
from dtf_dask.ha.ledger.outcomes import Outcome
from dtf_dask.ha.ledger.queries import Answer, Query
from dtf_dask.ha.ledger.references import value_bytes
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.members import Members
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.node_tls import Credentials, node_contexts
from dtf_dask.ha.raft.messages import NO_NODE, NodeId
from dtf_dask.ha.scheduler_words import NAMESPACE as SCHEDULERS
from dtf_dask.ha.service_contents import CONTENT_HANDLERS
from dtf_dask.ha.service_words import (
    Op,
    Request,
    Status,
    decode_query,
    decode_request,
    encode_answer,
    plain_changes,
    plain_outcomes,
)

_LOG = logging.getLogger(__name__)

CLIENTS_MAX = 1_000
REQUESTS_MAX = 4_096
"""That one client may have unanswered."""

LARGE_ANSWERS_MAX = 4
"""Chunks of contents that are read for one client at a time."""

ANSWER_BYTES = 8 * 2**20
"""Of records: more of what is asked for in one request has to be asked for again."""

_OWN = "dtf."
_HANDSHAKE_S = 5.0
_FLUSH_BYTES = 256 * 2**10


class Service:
    """Answers clients of a node.

    Parameters
    ----------
    ledger, members
        The node's faces.
    cluster
        Whose clients are let in.
    security
        The node's certificate.
    """

    def __init__(
        self,
        ledger: NodeLedger,
        members: Members,
        cluster: str,
        security: Credentials,
    ) -> None:
        self._ledger = ledger
        self._members = members
        self._cluster = cluster
        self._context: ssl.SSLContext = node_contexts(security)[0]
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()

    async def listen(self, address: Address) -> Address:
        """Let clients in; on which address. `OSError` if it cannot be had."""
        host, port = address
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Client(self._ledger, self._members, self._admit),
            host,
            port,
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE_S,
        )
        found = self._server.sockets[0].getsockname()
        return str(found[0]), int(found[1])

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            await close_server(self._server)
        for client in [*self._clients]:
            client.close("the node is stopping")

    def _admit(self, client: _Client) -> str:
        """Why a client is not let in; empty if it is."""
        if len(self._clients) >= CLIENTS_MAX:
            return "too many clients"
        transport = client.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        objection = _objection(named_uris(certificate), self._cluster)
        if not objection:
            self._clients.add(client)
            client.closed.add_done_callback(lambda _: self._clients.discard(client))
        return objection


def _namespace_wrong(namespace: str) -> str | None:
    if namespace == SCHEDULERS or namespace.startswith(_OWN):
        return f"the records of {namespace!r} are the cluster's own: clients read them"
    return None


def _objection(uris: Sequence[str], cluster: str) -> str:
    pattern = rf"dtf://{re.escape(cluster)}/(client|node)/[A-Za-z0-9._-]{{1,64}}"
    if len(uris) != 1 or re.fullmatch(pattern, uris[0]) is None:
        return (
            f"a client's certificate names exactly one URI, dtf://{cluster}/client/NAME"
        )
    return ""


class _Client(Connection):
    """One client's connection."""

    def __init__(
        self,
        ledger: NodeLedger,
        members: Members,
        admit: Callable[[_Client], str],
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._members = members
        self._admit = admit
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self._out: list[bytes] = []
        self._large = asyncio.Semaphore(LARGE_ANSWERS_MAX)
        self._drained = asyncio.Event()
        self._out_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands (asyncio calls this)."""
        super().connection_made(transport)
        objection = self._admit(self)
        if objection:
            _LOG.info("a client was refused: %s", objection)
            self.send(encode_answer(0, Status.WRONG, objection))
            self.close(objection)
            return
        self.closed.add_done_callback(lambda _: self._end())
        self.serve(self._take_request)

    def pause_writing(self) -> None:
        """The client does not read (asyncio calls this)."""
        super().pause_writing()
        self._drained.clear()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has read (asyncio calls this)."""
        super().resume_writing()
        self._drained.set()
        if self._open < REQUESTS_MAX and self.transport is not None:
            self.transport.resume_reading()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _take_request(self, body: bytes) -> None:
        try:
            request = decode_request(body)
        except ProtocolError as error:
            self.send(encode_answer(0, Status.WRONG, str(error)))
            self.close(str(error))
            return
        self._open += 1
        if self._open >= REQUESTS_MAX and self.transport is not None:
            self.transport.pause_reading()
        if request.op is Op.PROPOSE:
            self._propose(request)
            return
        task = asyncio.get_running_loop().create_task(self._do(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def leader(self) -> int:
        """Whom the node takes for the leader; 0 if for none."""
        return self._ledger.node.raw.core.lead

    def answer(self, number: int, status: Status, *values: Any) -> None:
        """Send an answer, with all others of this turn of the loop."""
        self._open -= 1
        if self._open == REQUESTS_MAX - 1 and self.writable and self.transport:
            self.transport.resume_reading()
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        body = encode_answer(number, status, *values)
        self._out.append(body)
        self._out_bytes += len(body)
        if self._out_bytes > _FLUSH_BYTES:
            self._flush()  # others are to see at once that there is no room

    def _flush(self) -> None:
        out, self._out, self._out_bytes = self._out, [], 0
        if out:
            self.send_all(out)

    def _propose(self, request: Request) -> None:
        commands, timeout_ms = request.arguments
        for command in commands:
            wrong = command_wrong(command, namespace_wrong=_namespace_wrong)
            if wrong is not None:
                self.answer(request.number, Status.WRONG, wrong)
                return
        waiter = _Waiter(self, request.number)
        loop = asyncio.get_running_loop()
        waiter.timer = loop.call_later(timeout_ms / 1_000, waiter.too_late)
        self._ledger.node.propose(commands, waiter)

    async def _do(self, request: Request) -> None:
        if request.op is not Op.CONTENT_READ:
            await self._carry_out(request)
            return
        # What is not read by the client is not read from the disk.
        async with self._large:
            while not self.writable:
                await self._drained.wait()
            await self._carry_out(request)

    async def _carry_out(self, request: Request) -> None:
        handler = _HANDLERS.get(request.op)
        try:
            if handler is not None:
                status, *values = await handler(self._ledger, *request.arguments)
            else:
                status, *values = await self._change(request.op, *request.arguments)
            while not self.writable:
                await self._drained.wait()
            self.answer(request.number, status, *values)
        except Exception:
            # The client would wait for an answer that never comes.
            _LOG.exception("a defect of dtf: %s is not answered", request.op.name)
            self.abort("a defect of dtf")

    async def _change(self, op: Op, node: NodeId, *rest: Any) -> Answered:
        """Have the members, or who leads, be others."""
        members, timeout_s = self._members, rest[-1] / 1_000
        try:
            if op is Op.ADD:
                await members.add_node(node, rest[:2], timeout_s)
            elif op is Op.REMOVE:
                await members.remove_node(node, timeout_s)
            else:
                await members.transfer_leader(node, timeout_s)
        except (NotLeadingError, NotChangedError) as error:
            # Of a leader that names itself nobody knows better: it is final.
            ended = self._ledger.node.ended
            return Status.NOT_DONE, 0 if ended else self.leader, str(error)
        except MembershipError as error:
            return Status.UNKNOWN, str(error)
        except UsageError as error:
            return Status.WRONG, str(error)
        return (Status.OK,)


class _Waiter:
    """A client that waits for the outcomes of its commands."""

    __slots__ = ("_client", "_number", "timer")

    def __init__(self, client: _Client, number: int) -> None:
        self._client: _Client | None = client
        self._number = number
        self.timer: asyncio.TimerHandle | None = None

    def answer(self, outcomes: list[Outcome]) -> None:
        """Its commands were applied."""
        self._say(Status.OK, plain_outcomes(outcomes))

    def refuse(self, reason: str) -> None:
        """Nothing was done."""
        if self._client is not None:
            self._say(Status.NOT_DONE, self._client.leader, reason)

    def too_late(self) -> None:
        """It does not wait longer."""
        self._say(Status.UNKNOWN)

    def _say(self, status: Status, *values: Any) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if self.timer is not None:
            self.timer.cancel()
        client.answer(self._number, status, *values)


Answered = tuple[Any, ...]


async def _read(
    ledger: NodeLedger, plain: tuple[Any, ...], timeout_ms: int, stale_ms: int | None
) -> Answered:
    queries: list[Query] = []
    for one in plain:
        query = decode_query(one)
        if isinstance(query, str):
            return Status.WRONG, query
        queries.append(query)
    stale_max_s = None if stale_ms is None else stale_ms / 1_000
    if not await ledger.can_read(timeout_ms / 1_000, stale_max_s):
        return Status.NOT_DONE, ledger.node.raw.core.lead, "there is no leader"
    answers: list[Answer] = []
    room = ANSWER_BYTES
    for query in queries:
        answer = ledger.node.state.answer(query)
        answers.append(answer)
        for key, record in answer.records:
            room -= len(key) + value_bytes(record.value)
        if room <= 0:
            break
    return Status.OK, answers


async def _follow(
    ledger: NodeLedger, namespace: str, prefix: str, after: int, timeout_ms: int
) -> Answered:
    found = ledger.follow(namespace, prefix, after)
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            async for changes in found:
                return Status.OK, plain_changes(changes)
    except TimeoutError:
        pass
    finally:
        await found.aclose()  # type: ignore[attr-defined]
    node = ledger.node
    if node.failure or node.raw.core.lead == NO_NODE:
        # Others may hear of changes: this one is cut off, or belongs to them no more.
        return Status.NOT_DONE, 0, node.failure or "there is no leader"
    return Status.OK, (False, after, ())


async def _status(ledger: NodeLedger) -> Answered:
    return Status.OK, msgpack.packb(asdict(NodeStatus.of(ledger.node)))


async def _snapshot(ledger: NodeLedger) -> Answered:
    await ledger.node.snapshots.make()
    return Status.OK, ledger.node.snapshots.newest.point.index


async def _hash(ledger: NodeLedger) -> Answered:
    frozen = ledger.node.state.freeze()
    return Status.OK, frozen.index, await asyncio.to_thread(frozen.hash)


_HANDLERS: dict[Op, Any] = {
    Op.READ: _read,
    Op.FOLLOW: _follow,
    Op.STATUS: _status,
    Op.SNAPSHOT: _snapshot,
    Op.HASH: _hash,
    **CONTENT_HANDLERS,
}
