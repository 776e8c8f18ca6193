"""The network of a node that has peers: Raft's `Network` over the transport."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.blobs import BlobStore
from dtf_dask.ha.bulk import Contents
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.network import Ask
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_tls import Credentials
from dtf_dask.ha.peer_link import LinkStatus
from dtf_dask.ha.raft.messages import Message, NodeId
from dtf_dask.ha.transport import Transport

if TYPE_CHECKING:
    from dtf_dask.ha.members import Members

_LOG = logging.getLogger(__name__)

TERM_LEAP_MAX = 2**32
"""No cluster has so many elections while one of its nodes is away."""


class Peers:
    """Carries messages between a node and its peers.

    Parameters
    ----------
    own
        Its cluster and id, as its certificate has them.
    security
        The certificate.
    blobs
        Where files are kept that are fetched.
    contents
        From where files are served, its snapshots for instance.
    """

    def __init__(
        self,
        own: NodeName,
        security: Credentials,
        blobs: BlobStore,
        contents: Sequence[Contents],
    ) -> None:
        self._blobs = blobs
        self._node: Node | None = None
        self.members: Members | None = None
        """Who says which peers are let in; until then all of the cluster are."""
        self.transport = Transport(
            *(own, security, self, blobs), contents=contents, admits=self._objection
        )

    async def listen(self, address: Address, node: Node) -> Address:
        """Let peers in, for a node; on which address."""
        self._node = node
        return await self.transport.listen(*address)

    def _objection(self, peer: NodeId) -> str:
        return self.members.objection(peer) if self.members is not None else ""

    # What the node asks

    def send(self, messages: Sequence[Message]) -> None:
        """Have messages on their way."""
        self.transport.send(messages)

    def set_peers(self, addresses: Mapping[NodeId, Sequence[Address]]) -> None:
        """Whom there is, and where; who is let in no more is cut off."""
        self.transport.set_peers(addresses)
        for peer in self.transport.heard:
            objection = self._objection(peer)
            if objection:
                self.transport.cut(peer, objection)

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Get a file of other nodes; where it is, whole and checked."""
        return await self.transport.fetch(digest, size, sources)

    async def offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        """Return when a peer has a content on its disk; from here, if it lacks it."""
        await self.transport.offer(peer, digest, size)

    async def ask(
        self, peer: NodeId, asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What a peer's scheduler process answers; None if it could not."""
        return await self.transport.ask(peer, asked)

    def answer_by(self, answers: Ask) -> None:
        """Who answers what peers ask of this node."""
        self.transport.answers = answers

    def forget(self, digest: bytes) -> None:
        """A file that was fetched has been moved, or is of no use."""
        self._blobs.forget(digest)

    async def close(self) -> None:
        """End all connections."""
        await self.transport.close()

    @property
    def status(self) -> list[LinkStatus]:
        """How it stands with each peer."""
        return self.transport.status

    # What the transport tells

    def received(self, messages: list[Message]) -> None:
        """A peer's messages; `ProtocolError` if they would end all elections."""
        node = self._node
        if node is None:
            return
        term = max(message.term for message in messages)
        if term > node.raw.core.term + TERM_LEAP_MAX:
            # Taken up, the term could never be followed by as many others.
            raise ProtocolError(
                f"it speaks of term {term}, and this node knows {node.raw.core.term}"
            )
        node.receive(messages)

    def peer_connected(self, peer: NodeId) -> None:
        """Messages arrive now."""
        if self._node is not None:
            self._node.wake()

    def peer_lost(self, peer: NodeId, reason: str) -> None:
        """A connection to or from the peer broke."""
        _LOG.info("a connection with node %d ended: %s", peer, reason)
        if self._node is not None:
            self._node.peer_lost(peer)

    def unreachable(self, peer: NodeId) -> None:
        """Messages to it were dropped."""
        if self._node is not None:
            self._node.raw.report_unreachable(peer)
        if self.members is not None:
            for link in self.transport.status:
                if link.peer == peer and link.last_error:
                    self.members.refused_by(peer, link.last_error)

    def heard_from(self, peer: NodeId, address: Address | None) -> None:
        """A peer was let in, and says where it is reached itself."""
        if self.members is not None:
            self.members.heard_from(peer, address)

    def refused(self, address: str, reason: str) -> None:
        """Somebody was not let in, or was cut off for what it sent."""
        _LOG.info("%s was refused: %s", address, reason)
