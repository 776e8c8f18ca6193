"""What a follower does with what its leader says. Pure."""

from __future__ import annotations

from dtf_dask.ha.raft import membership
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import NUMBER_MAX, Message, MessageKind, Role, Snapshot
from dtf_dask.ha.raft.outcomes import Outcome


def follow(core: Core, message: Message) -> None:
    """The sender leads this term: whoever campaigned in it has lost."""
    if core.role is Role.FOLLOWER:
        core.election_elapsed = 0
        core.lead = message.sender
    else:
        core.become_follower(message.term, message.sender)


def on_append(core: Core, message: Message) -> Outcome:
    """Take up the leader's entries, if they join on to what is here."""
    entries = message.entries
    previous = message.log_index
    last_new = previous + len(entries)
    if entries and (
        entries[0].index != previous + 1
        or entries[-1].index != last_new
        or entries[-1].term > message.term
    ):
        return Outcome.MALFORMED
    follow(core, message)
    log = core.log
    here = log.term(previous)
    if previous <= log.commit and here not in (None, message.log_term):
        return Outcome.COMMITTED_CONFLICT
    if previous < log.commit:
        _acknowledge(core, message, log.commit)
        return Outcome.DONE
    if here != message.log_term:
        _reject(core, message)
        return Outcome.DONE
    conflict = log.conflict(entries)
    if conflict is not None:
        # Invariant: conflict > previous >= commit, so nothing committed is replaced.
        log.append(entries[conflict - previous - 1 :])
    log.commit = max(log.commit, min(message.commit, last_new))
    _acknowledge(core, message, last_new)
    return Outcome.DONE


def _acknowledge(core: Core, message: Message, index: int) -> None:
    core.promises.append(
        Message(
            MessageKind.APPEND_RESPONSE,
            message.sender,
            core.node,
            core.term,
            log_index=index,
        )
    )


def _reject(core: Core, message: Message) -> None:
    """Say where the logs may agree: at most as far as terms are not above theirs."""
    index, term = core.log.agreement_before(
        min(message.log_index, core.log.last_index()), message.log_term
    )
    core.promises.append(
        Message(
            MessageKind.APPEND_RESPONSE,
            message.sender,
            core.node,
            core.term,
            log_term=term,
            log_index=message.log_index,
            reject=True,
            hint=index,
        )
    )


def on_heartbeat(core: Core, message: Message) -> Outcome:
    """The leader lives, and says what is committed of what is here."""
    follow(core, message)
    log = core.log
    if message.commit > log.last_index():
        # It was acknowledged once. Nothing of this node counts from here on.
        return Outcome.LOG_LOST
    log.commit = max(log.commit, message.commit)
    core.send(
        Message(
            MessageKind.HEARTBEAT_RESPONSE,
            message.sender,
            core.node,
            core.term,
            context=message.context,
        )
    )
    return Outcome.DONE


def on_snapshot(core: Core, message: Message) -> Outcome:
    """The leader no longer has what this node lacks, and sends what stands for it."""
    snapshot = message.snapshot
    if snapshot is None or not 0 < snapshot.point.term <= message.term:
        return Outcome.MALFORMED
    if not 0 < snapshot.point.index <= NUMBER_MAX:
        return Outcome.NUMBER_TOO_LARGE
    follow(core, message)
    if _restored(core, snapshot):
        _acknowledge(core, message, core.log.last_index())
    else:
        _acknowledge(core, message, core.log.commit)
    return Outcome.DONE


def _restored(core: Core, snapshot: Snapshot) -> bool:
    log, point = core.log, snapshot.point
    if point.index <= log.commit:
        return False
    # This node need not be in its configuration: a snapshot from before it was added
    # is as good, and the entries that follow add it.
    if log.term(point.index) == point.term:
        # The log holds all of it already: it is merely committed.
        log.commit = point.index
        return False
    log.restore(snapshot)
    membership.restore(core, point.config)
    return True
