"""The state of one node, and how it takes up a role. Pure.

The rest of the core are functions over it: `election`, `replication`, `leading`,
`following`, `proposals`, `reads`, `membership`, `transfer`. What message goes to which
of them is a table in `stepping`; `raw_node` is the face of it all.
"""

from __future__ import annotations

from random import Random

from dtf_dask.ha.raft.log import Log
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    HardState,
    Message,
    MessageKind,
    NodeId,
    ReadState,
    Role,
    SoftState,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.read_rounds import ReadRounds
from dtf_dask.ha.raft.storage import Storage
from dtf_dask.ha.raft.tracker import Tracker

# A promise to another node: it may be sent only once what it promises is on disk. Who
# asks for a vote promises that it stands once in the term, with this log: votes that
# come when it has forgotten so in a crash would have it lead the term a second time.
PROMISES = frozenset(
    {
        MessageKind.APPEND_RESPONSE,
        MessageKind.VOTE,
        MessageKind.VOTE_RESPONSE,
        MessageKind.PRE_VOTE_RESPONSE,
    }
)


class Core:
    """One node of a group: state only; it decides nothing.

    Parameters
    ----------
    options
        What the node is told about itself.
    storage
        What is on its disk.
    rng
        For election timeouts, seeded by the caller.

    Attributes
    ----------
    outbox
        Messages that may go at once.
    promises
        Messages that go once everything taken up so far is on disk; some of them are
        to this node itself.
    election_after
        Ticks after which this node campaigns, drawn anew in each term.
    silent_ticks
        For how long the leader had been silent when this node gave it up for that; 0
        while one is known, or if it was gone at once.
    transferee
        To whom leadership is being handed over.
    pending_change
        The index up to which the log may hold a change that is not applied.
    uncommitted_bytes
        Of payloads in the leader's log that are not applied yet.
    asked
        Reads of this node that are not answered, with the tick at which they are given
        up, oldest first.
    to_forward
        Those of them that the leader has not been asked yet.
    """

    __slots__ = (
        *("asked", "election_after", "election_elapsed", "heartbeat_elapsed", "lead"),
        *("log", "node", "options", "outbox", "pending_change", "promises"),
        *("read_states", "reads", "reads_refused", "rng", "role", "silent_ticks"),
        *("term", "ticks", "to_forward", "tracker", "transferee"),
        *("uncommitted_bytes", "vote"),
    )

    def __init__(self, options: RaftOptions, storage: Storage, rng: Random) -> None:
        self.options = options
        self.node = options.node
        self.rng = rng
        self.log = Log(storage, options.apply_bytes_max)
        self.tracker = Tracker(
            options.inflight_messages_max, options.inflight_bytes_max
        )
        self.term = 0
        self.vote = NO_NODE
        self.lead = NO_NODE
        self.role = Role.FOLLOWER
        self.outbox: list[Message] = []
        self.promises: list[Message] = []
        self.ticks = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_after = options.election_ticks
        self.silent_ticks = 0
        self.transferee = NO_NODE
        self.pending_change = 0
        self.uncommitted_bytes = 0
        self.reads = ReadRounds()
        self.asked: dict[int, int] = {}
        self.to_forward: list[int] = []
        self.read_states: list[ReadState] = []
        self.reads_refused: list[int] = []

    def send(self, message: Message) -> None:
        """Put a message where it belongs: on its way, or after what it promises."""
        early = self.options.early_votes and message.kind is MessageKind.VOTE
        if message.kind in PROMISES and not early:
            self.promises.append(message)
        else:
            self.outbox.append(message)

    def hard_state(self) -> HardState:
        """What must be on disk before anything follows from it."""
        return HardState(self.term, self.vote, self.log.commit)

    def soft_state(self) -> SoftState:
        """What this node believes."""
        return SoftState(self.lead, self.role)

    def is_voter(self) -> bool:
        """Whether this node votes in the configuration that it has applied."""
        return self.node in self.tracker.membership.voters

    def promotable(self) -> bool:
        """Whether this node may lead."""
        progress = self.tracker.progress.get(self.node)
        return (
            progress is not None
            and not progress.learner
            and not self.log.waits_for_snapshot()
        )

    def committed_in_term(self) -> bool:
        """Whether an entry of this term is committed.

        Before that a new leader does not know what is (Raft thesis, §6.4).
        """
        return self.log.term(self.log.commit) == self.term

    def refuse_reads(self) -> None:
        """Whoever could answer the reads of this node will not."""
        self.reads_refused += self.asked
        self.asked.clear()
        self.to_forward.clear()

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = NO_NODE
        self.lead = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.draw_election_timeout()
        self.transferee = NO_NODE
        self.tracker.reset(self.node, self.log.last_index())
        self.pending_change = 0
        self.uncommitted_bytes = 0
        self.reads = ReadRounds()
        self.refuse_reads()

    def draw_election_timeout(self) -> None:
        """From the least up to twice as many ticks, by chance."""
        ticks = self.options.election_ticks
        self.election_after = ticks + self.rng.randrange(ticks)

    def become_follower(self, term: int, lead: NodeId) -> None:
        """Follow ``lead``, or nobody for now."""
        self._reset(term)
        self.lead = lead
        self.role = Role.FOLLOWER
        if lead != NO_NODE:
            self.silent_ticks = 0

    def become_pre_candidate(self) -> None:
        """Ask who would vote for this node; term and vote stay."""
        self.tracker.votes = {}
        self.lead = NO_NODE
        self.role = Role.PRE_CANDIDATE
        self.refuse_reads()

    def become_candidate(self) -> None:
        """Ask for votes in a new term."""
        self._reset(self.term + 1)
        self.vote = self.node
        self.role = Role.CANDIDATE

    def lead_the_term(self) -> None:
        """Be leader; `election` says when, and what follows."""
        self._reset(self.term)
        self.lead = self.node
        self.role = Role.LEADER
        own = self.tracker.progress[self.node]
        own.replicate()
        own.active = True
