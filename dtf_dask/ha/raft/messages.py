"""What Raft keeps and sends: entries, hard state, snapshots, messages. Pure.

Entries and messages are tuples, since they are made by the ten thousand a second. Node
ids are integers from 1; 0 stands for no node.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, NewType

NodeId = NewType("NodeId", int)

NO_NODE = NodeId(0)

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
