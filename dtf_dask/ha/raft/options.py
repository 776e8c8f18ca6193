"""What a node is told about itself when it starts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dtf_dask.ha.raft.messages import NUMBER_MAX, NodeId


@dataclass(frozen=True, slots=True)
class RaftOptions:
    """Limits and habits of one node. Times are in ticks.

    Nodes of a group should have the same ``check_quorum`` and ``pre_vote``: else one
    that has come to a higher term by itself may be left behind.

    Parameters
    ----------
    node
        Its id, from 1.
    election_ticks
        So long a follower waits for its leader, at least; up to twice as long, by
        chance, so that not all campaign at once.
    heartbeat_ticks
        Between two heartbeats of a leader.
    applied
        What the state machine has applied already, for instance in its snapshot.
    async_storage
        Entries are written and applied by others while the node goes on: see `Ready`.
    check_quorum
        A leader that does not hear of a quorum steps down, and nobody votes for
        another while it hears of its leader.
    pre_vote
        A candidate asks first whether it would win, so that one that was cut off does
        not disturb the others when it comes back.
    step_down_on_removal
        A leader that is no longer a voter steps down. Without, it goes on to lead but
        takes no proposals.
    forward_proposals
        A follower sends proposals on to its leader.
    check_changes
        A leader refuses a change of the configuration while another is not applied.
    may_forget_leader
        `RawNode.forget_leader` works. To be switched off where anything relies on the
        votes that are refused while a leader is heard of.
    early_votes
        Votes are asked for before it is on disk that this node stands. Not safe: with a
        slow disk it may lead without that, and after a crash lead the same term again.
        To be compared with others that do so.
    message_bytes_max
        Of the entries of one append message; a larger entry goes alone.
    apply_bytes_max
        Of the committed entries that are handed out and not yet applied.
    inflight_messages_max, inflight_bytes_max
        On their way to one peer; 0 bytes for no limit.
    uncommitted_bytes_max
        Of payloads in the leader's log that are not committed and applied yet.
    reads_max
        Reads that wait for their answer, on one node.
    read_rounds_max
        Rounds of heartbeats on their way that confirm reads.
    """

    node: NodeId
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    applied: int = 0
    async_storage: bool = False
    check_quorum: bool = False
    pre_vote: bool = False
    step_down_on_removal: bool = False
    forward_proposals: bool = True
    check_changes: bool = True
    may_forget_leader: bool = True
    early_votes: bool = False
    message_bytes_max: int = 1024 * 1024
    apply_bytes_max: int = 4 * 1024 * 1024
    inflight_messages_max: int = 256
    inflight_bytes_max: int = 0
    uncommitted_bytes_max: int = NUMBER_MAX
    reads_max: int = 100_000
    read_rounds_max: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        ValueError
            With the name of what is wrong.
        """
        if not 1 <= self.node <= NUMBER_MAX:
            raise ValueError(f"node: ids count from 1, not {self.node}")
        if self.heartbeat_ticks < 1:
            raise ValueError("heartbeat_ticks: at least 1")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError("election_ticks: must be more than heartbeat_ticks")
        for name in (
            *("message_bytes_max", "apply_bytes_max", "inflight_messages_max"),
            *("uncommitted_bytes_max", "reads_max", "read_rounds_max"),
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: at least 1")
