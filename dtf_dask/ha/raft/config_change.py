"""From one membership to the next: simple changes, joint ones, and leaving. Pure.

A change that alters at most one voter is made at once, since any majority before it
meets any majority after it (Raft thesis, §4.1). Everything else goes by way of a joint
configuration (§4.3). What cannot be done is answered with the reason, and nothing has
changed then: each works on its own copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigState,
    ConfigStep,
    NodeId,
    StepKind,
)
from dtf_dask.ha.raft.progress import Progress
from dtf_dask.ha.raft.tracker import Membership, Tracker


@dataclass(frozen=True, slots=True)
class Changed:
    """The membership after a change, with what is known of each member."""

    membership: Membership
    progress: dict[NodeId, Progress]


class Unchanged(Enum):
    """Why a change cannot be made."""

    WHILE_JOINT = "two configurations hold: only leaving the joint one is possible"
    ALREADY_JOINT = "two configurations hold already"
    NOT_JOINT = "there is no joint configuration to leave"
    NOBODY_VOTES = "nobody votes, so nobody could agree to it"
    NOBODY_WOULD_VOTE = "nobody would be left to vote"
    SEVERAL_VOTERS = "more than one voter changes: that takes a joint configuration"
    OVERTAKEN = "a snapshot that stands for the entry was taken up before it"
    UNREADABLE = "the entry cannot be read as a change of the configuration"


class _Draft:
    """A membership while it is changed."""

    def __init__(self, tracker: Tracker, last_index: int) -> None:
        old = tracker.membership
        self.tracker = tracker
        self.last_index = last_index
        self.incoming = set(old.incoming)
        self.outgoing = set(old.outgoing)
        self.learners = set(old.learners)
        self.learners_next = set(old.learners_next)
        self.progress = {node: p.fork() for node, p in tracker.progress.items()}

    def add(self, node: NodeId, *, learner: bool) -> None:
        (self.learners if learner else self.incoming).add(node)
        # It is probed with what the leader has last. It counts as heard of, so that a
        # check of the quorum does not come before it had a chance to speak.
        self.progress[node] = self.tracker.new_progress(
            max(self.last_index, 1), learner=learner, active=True
        )

    def make_voter(self, node: NodeId) -> None:
        progress = self.progress.get(node)
        if progress is None:
            self.add(node, learner=False)
            return
        progress.learner = False
        self.learners.discard(node)
        self.learners_next.discard(node)
        self.incoming.add(node)

    def make_learner(self, node: NodeId) -> None:
        progress = self.progress.get(node)
        if progress is None:
            self.add(node, learner=True)
            return
        if progress.learner:
            return
        self.remove(node)
        self.progress[node] = progress
        if node in self.outgoing:
            # It still votes there: a learner only once the joint configuration is left.
            self.learners_next.add(node)
        else:
            progress.learner = True
            self.learners.add(node)

    def remove(self, node: NodeId) -> None:
        if node not in self.progress:
            return
        for members in (self.incoming, self.learners, self.learners_next):
            members.discard(node)
        if node not in self.outgoing:
            del self.progress[node]

    def leave_unchanged(self, node: NodeId) -> None:
        pass

    def take(self, steps: Sequence[ConfigStep]) -> None:
        for step in steps:
            if step.node != NO_NODE:
                _STEPS[step.kind](self, step.node)

    def changed(self, *, auto_leave: bool) -> Changed | Unchanged:
        if not self.incoming:
            return Unchanged.NOBODY_WOULD_VOTE
        membership = Membership(
            incoming=frozenset(self.incoming),
            outgoing=frozenset(self.outgoing),
            learners=frozenset(self.learners),
            learners_next=frozenset(self.learners_next),
            auto_leave=auto_leave,
        )
        return Changed(membership, self.progress)


_STEPS = {
    StepKind.ADD_VOTER: _Draft.make_voter,
    StepKind.ADD_LEARNER: _Draft.make_learner,
    StepKind.REMOVE: _Draft.remove,
    StepKind.UPDATE: _Draft.leave_unchanged,
}


def simple(
    tracker: Tracker, last_index: int, steps: Sequence[ConfigStep]
) -> Changed | Unchanged:
    """Change at most one voter, and any number of learners, at once."""
    old = tracker.membership
    if old.joint:
        return Unchanged.WHILE_JOINT
    draft = _Draft(tracker, last_index)
    draft.take(steps)
    if draft.incoming and len(old.incoming ^ draft.incoming) > 1:
        return Unchanged.SEVERAL_VOTERS
    return draft.changed(auto_leave=False)


def enter_joint(
    tracker: Tracker,
    last_index: int,
    steps: Sequence[ConfigStep],
    *,
    auto_leave: bool,
) -> Changed | Unchanged:
    """Keep the voters as those that go out, and change those that come in."""
    old = tracker.membership
    if old.joint:
        return Unchanged.ALREADY_JOINT
    if not old.incoming:
        return Unchanged.NOBODY_VOTES
    draft = _Draft(tracker, last_index)
    draft.outgoing = set(old.incoming)
    draft.take(steps)
    return draft.changed(auto_leave=auto_leave)


def leave_joint(tracker: Tracker, last_index: int) -> Changed | Unchanged:
    """Only those that come in are left."""
    old = tracker.membership
    if not old.joint:
        return Unchanged.NOT_JOINT
    draft = _Draft(tracker, last_index)
    for node in sorted(draft.learners_next):
        draft.learners.add(node)
        draft.progress[node].learner = True
    draft.learners_next.clear()
    draft.outgoing.clear()
    for node in sorted(old.outgoing - draft.incoming - draft.learners):
        del draft.progress[node]
    return draft.changed(auto_leave=False)


def restored(tracker: Tracker, last_index: int, state: ConfigState) -> Changed:
    """The members as ``state`` says, of which nothing else is known."""
    membership = Membership(
        incoming=frozenset(state.voters),
        outgoing=frozenset(state.voters_outgoing),
        learners=frozenset(state.learners),
        learners_next=frozenset(state.learners_next),
        auto_leave=state.auto_leave,
    )
    progress = {
        node: tracker.new_progress(
            max(last_index, 1), learner=node in membership.learners, active=True
        )
        for node in sorted(membership.voters | membership.learners)
    }
    return Changed(membership, progress)
