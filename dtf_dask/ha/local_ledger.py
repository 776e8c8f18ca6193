"""The face of a node to those in its process: the `Ledger` that users of it see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from random import Random, SystemRandom
from typing import BinaryIO

from dtf_dask.errors import ContentUnavailableError, DtfError, UsageError
from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.ha.ledger.entries import (
    COMMAND_BYTES_MAX,
    ENTRY_COMMANDS_MAX,
    command_wrong,
)
from dtf_dask.ha.ledger.history import Changes, Compacted
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Outcome, not_done
from dtf_dask.ha.ledger.protocol import LedgerStatus
from dtf_dask.ha.ledger.queries import Answer, Query, query_wrong
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.network import Alone
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_folder import create_node, node_exists, open_node
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.node_status import role_of
from dtf_dask.ha.raft.messages import NO_NODE, NodeId
from dtf_dask.ha.wal_opening import LogIdentity

_RETRY_S = 0.5
"""For reads that the leader gave up though it still leads."""


class _Waiter:
    """A caller that waits in this process."""

    __slots__ = ("count", "future")

    def __init__(self, future: asyncio.Future[list[Outcome]], count: int) -> None:
        self.future = future
        self.count = count

    def answer(self, outcomes: list[Outcome]) -> None:
        if not self.future.done():
            self.future.set_result(outcomes)

    def refuse(self, reason: str) -> None:
        if not self.future.done():
            self.future.set_result([not_done(reason)] * self.count)

    def give_up(self) -> None:
        """The time is over: what was asked may be done all the same."""
        if not self.future.done():
            self.future.set_result([UNKNOWN] * self.count)


class NodeLedger:
    """What a node of this process offers: see `Ledger`."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def propose(
        self, commands: Sequence[bytes], timeout_s: float
    ) -> list[Outcome]:
        """Have commands done, in their order: an outcome each."""
        check_commands(commands)
        if not commands:
            return []
        node, loop = self.node, asyncio.get_running_loop()
        if node.raw.core.lead == NO_NODE:
            begun = loop.time()
            if not await self._leader_known(timeout_s):
                reason = node.refusal or "no leader is known"
                return [not_done(reason)] * len(commands)
            timeout_s -= loop.time() - begun
        future: asyncio.Future[list[Outcome]] = loop.create_future()
        waiter = _Waiter(future, len(commands))
        node.propose(commands, waiter)
        if future.done():
            return future.result()
        # A timer of its own: `asyncio.timeout` costs several times as much.
        timer = loop.call_later(timeout_s, waiter.give_up)
        try:
            return await future
        finally:
            timer.cancel()

    async def _leader_known(self, timeout_s: float) -> bool:
        """Wait until there is one; False if there is none in time, or never will be."""
        node = self.node
        try:
            async with asyncio.timeout(timeout_s):
                while node.raw.core.lead == NO_NODE:
                    if node.ended or node.removed:
                        return False
                    await node.change()
        except TimeoutError:
            return False
        return True

    async def read(
        self, query: Query, timeout_s: float, stale_max_s: float | None = None
    ) -> Answer | None:
        """What the records say; None if this node cannot say it in time."""
        wrong = query_wrong(query)
        if wrong is not None:
            raise UsageError(wrong)
        if await self.can_read(timeout_s, stale_max_s):
            return self.node.state.answer(query)
        return None

    async def can_read(self, timeout_s: float, stale_max_s: float | None) -> bool:
        """Wait until the state is as new as it must be; False if it is not in time."""
        node, loop = self.node, asyncio.get_running_loop()
        if stale_max_s is not None and elapsed_s() - node.reads.fresh_at <= stale_max_s:
            return True
        ends_at = loop.time() + timeout_s
        changed = node.changed
        while not await node.reads.point(timeout_s):
            timeout_s = ends_at - loop.time()
            if timeout_s <= 0 or node.ended or node.removed or node.disk_full:
                return False
            # There is no leader, or it changes: perhaps it has by now.
            await _soon(changed, min(timeout_s, _RETRY_S))
            changed = node.changed
        return True

    async def follow(
        self, namespace: str, prefix: str, after: int
    ) -> AsyncIterator[Changes | Compacted]:
        """Changes of records after an index, as they come."""
        node = self.node
        while not node.ended:
            state = node.state
            found = state.history.after(after, namespace, prefix, state.index)
            if isinstance(found, Compacted):
                yield found
                return
            if found.changes:
                yield found
            after = found.upto
            if after >= node.state.index:
                await node.change()

    async def put_content(
        self, content: bytes | BinaryIO, timeout_s: float
    ) -> Reference:
        """Have a majority of the nodes keep a content; commands may name it then."""
        contents, loop = self.node.contents, asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(ends_at):
                reference = await contents.put(content)
        except TimeoutError:
            raise ContentUnavailableError(f"not here within {timeout_s:g} s") from None
        except UsageError:
            raise
        except DtfError as error:
            raise ContentUnavailableError(str(error)) from error
        reason = await contents.keeping.keep(reference, ends_at - loop.time())
        if reason:
            raise ContentUnavailableError(reason)
        return reference

    async def get_content(self, reference: Reference, timeout_s: float) -> bytes:
        """A content that a record refers to; it is fetched if this node lacks it."""
        try:
            content = await self.node.contents.read(
                reference, 0, reference.size, timeout_s
            )
        except DtfError as error:
            raise ContentUnavailableError(str(error)) from error
        found = await asyncio.to_thread(lambda: sha256(content).digest())
        if found != reference.digest:
            raise ContentUnavailableError(
                f"content {reference.digest.hex()} is damaged on this node's disk"
            )
        return content

    async def status(self) -> LedgerStatus:
        """How the node stands."""
        node = self.node
        raft = node.raw.status()
        return LedgerStatus(
            node=node.node,
            leader=raft.lead,
            role=role_of(node),
            term=raft.term,
            commit=raft.commit,
            applied=node.state.index,
            time_ms=node.state.time_ms,
            stopped=node.state.stopped,
        )


