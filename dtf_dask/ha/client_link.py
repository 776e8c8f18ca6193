"""A client's connection to one node of the ledger: requests out, answers back."""

from __future__ import annotations

import asyncio
from typing import Any

from dtf_dask.errors import PeerUnavailableError, ProtocolError
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.service_words import Op, Status, decode_answer, encode_request


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


def broken(task: asyncio.Task[Link]) -> bool:
    """Whether a connection that was being made is none now."""
    gone = task.cancelled() or task.exception() is not None
    return gone or task.result().closed.done()
