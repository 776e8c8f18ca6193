"""What came of a proposal, a message or a wish: values, never exceptions. Pure."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What came of it. With all but ``DONE`` nothing was taken up.

    ``DONE`` does not say that it is committed: a message that Raft ignores by its
    rules, one of an old term for instance, is done too.
    """

    DONE = "done"

    # Proposals, reads, campaigns: try again, perhaps elsewhere.
    NO_LEADER = "no leader is known"
    NOT_LEADER = "this node does not lead, and does not forward"
    NOT_MEMBER = "this node is not in the configuration"
    TRANSFERRING = "leadership is being handed over"
    NOT_PROMOTABLE = "this node does not vote, or waits for a snapshot"
    CHANGE_UNAPPLIED = "a change of the configuration is committed and not yet applied"
    KEEPS_LEADER = "this node was told never to forget its leader"
    UNCOMMITTED_FULL = "too many bytes are not committed yet"
    READS_FULL = "too many reads wait already"

    # A change of the configuration; the leader's log has an empty entry instead.
    CHANGE_PENDING = "another change of the configuration may not be applied yet"
    CHANGE_WHILE_JOINT = "two configurations hold: the joint one must be left first"
    CHANGE_NOT_JOINT = "there is no joint configuration to leave"
    CHANGE_UNREADABLE = "the change of the configuration is too large, or damaged"

    # Messages that are not taken.
    MISROUTED = "the message is for another node"
    UNKNOWN_PEER = "the sender is not in the configuration"
    LOCAL_KIND = "such a message does not come from another node"
    MALFORMED = "the message contradicts itself"
    NUMBER_TOO_LARGE = "a term or an index is above the largest number, or negative"
    NUMBERS_SPENT = "terms or indexes have reached the largest number"

    # What never happens while disks keep what they promised. The node must stop.
    LOG_LOST = "the leader counts on entries that this node no longer has"
    COMMITTED_CONFLICT = "the leader contradicts what is committed here"
