"""The face of the core: messages, ticks and wishes in, `Ready` out. Pure.

Whoever drives a node calls `step`, `tick`, `propose` and so on, and then, while
`has_ready`, takes `ready` and does what it says. Nothing here blocks or reads a clock:
the same calls give the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dtf_dask.ha.raft import (
    election,
    leading,
    membership,
    proposals,
    reads,
    stepping,
    transfer,
)
from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.config_codec import decoded
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    ConfigChange,
    ConfigState,
    Entry,
    Message,
    MessageKind,
    NodeId,
    Ready,
    Role,
    Snapshot,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.progress import PeerState
from dtf_dask.ha.raft.ready import (
    applied_response,
    storage_append,
    storage_apply,
    stored_response,
)
from dtf_dask.ha.raft.storage import Storage

_OF_STORAGE = frozenset(
    {
        MessageKind.STORAGE_APPEND,
        MessageKind.STORAGE_APPEND_RESPONSE,
        MessageKind.STORAGE_APPLY,
        MessageKind.STORAGE_APPLY_RESPONSE,
    }
)
_RESPONSES = frozenset(
    {
        MessageKind.APPEND_RESPONSE,
        MessageKind.VOTE_RESPONSE,
        MessageKind.PRE_VOTE_RESPONSE,
        MessageKind.HEARTBEAT_RESPONSE,
        MessageKind.READ_INDEX_RESPONSE,
    }
)
_THREADS = (APPEND_THREAD, APPLY_THREAD)


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What a leader knows of one member."""

    match: int
    state: PeerState
    active: bool
    learner: bool
    inflight: int


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """A node as it sees itself; ``peers`` only where it leads."""

    node: NodeId
    role: Role
    term: int
    vote: NodeId
    lead: NodeId
    commit: int
    applied: int
    last_index: int
    transferee: NodeId
    config: ConfigState
    peers: dict[NodeId, PeerStatus]