class LocalLedger(NodeLedger):
    """A ledger of one node in this process, with the log on its disk.

    Examples
    --------
    >>> import tempfile
    >>> from dtf_dask.ha.ledger.entries import encode_command
    >>> from dtf_dask.ha.ledger.kinds import PUT
    >>> async def note(folder):
    ...     async with LocalLedger(folder) as ledger:
    ...         command = encode_command(PUT, "notes", "first", b"hello")
    ...         return await ledger.propose([command], timeout_s=5.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(note(folder))
    [Outcome(code=<Code.OK: 0>, value=1)]
    """

    def __init__(self, folder: str, options: NodeOptions | None = None) -> None:
        identity = LogIdentity("local", NodeId(1))
        if not node_exists(folder):
            create_node(folder, identity, [NodeId(1)])
        super().__init__(
            Node(
                NodeId(1),
                open_node(folder, identity),
                Alone(),
                options or NodeOptions(),
                Random(SystemRandom().random()),
                lambda reason: None,
            )
        )

    async def __aenter__(self) -> LocalLedger:
        await self.node.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.node.close()


async def _soon(changed: asyncio.Event, limit_s: float) -> None:
    try:
        await asyncio.wait_for(changed.wait(), limit_s)
    except TimeoutError:
        pass


def check_commands(commands: Sequence[bytes]) -> None:
    """Refuse what no leader may propose, with `UsageError`."""
    if len(commands) > ENTRY_COMMANDS_MAX:
        raise UsageError(f"at most {ENTRY_COMMANDS_MAX} commands at once")
    if sum(map(len, commands)) > COMMAND_BYTES_MAX:
        raise UsageError(f"at most {COMMAND_BYTES_MAX} bytes of commands at once")
    for command in commands:
        wrong = command_wrong(command)
        if wrong is not None:
            raise UsageError(wrong)
