"""How a node reaches its peers, as it sees it; and the network of one that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.raft.messages import Message, NodeId


class Network(Protocol):
    """How a node reaches the others. Nothing of it blocks, or fails."""

    def send(self, messages: Sequence[Message]) -> None:
        """Have messages on their way, in order for each node; they may be lost."""

    def set_peers(self, addresses: Mapping[NodeId, Sequence[Address]]) -> None:
        """Whom there is, and where each may be; connections to others end."""

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Get a file of other nodes; where it is, whole and checked."""

    async def offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        """Return when a peer has a content on its disk; from here, if it lacks it."""

    def forget(self, digest: bytes) -> None:
        """A file that was fetched has been moved, or is of no use."""

    async def close(self) -> None:
        """End all connections."""


class Alone:
    """The network of a node that has no peers."""

    def send(self, messages: Sequence[Message]) -> None:
        """Nobody is there."""

    def set_peers(self, addresses: Mapping[NodeId, Sequence[Address]]) -> None:
        """Nobody is there."""

    async def fetch(self, digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
        """Nobody has anything."""
        raise PeerUnavailableError("this node has no peers")

    async def offer(self, peer: NodeId, digest: bytes, size: int) -> None:
        """Nobody takes anything."""
        raise PeerUnavailableError("this node has no peers")

    def forget(self, digest: bytes) -> None:
        """Nothing was fetched."""

    async def close(self) -> None:
        """Nothing is open."""
