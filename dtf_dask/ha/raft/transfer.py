"""Leadership handed over on purpose (Raft thesis, §3.10). Pure."""

from __future__ import annotations

from dtf_dask.ha.raft import election
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.leading import send_timeout_now
from dtf_dask.ha.raft.messages import NO_NODE, Message, MessageKind, NodeId, Role
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.replication import send_append


def transfer(core: Core, to: NodeId) -> Outcome:
    """Hand leadership over, or ask the leader to."""
    if core.role is Role.LEADER:
        return _hand_over(core, to)
    if core.lead == NO_NODE:
        return Outcome.NO_LEADER
    core.send(
        Message(
            MessageKind.TRANSFER_LEADER, core.lead, core.node, core.term, context=to
        )
    )
    return Outcome.DONE


def on_transfer(core: Core, message: Message) -> Outcome:
    """Somebody is to lead."""
    return transfer(core, NodeId(message.context))


def _hand_over(core: Core, to: NodeId) -> Outcome:
    progress = core.tracker.progress.get(to)
    if progress is None:
        return Outcome.UNKNOWN_PEER
    if progress.learner:
        return Outcome.NOT_PROMOTABLE
    if core.transferee == to:
        return Outcome.DONE
    core.transferee = NO_NODE
    if to == core.node:
        return Outcome.DONE
    # It has one election timeout to come about; until then nothing is proposed.
    core.election_elapsed = 0
    core.transferee = to
    if progress.match == core.log.last_index():
        send_timeout_now(core, to)
    else:
        send_append(core, to, progress, empty=True)
    return Outcome.DONE


def on_timeout_now(core: Core, message: Message) -> Outcome:
    """The leader hands over to this node."""
    return election.campaign(core, forced=True)
