"""Who belongs to the group, and what its leader or candidate knows of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dtf_dask.ha.raft.inflights import Inflights
from dtf_dask.ha.raft.messages import ConfigState, NodeId
from dtf_dask.ha.raft.progress import Progress
from dtf_dask.ha.raft.quorum import VoteResult, joint_index, joint_vote, majority_index


@dataclass(frozen=True, slots=True)
class Membership:
    """Who votes and who listens, as sets.

    ``outgoing`` is empty unless two configurations hold at once. Nobody is in
    ``learners`` and a voter at the same time: who is to become a learner but still
    votes in the outgoing configuration waits in ``learners_next``.
    """

    incoming: frozenset[NodeId] = frozenset()
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two configurations hold at once."""
        return bool(self.outgoing)

    @property
    def voters(self) -> frozenset[NodeId]:
        """Who votes in either."""
        return self.incoming | self.outgoing if self.outgoing else self.incoming

    def state(self) -> ConfigState:
        """The same, as it is kept and sent."""
        return ConfigState(
            voters=tuple(sorted(self.incoming)),
            learners=tuple(sorted(self.learners)),
            voters_outgoing=tuple(sorted(self.outgoing)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=self.auto_leave,
        )


class Tracker:
    """The membership with the progress of each member, by ascending id.

    Parameters
    ----------
    inflight_messages_max, inflight_bytes_max
        Limits of each peer's window, see `Inflights`.
    """

    __slots__ = (
        *("inflight_bytes_max", "inflight_messages_max", "membership", "progress"),
        "votes",
    )

    def __init__(self, inflight_messages_max: int, inflight_bytes_max: int) -> None:
        self.inflight_messages_max = inflight_messages_max
        self.inflight_bytes_max = inflight_bytes_max
        self.membership = Membership()
        self.progress: dict[NodeId, Progress] = {}
        self.votes: dict[NodeId, bool] = {}

    def new_progress(
        self, next_index: int, *, match: int = 0, learner: bool, active: bool
    ) -> Progress:
        """That of a member of which nothing is known."""
        window = Inflights(self.inflight_messages_max, self.inflight_bytes_max)
        return Progress(next_index, window, match=match, learner=learner, active=active)

    def adopt(self, membership: Membership, progress: dict[NodeId, Progress]) -> None:
        """From now on these are the members."""
        self.membership = membership
        self.progress = dict(sorted(progress.items()))

    def reset(self, own_id: NodeId, last_index: int) -> None:
        """Forget what is known of the peers, and all votes, as a new term begins."""
        self.votes = {}
        for node, old in self.progress.items():
            self.progress[node] = self.new_progress(
                last_index + 1,
                match=last_index if node == own_id else 0,
                learner=old.learner,
                active=False,
            )

    def committed(self) -> int:
        """The highest index that the quorum holds."""
        progress = self.progress
        membership = self.membership
        incoming = [progress[node].match for node in membership.incoming]
        if not membership.outgoing:
            return majority_index(incoming)
        outgoing = [progress[node].match for node in membership.outgoing]
        return joint_index(incoming, outgoing)

    def tally(self, votes: dict[NodeId, bool]) -> VoteResult:
        """How the vote stands when these have been heard; learners do not count."""
        membership = self.membership
        return joint_vote(
            [votes.get(node) for node in membership.incoming],
            [votes.get(node) for node in membership.outgoing],
        )

    def quorum_active(self) -> bool:
        """Whether a quorum was heard of since `forget_activity`."""
        voters = self.membership.voters
        heard = {node: self.progress[node].active for node in voters}
        return self.tally(heard) is VoteResult.WON

    def forget_activity(self, own_id: NodeId) -> None:
        """Nobody but this node has been heard of."""
        for node, progress in self.progress.items():
            if node != own_id:
                progress.active = False
