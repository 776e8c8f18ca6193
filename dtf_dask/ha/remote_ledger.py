"""The ledger as clients in other processes see it: any node, and the leader's.

Calls that come together travel together. What was asked of a connection that broke may
have been done or not, and is answered so; what a node says that it did not do is asked
again, of the leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from dtf_dask.errors import (
    DtfError,
    PeerUnavailableError,
    ProtocolError,
    UsageError,
)
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Outcome, refused
from dtf_dask.ha.ledger.queries import Answer, Query, query_wrong
from dtf_dask.ha.local_ledger import check_commands
from dtf_dask.ha.node_tls import node_contexts
from dtf_dask.ha.service_words import (
    QUERIES_MAX,
    Op,
    Status,
    decode_answer,
    decode_answered,
    decode_changes,
    decode_outcomes,
    encode_request,
    plain_query,
)

if TYPE_CHECKING:
    from distributed import Security

_DIAL_S = 3.0
_PAUSE_S = 0.05
_FOLLOW_S = 10.0
_BATCH_BYTES = 256 * 2**10
_ITEMS = QUERIES_MAX
_LATE_S = 0.5  # for the answer that it is too late


class Link(Connection):
    """A connection to one node."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[tuple[Status, tuple[Any, ...]]]] = {}
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands (asyncio calls this)."""
        super().connection_made(transport)
        self.closed.add_done_callback(lambda _: self._end())
        self.serve(self._take_answer)

    def ask(
        self, op: Op, *arguments: Any
    ) -> asyncio.Future[tuple[Status, tuple[Any, ...]]]:
        """Send a request; what is answered. `PeerUnavailableError` if nothing is."""
        waiter = asyncio.get_running_loop().create_future()
        if self.closed.done():
            waiter.set_exception(PeerUnavailableError(self.why))
            return waiter
        self._number += 1
        self._waiting[self._number] = waiter
        self.send(encode_request(self._number, op, *arguments))
        return waiter

    def _take_answer(self, body: bytes) -> None:
        number, status, values = decode_answer(body)
        if not number:
            raise ProtocolError(str(values[0]) if values else "refused")
        waiter = self._waiting.pop(number, None)
        if waiter is not None and not waiter.done():
            waiter.set_result((status, values))

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(PeerUnavailableError(self.why))


class _Batch:
    """Calls that travel together: what they ask, and who waits for which part."""

    __slots__ = ("calls", "items", "sent", "size")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.calls: list[tuple[int, asyncio.Future[list[Any]]]] = []
        self.size = 0
        self.sent = False
        """Whether a node has been asked and has not said that it did nothing."""

    def answer(self, answers: Sequence[Any]) -> None:
        """Give everybody what is his."""
        at = 0
        for count, waiter in self.calls:
            if not waiter.done():
                waiter.set_result(list(answers[at : at + count]))
            at += count

    def fail(self, error: Exception) -> None:
        """Nobody gets anything."""
        for _, waiter in self.calls:
            if not waiter.done():
                waiter.set_exception(error)


class _Proposals(NamedTuple):
    """What calls have in common that travel together."""

    timeout_s: float


class _Reads(NamedTuple):
    """What reads have in common that travel together."""

    timeout_s: float
    stale_max_s: float | None


_Shared = _Proposals | _Reads


class RemoteLedger:
    """A ledger whose nodes run in other processes: see `Ledger`.

    Parameters
    ----------
    nodes
        The nodes, and where each lets clients in.
    security
        The client's certificate, where a `Security` has a scheduler's; its one URI is
        ``dtf://CLUSTER/client/NAME``.
    reads_from
        The node that is asked for reads; by default the leader.
    """

    def __init__(
        self,
        nodes: Mapping[int, Address],
        security: Security,
        reads_from: int | None = None,
    ) -> None:
        if not nodes:
            raise UsageError("a ledger has at least one node")
        if reads_from is not None and reads_from not in nodes:
            raise UsageError(f"there is no node {reads_from} to read from")
        self._nodes = dict(nodes)
        self._context = node_contexts(security)[1]
        self._reads_from = reads_from
        self._links: dict[int, asyncio.Task[Link]] = {}
        self._leader = next(iter(self._nodes))
        self._gathering: dict[_Shared, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RemoteLedger:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections; who still waits is told that nobody answers."""
        links, self._links = self._links, {}
        for task in links.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close("the client is done")
            else:
                task.cancel()
        tasks = [*links.values(), *self._tasks]
        await asyncio.gather(*tasks, return_exceptions=True)

    def set_address(self, node: int, address: Address) -> None:
        """A node lets clients in there from now on."""
        self._nodes[node] = address

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """Have commands done, in their order: an outcome each."""
        check_commands(commands)
        if not commands:
            return []
        size = sum(map(len, commands))
        return await self._with_others(_Proposals(timeout_s), commands, size)

    async def read(
        self, query: Query, timeout_s: float, stale_max_s: float | None = None
    ) -> Answer | None:
        """What the records say; None if no node could say it in time."""
        wrong = query_wrong(query)
        if wrong is not None:
            raise UsageError(wrong)
        shared = _Reads(timeout_s, stale_max_s)
        answers = await self._with_others(shared, [plain_query(query)], 0)
        found: Answer | None = answers[0]
        return found

    async def follow(
        self, namespace: str, prefix: str, after: int
    ) -> AsyncIterator[Changes | Compacted]:
        """Changes of records after an index, as they come; from any node that lives."""
        ask_ms = int(_FOLLOW_S * 1_000)
        while True:
            node = self._reads_from or self._leader
            try:
                link = await self._link(node)
                asked = link.ask(Op.FOLLOW, namespace, prefix, after, ask_ms)
                status, values = await asyncio.wait_for(asked, _FOLLOW_S + _LATE_S)
            except (PeerUnavailableError, TimeoutError):
                await self._elsewhere(node)
                continue
            if status is Status.WRONG:
                raise UsageError(values[0])
            if status is not Status.OK:
                await self._elsewhere(node)
                continue
            found = decode_changes(values[0])
            if isinstance(found, Compacted):
                yield found
                return
            after = found.upto
            if found.changes:
                yield found

    async def status(self, node: int, timeout_s: float = 3.0) -> dict[str, Any]:
        """How a node stands, as `NodeStatus` has it.

        Raises
        ------
        PeerUnavailableError
            It does not answer.
        """
        try:
            async with asyncio.timeout(timeout_s):
                link = await self._link(node)
                _, values = await link.ask(Op.STATUS)
        except TimeoutError:
            raise PeerUnavailableError(f"node {node} does not answer") from None
        status: dict[str, Any] = msgpack.unpackb(values[0], strict_map_key=False)
        return status

    # Together with others

    async def _with_others(
        self, shared: _Shared, items: Sequence[Any], size: int
    ) -> list[Any]:
        batch = self._gathering.get(shared)
        if batch is not None and (
            batch.size + size > _BATCH_BYTES or len(batch.items) + len(items) > _ITEMS
        ):
            self._dispatch(shared, batch)
            batch = None
        loop = asyncio.get_running_loop()
        if batch is None:
            batch = self._gathering[shared] = _Batch()
            loop.call_soon(self._dispatch, shared, batch)
        batch.size += size
        batch.items += items
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        batch.calls.append((len(items), waiter))
        return await waiter

    def _dispatch(self, shared: _Shared, batch: _Batch) -> None:
        if self._gathering.get(shared) is not batch:
            return  # it went when it was full
        del self._gathering[shared]
        task = asyncio.get_running_loop().create_task(self._ask(shared, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, shared: _Shared, batch: _Batch) -> None:
        proposes = isinstance(shared, _Proposals)
        count = len(batch.items)
        reason = "no node answers"
        try:
            async with asyncio.timeout(shared.timeout_s):
                while True:
                    answered = await self._try(shared, batch)
                    if not isinstance(answered, str):
                        batch.answer(answered)
                        return
                    reason = answered
        except TimeoutError:
            late = refused(reason) if proposes else None
            batch.answer([UNKNOWN if proposes and batch.sent else late] * count)
        except DtfError as error:
            batch.fail(error)
        except asyncio.CancelledError:
            batch.fail(PeerUnavailableError("the client is done"))

    async def _try(self, shared: _Shared, batch: _Batch) -> Sequence[Any] | str:
        """Ask one node: what it answers, or why another has to be asked."""
        items = batch.items
        proposes = isinstance(shared, _Proposals)
        node = self._leader if proposes else self._reads_from or self._leader
        timeout_ms = int(shared.timeout_s * 1_000)
        try:
            link = await self._link(node)
        except PeerUnavailableError as error:
            await self._elsewhere(node)
            return str(error)
        batch.sent = True
        try:
            if isinstance(shared, _Proposals):
                status, values = await link.ask(Op.PROPOSE, items, timeout_ms)
            else:
                stale = shared.stale_max_s
                stale_ms = None if stale is None else int(stale * 1_000)
                status, values = await link.ask(Op.READ, items, timeout_ms, stale_ms)
        except PeerUnavailableError as error:
            if proposes:
                # It may have been done.
                self._next(node)
                return [UNKNOWN] * len(items)
            await self._elsewhere(node)
            return str(error)
        if status is Status.OK:
            decode = decode_outcomes if proposes else _decode_all
            return decode(values[0])
        if status is Status.WRONG:
            raise UsageError(values[0])
        if status is Status.UNKNOWN:
            return [UNKNOWN] * len(items)
        batch.sent = False
        leader, reason = values
        if leader in self._nodes and leader != node:
            self._leader = leader
        else:
            await self._elsewhere(node)
        return str(reason)

    # Nodes

    async def _link(self, node: int) -> Link:
        task = self._links.get(node)
        if task is None or (task.done() and _broken(task)):
            loop = asyncio.get_running_loop()
            task = self._links[node] = loop.create_task(self._dial(node))
        return await asyncio.shield(task)

    async def _dial(self, node: int) -> Link:
        host, port = self._nodes[node]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DIAL_S):
                _, link = await loop.create_connection(
                    Link, host, port, ssl=self._context
                )
                return link
        except (OSError, TimeoutError) as error:
            raise PeerUnavailableError(
                f"node {node} at {host}:{port}: {error or 'no answer'}"
            ) from error

    def _next(self, node: int) -> None:
        """Take another node for the leader."""
        if self._leader == node:
            nodes = list(self._nodes)
            self._leader = nodes[(nodes.index(node) + 1) % len(nodes)]

    async def _elsewhere(self, node: int) -> None:
        self._next(node)
        await asyncio.sleep(_PAUSE_S)


def _broken(task: asyncio.Task[Link]) -> bool:
    gone = task.cancelled() or task.exception() is not None
    return gone or task.result().closed.done()


def _decode_all(plain: Sequence[tuple[Any, ...]]) -> list[Answer]:
    return [decode_answered(one) for one in plain]
