"""Whom a leader has lead instead: one after the other, until one takes over.

A node whose disk is full, or whose scheduler process is not there yet, does not: it
lets the wish pass, which Raft gives up after the time of an election.
"""

from __future__ import annotations

from dtf_dask.ha.node import Node
from dtf_dask.ha.raft.messages import NO_NODE, NodeId, Role


class HandingOver:
    """The voters that a leader may hand over to, the nearest first."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tried: set[NodeId] = set()

    @property
    def under_way(self) -> bool:
        """Whether one is being waited for."""
        core = self._node.raw.core
        return core.role is Role.LEADER and core.transferee != NO_NODE

    def begin_anew(self) -> None:
        """Whoever did not take over before may now."""
        self._tried.clear()

    def next(self) -> bool:
        """Have the next one lead; False if all were tried, or nobody else votes."""
        node = self._node
        status = node.raw.status()
        if status.role is not Role.LEADER:
            return False
        voters = [
            (peer.active, peer.match, -peer_id)
            for peer_id, peer in status.peers.items()
            if not (peer_id == node.node or peer.learner or peer_id in self._tried)
        ]
        if not voters:
            return False
        target = NodeId(-max(voters)[2])
        self._tried.add(target)
        node.raw.transfer_leader(target)
        node.wake()
        return True
