"""A group of nodes that the conformance files drive, message by message.

Each command is a method; what it prints goes to ``lines``. The state machine appends
what it applies, and each node has a snapshot of every index that it has applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from raft_datadriven import Directive
from raft_describe import described_progress, steps_of
from raft_describe_messages import (
    KIND_WORDS,
    ROLE_WORDS,
    change_of,
    described_entry,
    described_message,
    described_ready,
)

from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.config_codec import encoded
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigChange,
    ConfigState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NodeId,
    Role,
    Snapshot,
    SnapshotPoint,
    Transition,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.raft.storage import MemoryStorage

UNLIMITED = 2**63 - 1
TRANSITIONS = {
    "auto": Transition.AUTO,
    "implicit": Transition.JOINT_AUTO_LEAVE,
    "explicit": Transition.JOINT_EXPLICIT,
}
# The other library takes these for success, and says why only in its log.
QUIET = {
    Outcome.DONE,
    Outcome.CHANGE_PENDING,
    Outcome.CHANGE_WHILE_JOINT,
    Outcome.CHANGE_NOT_JOINT,
    Outcome.NOT_PROMOTABLE,
    Outcome.KEEPS_LEADER,
}
DROPPED = {Outcome.NO_LEADER, Outcome.NOT_LEADER, Outcome.NOT_MEMBER}
DROPPED |= {Outcome.TRANSFERRING, Outcome.UNCOMMITTED_FULL}
WORDS = {
    Outcome.UNKNOWN_PEER: "raft: cannot step as peer not found",
    **dict.fromkeys(DROPPED, "raft proposal dropped"),
}
THREADS = (APPEND_THREAD, APPLY_THREAD)


class HistoryStorage(MemoryStorage):
    """One that makes a snapshot of the newest applied state when asked for one."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.history = [snapshot]

    def snapshot(self) -> Snapshot | None:
        return self.history[-1]


class Member:
    """A node with its storage, and what its storage has not done yet."""

    def __init__(self, options: RaftOptions, snapshot: Snapshot) -> None:
        self.id = options.node
        self.options = options
        self.storage = HistoryStorage(snapshot)
        self.storage.restore(snapshot)
        self.node = RawNode(options, self.storage, Random(options.node))
        self.append_work: list[Message] = []
        self.apply_work: list[Message] = []

    def write(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: Snapshot | None,
    ) -> None:
        if hard_state is not None:
            self.storage.hard_state = hard_state
        if snapshot is not None:
            assert not entries
            self.storage.restore(snapshot)
            self.storage.history.append(snapshot)
        self.storage.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            last = self.storage.history[-1]
            config, update = last.point.config, entry.payload
            if entry.kind is not EntryKind.NORMAL:
                update = change_of(entry).context
                changed = self.node.apply_change(entry)
                assert not isinstance(changed, Unchanged)
                config = changed
            point = SnapshotPoint(entry.index, entry.term, config)
            self.storage.history.append(Snapshot(point, last.payload + update))


