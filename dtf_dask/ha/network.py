"""How a node reaches its peers, as it sees it; and the network of one that has none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.raft.messages import Message, NodeId

Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any] | None]]
"""Has whoever leads do something; None if nobody can say what came of it."""


async def nobody(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who answers where there is no scheduler."""
    return None


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

    async def ask(
        self, peer: NodeId, asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What a peer's scheduler process answers; None if it could not."""

    def answer_by(self, answers: Ask) -> None:
        """Who answers what peers ask of this node."""

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

    async def ask(
        self, peer: NodeId, asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Nobody answers."""
        raise PeerUnavailableError("this node has no peers")

    def answer_by(self, answers: Ask) -> None:
        """Nobody asks."""

    def forget(self, digest: bytes) -> None:
        """Nothing was fetched."""

    async def close(self) -> None:
        """Nothing is open."""
