"""Nodes, network, disks, clocks and clients of one seed, in made-up time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Ready,
    Role,
    Snapshot,
    SnapshotPoint,
)
from dtf_dask.ha.raft.outcomes import Outcome
from simulation.clients import Clients
from simulation.disk import Disk, Write
from simulation.invariants import Invariants, Violation
from simulation.member import Member, hard_state_of
from simulation.profile import Profile
from simulation.register import Registers

_MUST_STOP = (Outcome.LOG_LOST, Outcome.COMMITTED_CONFLICT)
_LOCAL_MEANS_BUG = (
    *(Outcome.LOCAL_KIND, Outcome.MALFORMED, Outcome.NUMBER_TOO_LARGE),
    Outcome.NUMBERS_SPENT,
)


class World:
    """Everything that a seed makes happen.

    Parameters
    ----------
    seed : int
        From which all chance comes.
    profile : Profile
        How bad things get.
    tell : callable, optional
        Takes a line for each thing that happens.
    """

    def __init__(
        self, seed: int, profile: Profile, tell: Callable[[str], None] | None = None
    ) -> None:
        self.seed = seed
        self.profile = profile
        self.rng = Random(f"{seed} world")
        self.now = 0.0
        self.tell = tell
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.members: dict[NodeId, Member] = {}
        self.invariants = Invariants(self.members)
        self.clients = Clients(self)
        self.healed = False
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.snapshots: dict[bytes, Registers] = {}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        ids = [NodeId(n) for n in range(1, profile.nodes + profile.learners + 1)]
        config = ConfigState(
            voters=tuple(ids[: profile.nodes]), learners=tuple(ids[profile.nodes :])
        )
        first = Snapshot(SnapshotPoint(1, 1, config), b"1")
        for member_id in ids:
            self.add(member_id, first)

    # Time

    def at(self, delay: float, what: Callable[..., None], *args: Any) -> None:
        """Have something happen later."""
        self._count += 1
        event = (self.now + delay, self._count, what, args)
        heapq.heappush(self._events, event)

    def run_until(self, end: float) -> None:
        """Let things happen up to a time."""
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, what, args = heapq.heappop(events)
            self.steps += 1
            what(*args)
        self.now = end

    def say(self, text: str) -> None:
        """Write a line to the trace, if there is one."""
        if self.tell is not None:
            self.tell(f"{self.now:8.2f} {text}")

    # Nodes

    def add(self, member_id: NodeId, first: Snapshot | None) -> Member:
        """A new node, with the first configuration or with nothing."""
        member = Member(member_id, self.seed, self.profile, Disk(first))
        self.members[member_id] = member
        self.start(member)
        return member

    def start(self, member: Member) -> None:
        """Start a node that is down, unless its disk is damaged."""
        if member.node is not None or member.disk.damaged:
            return
        member.start(self.snapshots)
        self.say(f"{member} starts")
        self.at(self.rng.random() * member.tick_time, self._tick, member, member.life)

    def crash(self, member: Member) -> None:
        """A node dies between two instructions."""
        if member.node is None:
            return
        self.say(f"{member} dies")
        self.counts["crashes"] += 1
        self.clients.lost(member)
        member.stop(self.rng)
        flips = self.rng.random() < self.profile.bit_flip and not self.healed
        if flips and self._spare(member):
            self.counts["damaged"] += 1
            self.say(f"{member}: a bit of its disk has flipped")
            member.disk.damaged = True

    def _spare(self, member: Member) -> bool:
        """Whether the group can do without a node for ever."""
        config = self.newest_config()
        broken = {one.id for one in self.members.values() if one.disk.damaged}
        broken.add(member.id)
        return all(
            2 * len(broken.intersection(voters)) < len(voters)
            for voters in (config.voters, config.voters_outgoing)
            if voters
        )

    def newest_config(self) -> ConfigState:
        """The configuration that was applied last by anybody."""
        ahead = max(self.members.values(), key=lambda one: one.registers.index)
        return ahead.registers.config

    def _tick(self, member: Member, life: int) -> None:
        if life != member.life or member.node is None:
            return
        wait = member.paused_until - self.now
        self.at(max(wait, 0.0) + member.tick_time, self._tick, member, life)
        if wait > 0:
            return
        member.node.tick()
        self.drain(member)

    def pause_over(self, member: Member, what: Callable[..., None], *args: Any) -> bool:
        """Whether a node can act now; if not, it will when its pause is over."""
        if member.paused_until <= self.now:
            return True
        self.at(member.paused_until - self.now, what, *args)
        return False

    # What nodes do

    def drain(self, member: Member) -> None:
        """Do what a node says is to be done, and look whether all rules hold."""
        node, life = member.node, member.life
        self.invariants.after_step(member)
        while node is not None and node.has_ready():
            ready = node.ready()
            if ready.entries:
                self.invariants.on_entries(member, ready.entries)
            if self.profile.async_storage:
                self._hand_out(member, ready)
            else:
                self._carry_out(member, ready)
            if member.life != life or member.node is None:
                return
            for state in ready.read_states:
                self.clients.read_from(member, state.read_index, state.reads)
            if ready.reads_refused:
                self.clients.refused(member, ready.reads_refused)
            self.invariants.after_step(member)

    def _dies_here(self, member: Member) -> bool:
        chance = self.profile.crash_between
        if not chance or self.healed or self.rng.random() >= chance:
            return False
        self.say(f"{member} dies between two instructions")
        self.crash(member)
        return True

    def _carry_out(self, member: Member, ready: Ready) -> None:
        """Without asynchronous storage: one after the other."""
        if self._dies_here(member):
            return
        if ready.snapshot or ready.entries or ready.hard_state:
            sync = ready.must_sync or ready.snapshot is not None
            write = Write(ready.snapshot, ready.entries, ready.hard_state)
            member.disk.write(write, sync)
            if ready.hard_state is not None:
                self.invariants.on_own_vote(member)
        if ready.snapshot is not None:
            self._restore(member, ready.snapshot)
        for message in ready.messages:
            if self._dies_here(member):
                return
            self._send(member, message)
        self._apply(member, ready.committed)
        assert member.node is not None
        member.node.advance()
        self._maybe_snapshot(member)

    def _hand_out(self, member: Member, ready: Ready) -> None:
        """With it: to the disk and the state machine, which take their time."""
        for message in ready.messages:
            if message.to == APPEND_THREAD:
                sync = ready.must_sync or message.snapshot is not None
                member.writes.append((message, sync))
                if not member.writing:
                    self._begin_writing(member)
            elif message.to == APPLY_THREAD:
                time = self.rng.random() * 0.1
                member.apply_free_at = max(member.apply_free_at, self.now) + time
                delay = member.apply_free_at - self.now
                member.applies.append(message)
                self.at(delay, self._applied, member, member.life)
            else:
                self._send(member, message)

    def _begin_writing(self, member: Member) -> None:
        """All that has gathered goes to the disk together."""
        member.writing = len(member.writes)
        profile = self.profile
        slow = member.slow_until > self.now and not self.healed
        mean = profile.slow_write_time if slow else profile.write_time
        self.at(mean * 2 * self.rng.random(), self._written, member, member.life)

    def _written(self, member: Member, life: int) -> None:
        if life != member.life or member.node is None:
            return
        if not self.pause_over(member, self._written, member, life):
            return
        if self._dies_here(member):
            return
        done = member.writes[: member.writing]
        del member.writes[: member.writing]
        sync = any(sync for _, sync in done)
        for n, (message, _) in enumerate(done, 1):
            write = Write(message.snapshot, message.entries, hard_state_of(message))
            member.disk.write(write, sync and n == len(done))
        for message, _ in done:
            if message.snapshot is not None:
                self._restore(member, message.snapshot)
            for response in message.responses:
                if self._dies_here(member):
                    return
                self._respond(member, response)
        member.writing = 0
        self.drain(member)
        if member.node is not None and member.writes and not member.writing:
            self._begin_writing(member)

    def _respond(self, member: Member, response: Message) -> None:
        if response.to != member.id:
            self._send(member, response)
            return
        self.invariants.on_send(member, response)
        self._step(member, response)

    def _applied(self, member: Member, life: int) -> None:
        if life != member.life or member.node is None:
            return
        if not self.pause_over(member, self._applied, member, life):
            return
        message = member.applies.pop(0)
        self._apply(member, message.entries)
        for response in message.responses:
            self._step(member, response)
        self.drain(member)
        self._maybe_snapshot(member)

    def _step(self, member: Member, message: Message) -> None:
        assert member.node is not None
        outcome = member.node.step(message)
        if outcome in _MUST_STOP or outcome in _LOCAL_MEANS_BUG:
            raise Violation(f"{member}: {outcome.value}: {message}")
        self.invariants.after_step(member)

    def _apply(self, member: Member, entries: Any) -> None:
        node, registers = member.node, member.registers
        assert node is not None
        for entry in entries:
            if entry.index <= member.restored_to:
                continue  # a snapshot has overtaken it
            if entry.kind is EntryKind.NORMAL:
                number = registers.apply(entry.term, entry.payload)
                if number is not None:
                    self.clients.applied(member, number)
            else:
                self._apply_change(member, entry)
            self.invariants.on_applied(member, entry)
        self.clients.read_at(member)

    def _apply_change(self, member: Member, entry: Entry) -> None:
        assert member.node is not None
        member.registers.pass_over(entry.term, entry.payload)
        config = member.node.apply_change(entry)
        if config is Unchanged.OVERTAKEN:
            self.counts["overtaken"] += 1
            return
        self.invariants.on_config(member, entry.index, config)
        if isinstance(config, ConfigState):
            self.say(f"{member} has members {config}")
            member.registers.config = config
            self.counts["joint" if config.voters_outgoing else "simple"] += 1
            member.snapshot_due = self.profile.snapshot_on_change

    def _restore(self, member: Member, snapshot: Snapshot) -> None:
        self.counts["restored"] += 1
        self.say(f"{member} restores {snapshot.point}")
        member.restore(snapshot, self.snapshots)
        self.invariants.on_restored(member, snapshot.point)
        self.clients.read_at(member)

    def _maybe_snapshot(self, member: Member) -> None:
        """Make a snapshot if much was applied since the last, and drop old entries."""
        if member.node is None:
            return
        storage, registers = member.disk.visible, member.registers
        newest = storage.snapshot()
        assert newest is not None
        index = registers.index
        length = index - newest.point.index
        if length < self.profile.snapshot_every and not member.snapshot_due:
            return
        term = storage.term(index)
        log = member.core.log
        if term is None or log.applied < index or log.waits_for_snapshot():
            return
        member.snapshot_due = False
        if not length:
            return
        key = b"%d" % index
        if key not in self.snapshots:
            self.snapshots[key] = registers.copy()
        snapshot = Snapshot(SnapshotPoint(index, term, registers.config), key)
        kept = self.rng.choice((0, 0, 3))
        compact_to = max(index - kept, storage.start.index, 1)
        member.disk.write(Write(snapshot, (), None, compact_to), True)

    # The network

    def _send(self, member: Member, message: Message) -> None:
        self.invariants.on_send(member, message)
        rng, profile = self.rng, self.profile
        is_snapshot = message.kind is MessageKind.SNAPSHOT
        path = (member.id, message.to)
        if path in self.cut or (
            profile.loss and not self.healed and rng.random() < profile.loss
        ):
            self.counts["lost"] += 1
            if self.tell is not None:
                self.say(f"lost: {_shown(message)}")
            if is_snapshot:
                self._report_snapshot(member, message.to, received=False)
            elif rng.random() < 0.1:
                self.at(0.0, self.unreachable, member, member.life, message.to)
            return
        self.at(self._delay(), self._deliver, message, member.life)
        if (
            profile.duplication
            and not self.healed
            and rng.random() < profile.duplication
        ):
            self.at(self._delay(), self._deliver, message, member.life)

    def _delay(self) -> float:
        rng, profile = self.rng, self.profile
        if self.healed:
            return 0.05 + rng.random() * 0.1
        mean = profile.delay_tail if rng.random() < profile.tail else profile.delay
        return mean * 2 * rng.random()

    def _deliver(self, message: Message, life: int) -> None:
        member = self.members.get(message.to)
        if member is not None and not self.pause_over(
            member, self._deliver, message, life
        ):
            return
        is_snapshot = message.kind is MessageKind.SNAPSHOT
        if member is None or member.node is None:
            if is_snapshot:
                self._report_snapshot(
                    self.members[message.sender], message.to, received=False
                )
            return
        if self.tell is not None:
            self.say(_shown(message))
        self._step(member, message)
        if is_snapshot:
            sender = self.members[message.sender]
            self._report_snapshot(sender, message.to, received=True)
        self.drain(member)

    def unreachable(self, member: Member, life: int, peer: NodeId) -> None:
        """A node hears that its messages to a peer were lost."""
        if member.life == life and member.node is not None:
            member.node.report_unreachable(peer)
            self.drain(member)

    def _report_snapshot(self, member: Member, peer: NodeId, *, received: bool) -> None:
        self.at(self._delay(), self._reported, member, member.life, peer, received)

    def _reported(
        self, member: Member, life: int, peer: NodeId, received: bool
    ) -> None:
        if member.life == life and member.node is not None:
            member.node.report_snapshot(peer, received=received)
            self.drain(member)

    def leaders(self) -> list[Member]:
        """Who leads, the newest term last."""
        found = [
            one
            for one in self.members.values()
            if one.node is not None and one.core.role is Role.LEADER
        ]
        return sorted(found, key=lambda one: one.core.term)


def _shown(message: Message) -> str:
    fields = [f"term {message.term}"] if message.term else []
    for name in (
        "log_term",
        "log_index",
        "commit",
        "reject",
        "hint",
        "context",
        "reads",
    ):
        value = getattr(message, name)
        if value:
            fields.append(f"{name} {value}")
    if message.entries:
        ends = message.entries[0], message.entries[-1]
        fields.append("entries " + "..".join(f"{e.term}/{e.index}" for e in ends))
    if message.snapshot is not None:
        fields.append(f"snapshot {message.snapshot.point.index}")
    return f"{message.sender}->{message.to} {message.kind.name} " + ", ".join(fields)
