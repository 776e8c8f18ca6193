"""What Raft keeps and sends: entries, hard state, snapshots, messages. Pure.

Entries and messages are tuples, since they are made by the ten thousand a second. Node
ids are integers from 1; 0 stands for no node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple, NewType

NodeId = NewType("NodeId", int)

NO_NODE = NodeId(0)

APPEND_THREAD = NodeId(-1)
"""Not a node: whoever writes to this node's disk."""

APPLY_THREAD = NodeId(-2)
"""Not a node: whoever applies committed entries on this node."""

NUMBER_MAX = 2**63 - 1
"""Terms and indexes above this are refused."""


class EntryKind(IntEnum):
    """What an entry's payload is."""

    NORMAL = 0
    CONFIG_CHANGE = 1
    """One node is added, removed or made a learner (`ConfigChange` with one step)."""
    CONFIG_CHANGE_JOINT = 2
    """Several steps, by way of a joint configuration where it takes one."""


class Entry(NamedTuple):
    """A line of the log."""

    term: int
    index: int  # type: ignore[assignment]  # that of a tuple is of no use here
    kind: EntryKind
    payload: bytes


class HardState(NamedTuple):
    """What a node must have on disk before it sends what follows from it."""

    term: int = 0
    vote: NodeId = NO_NODE
    commit: int = 0


@dataclass(frozen=True, slots=True)
class ConfigState:
    """Who votes, who only listens; while two configurations hold, both.

    Parameters
    ----------
    voters, learners
        Of the configuration that holds, or comes in.
    voters_outgoing
        Of the one that goes out; empty unless the configuration is joint.
    learners_next
        Voters that go out and become learners as soon as it is left.
    auto_leave
        Whether the joint configuration is left as soon as it is committed.
    """

    voters: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    voters_outgoing: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotPoint:
    """Where in the log a snapshot stands, and the configuration there."""

    index: int = 0
    term: int = 0
    config: ConfigState = ConfigState()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state that stands for all entries up to its point.

    ``payload`` is what the shell needs to find the state: small, since it travels
    within messages; the state itself goes beside them.
    """

    point: SnapshotPoint = SnapshotPoint()
    payload: bytes = b""


class StepKind(IntEnum):
    """What a step does with a node. The numbers are written to the log."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    """Nothing for Raft: the context of the change says what is new."""
    ADD_LEARNER = 3


class ConfigStep(NamedTuple):
    """One node's part in a change of the configuration."""

    kind: StepKind
    node: NodeId


class Transition(IntEnum):
    """How a change comes about. The numbers are written to the log."""

    AUTO = 0
    """At once where that is safe, else joint, left as soon as it is committed."""
    JOINT_AUTO_LEAVE = 1
    """Always joint, left as soon as it is committed."""
    JOINT_EXPLICIT = 2
    """Always joint, left when a change without steps is proposed."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What is to change in the configuration; no steps leave the joint one.

    ``context`` is for the shell: where a new node is reached, for instance.
    """

    steps: tuple[ConfigStep, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""


class Role(Enum):
    """What a node is in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class MessageKind(IntEnum):
    """What a message says. The numbers travel between nodes."""

    PROPOSE = 1
    APPEND = 2
    APPEND_RESPONSE = 3
    VOTE = 4
    VOTE_RESPONSE = 5
    PRE_VOTE = 6
    PRE_VOTE_RESPONSE = 7
    SNAPSHOT = 8
    HEARTBEAT = 9
    HEARTBEAT_RESPONSE = 10
    TIMEOUT_NOW = 11
    TRANSFER_LEADER = 12
    READ_INDEX = 13
    READ_INDEX_RESPONSE = 14
    # Between a node and its own disk and state machine; never over the network.
    STORAGE_APPEND = 15
    STORAGE_APPEND_RESPONSE = 16
    STORAGE_APPLY = 17
    STORAGE_APPLY_RESPONSE = 18


class Message(NamedTuple):
    """What one node says to another, or to its own storage.

    Parameters
    ----------
    kind, to, sender
        What, to whom, from whom.
    term
        The sender's; 0 where the message is not bound to a term.
    log_term, log_index
        An entry of the log: the one before ``entries`` (append), the last (vote), the
        last that is acknowledged or rejected (response), that of a read.
    commit
        The commit index, as far as it concerns the receiver. Of a refusal by a node
        without a vote: what it knows to be committed, an entry of ``log_term``.
    entries
        In the order of their indexes, without gaps. Not to be changed by anyone.
    reject, hint
        A request refused; the last index at which the logs may agree.
    snapshot
        Instead of entries that the log no longer holds.
    context
        Of heartbeats and their responses: the newest round of reads, 0 for none. Of
        votes: 1 if a leader has handed over, so that nobody spares it. Of a wish to
        hand over: to whom.
    reads
        What is read, or may be, as numbers of the node that asks.
    vote
        Of ``STORAGE_APPEND``: the vote to be kept, with ``term`` and ``commit``.
    responses
        To be delivered once this message has been carried out, in this order.
    """

    kind: MessageKind
    to: NodeId
    sender: NodeId
    term: int = 0
    log_term: int = 0
    log_index: int = 0
    commit: int = 0
    entries: Sequence[Entry] = ()
    reject: bool = False
    hint: int = 0
    snapshot: Snapshot | None = None
    context: int = 0
    reads: tuple[int, ...] = ()
    vote: NodeId = NO_NODE
    responses: Sequence[Message] = ()


class SoftState(NamedTuple):
    """What a node believes, and need not keep."""

    lead: NodeId
    role: Role


class ReadState(NamedTuple):
    """These reads see everything they must once ``read_index`` is applied."""

    read_index: int
    reads: tuple[int, ...]


class Ready(NamedTuple):
    """What is to be done now. None and empty: nothing of that kind.

    Without asynchronous storage, in this order: write ``snapshot``, ``entries`` and
    ``hard_state`` (synced if ``must_sync`` or if there is a snapshot), send
    ``messages``, apply ``committed``, then call `RawNode.advance`. With it, everything
    to write or apply is in ``messages`` too, addressed to `APPEND_THREAD` and
    `APPLY_THREAD`, and nobody advances: each of the two works in the order in which it
    is asked, and its ``responses`` are delivered when that and all before is done.
    """

    soft_state: SoftState | None
    hard_state: HardState | None
    entries: Sequence[Entry]
    committed: Sequence[Entry]
    messages: Sequence[Message]
    snapshot: Snapshot | None
    read_states: Sequence[ReadState]
    reads_refused: tuple[int, ...]
    must_sync: bool
