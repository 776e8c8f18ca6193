"""How far a peer's log has come, as its leader knows it. Pure.

A peer is probed, one message at a time, until the place is found where the logs agree;
from there on entries are streamed to it; and if what it lacks is no longer in the log,
it waits for a snapshot. Invariant: ``match < next``.
"""

from __future__ import annotations

from enum import Enum

from dtf_dask.ha.raft.inflights import Inflights


class PeerState(Enum):
    """How entries are sent to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """What a leader knows of one peer.

    Attributes
    ----------
    match
        Up to here the peer's log is known to agree with ours.
    next
        The index that is sent to it next.
    commit_sent
        The highest commit index that was sent to it and that it could use.
    paused
        Nothing is sent until the peer is heard of.
    active
        Heard of since the last check of the quorum.
    snapshot_index
        That of the snapshot it waits for; 0 for none.
    """

    __slots__ = (
        *("active", "commit_sent", "inflights", "learner", "match", "next"),
        *("paused", "snapshot_index", "state"),
    )

    def __init__(
        self,
        next_index: int,
        inflights: Inflights,
        *,
        match: int = 0,
        learner: bool = False,
        active: bool = False,
    ) -> None:
        self.match = match
        self.next = next_index
        self.inflights = inflights
        self.learner = learner
        self.active = active
        self.state = PeerState.PROBE
        self.commit_sent = 0
        self.paused = False
        self.snapshot_index = 0

    def fork(self) -> Progress:
        """One that starts as this one and goes its own way, but for what is sent."""
        other = Progress(
            self.next,
            self.inflights,
            match=self.match,
            learner=self.learner,
            active=self.active,
        )
        other.state = self.state
        other.commit_sent = self.commit_sent
        other.paused = self.paused
        other.snapshot_index = self.snapshot_index
        return other

    @property
    def blocked(self) -> bool:
        """Whether no append may be sent to the peer for now."""
        return self.paused or self.state is PeerState.SNAPSHOT

    def _enter(self, state: PeerState) -> None:
        self.paused = False
        self.snapshot_index = 0
        self.state = state
        self.inflights.clear()

    def probe(self) -> None:
        """Look for the place where the logs agree, one message at a time."""
        # A snapshot that was sent counts as received: if it was not, the rejection of
        # the probe says so.
        after_snapshot = self.snapshot_index + 1
        self._enter(PeerState.PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.commit_sent = min(self.commit_sent, self.next - 1)

    def replicate(self) -> None:
        """Stream entries."""
        self._enter(PeerState.REPLICATE)
        self.next = self.match + 1

    def await_snapshot(self, index: int) -> None:
        """Send nothing but the snapshot at ``index``."""
        self._enter(PeerState.SNAPSHOT)
        self.snapshot_index = index
        self.next = index + 1
        self.commit_sent = index

    def sent(self, count: int, size: int) -> None:
        """An append with ``count`` entries and ``size`` bytes of payload was sent."""
        if self.state is PeerState.REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size)
            # With a full window the message was a probe: nothing follows it until the
            # peer is heard of.
            self.paused = self.inflights.full
        elif count:
            self.paused = True

    def acknowledged(self, index: int) -> bool:
        """The peer has everything up to ``index``; whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.paused = False
        return True

    def rejected(self, index: int, match_hint: int) -> bool:
        """The peer does not have the entry at ``index``; False if that is an old story.

        Parameters
        ----------
        index
            The one before the entries that were sent.
        match_hint
            The last at which the logs may agree.
        """
        if self.state is PeerState.REPLICATE:
            if index <= self.match:
                return False
            self.next = self.match + 1
        else:
            # Only the probe that is on its way may be answered: anything else is late.
            if index != self.next - 1:
                return False
            self.next = max(min(index, match_hint + 1), self.match + 1)
            self.paused = False
        self.commit_sent = min(self.commit_sent, self.next - 1)
        return True

    def wants_commit(self, commit: int) -> bool:
        """Whether telling ``commit`` may move the peer's commit index."""
        return commit > self.commit_sent and self.commit_sent < self.next - 1
