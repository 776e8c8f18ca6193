"""How a node comes to lead: campaigns and votes. Pure."""

from __future__ import annotations

from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import NO_NODE, NUMBER_MAX, Message, MessageKind, Role
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.quorum import VoteResult
from dtf_dask.ha.raft.replication import append_own, broadcast_append

FORCED = 1
"""The context of a vote that was asked for on behalf of the leader itself."""

_ANSWERS = {
    MessageKind.VOTE: MessageKind.VOTE_RESPONSE,
    MessageKind.PRE_VOTE: MessageKind.PRE_VOTE_RESPONSE,
}


def campaign(core: Core, *, forced: bool = False) -> Outcome:
    """Try to become leader.

    Parameters
    ----------
    forced
        The leader has handed over: nobody is asked first, and nobody spares it.
    """
    if core.role is Role.LEADER:
        return Outcome.DONE
    if not core.promotable():
        return Outcome.NOT_PROMOTABLE
    if core.term >= NUMBER_MAX:
        return Outcome.NUMBERS_SPENT
    log = core.log
    # Who votes may be about to change: campaign by the old configuration and there
    # could be two leaders.
    if log.applied < log.commit and log.has_config_change(
        log.applied + 1, log.commit + 1
    ):
        return Outcome.CHANGE_UNAPPLIED
    if core.options.pre_vote and not forced:
        core.become_pre_candidate()
        _ask_votes(core, MessageKind.PRE_VOTE, core.term + 1, 0)
    else:
        _stand(core, FORCED if forced else 0)
    return Outcome.DONE


def _stand(core: Core, context: int) -> None:
    core.become_candidate()
    _ask_votes(core, MessageKind.VOTE, core.term, context)


def _ask_votes(core: Core, kind: MessageKind, term: int, context: int) -> None:
    log = core.log
    for voter in sorted(core.tracker.membership.voters):
        if voter == core.node:
            # Its own vote counts once it is on disk, as any other's.
            core.send(Message(_ANSWERS[kind], voter, core.node, term))
            continue
        core.send(
            Message(
                kind,
                voter,
                core.node,
                term,
                log_term=log.last_term(),
                log_index=log.last_index(),
                context=context,
            )
        )


def on_vote(core: Core, message: Message) -> Outcome:
    """Somebody asks for a vote, or whether it would get one."""
    before_election = message.kind == MessageKind.PRE_VOTE
    free = (
        core.vote == message.sender
        or (core.vote == NO_NODE and core.lead == NO_NODE)
        or (before_election and message.term > core.term)
    )
    log = core.log
    granted = free and log.at_least(message.log_index, message.log_term)
    # A leader that was removed may be the only one to know it, and the others may need
    # its vote by the configuration before: it tells them what is committed.
    tells = not granted and not core.is_voter()
    core.send(
        Message(
            _ANSWERS[message.kind],
            message.sender,
            core.node,
            # Whoever asks beforehand asks for a term that this node is not in yet.
            message.term if granted else core.term,
            reject=not granted,
            commit=log.commit if tells else 0,
            log_term=(log.term(log.commit) or 0) if tells else 0,
        )
    )
    if granted and not before_election:
        core.election_elapsed = 0
        core.vote = message.sender
    return Outcome.DONE


def on_vote_response(core: Core, message: Message) -> Outcome:
    """Somebody has voted, or said how it would."""
    asking = core.role is Role.PRE_CANDIDATE
    if asking and not message.reject and message.term != core.term + 1:
        return Outcome.DONE  # a grant for a term that was asked for earlier
    log = core.log
    if message.commit > log.commit and log.term(message.commit) == message.log_term:
        # Invariant: what somebody has committed is committed for ever.
        log.commit = message.commit
        if log.has_config_change(log.applied + 1, log.commit + 1):
            # Not by the old configuration: see `campaign`.
            core.become_follower(core.term, NO_NODE)
            return Outcome.DONE
    votes = core.tracker.votes
    votes.setdefault(message.sender, not message.reject)
    result = core.tracker.tally(votes)
    if result is VoteResult.LOST:
        core.become_follower(core.term, NO_NODE)
    elif result is VoteResult.WON:
        if asking:
            _stand(core, 0)
        else:
            _take_lead(core)
    return Outcome.DONE


def _take_lead(core: Core) -> None:
    core.lead_the_term()
    # A change of the configuration may be anywhere in the log that it has taken over.
    core.pending_change = core.log.last_index()
    # Its first entry commits what earlier leaders left behind. It is empty, so it is
    # only refused where indexes are spent; nothing can be proposed then either.
    append_own(core, (b"",))
    broadcast_append(core)


def check_quorum(core: Core) -> None:
    """Step down if too few were heard of since the last time."""
    if not core.tracker.quorum_active():
        core.become_follower(core.term, NO_NODE)
    core.tracker.forget_activity(core.node)


def forget_leader(core: Core) -> Outcome:
    """Believe in no leader until one is heard of; the term and the vote stay.

    Others may then get this node's vote at once, if its connection to the leader broke,
    say, though it has heard of it a moment ago.
    """
    if core.role is not Role.FOLLOWER or core.lead == NO_NODE:
        return Outcome.DONE
    if not core.options.may_forget_leader:
        return Outcome.KEEPS_LEADER
    core.lead = NO_NODE
    core.refuse_reads()
    return Outcome.DONE
