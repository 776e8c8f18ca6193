"""How a node of the ledger behaves: times and limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.raft.options import RaftOptions

CONTENT_KEEP_S = 3_600.0


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """Times and limits of a node.

    Parameters
    ----------
    tick_s
        Between two heartbeats of a leader.
    election_ticks
        So many ticks, up to twice as many, a node waits for its leader.
    snapshot_log_bytes
        So much log, and a snapshot is made, and what is older goes.
    hot_log_bytes
        Of the log's end that is kept in memory.
    members_wait_s
        How long a node that is added may take to catch up.
    content_keep_s
        How long a content stays that nothing refers to, or refers to any more.
    """

    tick_s: float = 0.05
    election_ticks: int = 10
    snapshot_log_bytes: int = 64 * 2**20
    hot_log_bytes: int = 8 * 2**20
    members_wait_s: float = 60.0
    content_keep_s: float = CONTENT_KEEP_S

    def raft(self, node: NodeId, applied: int) -> RaftOptions:
        """What the core is told."""
        return RaftOptions(
            node,
            election_ticks=self.election_ticks,
            heartbeat_ticks=1,
            applied=applied,
            async_storage=True,
            check_quorum=True,
            pre_vote=True,
            step_down_on_removal=True,
            forward_proposals=False,
            apply_bytes_max=512 * 2**10,
            message_bytes_max=512 * 2**10,
            inflight_messages_max=64,
            inflight_bytes_max=16 * 2**20,
            uncommitted_bytes_max=64 * 2**20,
        )
