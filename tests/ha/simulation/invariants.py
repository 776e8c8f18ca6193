"""What must hold after each step, whatever happens in the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.messages import (
    ConfigState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Role,
    SnapshotPoint,
)

if TYPE_CHECKING:
    from simulation.member import Member


class Violation(Exception):
    """A rule is broken; the text says which one and how."""


class _Seen:
    """What one life of a node has shown so far."""

    __slots__ = ("commit", "is_leader", "term")

    def __init__(self) -> None:
        self.term = self.commit = 0
        self.is_leader = False


class Invariants:
    """What has happened so far in all nodes together, and the rules over it.

    Parameters
    ----------
    members : dict of Member
        All nodes that ever were, by id.

    Attributes
    ----------
    committed : list of Entry
        By index; what somebody has committed once is committed for ever.
    leaders : dict of int to tuple of int
        Who led which term, in which of its lives.
    """

    def __init__(self, members: dict[NodeId, Member]) -> None:
        self._members = members
        # Index 1 is the snapshot that the first members begin with.
        self.committed = [Entry(n, n, EntryKind.NORMAL, b"") for n in (0, 1)]
        self._committed_in = [0, 1]  # the term of the leader that did
        self.leaders: dict[int, tuple[NodeId, int]] = {}
        self._votes: dict[tuple[NodeId, int], NodeId] = {}
        # (index, term) -> the term before, and the payload: the log up to there.
        self._entries: dict[tuple[int, int], tuple[int | None, Entry]] = {}
        self._chains: dict[int, int] = {}
        self._configs: dict[int, ConfigState | Unchanged] = {}
        self._seen: dict[tuple[NodeId, int], _Seen] = {}

    @property
    def commit(self) -> int:
        """The highest index that anybody has committed."""
        return len(self.committed) - 1

    # After each step

    def after_step(self, member: Member) -> None:
        """Look at a node that has just done something."""
        node = member.node
        if node is None:
            return
        core = node.core
        log = core.log
        seen = self._seen.get((member.id, member.life))
        if seen is None:
            seen = self._seen[member.id, member.life] = _Seen()
            seen.commit = log.applied
        if core.term < seen.term:
            raise Violation(f"{member}: its term went from {seen.term} to {core.term}")
        if core.role is Role.LEADER:
            if not seen.is_leader or core.term != seen.term:
                self._on_leader(member)
            seen.is_leader = True
        else:
            seen.is_leader = False
        seen.term = core.term
        if not log.applied <= log.applying <= log.commit <= log.last_index():
            raise Violation(
                f"{member}: applied {log.applied}, applying {log.applying}, commit"
                f" {log.commit}, last {log.last_index()}"
            )
        if log.commit < seen.commit:
            raise Violation(f"{member}: commit went from {seen.commit} to {log.commit}")
        if log.commit > seen.commit:
            if core.role is Role.LEADER and log.term(log.commit) != core.term:
                raise Violation(
                    f"{member} commits {log.commit} of term {log.term(log.commit)} by"
                    " counting (Raft §5.4.2)"
                )
            self._on_commit(member, seen.commit)
            seen.commit = log.commit

    def _on_leader(self, member: Member) -> None:
        core = member.core
        here = (member.id, member.life)
        first = self.leaders.setdefault(core.term, here)
        if first != here:
            raise Violation(
                f"election safety: node {first[0]} in its life {first[1]} and {member}"
                f" in its life {member.life} lead {core.term}"
            )
        config = core.tracker.membership.state()
        if not _quorum(config, lambda node: self._voted(node, core.term, member.id)):
            raise Violation(
                f"{member} leads term {core.term} without a quorum of votes"
            )
        log = core.log
        for index in range(log.first_index(), self.commit + 1):
            if self._committed_in[index] > core.term:
                break  # it is late: elected, and deposed before it knew of it
            if log.term(index) != self.committed[index].term:
                raise Violation(
                    f"leader completeness: {member} leads term {core.term} and its"
                    f" entry {index} is of term {log.term(index)}, not of"
                    f" {self.committed[index].term}, which is committed"
                )

    def _voted(self, node: NodeId, term: int, candidate: NodeId) -> bool:
        return self._votes.get((node, term)) == candidate

    def _on_commit(self, member: Member, before: int) -> None:
        log = member.core.log
        for index in range(max(before + 1, log.first_index()), log.commit + 1):
            term = log.term(index)
            if index <= self.commit:
                if term != self.committed[index].term:
                    raise Violation(
                        f"state machine safety: {member} commits {index} of term {term}"
                        f" where one of {self.committed[index].term} is committed"
                    )
                continue
            found = log.slice(index, index + 1, 1)
            if term is None or not found:
                raise Violation(f"{member}: {index} is committed and cannot be read")
            self._first_commit(member, found[0])

    def _first_commit(self, member: Member, entry: Entry) -> None:
        index, term = entry.index, entry.term
        if index != len(self.committed):
            raise Violation(f"{member} commits {index} after {self.commit}")
        config = member.core.tracker.membership.state()

        def holds(node: NodeId) -> bool:
            other = self._members.get(node)
            return other is not None and other.disk.has_durably(index, term)

        if not _quorum(config, holds):
            raise Violation(
                f"{member} commits {index} of term {term} (its own is"
                f" {member.core.term}), which no quorum of {config} has on disk"
            )
        if member.core.role is not Role.LEADER:
            raise Violation(f"{member} follows, and is the first to commit {index}")
        self.committed.append(entry)
        self._committed_in.append(member.core.term)
        for other in self._members.values():
            if other.node is None or other.core.role is not Role.LEADER:
                continue
            if (
                other.core.term > member.core.term
                and other.core.log.last_index() < index
            ):
                raise Violation(f"leader completeness: {other} leads without {index}")

    # What nodes say

    def on_send(self, member: Member, message: Message) -> None:
        """A message to another node, or a vote or acknowledgement to itself, goes."""
        kind = message.kind
        if kind is MessageKind.VOTE_RESPONSE:
            if not message.reject:
                self._on_vote(member, message)
        elif kind is MessageKind.VOTE:
            stands = member.disk.durable.hard_state
            if stands.term < message.term:
                raise Violation(
                    f"{member} stands in term {message.term}; its disk says {stands}"
                )
        elif kind is MessageKind.APPEND_RESPONSE:
            stored = member.disk.durable
            if stored.hard_state.term < message.term:
                raise Violation(
                    f"{member} answers in term {message.term}, which is not on its disk"
                )
            # What was acknowledged in an older term may have been replaced since: then
            # whoever leads now was elected by a majority without it.
            now = stored.hard_state.term == message.term
            if now and not message.reject and message.log_index > stored.last_index():
                raise Violation(
                    f"{member} acknowledges {message.log_index}; its disk ends at"
                    f" {stored.last_index()}"
                )
            if now and not message.reject and member.core.term == message.term:
                self._on_acknowledged(member, message)

    def _on_acknowledged(self, member: Member, message: Message) -> None:
        """What is acknowledged to a leader must be what that leader has."""
        leader = self._members.get(message.to)
        if leader is None or leader is member or leader.node is None:
            return
        core = leader.core
        if core.role is not Role.LEADER or core.term != message.term:
            return
        index = message.log_index
        held = member.core.log.term(index), core.log.term(index)
        if None not in held and held[0] != held[1]:
            raise Violation(
                f"{member} acknowledges {index} of term {held[0]}; its leader"
                f" {message.to} has one of term {held[1]} there"
            )

    def on_own_vote(self, member: Member) -> None:
        """A node has just written a vote for itself."""
        stored = member.disk.durable.hard_state
        if stored.vote == member.id:
            first = self._votes.setdefault((member.id, stored.term), member.id)
            if first != member.id:
                raise Violation(f"{member} votes for {first} and itself: {stored}")

    def _on_vote(self, member: Member, message: Message) -> None:
        term, to = message.term, message.to
        first = self._votes.setdefault((member.id, term), to)
        if first != to:
            raise Violation(f"{member} votes for {first} and {to} in term {term}")
        stored = member.disk.durable.hard_state
        if stored.term < term or (stored.term == term and stored.vote != to):
            raise Violation(
                f"{member} votes for {to} in {term}; its disk says {stored}"
            )

    # Logs

    def on_entries(self, member: Member, entries: Sequence[Entry]) -> None:
        """Entries are to be written (log matching)."""
        log = member.core.log
        for entry in entries:
            place = (entry.index, entry.term)
            held = (log.term(entry.index - 1), entry)
            first = self._entries.setdefault(place, held)
            if first[1] != held[1] or (
                None not in (first[0], held[0]) and first != held
            ):
                raise Violation(
                    f"log matching: {member} has {held} at {place}, others {first}"
                )

    def on_applied(self, member: Member, entry: Entry) -> None:
        """An entry was applied."""
        index = entry.index
        registers = member.registers
        if index != registers.index:
            raise Violation(f"applied order: {member} applies {index}")
        if index > self.commit or entry != self.committed[index]:
            raise Violation(f"{member} applies {index}, which is not committed so")
        chain = self._chains.setdefault(index, registers.chain)
        if chain != registers.chain:
            raise Violation(f"{member}: its state at {index} is not that of others")

    def on_config(
        self, member: Member, index: int, config: ConfigState | Unchanged
    ) -> None:
        """A change of the configuration was applied."""
        first = self._configs.setdefault(index, config)
        if first != config:
            raise Violation(f"{member}: at {index} members are {config}, not {first}")

    def on_restored(self, member: Member, point: SnapshotPoint) -> None:
        """A snapshot took the place of entries."""
        if point.index > self.commit or self.committed[point.index].term != point.term:
            raise Violation(f"{member} restores what is not committed: {point}")
        if self._chains.get(point.index, 0) != member.registers.chain:
            raise Violation(f"{member}: a snapshot at {point.index} of another state")

    # Reads

    def on_read(self, member: Member, least: int, read_index: int) -> None:
        """A read is answered that was asked when ``least`` was committed."""
        if read_index < least:
            raise Violation(
                f"{member}: a read is answered as of {read_index}; when it was asked"
                f" {least} was committed"
            )


def _quorum(config: ConfigState, says: Callable[[NodeId], bool]) -> bool:
    """Whether a majority of each configuration that holds says so."""
    return majority(config.voters, says) and (
        not config.voters_outgoing or majority(config.voters_outgoing, says)
    )


def majority(voters: Iterable[NodeId], says: Callable[[NodeId], bool]) -> bool:
    """Whether more than half of the voters say so."""
    answers = [says(node) for node in voters]
    return 2 * sum(answers) > len(answers)
