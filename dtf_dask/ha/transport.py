"""The network of a node: Raft's messages to its peers and from them, and contents.

Each node connects to each peer and only writes there; what a peer says comes on the
connection that the peer made. A second connection to the same peer, made when it is
needed, carries contents (`bulk`). All of it is mutual TLS 1.3, and a connection belongs
to the node that its certificates name.

Everything here is called on the loop, and calls back on it; nothing calls back from
within `Transport.send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Protocol

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    PeerRefusedError,
    PeerUnavailableError,
    ProtocolError,
)
from dtf_dask.ha import network
from dtf_dask.ha.blobs import BlobStore, Part
from dtf_dask.ha.bulk import BulkClient, BulkServer, Contents
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.dialing import Address, Admitted, Listener, dial
from dtf_dask.ha.handshake import Channel, NodeName
from dtf_dask.ha.message_codec import MessageEncoder, decode_messages
from dtf_dask.ha.node_tls import Credentials, node_contexts
from dtf_dask.ha.peer_link import LinkEvents, LinkStatus, PeerLink
from dtf_dask.ha.raft.messages import Message, NodeId
from dtf_dask.ha.transport_limits import TransportLimits

_ANYWHERE = ("0.0.0.0", "::")


class TransportEvents(LinkEvents, Protocol):
    """What the network tells the node, on the loop."""

    def received(self, messages: list[Message]) -> None:
        """A peer's messages, in the order in which it sent them.

        A `ProtocolError` ends the connection.
        """

    def heard_from(self, peer: NodeId, address: Address | None) -> None:
        """A peer was let in, and says where it is reached itself, if it does."""

    def refused(self, address: str, reason: str) -> None:
        """Somebody was not let in, or was cut off for what it sent."""


class Transport:
    """Sends and receives for one node.

    Parameters
    ----------
    own
        Its cluster and id, as its certificate has them.
    security
        Whose ``scheduler`` certificate it shows; see `node_contexts`.
    events
        Who is told.
    blobs
        Where contents are kept that are fetched.
    contents
        More places from which contents are served, for instance snapshots.
    admits
        Why a node of the cluster is not let in; empty if it is. By default all are:
        a removed node, say, is not.

    Raises
    ------
    ConfigurationError
        There is no TLS 1.3 with a certificate on both sides.
    """

    def __init__(
        self,
        own: NodeName,
        security: Credentials,
        events: TransportEvents,
        blobs: BlobStore,
        *,
        contents: Sequence[Contents] = (),
        limits: TransportLimits | None = None,
        admits: Callable[[NodeId], str] = lambda _: "",
        random: Random | None = None,
    ) -> None:
        self.own = own
        self.reached_at: Address | None = None
        """What it tells others: where it listens, unless that is any address."""
        self.answers: network.Ask = network.nobody
        """Who answers what peers ask."""
        self._events = events
        self._blobs = blobs
        self._contents = (blobs, *contents)
        self._limits = limits or TransportLimits()
        self._random = random or Random()
        self._encoder = MessageEncoder()
        self._links: dict[NodeId, PeerLink] = {}
        self._incoming: dict[tuple[NodeId, Channel], Connection] = {}
        self._clients: dict[NodeId, BulkClient] = {}
        self._fetching: dict[bytes, asyncio.Task[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        serving, self._connecting = node_contexts(security)
        self._listener = Listener(
            own,
            serving,
            self._limits.handshakes_max,
            self._limits.handshake_s,
            admits,
            self._admitted,
            events.refused,
        )

    async def listen(self, host: str, port: int) -> Address:
        """Let peers in; on which address. `OSError` if it cannot be had."""
        found = await self._listener.start(host, port)
        # Its name, if it was given one: that is where others can find it too.
        self.reached_at = None if host in _ANYWHERE else (host, found[1])
        return found

    def set_peers(self, addresses: Mapping[NodeId, Sequence[Address]]) -> None:
        """Keep connections to these, each at one of its addresses, and to no others."""
        for peer, link in list(self._links.items()):
            if peer not in addresses or not link.set_addresses(addresses[peer]):
                del self._links[peer]
                self._spawn(link.stop())
                client = self._clients.pop(peer, None)
                if client is not None:
                    client.close()
        for peer, places in addresses.items():
            if peer != self.own.node and peer not in self._links:
                self._links[peer] = PeerLink(
                    *(self.own, peer, places, self._connecting, self._limits),
                    *(self._random, self._events, self.reached_at),
                )

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages of this node, each to its ``to``.

        What cannot be sent is dropped and reported: Raft sends again what matters.
        """
        unknown: set[NodeId] = set()
        told: dict[PeerLink, None] = {}
        for message in messages:
            link = self._links.get(message.to)
            if link is None:
                unknown.add(message.to)
            else:
                link.send(message.kind, self._encoder.encode(message))
                told[link] = None
        for link in told:
            link.flush()
        for peer in sorted(unknown):
            asyncio.get_running_loop().call_soon(self._events.unreachable, peer)

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Get a content from the first peer that has it; where it is then.

        It goes on where an earlier attempt ended, with another peer too. When this
        returns it is on the disk, and its digest has been checked.

        Raises
        ------
        PeerUnavailableError
            Nobody could send it; what came is kept for the next attempt.
        DiskFullError, LedgerDiskError
            It cannot be kept.
        """
        if self._blobs.size(digest) is not None:
            self._blobs.touch(digest)
            return self._blobs.path(digest)
        going_on = self._fetching.get(digest)
        if going_on is not None:
            try:
                return await _outcome(going_on)
            except PeerUnavailableError:
                pass  # of those whom another caller named
        task = self._fetching.get(digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._fetch(digest, size, sources)
            )
            self._fetching[digest] = task
            task.add_done_callback(partial(self._fetched, digest))
        return await _outcome(task)

    async def offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        """Have a peer fetch a content from here; return when it is on its disk.

        If it is not here, this asks whether the peer has it.

        Raises
        ------
        PeerUnavailableError
            It cannot be reached, or could not fetch or keep it.
        """
        await self._client(peer).offer(digest, size)

    async def ask(
        self, peer: NodeId, asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What a peer's scheduler process answers; None if it could not.

        Raises
        ------
        PeerUnavailableError
            It cannot be reached, or does not answer.
        """
        return await self._client(peer).ask(asked)

    def cut(self, peer: NodeId, reason: str) -> None:
        """Break all connections with a peer, for instance when it was removed."""
        if (link := self._links.get(peer)) is not None:
            link.cut(reason)
        for channel in Channel:
            if (connection := self._incoming.get((peer, channel))) is not None:
                connection.abort(reason)
        if (client := self._clients.pop(peer, None)) is not None:
            client.close()

    @property
    def status(self) -> list[LinkStatus]:
        """How it stands with each peer."""
        return [link.status for _, link in sorted(self._links.items())]

    @property
    def heard(self) -> list[NodeId]:
        """The peers from which messages can come now."""
        return sorted(
            peer for peer, channel in self._incoming if channel is Channel.MESSAGES
        )

    async def close(self) -> None:
        """Send what can be sent at once, and end all connections."""
        await self._listener.close()
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.stop() for link in links))
        incoming, self._incoming = list(self._incoming.values()), {}
        for connection in incoming:
            connection.close("this node ends the connection")
        for client in self._clients.values():
            client.close()
        tasks = [*self._tasks, *self._fetching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admitted(self, admitted: Admitted) -> None:
        peer, channel, connection = admitted.peer, admitted.channel, admitted.connection
        self._events.heard_from(peer, admitted.address)
        old = self._incoming.get((peer, channel))
        self._incoming[peer, channel] = connection
        if old is not None:
            # The peer has given that one up, though this node has not heard of it.
            old.abort("the peer has connected again")
        connection.closed.add_done_callback(
            lambda _: self._incoming_closed(peer, channel, connection)
        )
        if channel is Channel.BULK:
            server = BulkServer(
                *(peer, connection, self._contents, self._take_offer),
                *(self.answers, self._limits),
            )
            self._spawn(server.run())
        else:
            connection.serve(partial(self._take, peer))
            if (link := self._links.get(peer)) is not None:
                link.try_now()

    def _take(self, peer: NodeId, body: bytes) -> None:
        try:
            messages = decode_messages(body, peer, self.own.node)
            if messages:
                self._events.received(messages)
        except ProtocolError as error:
            self._events.refused(f"node {peer}", str(error))
            raise

    def _incoming_closed(
        self, peer: NodeId, channel: Channel, connection: Connection
    ) -> None:
        # One that another has replaced is no loss.
        if self._incoming.get((peer, channel)) is connection:
            del self._incoming[peer, channel]
            if channel is Channel.MESSAGES:
                self._events.peer_lost(peer, connection.why)

    async def _take_offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        known = self._blobs.size(digest)
        if known not in (None, size):
            raise PeerUnavailableError(f"content {digest.hex()} has {known} bytes")
        if known is None and digest not in self._fetching:
            await asyncio.to_thread(self._blobs.check_room, size)
        await self.fetch(digest, size, [peer])

    async def _fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        part: Part | None = None
        problems: list[str] = []
        try:
            for source in sources:
                try:
                    if part is None:
                        part = await asyncio.to_thread(self._blobs.begin, digest, size)
                    await self._client(source).fetch(part, size)
                    return await asyncio.to_thread(part.finish)
                except PeerUnavailableError as error:
                    problems.append(str(error))
                except LedgerDamagedError as error:
                    problems.append(f"node {source}: {error}")
                    part = None
                except DiskFullError:
                    # The log needs the room more.
                    if part is not None:
                        await asyncio.to_thread(part.give_up)
                    raise
        finally:
            if part is not None:
                part.close()
        raise PeerUnavailableError(
            f"content {digest.hex()} could not be fetched: {'; '.join(problems)}"
        )

    def _fetched(self, digest: bytes, task: asyncio.Task[str]) -> None:
        del self._fetching[digest]
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be

    def _client(self, peer: NodeId) -> BulkClient:
        client = self._clients.get(peer)
        if client is None:
            client = self._clients[peer] = BulkClient(
                peer, partial(self._dial_bulk, peer), self._limits
            )
        return client

    async def _dial_bulk(self, peer: NodeId) -> Connection:
        link = self._links.get(peer)
        if link is None:
            raise PeerUnavailableError(f"node {peer} is no peer of this node")
        name = NodeName(self.own.cluster, peer)
        try:
            return await dial(
                *(self.own, name, link.address, Channel.BULK, self._connecting),
                self._limits.handshake_s,
                self.reached_at,
            )
        except (PeerRefusedError, ProtocolError) as error:
            raise PeerUnavailableError(str(error)) from error

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _outcome(fetching: asyncio.Task[str]) -> str:
    """What comes of it, which goes on if who waits does not."""
    try:
        return await asyncio.shield(fetching)
    except asyncio.CancelledError:
        if fetching.cancelled():
            raise PeerUnavailableError("this node ends its connections") from None
        raise
