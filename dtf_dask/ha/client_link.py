"""A client's connection to one node of the ledger: requests out, answers back.

A node that is stopped, or hangs, keeps its connections. So while something is asked of
one and nothing comes from it, it is asked how it stands, and given up if it does not
say: about as soon as the other nodes have elected another leader.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from dtf_dask.errors import PeerRefusedError, PeerUnavailableError, ProtocolError
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import certified_name
from dtf_dask.ha.service_words import Op, Status, decode_answer, encode_request

_DIAL_S = 3.0

QUIET_S = 0.4
"""So long nothing comes before a node is asked how it stands."""

ANSWER_S = 0.7
"""So long it may take to say so."""


class PeerSilentError(PeerUnavailableError):
    """A node is there, as its system says, and does not answer."""


class Link(Connection):
    """A connection to one node."""

    def __init__(self) -> None:
        super().__init__()
        self._silent = False
        self._waiting: dict[int, asyncio.Future[tuple[Status, tuple[Any, ...]]]] = {}
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._heard_at = self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands (asyncio calls this)."""
        super().connection_made(transport)
        self.closed.add_done_callback(lambda _: self._end())
        self.serve(self._take_answer)

    def data_received(self, data: bytes) -> None:
        """Bytes came (asyncio calls this)."""
        # Of a long answer over a slow way, parts are a sign of life, too.
        self._heard_at = self._loop.time()
        super().data_received(data)

    def ask(
        self, op: Op, *arguments: Any
    ) -> asyncio.Future[tuple[Status, tuple[Any, ...]]]:
        """Send a request; what is answered. `PeerUnavailableError` if nothing is."""
        waiter = self._loop.create_future()
        if self.closed.done():
            waiter.set_exception(self._gone())
            return waiter
        if self._watch is None:
            self._heard_at = self._loop.time()
            self._watch = self._loop.call_later(QUIET_S, self._look)
        self._number += 1
        self._waiting[self._number] = waiter
        self.send(encode_request(self._number, op, *arguments))
        return waiter

    async def read(
        self, queries: Sequence[Any], timeout_ms: int, stale_ms: int | None
    ) -> tuple[Status, tuple[Any, ...]]:
        """Ask for all that is to be read, as often as it takes: it may be much."""
        status, values = await self.ask(Op.READ, queries, timeout_ms, stale_ms)
        while status is Status.OK and len(values[0]) < len(queries):
            rest = queries[len(values[0]) :]
            status, more = await self.ask(Op.READ, rest, timeout_ms, stale_ms)
            values = ((*values[0], *more[0]),) if status is Status.OK else more
        return status, values

    def _look(self) -> None:
        """See to it that a node that is asked something says something."""
        if not self._waiting:
            self._watch = None
            return
        due_at = self._heard_at + QUIET_S
        if self._asked_at > self._heard_at:
            self._silent = True
            self.abort("it does not answer")
            return
        if due_at <= self._loop.time():
            self.ask(Op.STATUS).add_done_callback(_heed)
            self._asked_at = self._loop.time()
            due_at = self._asked_at + ANSWER_S
        self._watch = self._loop.call_at(due_at, self._look)

    def _take_answer(self, body: bytes) -> None:
        number, status, values = decode_answer(body)
        if not number:
            raise ProtocolError(str(values[0]) if values else "refused")
        waiter = self._waiting.pop(number, None)
        if waiter is not None and not waiter.done():
            waiter.set_result((status, values))

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(self._gone())

    def _gone(self) -> PeerUnavailableError:
        return (PeerSilentError if self._silent else PeerUnavailableError)(self.why)


async def connected(node: int, address: Address, context: ssl.SSLContext) -> Link:
    """A connection to a node; `PeerUnavailableError` if it cannot be had."""
    host, port = address
    where = f"node {node} at {host}:{port}"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DIAL_S):
            transport, link = await loop.create_connection(
                Link, host, port, ssl=context
            )
    except TimeoutError:
        raise PeerSilentError(f"{where}: no answer") from None
    except (OSError, UnicodeError, OverflowError) as error:
        raise PeerUnavailableError(f"{where}: {_words(error)}") from error
    # Anybody whom the authority lets listen, a worker say, could say that it is done.
    try:
        found = certified_name(transport.get_extra_info("peercert"))
        objection = "" if found.node == node else f"it is {found.uri}"
    except PeerRefusedError as error:
        objection = str(error)
    if objection:
        link.abort(objection)
        raise PeerUnavailableError(f"{where}: {objection}")
    return link


def _words(error: Exception) -> str:
    # Of these the numbers are their own, not the system's.
    others = isinstance(error, (ssl.SSLError, socket.gaierror))
    if isinstance(error, OSError) and error.errno and not others:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error)


def _heed(asked: asyncio.Future[Any]) -> None:
    """What comes of it is of no interest: that something comes is."""
    asked.exception()


def broken(task: asyncio.Task[Link]) -> bool:
    """Whether a connection that was being made is none now."""
    gone = task.cancelled() or task.exception() is not None
    return gone or task.result().closed.done()


async def end_links(tasks: Sequence[asyncio.Task[Link]], why: str) -> None:
    """End connections, those that are being made too, and wait until they are gone.

    A node that hangs does not say goodbye: not longer than for one that answers.
    """
    links = [task.result() for task in tasks if task.done() and not broken(task)]
    for link in links:
        link.close(why)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    try:
        async with asyncio.timeout(ANSWER_S):
            for link in links:
                await link.gone.wait()
    except TimeoutError:
        for link in links:
            link.abort(why)
