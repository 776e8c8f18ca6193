"""The way to one peer: what is to be sent waits, is joined, and is sent.

All messages of one turn of the loop go in one frame and one write. A connection that
breaks is opened again, after a pause that grows and is never the same for two nodes. If
there are several addresses the next one is tried when one does not lead to the peer.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from dtf_dask.errors import PeerRefusedError, PeerUnavailableError, ProtocolError
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.dialing import Address, dial
from dtf_dask.ha.handshake import Channel, NodeName
from dtf_dask.ha.message_codec import Packed, join_messages
from dtf_dask.ha.outbox import Outbox
from dtf_dask.ha.raft.messages import MessageKind, NodeId
from dtf_dask.ha.transport_limits import TransportLimits, reconnect_pause_s
from dtf_dask.ha.wire import FRAME_BYTES_MAX

_LOG = logging.getLogger(__name__)

_EXPECTED = (PeerRefusedError, PeerUnavailableError, ProtocolError)
_JOINED_BYTES = 2**20
_AROUND_BYTES = 64  # what joining adds


class LinkEvents(Protocol):
    """What a link says, on the loop, and never from within `PeerLink.send`."""

    def peer_connected(self, peer: NodeId) -> None:
        """Messages arrive now."""

    def peer_lost(self, peer: NodeId, reason: str) -> None:
        """A connection to or from the peer broke."""

    def unreachable(self, peer: NodeId) -> None:
        """Messages to it were dropped."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How it stands with the way to a peer."""

    peer: NodeId
    address: Address
    connected: bool
    messages_waiting: int
    bytes_waiting: int
    messages_sent: int
    messages_dropped: int
    last_error: str


class PeerLink:
    """Sends messages to one peer. Made and used on the loop."""

    def __init__(
        self,
        own: NodeName,
        peer: NodeId,
        addresses: Sequence[Address],
        context: ssl.SSLContext,
        limits: TransportLimits,
        random: Random,
        events: LinkEvents,
        reached_at: Address | None = None,
    ) -> None:
        self._own = own
        self._peer = NodeName(own.cluster, peer)
        self._addresses = tuple(addresses)
        self._at = 0
        self._reached_at = reached_at
        self._try_now = asyncio.Event()
        self._context = context
        self._limits = limits
        self._random = random
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(limits.outbox_messages_max, limits.outbox_bytes_max)
        self._connection: Connection | None = None
        self._unreachable_due = False
        self._sent = self._dropped = 0
        self._last_error = ""
        self._task = self._loop.create_task(self._keep_connected())

    @property
    def address(self) -> Address:
        """Where the peer was found last, or is looked for now."""
        return self._addresses[self._at]

    def set_addresses(self, addresses: Sequence[Address]) -> bool:
        """Where else the peer may be; False if it is connected where it is not to be.

        The first is tried first. One that was not known before is tried at once if
        there is no connection.
        """
        now, known = self.address, self._addresses
        if now not in addresses and self._connection is not None:
            return False
        self._addresses = tuple(addresses)
        new = [at for at, one in enumerate(addresses) if one not in known]
        if self._connection is not None:
            self._at = addresses.index(now)
        elif new:
            self._at = new[0]
            self._try_now.set()
        else:
            self._at = addresses.index(now) if now in addresses else 0
        return True

    @property
    def status(self) -> LinkStatus:
        """How it stands now."""
        return LinkStatus(
            self._peer.node,
            self.address,
            self._connection is not None,
            len(self._outbox),
            self._outbox.bytes_waiting,
            self._sent,
            self._dropped,
            self._last_error,
        )

    def send(self, kind: MessageKind, packed: Packed) -> None:
        """Have it sent by the next `flush`, or dropped if there is no connection."""
        if self._connection is None or len(packed) > FRAME_BYTES_MAX - _AROUND_BYTES:
            self._drop(1)
            return
        dropped = self._outbox.put(kind, packed)
        if dropped:
            self._drop(dropped)

    def cut(self, reason: str) -> None:
        """Break the connection, as if it had broken by itself."""
        if self._connection is not None:
            self._connection.abort(reason)

    async def stop(self) -> None:
        """Send what waits, if it can be sent at once, and end."""
        self.flush()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def try_now(self) -> None:
        """The peer is there, since it has connected: do not wait for the next time."""
        if self._connection is None:
            self._try_now.set()

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            tried = self.address
            self._try_now.clear()
            try:
                connection = await dial(
                    self._own,
                    self._peer,
                    tried,
                    Channel.MESSAGES,
                    self._context,
                    self._limits.handshake_s,
                    self._reached_at,
                )
            except Exception as error:
                if not isinstance(error, _EXPECTED):
                    # The way to a peer must not be lost for ever.
                    _LOG.exception("the way to %s: a defect of dtf", self._peer.uri)
                self._last_error = str(error)
                failures += 1
                if self.address == tried:
                    self._at = (self._at + 1) % len(self._addresses)
            else:
                failures = 0
                if tried in self._addresses:
                    self._at = self._addresses.index(tried)
                    await self._use(connection)
                else:
                    connection.close("the peer is looked for elsewhere now")
            pause_s = reconnect_pause_s(self._limits, failures, self._random)
            try:
                async with asyncio.timeout(pause_s):
                    await self._try_now.wait()
            except TimeoutError:
                pass

    async def _use(self, connection: Connection) -> None:
        connection.on_writable = self.flush
        connection.serve(_refuse)
        self._connection = connection
        self._last_error = ""
        self._events.peer_connected(self._peer.node)
        try:
            await asyncio.shield(connection.closed)
        finally:
            self._connection = None
            connection.close("this node ends the connection")
            self._last_error = connection.why
            waiting = self._outbox.clear()
            if waiting:
                self._drop(waiting)
        self._events.peer_lost(self._peer.node, connection.why)

    def flush(self) -> None:
        """Send what waits, as far as the connection takes it."""
        connection = self._connection
        while connection is not None and connection.writable:
            packed = self._outbox.take(_JOINED_BYTES)
            if not packed:
                return
            connection.send(join_messages(packed))
            self._sent += len(packed)

    def _drop(self, count: int) -> None:
        self._dropped += count
        if not self._unreachable_due:
            self._unreachable_due = True
            self._loop.call_soon(self._say_unreachable)

    def _say_unreachable(self) -> None:
        self._unreachable_due = False
        self._events.unreachable(self._peer.node)


def _refuse(_: bytes) -> None:
    raise ProtocolError("a peer answers on a connection that it only reads")
