"""Proposals: taken by the leader, or sent on to it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dtf_dask.ha.raft import config_codec
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigChange,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    Role,
)
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.replication import append_own, broadcast_append


def propose(core: Core, payloads: Sequence[bytes]) -> Outcome:
    """Propose entries, all or none of them."""
    if not payloads:
        return Outcome.DONE
    if core.role is Role.LEADER:
        refused = _refused(core)
        if refused is not None:
            return refused
        outcome = append_own(core, payloads)
        if outcome is Outcome.DONE:
            broadcast_append(core)
        return outcome
    return _forward(core, [Entry(0, 0, EntryKind.NORMAL, one) for one in payloads])


def propose_change(core: Core, change: ConfigChange) -> Outcome:
    """Propose a change of the configuration."""
    written = config_codec.encoded(change)
    if written is None:
        return Outcome.CHANGE_UNREADABLE
    entry = Entry(0, 0, *written)
    if core.role is Role.LEADER:
        return _take(core, [entry])
    return _forward(core, [entry])


def on_propose(core: Core, message: Message) -> Outcome:
    """A follower's proposals reach the leader."""
    return _take(core, message.entries) if message.entries else Outcome.MALFORMED


def on_propose_elsewhere(core: Core, message: Message) -> Outcome:
    """Proposals reach a node that does not lead."""
    return _forward(core, message.entries)


def propose_leaving(core: Core) -> Outcome:
    """Propose to leave the joint configuration.

    Its payload is empty, so that it is never refused for its size. A transfer of
    leadership may stand in its way: then it is tried again when that is given up, or by
    the next leader.
    """
    return _take(core, [Entry(0, 0, EntryKind.CONFIG_CHANGE_JOINT, b"")])


def _refused(core: Core) -> Outcome | None:
    if core.node not in core.tracker.progress:
        return Outcome.NOT_MEMBER
    if core.transferee != NO_NODE:
        return Outcome.TRANSFERRING
    return None


def _forward(core: Core, entries: Sequence[Entry]) -> Outcome:
    if core.lead == NO_NODE:
        return Outcome.NO_LEADER
    if not core.options.forward_proposals:
        return Outcome.NOT_LEADER
    core.outbox.append(
        Message(MessageKind.PROPOSE, core.lead, core.node, entries=entries)
    )
    return Outcome.DONE


def _take(core: Core, entries: Sequence[Entry]) -> Outcome:
    refused = _refused(core)
    if refused is not None:
        return refused
    payloads = [entry.payload for entry in entries]
    kinds = [entry.kind for entry in entries]
    pending_before = core.pending_change
    change_refused = Outcome.DONE
    for position, entry in enumerate(entries):
        if entry.kind == EntryKind.NORMAL:
            continue
        outcome = _checked_change(core, entry)
        if outcome is Outcome.DONE:
            core.pending_change = core.log.last_index() + 1 + position
        else:
            # The place in the log is taken all the same: by an entry without effect.
            change_refused = outcome
            kinds[position] = EntryKind.NORMAL
            payloads[position] = b""
    outcome = append_own(core, payloads, kinds)
    if outcome is not Outcome.DONE:
        core.pending_change = pending_before
        return outcome
    broadcast_append(core)
    return change_refused


def _checked_change(core: Core, entry: Entry) -> Outcome:
    """Whether a change of the configuration may enter the log (Raft thesis, §4.1)."""
    change = config_codec.decoded(entry)
    if change is None:
        return Outcome.CHANGE_UNREADABLE
    if not core.options.check_changes:
        return Outcome.DONE
    if core.pending_change > core.log.applied:
        return Outcome.CHANGE_PENDING
    joint = core.tracker.membership.joint
    leaves = not change.steps
    if joint and not leaves:
        return Outcome.CHANGE_WHILE_JOINT
    if leaves and not joint:
        return Outcome.CHANGE_NOT_JOINT
    return Outcome.DONE
