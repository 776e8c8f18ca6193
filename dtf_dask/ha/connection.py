"""A connection between two nodes, once TLS stands: frames in, frames out.

The shell around `wire`: bytes that come are cut into frames, and each goes to whoever
has the connection now. The first frames are words of the handshake; after it the limit
on frames is lifted to that of messages.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from dtf_dask.errors import PeerUnavailableError, ProtocolError
from dtf_dask.ha.handshake import WORDS_BYTES_MAX
from dtf_dask.ha.wire import FRAME_BYTES_MAX, FrameCutter, frame

_WRITE_BUFFER_BYTES = 2 * 2**20
_READ_AHEAD_FRAMES_MAX = 8  # that nobody has asked for
_UNANSWERED_MS_MAX = 10_000
_SILENT_S, _PROBE_S = 30, 5
_TURNS_TO_ACCEPT = 3  # a task begins, makes the connection, whose protocol hears it

FrameTaker = Callable[[bytes], None]


class Connection(asyncio.Protocol):
    """One end of it. All is called on the loop."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.writable = True
        """False while the peer does not read what was written."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is over; `why` says why."""
        self.gone = asyncio.Event()
        """Set when its socket is closed, too: that takes a word of the peer, by TLS."""
        self.why = ""
        self.bytes_in = self.bytes_out = 0
        self.on_writable: Callable[[], None] = lambda: None
        self._cutter = FrameCutter(WORDS_BYTES_MAX)
        self._taker: FrameTaker | None = None
        self._early: deque[bytes] = deque()
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP or TLS stands (asyncio calls this)."""
        self.adopt(cast(asyncio.Transport, transport))

    def adopt(self, transport: asyncio.Transport) -> None:
        """Use a transport from now on."""
        self.transport = transport
        if self.closed.done():
            # What came with the last words of TLS was read before this.
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A machine that is gone sends no reset: what is unanswered so long ends it.
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS_MAX
            )
            # Nor does it answer, where nothing is written: it is asked now and then.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)

    def data_received(self, data: bytes) -> None:
        """Bytes came (asyncio calls this)."""
        self.bytes_in += len(data)
        self._cutter.feed(data)
        try:
            while not self.closed.done() and (body := self._cutter.next()) is not None:
                self._take(body)
        except ProtocolError as error:
            self.abort(str(error))

    def pause_writing(self) -> None:
        """The peer does not read fast enough (asyncio calls this)."""
        self.writable = False

    def resume_writing(self) -> None:
        """It has read (asyncio calls this)."""
        self.writable = True
        self.on_writable()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone (asyncio calls this)."""
        self.gone.set()
        self._close(str(error) if error else "the peer closed the connection")

    def serve(self, taker: FrameTaker) -> None:
        """From now on each frame goes to ``taker``, up to the size of messages.

        A `ProtocolError` that it raises ends the connection.
        """
        self._cutter.limit = FRAME_BYTES_MAX
        self._taker = taker
        try:
            while self._early and not self.closed.done():
                taker(self._early.popleft())
            self.data_received(b"")
        except ProtocolError as error:
            self.abort(str(error))

    async def word(self) -> bytes:
        """The next frame of the handshake.

        Raises
        ------
        PeerUnavailableError
            The connection ended before it came.
        """
        if self._early:
            return self._early.popleft()
        if self.closed.done():
            raise PeerUnavailableError(self.why)
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    def send(self, body: bytes) -> None:
        """Write a frame."""
        self.send_all((body,))

    def send_all(self, bodies: Sequence[bytes]) -> None:
        """Write several frames at once."""
        if self.transport is None or self.closed.done():
            return
        self.bytes_out += sum(map(len, bodies))
        self.transport.write(b"".join(map(frame, bodies)))

    def close(self, why: str) -> None:
        """End it when what was written has been sent."""
        if self.transport is not None:
            self.transport.close()
        self._close(why)

    def abort(self, why: str) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()
        self._close(why)

    def _take(self, body: bytes) -> None:
        waiter, self._waiter = self._waiter, None
        if self._taker is not None:
            self._taker(body)
        elif waiter is not None and not waiter.done():
            waiter.set_result(body)
        elif len(self._early) < _READ_AHEAD_FRAMES_MAX:
            self._early.append(body)
        else:
            raise ProtocolError("frames before the end of the handshake")

    def _close(self, why: str) -> None:
        if self.closed.done():
            return
        self.why = why
        self.closed.set_result(None)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(PeerUnavailableError(why))


async def close_server(server: asyncio.Server) -> None:
    """Listen no more.

    What it has just accepted is made a connection first, which its protocol may end: of
    a server that is closed, asyncio would forget the socket (python/cpython#109564).
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(_TURNS_TO_ACCEPT):
        await asyncio.sleep(0)
    server.close()
