"""How a node takes up another configuration, and what it has applied. Pure."""

from __future__ import annotations

from dtf_dask.ha.raft import reads
from dtf_dask.ha.raft.config_change import (
    Changed,
    Unchanged,
    enter_joint,
    leave_joint,
    restored,
    simple,
)
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigChange,
    ConfigState,
    Message,
    Role,
    Snapshot,
    Transition,
)
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.proposals import propose_leaving
from dtf_dask.ha.raft.replication import broadcast_append, maybe_commit, send_append
from dtf_dask.ha.raft.storage import entries_bytes, payload_bytes


def apply_change(core: Core, change: ConfigChange) -> ConfigState | Unchanged:
    """Apply a committed change, or answer why it has no effect.

    All nodes answer the same: it follows from the log alone.
    """
    tracker, last_index = core.tracker, core.log.last_index()
    result: Changed | Unchanged
    if not change.steps:
        result = leave_joint(tracker, last_index)
    elif change.transition is not Transition.AUTO or len(change.steps) > 1:
        auto_leave = change.transition is not Transition.JOINT_EXPLICIT
        result = enter_joint(tracker, last_index, change.steps, auto_leave=auto_leave)
    else:
        result = simple(tracker, last_index, change.steps)
    if isinstance(result, Unchanged):
        return result
    _switch(core, result)
    return tracker.membership.state()


def restore(core: Core, state: ConfigState) -> None:
    """Take up the configuration of a snapshot, or of the disk."""
    _switch(core, restored(core.tracker, core.log.last_index(), state))


def _switch(core: Core, changed: Changed) -> None:
    tracker = core.tracker
    tracker.adopt(changed.membership, changed.progress)
    if core.role is not Role.LEADER:
        return
    own = tracker.progress.get(core.node)
    if own is None or own.learner:
        # What it has appended must still be committed by the others, so it goes on to
        # lead unless it was told not to.
        if core.options.step_down_on_removal:
            core.become_follower(core.term, NO_NODE)
        return
    if maybe_commit(core):
        # The quorum may be smaller now.
        broadcast_append(core)
    else:
        # New members need not wait for a heartbeat.
        for peer, progress in tracker.progress.items():
            if peer != core.node:
                send_append(core, peer, progress, empty=False)
    # Those that have answered a round of reads may be a quorum now, and nobody else
    # may be left to answer.
    reads.release(core)
    if core.transferee not in tracker.membership.voters:
        core.transferee = NO_NODE


def applied(core: Core, index: int, size: int) -> None:
    """Everything up to ``index`` is applied; leave the joint configuration if due."""
    core.log.applied_to(index, size)
    leave_if_due(core)


def leave_if_due(core: Core) -> None:
    """Leave a joint configuration that is to be left by itself, once it is applied."""
    if (
        core.tracker.membership.auto_leave
        and core.role is Role.LEADER
        and core.log.applied >= core.pending_change
    ):
        propose_leaving(core)


def on_stored(core: Core, message: Message) -> Outcome:
    """The storage has written entries, a snapshot, or both."""
    if message.log_index:
        core.log.unstable.stored(message.log_index, message.log_term)
    if message.snapshot is not None:
        snapshot_stored(core, message.snapshot)
    return Outcome.DONE


def snapshot_stored(core: Core, snapshot: Snapshot) -> None:
    """A snapshot is written and applied."""
    core.log.unstable.snapshot_stored(snapshot.point.index)
    applied(core, snapshot.point.index, 0)


def on_applied(core: Core, message: Message) -> Outcome:
    """The state machine has applied entries."""
    entries = message.entries
    if entries:
        applied(core, entries[-1].index, entries_bytes(entries))
        core.uncommitted_bytes = max(core.uncommitted_bytes - payload_bytes(entries), 0)
    return Outcome.DONE