class Group:
    """All nodes, and the messages between them."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.messages: list[Message] = []
        self.lines: list[str] = []
        self.indent = ""
        self.quiet = False

    def handle(self, one: Directive) -> list[str]:
        """What a directive prints."""
        self.lines = []
        quiet = self.quiet
        if one.value("log-level") == "none":
            self.quiet = True
        error = COMMANDS[one.command](self, one)
        quietly = self.quiet
        self.quiet = quiet if one.command != "log-level" else self.quiet
        if quietly:
            self.lines = []
        return [*self.lines, *([error] if error else [])] or ["ok"]

    def say(self, *lines: str) -> None:
        self.lines += [self.indent + line for line in lines]

    @contextmanager
    def indented(self, header: str) -> Iterator[None]:
        self.say(header)
        before, self.indent = self.indent, self.indent + "  "
        yield
        self.indent = before

    def member(self, one: Directive) -> Member:
        return self.members[int(one.bare[0]) - 1]

    def chosen(self, one: Directive) -> list[Member]:
        """Those that are named, or all."""
        return [self.members[int(n) - 1] for n in one.bare] or self.members

    def each(
        self, one: Directive, header: str, action: Callable[[Member], None]
    ) -> None:
        members = self.chosen(one)
        for member in members:
            if len(members) == 1:
                action(member)
                continue
            with self.indented(f"> {member.id} {header}"):
                action(member)

    # Commands

    def log_level(self, one: Directive) -> None:
        self.quiet = one.bare == ["none"]

    def add_nodes(self, one: Directive) -> None:
        index = int(one.value("index", "0"))
        config = ConfigState(
            voters=tuple(NodeId(int(n)) for n in one.values("voters")),
            learners=tuple(NodeId(int(n)) for n in one.values("learners")),
        )
        point = SnapshotPoint(index, 1 if index else 0, config)
        for _ in range(int(one.bare[0])):
            options = RaftOptions(
                NodeId(len(self.members) + 1),
                election_ticks=3,
                heartbeat_ticks=1,
                async_storage=one.flag("async-storage-writes"),
                check_quorum=one.flag("checkquorum"),
                pre_vote=one.flag("prevote"),
                step_down_on_removal=one.flag("step-down-on-removal"),
                check_changes=not one.flag("disable-conf-change-validation"),
                may_forget_leader=one.value("read-only") != "lease-based",
                early_votes=True,
                message_bytes_max=int(one.value("max-size-per-msg", str(UNLIMITED))),
                apply_bytes_max=int(
                    one.value("max-committed-size-per-ready", str(UNLIMITED))
                ),
                inflight_messages_max=int(one.value("inflight", str(2**31))),
                inflight_bytes_max=int(one.value("inflight-bytes", "0")),
                uncommitted_bytes_max=int(
                    one.value("max-uncommitted-size", str(UNLIMITED))
                ),
                reads_max=int(one.value("reads", "100")),
            )
            content = one.value("content").encode()
            self.members.append(Member(options, Snapshot(point, content)))

    def campaign(self, one: Directive) -> str:
        return self.shown(self.member(one).node.campaign())

    def shown(self, outcome: Outcome) -> str:
        return "" if outcome in QUIET else WORDS.get(outcome, f"refused: {outcome}")

    def compact(self, one: Directive) -> None:
        self.member(one).storage.compact(int(one.bare[1]))

    def propose(self, one: Directive) -> str:
        payloads = [word.encode() for word in one.bare[1:]]
        return self.shown(self.member(one).node.propose(payloads))

    def propose_conf_change(self, one: Directive) -> str:
        steps = steps_of(one.input)
        change = ConfigChange(steps, TRANSITIONS[one.value("transition", "auto")])
        member = self.member(one)
        if one.flag("v1"):
            return self.shown(member.node.propose_change(change))
        # A change of one step is of the other kind when we write it; both mean the
        # same, and this one may come from another node.
        written = encoded(change)
        assert written is not None
        entry = Entry(0, 0, EntryKind.CONFIG_CHANGE_JOINT, written[1])
        proposal = Message(MessageKind.PROPOSE, member.id, member.id, entries=(entry,))
        return self.shown(member.node.step(proposal))

    def process_ready(self, one: Directive) -> None:
        self.each(one, "handling Ready", self._process_ready)

    def _process_ready(self, member: Member) -> None:
        ready = member.node.ready()
        self.say(*described_ready(ready))
        if not member.options.async_storage:
            member.write(ready.hard_state, ready.entries, ready.snapshot)
            member.apply(ready.committed)
        for message in ready.messages:
            if message.to == APPEND_THREAD:
                member.append_work.append(message)
            elif message.to == APPLY_THREAD:
                member.apply_work.append(message)
            else:
                self.messages.append(message)
        if not member.options.async_storage:
            member.node.advance()

    def process_append_thread(self, one: Directive) -> None:
        self.each(one, "processing append thread", self._process_append)

    def _process_append(self, member: Member) -> None:
        work = member.append_work.pop(0)
        bare = work._replace(responses=())
        self.say("Processing:", *described_message(bare))
        hard_state = None
        if work.term:
            hard_state = HardState(work.term, work.vote, work.commit)
        member.write(hard_state, work.entries, work.snapshot)
        self._respond(work)

    def process_apply_thread(self, one: Directive) -> None:
        self.each(one, "processing apply thread", self._process_apply)

    def _process_apply(self, member: Member) -> None:
        work = member.apply_work.pop(0)
        bare = work._replace(responses=())
        self.say("Processing:", *described_message(bare))
        member.apply(work.entries)
        self._respond(work)

    def _respond(self, work: Message) -> None:
        self.say("Responses:")
        for response in work.responses:
            self.say(*described_message(response))
        self.messages += work.responses

    def deliver_msgs(self, one: Directive) -> None:
        kinds = {word: kind for kind, word in KIND_WORDS.items()}
        kind = kinds.get(one.value("type"))
        count = 0
        for to in one.bare:
            count += self._deliver(NodeId(int(to)), kind)
        for to in one.values("drop"):
            for message in self._taken(NodeId(int(to)), kind, drop=True):
                count += 1
                first, *rest = described_message(message)
                self.say(f"dropped: {first}", *rest)
        if not count:
            self.say("no messages")

    def _deliver(self, to: NodeId, kind: MessageKind | None = None) -> int:
        messages = self._taken(to, kind, drop=False)
        for message in messages:
            self.say(*described_message(message))
            error = self.shown(self.members[message.to - 1].node.step(message))
            if error:
                self.say(error)
        return len(messages)

    def _taken(
        self, to: NodeId, kind: MessageKind | None, *, drop: bool
    ) -> list[Message]:
        def is_taken(message: Message) -> bool:
            local = message.sender in (*THREADS, message.to)
            return (
                message.to == to
                and not (drop and local)
                and kind in (None, message.kind)
            )

        taken = [message for message in self.messages if is_taken(message)]
        self.messages = [one for one in self.messages if not is_taken(one)]
        return taken

    def stabilize(self, one: Directive) -> None:
        members = self.chosen(one)
        busy = True
        while busy:
            busy = False
            for member in members:
                if member.node.has_ready():
                    busy = True
                    with self.indented(f"> {member.id} handling Ready"):
                        self._process_ready(member)
            for member in members:
                if any(message.to == member.id for message in self.messages):
                    busy = True
                    with self.indented(f"> {member.id} receiving messages"):
                        self._deliver(member.id)
            for member in members:
                if member.append_work:
                    busy = True
                    with self.indented(f"> {member.id} processing append thread"):
                        while member.append_work:
                            self._process_append(member)
            for member in members:
                if member.apply_work:
                    busy = True
                    with self.indented(f"> {member.id} processing apply thread"):
                        while member.apply_work:
                            self._process_apply(member)

    def raft_log(self, one: Directive) -> None:
        storage = self.member(one).storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self.say(f"log is empty: first index={first}, last index={last}")
            return
        entries = storage.entries(first, last + 1, UNLIMITED)
        assert entries is not None
        self.say(*[described_entry(entry) for entry in entries])

    def raft_state(self, one: Directive) -> None:
        for member in self.members:
            core = member.node.core
            votes = "Voter" if core.is_voter() else "Non-Voter"
            role = ROLE_WORDS[core.role]
            self.say(f"{member.id}: {role} ({votes}) Term:{core.term} Lead:{core.lead}")

    def status(self, one: Directive) -> None:
        core = self.member(one).node.core
        assert core.role is Role.LEADER
        self.say(*described_progress(core.tracker.progress))

    def tick_election(self, one: Directive) -> None:
        member = self.member(one)
        for _ in range(member.options.election_ticks):
            member.node.tick()

    def tick_heartbeat(self, one: Directive) -> None:
        member = self.member(one)
        for _ in range(member.options.heartbeat_ticks):
            member.node.tick()

    def set_randomized_election_timeout(self, one: Directive) -> None:
        self.member(one).node.core.election_after = int(one.value("timeout"))

    def transfer_leadership(self, one: Directive) -> str:
        node = self.members[int(one.value("from")) - 1].node
        return self.shown(node.transfer_leader(NodeId(int(one.value("to")))))

    def forget_leader(self, one: Directive) -> str:
        return self.shown(self.member(one).node.forget_leader())

    def report_unreachable(self, one: Directive) -> None:
        self.member(one).node.report_unreachable(NodeId(int(one.bare[1])))

    # Commands of our own files

    def read_index(self, one: Directive) -> str:
        node = self.member(one).node
        outcomes = [self.shown(node.read_index(int(n))) for n in one.bare[1:]]
        return "\n".join(filter(None, outcomes))

    def report_snapshot(self, one: Directive) -> None:
        received = not one.flag("failed")
        peer = NodeId(int(one.bare[1]))
        self.member(one).node.report_snapshot(peer, received=received)


COMMANDS: dict[str, Callable[[Group, Directive], str | None]] = {
    "add-nodes": Group.add_nodes,
    "campaign": Group.campaign,
    "compact": Group.compact,
    "deliver-msgs": Group.deliver_msgs,
    "forget-leader": Group.forget_leader,
    "log-level": Group.log_level,
    "process-append-thread": Group.process_append_thread,
    "process-apply-thread": Group.process_apply_thread,
    "process-ready": Group.process_ready,
    "propose": Group.propose,
    "propose-conf-change": Group.propose_conf_change,
    "raft-log": Group.raft_log,
    "raft-state": Group.raft_state,
    "read-index": Group.read_index,
    "report-snapshot": Group.report_snapshot,
    "report-unreachable": Group.report_unreachable,
    "set-randomized-election-timeout": Group.set_randomized_election_timeout,
    "stabilize": Group.stabilize,
    "status": Group.status,
    "tick-election": Group.tick_election,
    "tick-heartbeat": Group.tick_heartbeat,
    "transfer-leadership": Group.transfer_leadership,
}
