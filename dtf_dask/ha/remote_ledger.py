"""The ledger as clients in other processes see it: any node, and the leader's.

Calls that come together travel together. What was asked of a connection that broke may
have been done or not, and is answered so; what a node says that it did not do is asked
again, of the leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgpack

from dtf_dask.errors import (
    MembershipError,
    NotChangedError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha.client_batch import Batch
from dtf_dask.ha.client_link import Link, PeerSilentError, broken, connected, end_links
from dtf_dask.ha.content_client import ContentClient
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.ledger.entries import references_in
from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Outcome, not_done
from dtf_dask.ha.ledger.queries import Answer, Query, query_wrong
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import check_commands
from dtf_dask.ha.node_tls import Credentials, node_contexts
from dtf_dask.ha.service_words import (
    QUERIES_MAX,
    Op,
    Status,
    as_timeout_ms,
    decode_answered,
    decode_changes,
    decode_outcomes,
    plain_query,
)
from dtf_dask.ha.silent_nodes import SilentNodes

_PAUSE_S = 0.05
_FOLLOW_S = 10.0
_BATCH_BYTES = 256 * 2**10
_ITEMS = QUERIES_MAX
_LATE_S = 0.5  # for the answer that it is too late
_DONE = "the client is done"


class _Proposals(NamedTuple):
    """What calls have in common that travel together."""

    timeout_s: float
    refers: bool
    """Whether they may wait for contents: others do not wait with them."""


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
        security: Credentials,
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
        self._silent = SilentNodes()
        self._gathering: dict[_Shared, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._contents = ContentClient(self._link, self._nearest)
        self._closed = False

    async def __aenter__(self) -> RemoteLedger:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections; who still waits is told that nobody answers."""
        self._closed = True
        links, self._links = self._links, {}
        for asking in self._tasks:
            asking.cancel()
        await end_links([*links.values()], _DONE)
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        shared = _Proposals(timeout_s, refers=bool(references_in(commands)))
        return await self._with_others(shared, commands, size)

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
            except (PeerUnavailableError, TimeoutError) as error:
                await self._elsewhere(node, error)
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

    async def put_content(
        self, content: bytes | BinaryIO, timeout_s: float
    ) -> Reference:
        """Have a majority of the nodes keep a content: see `Ledger`."""
        return await self._contents.put(content, timeout_s)

    async def get_content(self, reference: Reference, timeout_s: float) -> bytes:
        """A content that a record refers to: see `Ledger`."""
        return await self._contents.get(reference, timeout_s)

    def _nearest(self) -> list[int]:
        """All nodes, the leader first."""
        return sorted(self._nodes, key=lambda node: (node != self._leader, node))

    async def status(self, node: int, timeout_s: float = 3.0) -> dict[str, Any]:
        """How a node stands: `NodeStatus`. `PeerUnavailableError` if it is silent."""
        values = await self._told(node, Op.STATUS, timeout_s)
        status: dict[str, Any] = msgpack.unpackb(values[0], strict_map_key=False)
        return status

    async def snapshot(self, node: int, timeout_s: float = 60.0) -> int:
        """Have a node make a snapshot; its index. Errors are those of `status`."""
        values = await self._told(node, Op.SNAPSHOT, timeout_s)
        return int(values[0])

    async def state_hash(self, node: int, timeout_s: float = 60.0) -> tuple[int, str]:
        """The index of what a node has applied, and the hash of its state then."""
        index, found = await self._told(node, Op.HASH, timeout_s)
        return int(index), str(found)

    async def _told(self, node: int, op: Op, timeout_s: float) -> tuple[Any, ...]:
        """What one node answers, whoever leads."""
        if node not in self._nodes:
            raise UsageError(f"this client was told of no node {node}")
        try:
            async with asyncio.timeout(timeout_s):
                link = await self._link(node)
                _, values = await link.ask(op)
        except TimeoutError:
            raise PeerUnavailableError(f"node {node} does not answer") from None
        return values

    async def add_node(self, node: int, address: Address, timeout_s: float) -> None:
        """Have a node take part: see `Members.add_node`."""
        await self._change(Op.ADD, timeout_s, node, *address)

    async def remove_node(self, node: int, timeout_s: float) -> None:
        """Have a node take part no more: see `Members.remove_node`."""
        await self._change(Op.REMOVE, timeout_s, node)

    async def transfer_leader(self, node: int, timeout_s: float) -> None:
        """Have another node lead: see `Members.transfer_leader`."""
        await self._change(Op.TRANSFER, timeout_s, node)

    async def _change(self, op: Op, timeout_s: float, *arguments: Any) -> None:
        """Ask whoever leads; `NotChangedError` if it is sure that nothing was done."""
        reason, asked = "no node answers", False
        try:
            async with asyncio.timeout(timeout_s + _LATE_S):
                while True:
                    node = self._leader
                    try:
                        link = await self._link(node)
                    except PeerUnavailableError as error:
                        reason = str(error)
                        await self._elsewhere(node, error)
                        continue
                    asked = True
                    told = link.ask(op, *arguments, as_timeout_ms(timeout_s))
                    status, values = await told
                    if status is Status.OK:
                        return
                    if status is Status.WRONG:
                        raise UsageError(values[0])
                    if status is Status.UNKNOWN:
                        raise MembershipError(values[0])
                    asked, reason = False, values[1]
                    if values[0] == node:
                        raise NotChangedError(f"nothing was done: {reason}")
                    await self._follow_leader(node, values[0])
        except (TimeoutError, PeerUnavailableError) as error:
            reason = str(error) or f"not in {timeout_s:g} s: {reason}"
        if asked:
            raise MembershipError(f"it may have come about, or will: {reason}")
        raise NotChangedError(f"nothing was done: {reason}")

    # Together with others

    def _with_others(
        self, shared: _Shared, items: Sequence[Any], size: int
    ) -> asyncio.Future[list[Any]]:
        batch = self._gathering.get(shared)
        if batch is not None and (
            batch.size + size > _BATCH_BYTES or len(batch.items) + len(items) > _ITEMS
        ):
            self._dispatch(shared, batch)
            batch = None
        loop = asyncio.get_running_loop()
        if batch is None:
            batch = self._gathering[shared] = Batch()
            loop.call_soon(self._dispatch, shared, batch)
        batch.size += size
        batch.items += items
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        batch.calls.append((len(items), waiter))
        return waiter

    def _dispatch(self, shared: _Shared, batch: Batch) -> None:
        if self._gathering.get(shared) is not batch:
            return  # it went when it was full
        del self._gathering[shared]
        task = asyncio.get_running_loop().create_task(self._ask(shared, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, shared: _Shared, batch: Batch) -> None:
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
            late = not_done(reason) if proposes else None
            batch.answer([UNKNOWN if proposes and batch.sent else late] * count)
            # It may hang, with its connections open, or before one is made.
            self._next(batch.sent or self._asked_for(shared))
        except asyncio.CancelledError:
            if proposes and batch.sent:
                batch.answer([UNKNOWN] * count)
            batch.fail(PeerUnavailableError(_DONE))
        except Exception as error:
            # Whatever it is: who waits would wait for ever.
            batch.fail(error)

    async def _try(self, shared: _Shared, batch: Batch) -> Sequence[Any] | str:
        """Ask one node: what it answers, or why another has to be asked."""
        items = batch.items
        proposes = isinstance(shared, _Proposals)
        node = self._asked_for(shared)
        timeout_ms = as_timeout_ms(shared.timeout_s)
        try:
            link = await self._link(node)
        except PeerUnavailableError as error:
            await self._elsewhere(node, error)
            return str(error)
        batch.sent = node
        try:
            if isinstance(shared, _Proposals):
                status, values = await link.ask(Op.PROPOSE, items, timeout_ms)
            else:
                stale = shared.stale_max_s
                stale_ms = None if stale is None else as_timeout_ms(stale)
                status, values = await link.read(items, timeout_ms, stale_ms)
        except PeerUnavailableError as error:
            if proposes:
                # It may have been done.
                self._next(node, error)
                return [UNKNOWN] * len(items)
            await self._elsewhere(node, error)
            return str(error)
        if status is Status.OK:
            decode = decode_outcomes if proposes else _decode_all
            return decode(values[0])
        if status is Status.WRONG:
            raise UsageError(values[0])
        if status is Status.UNKNOWN:
            return [UNKNOWN] * len(items)
        batch.sent = 0
        leader, reason = values
        await self._follow_leader(node, leader)
        return str(reason)

    # Nodes

    def _asked_for(self, shared: _Shared) -> int:
        """The node that is asked next."""
        if isinstance(shared, _Proposals):
            return self._leader
        return self._reads_from or self._leader

    async def _link(self, node: int) -> Link:
        if self._closed:
            raise PeerUnavailableError(_DONE)
        task = self._links.get(node)
        if task is None or (task.done() and broken(task)):
            dial = connected(node, self._nodes[node], self._context)
            task = self._links[node] = asyncio.get_running_loop().create_task(dial)
        return await asyncio.shield(task)

    async def _follow_leader(self, node: int, leader: int) -> None:
        """A node says that another one leads, or that it knows none."""
        now_s = asyncio.get_running_loop().time()
        known = leader in self._nodes and leader != node
        if known and not self._silent.was_silent(leader, now_s):
            self._leader = leader
        else:
            await self._elsewhere(node)

    def _next(self, node: int, error: Exception | None = None) -> None:
        """Take another node for the leader."""
        now_s = asyncio.get_running_loop().time()
        if isinstance(error, PeerSilentError):
            self._silent.note(node, now_s)
        if self._leader == node:
            self._leader = self._silent.after(node, list(self._nodes), now_s)

    async def _elsewhere(self, node: int, error: Exception | None = None) -> None:
        if self._closed:
            raise PeerUnavailableError(_DONE)
        self._next(node, error)
        await asyncio.sleep(_PAUSE_S)


def _decode_all(plain: Sequence[tuple[Any, ...]]) -> list[Answer]:
    return [decode_answered(one) for one in plain]
