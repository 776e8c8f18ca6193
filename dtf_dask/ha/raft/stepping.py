"""Which message goes where: by its term first, then by role and kind. Pure.

A kind that is missing in a role's table is ignored in that role.
"""

from __future__ import annotations

from collections.abc import Callable

from dtf_dask.ha.raft import (
    election,
    following,
    leading,
    membership,
    proposals,
    reads,
    transfer,
)
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import NO_NODE, NUMBER_MAX, Message, MessageKind, Role
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.replication import broadcast_heartbeat

Handler = Callable[[Core, Message], Outcome]

# Whoever holds the role.
_ALWAYS: dict[MessageKind, Handler] = {
    MessageKind.VOTE: election.on_vote,
    MessageKind.PRE_VOTE: election.on_vote,
    MessageKind.STORAGE_APPEND_RESPONSE: membership.on_stored,
    MessageKind.STORAGE_APPLY_RESPONSE: membership.on_applied,
    MessageKind.TRANSFER_LEADER: transfer.on_transfer,
}
# Only a leader of the term sends these, so that a leader never hears them.
_FROM_LEADER: dict[MessageKind, Handler] = {
    MessageKind.APPEND: following.on_append,
    MessageKind.HEARTBEAT: following.on_heartbeat,
    MessageKind.SNAPSHOT: following.on_snapshot,
}
HANDLERS: dict[Role, dict[MessageKind, Handler]] = {
    Role.FOLLOWER: {
        **_ALWAYS,
        **_FROM_LEADER,
        MessageKind.PROPOSE: proposals.on_propose_elsewhere,
        MessageKind.READ_INDEX_RESPONSE: reads.on_response,
        MessageKind.TIMEOUT_NOW: transfer.on_timeout_now,
    },
    Role.PRE_CANDIDATE: {
        **_ALWAYS,
        **_FROM_LEADER,
        MessageKind.PROPOSE: proposals.on_propose_elsewhere,
        MessageKind.PRE_VOTE_RESPONSE: election.on_vote_response,
    },
    Role.CANDIDATE: {
        **_ALWAYS,
        **_FROM_LEADER,
        MessageKind.PROPOSE: proposals.on_propose_elsewhere,
        MessageKind.VOTE_RESPONSE: election.on_vote_response,
    },
    Role.LEADER: {
        **_ALWAYS,
        MessageKind.PROPOSE: proposals.on_propose,
        MessageKind.APPEND_RESPONSE: leading.on_append_response,
        MessageKind.HEARTBEAT_RESPONSE: leading.on_heartbeat_response,
        MessageKind.READ_INDEX: reads.on_request,
    },
}

# Not bound to a term: whoever leads by now takes them, or they are facts for ever.
UNBOUND = frozenset(
    {
        MessageKind.PROPOSE,
        MessageKind.READ_INDEX,
        MessageKind.STORAGE_APPLY_RESPONSE,
    }
)
_ASKS_VOTE = frozenset({MessageKind.VOTE, MessageKind.PRE_VOTE})
_STIRS_A_STALE_LEADER = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT})


def step(core: Core, message: Message) -> Outcome:
    """Take one message."""
    if not (
        0 <= message.term <= NUMBER_MAX
        and 0 <= message.log_index <= NUMBER_MAX
        and 0 <= message.log_term <= NUMBER_MAX
        and 0 <= message.commit <= NUMBER_MAX
        and 0 <= message.hint <= NUMBER_MAX
        and message.context >= 0
    ):
        return Outcome.NUMBER_TOO_LARGE
    kind = message.kind
    if message.term != core.term and kind not in UNBOUND:
        if message.term < core.term:
            return _of_older_term(core, message)
        if _spared(core, message):
            return Outcome.DONE
        _meet_newer_term(core, message)
    handler = HANDLERS[core.role].get(kind)
    return handler(core, message) if handler is not None else Outcome.DONE


def _spared(core: Core, message: Message) -> bool:
    """Whether a vote is refused since this node heard of its leader a moment ago.

    Without, a node that was cut off or removed could depose one leader after the other
    (Raft thesis, §4.2.3). Nobody is spared who has handed over.
    """
    return (
        message.kind in _ASKS_VOTE
        and core.options.check_quorum
        and core.lead != NO_NODE
        and core.election_elapsed < core.options.election_ticks
        and message.context != election.FORCED
    )


def _meet_newer_term(core: Core, message: Message) -> None:
    kind = message.kind
    if kind == MessageKind.PRE_VOTE:
        return  # nobody is in that term yet
    if kind == MessageKind.PRE_VOTE_RESPONSE and not message.reject:
        return  # granted for the term that this node asked for
    leads = kind in _FROM_LEADER
    core.become_follower(message.term, message.sender if leads else NO_NODE)


def _of_older_term(core: Core, message: Message) -> Outcome:
    kind = message.kind
    options = core.options
    if kind in _STIRS_A_STALE_LEADER and (options.check_quorum or options.pre_vote):
        # A node that has come to a higher term while it was cut off is refused votes as
        # long as the others hear of their leader, and would never hear of it. The term
        # of this answer makes the leader step down, and there is an election.
        core.send(
            Message(MessageKind.APPEND_RESPONSE, message.sender, core.node, core.term)
        )
    elif kind == MessageKind.PRE_VOTE:
        # Whoever lags behind in its term learns of it.
        core.send(
            Message(
                MessageKind.PRE_VOTE_RESPONSE,
                message.sender,
                core.node,
                core.term,
                reject=True,
            )
        )
    elif kind == MessageKind.STORAGE_APPEND_RESPONSE and message.snapshot is not None:
        # The entries that it speaks of may have been replaced since, even by some of
        # the same index and term on their way back. A snapshot is of no term.
        membership.snapshot_stored(core, message.snapshot)
    return Outcome.DONE


def tick(core: Core) -> None:
    """Time passes."""
    core.ticks += 1
    core.election_elapsed += 1
    reads.expire(core)
    if core.role is Role.LEADER:
        _tick_leader(core)
    elif core.election_elapsed >= core.election_after and core.promotable():
        if core.lead != NO_NODE:
            core.silent_ticks = core.election_elapsed
        core.election_elapsed = 0
        election.campaign(core)


def _tick_leader(core: Core) -> None:
    options = core.options
    core.heartbeat_elapsed += 1
    if core.election_elapsed >= options.election_ticks:
        core.election_elapsed = 0
        if options.check_quorum:
            election.check_quorum(core)
        if core.transferee != NO_NODE:
            # Whoever was to take over has not done so in time.
            core.transferee = NO_NODE
            membership.leave_if_due(core)
    if core.role is Role.LEADER and core.heartbeat_elapsed >= options.heartbeat_ticks:
        core.heartbeat_elapsed = 0
        broadcast_heartbeat(core)