class RawNode:
    """One node of a group.

    Parameters
    ----------
    options
        What it is told about itself.
    storage
        What it has on disk. With nothing there, the node belongs to no group and waits
        for a leader to send it a snapshot; the first members start from a snapshot that
        holds their configuration.
    rng
        For election timeouts; seeded, so that a run can be repeated.

    Raises
    ------
    ValueError
        If the storage no longer holds what was committed.

    Examples
    --------
    >>> from dtf_dask.ha.raft.messages import Snapshot, SnapshotPoint
    >>> from dtf_dask.ha.raft.storage import MemoryStorage
    >>> storage = MemoryStorage()
    >>> config = ConfigState(voters=(NodeId(1),))
    >>> storage.restore(Snapshot(SnapshotPoint(index=1, term=1, config=config)))
    True
    >>> node = RawNode(RaftOptions(NodeId(1)), storage, Random(7))
    >>> node.campaign()
    <Outcome.DONE: 'done'>
    """

    def __init__(self, options: RaftOptions, storage: Storage, rng: Random) -> None:
        core = self.core = Core(options, storage, rng)
        hard_state, config = storage.initial_state()
        membership.restore(core, config)
        core.term, core.vote = hard_state.term, hard_state.vote
        # What is applied was committed, though the disk may not have been told so.
        commit = max(hard_state.commit, options.applied)
        if commit > core.log.last_index():
            raise ValueError(
                f"committed up to {commit}, but the log ends at"
                f" {core.log.last_index()}: entries were lost"
            )
        core.log.commit = max(core.log.commit, commit)
        core.log.applied_to(options.applied, 0)
        core.become_follower(core.term, core.lead)
        self._async = options.async_storage
        self._hard_state = core.hard_state()
        self._soft_state = core.soft_state()
        self._on_advance: list[Message] = []

    # In

    def step(self, message: Message) -> Outcome:
        """Take a message from another node, or an answer of the storage.

        It is for the caller to know that the message is from its sender.
        """
        if message.to != self.core.node:
            return Outcome.MISROUTED
        if message.sender not in _THREADS:
            if message.kind in _OF_STORAGE:
                return Outcome.LOCAL_KIND
            if (
                message.kind in _RESPONSES
                and message.sender not in self.core.tracker.progress
            ):
                return Outcome.UNKNOWN_PEER
        return stepping.step(self.core, message)

    def tick(self) -> None:
        """One unit of time has passed."""
        stepping.tick(self.core)

    def propose(self, payloads: Sequence[bytes]) -> Outcome:
        """Propose entries, all of them or none."""
        return proposals.propose(self.core, payloads)

    def propose_change(self, change: ConfigChange) -> Outcome:
        """Propose a change of the configuration; without steps, to leave a joint one.

        A leader that refuses it puts an entry without effect in its place.
        """
        return proposals.propose_change(self.core, change)

    def apply_change(self, entry: Entry) -> ConfigState | Unchanged:
        """Apply a committed entry that changes the configuration.

        To be called for each of them, in order, before the entries after it are
        applied.

        Returns
        -------
        ConfigState
            The configuration that holds from here on, to be kept with snapshots.
        Unchanged
            Why the entry has no effect; it has none on any node. Of `OVERTAKEN` it has
            had its effect: the members are those of a snapshot that was taken up while
            the entry was on its way to be applied. Make no snapshot of the state before
            that one is restored.
        """
        change = decoded(entry)
        if change is None:
            return Unchanged.UNREADABLE
        log = self.core.log
        coming = log.unstable.snapshot
        if entry.index <= (log.applied if coming is None else coming.point.index):
            return Unchanged.OVERTAKEN
        return membership.apply_change(self.core, change)

    def read_index(self, number: int) -> Outcome:
        """Ask from which applied index on a read on this node is linearizable.

        Parameters
        ----------
        number
            Names the read: not used by another one that is not answered. If it is
            taken, the number comes back once, in ``read_states`` or in
            ``reads_refused`` of a `Ready`.
        """
        return reads.ask(self.core, number)

    def campaign(self) -> Outcome:
        """Try to become leader without waiting."""
        return election.campaign(self.core)

    def transfer_leader(self, to: NodeId) -> Outcome:
        """Hand leadership over to a voter, or ask the leader to."""
        return transfer.transfer(self.core, to)

    def step_down(self) -> None:
        """Lead no more, if it does, though nobody else may lead yet."""
        if self.core.role is Role.LEADER:
            self.core.become_follower(self.core.term, NO_NODE)

    def forget_leader(self) -> Outcome:
        """Believe in no leader until one is heard of."""
        return election.forget_leader(self.core)

    def report_unreachable(self, peer: NodeId) -> None:
        """Messages to ``peer`` were lost."""
        leading.on_unreachable(self.core, peer)

    def report_snapshot(self, peer: NodeId, *, received: bool) -> None:
        """The snapshot that was sent to ``peer`` has arrived, or it has not.

        To be said of each one, since nothing else is sent to ``peer`` until it is, or
        until the peer answers.
        """
        leading.on_snapshot_report(self.core, peer, received=received)

    # Out

    def has_ready(self) -> bool:
        """Whether `ready` has anything to do."""
        core = self.core
        log = core.log
        return bool(
            core.outbox
            or core.promises
            or core.read_states
            or core.reads_refused
            or log.unstable.in_progress <= log.last_index()
            or log.has_committed(unstable=not self._async)
            or (core.term, core.vote, log.commit) != self._hard_state
            or (core.lead, core.role) != self._soft_state
            or log.unstable.next_snapshot() is not None
            or reads.waiting(core)
        )

    def ready(self) -> Ready:
        """What is to be done now; it counts as taken over by the caller."""
        core = self.core
        log = core.log
        applies_unstable = not self._async
        reads.flush(core)
        hard_state, soft_state = core.hard_state(), core.soft_state()
        entries = log.unstable.next_entries()
        committed = log.next_committed(unstable=applies_unstable)
        snapshot = log.unstable.next_snapshot()
        must_sync = bool(entries) or hard_state[:2] != self._hard_state[:2]
        new_hard_state = hard_state if hard_state != self._hard_state else None
        messages = core.outbox
        if self._async:
            write = storage_append(core, new_hard_state, entries, snapshot)
            if write is not None:
                messages.append(write)
            if committed:
                messages.append(storage_apply(core, committed))
        else:
            messages += [one for one in core.promises if one.to != core.node]
            self._remember(committed, snapshot)
        ready = Ready(
            soft_state if soft_state != self._soft_state else None,
            new_hard_state,
            entries,
            committed,
            messages,
            snapshot,
            core.read_states,
            tuple(core.reads_refused),
            must_sync,
        )
        self._hard_state, self._soft_state = hard_state, soft_state
        core.outbox, core.promises = [], []
        core.read_states, core.reads_refused = [], []
        log.unstable.accept()
        if committed:
            log.accept_applying(committed, unstable=applies_unstable)
        return ready

    def _remember(self, committed: Sequence[Entry], snapshot: Snapshot | None) -> None:
        core = self.core
        own = [one for one in core.promises if one.to == core.node]
        stored = stored_response(core, snapshot)
        if stored is not None:
            own.append(stored)
        if committed:
            own.append(applied_response(core, committed))
        self._on_advance += own

    def advance(self) -> None:
        """What the last `Ready` said is done; not with asynchronous storage."""
        done, self._on_advance = self._on_advance, []
        for message in done:
            self.step(message)

    # What is

    def status(self) -> RaftStatus:
        """The node as it sees itself."""
        core = self.core
        leads = core.role is Role.LEADER
        peers = {
            node: PeerStatus(
                progress.match,
                progress.state,
                progress.active,
                progress.learner,
                len(progress.inflights),
            )
            for node, progress in core.tracker.progress.items()
            if leads
        }
        return RaftStatus(
            node=core.node,
            role=core.role,
            term=core.term,
            vote=core.vote,
            lead=core.lead,
            commit=core.log.commit,
            applied=core.log.applied,
            last_index=core.log.last_index(),
            transferee=core.transferee,
            config=core.tracker.membership.state(),
            peers=peers,
        )
