"""A node of the ledger: Raft, its disk, its network and its state, on one event loop.

All that comes in (messages, calls, ticks, answers of the disk) is handed to the core at
once; what follows from it is carried out once a turn of the loop, so that what came
together is written, sent and synced together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from random import Random

from dtf_dask.ha.disk import Disk, storage_write
from dtf_dask.ha.ledger.entries import encode_entry
from dtf_dask.ha.ledger.log_clock import LogClock
from dtf_dask.ha.ledger.outcomes import Stopped
from dtf_dask.ha.ledger.state_machine import StateMachine
from dtf_dask.ha.network import Network
from dtf_dask.ha.node_contents import NodeContents
from dtf_dask.ha.node_disk import DiskAnswers
from dtf_dask.ha.node_folder import NodeFolder
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.node_reads import Reads
from dtf_dask.ha.node_snapshots import Snapshots
from dtf_dask.ha.node_storage import NodeStorage
from dtf_dask.ha.proposing import Proposals, Waiter
from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Ready,
    Role,
    SoftState,
)
from dtf_dask.ha.raft.outcomes import Outcome as Taken
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.scheduler_status import SchedulerStatus
from dtf_dask.ha.standing import standing_ticks
from dtf_dask.ha.web_status import WebStatus

_LOG = logging.getLogger(__name__)

_TICKS_AT_ONCE_MAX = 2
"""After a pause of the process: more would end a leadership that nobody has missed."""

_TURN_S = 0.05  # who applies a long log lets others in between
_THREADS = (APPEND_THREAD, APPLY_THREAD)
_FATAL = (Taken.LOG_LOST, Taken.COMMITTED_CONFLICT)


class Node:
    """A node that runs from `start` until `close`, or until its disk fails.

    Parameters
    ----------
    node
        Its id.
    folder
        What `open_node` found; it is the node's from now on.
    network
        How it reaches the others.
    options
        Times and limits.
    rng
        For election timeouts.
    failed
        Called once, with the reason, if the node can do nothing more.
    """

    def __init__(
        self,
        node: NodeId,
        folder: NodeFolder,
        network: Network,
        options: NodeOptions,
        rng: Random,
        failed: Callable[[str], None],
    ) -> None:
        self.node = node
        self.options = options
        self.network = network
        self.state: StateMachine = folder.state
        self.failure = self.disk_full = ""
        self.removed_known = self.removed_heard = ""
        """That it was removed from its cluster: applied here, or said by a peer."""
        self.members_changed: Callable[[], None] = lambda: None
        """Called when other members have been applied, or a snapshot restored."""
        self.metrics_at = ""
        """Where Prometheus reads of it, if it may."""
        self.scheduler, self.web = SchedulerStatus(), WebStatus()
        self.elections = 0
        self._failed = failed
        self.rng = rng
        self.folder = folder
        lock = threading.Lock()
        self.snapshots = Snapshots(self, folder)
        self.storage = NodeStorage(
            folder.wal, lock, self.snapshots.newest, options.hot_log_bytes
        )
        self.raw = RawNode(options.raft(node, folder.point.index), self.storage, rng)
        self.contents = NodeContents(self)
        self.proposals = Proposals()
        self.reads = Reads(self)
        self.disk_answers = DiskAnswers(self)
        self.disk = Disk(
            folder.wal, lock, self.disk_answers.written, self.disk_answers.trouble
        )
        self.applied_term = folder.point.term
        self._clock: LogClock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False
        self._ticks: asyncio.TimerHandle | None = None
        self._next_tick = 0.0
        self.changed = asyncio.Event()
        """Set when something was applied, or roles or members changed; then another."""
        self._closed = False

    # Start and end

    async def start(self) -> None:
        """Take part from now on."""
        self._loop = asyncio.get_running_loop()
        self.disk_answers.start(self._loop)
        self.disk.start()
        self.contents.start()
        self._next_tick = self._loop.time() + self.options.tick_s
        self._ticks = self._loop.call_at(self._next_tick, self.guarded, self._tick)
        if self.alone:
            self.raw.campaign()
        self.wake()

    @property
    def alone(self) -> bool:
        """Whether it is the only one that votes."""
        config = self.raw.status().config
        return (config.voters, config.voters_outgoing) == ((self.node,), ())

    @property
    def removed(self) -> str:
        """That it belongs to its cluster no more; empty if it does.

        A peer that says so may lag behind: it is not believed while there is a leader.
        """
        heard = self.removed_heard if self.raw.core.lead == NO_NODE else ""
        return self.removed_known or heard

    @property
    def ended(self) -> bool:
        """Whether it has failed, or was closed."""
        return bool(self.failure) or self._closed

    async def close(self) -> None:
        """Stop; what is on its way to the disk is written first."""
        if self._closed:
            return
        self._closed = True
        if self._ticks is not None:
            self._ticks.cancel()
        self.proposals.refuse_waiting("the node is stopping")
        self.proposals.forget()
        self.reads.refuse_all()
        await self.contents.close()
        await self.snapshots.close()
        await self.network.close()
        await self.disk_answers.end()
        self.notify()

    def fail(self, reason: str) -> None:
        """Do nothing more: what the node would say cannot be relied on."""
        if self.failure or self._closed:
            return
        self.failure = reason
        _LOG.error("node %d stops: %s", self.node, reason)
        self.proposals.refuse_waiting(reason)
        self.proposals.forget()
        self.contents.keeping.refuse_all(reason)
        self.reads.refuse_all()
        self.notify()
        self._failed(reason)

    # What comes in

    def propose(self, commands: Sequence[bytes], waiter: Waiter) -> None:
        """Have commands, none of which is malformed, put into the log."""
        reason = self.refusal
        if reason:
            waiter.refuse(reason)
        elif not self.contents.confirm(commands, waiter):
            self.accept(commands, waiter)

    def accept(self, commands: Sequence[bytes], waiter: Waiter) -> None:
        """Propose commands whose contents are kept by a majority."""
        if not self.proposals.add(commands, waiter):
            waiter.refuse("too much is waiting to be written: try again")
        else:
            self.wake()

    @property
    def refusal(self) -> str:
        """Why this node takes no commands now; empty if it does."""
        if self._closed:
            return "the node is stopping"
        if self.failure or self.disk_full:
            return self.failure or self.disk_full
        if self.raw.core.role is not Role.LEADER:
            return self.removed or "this node does not lead"
        return ""

    def receive(self, messages: Sequence[Message]) -> None:
        """Messages of one other node have come."""
        if not self.ended:
            self.guarded(self._take, messages)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.kind is MessageKind.SNAPSHOT:
                self.snapshots.offered(message)
            elif self.disk_answers.takes(message.kind):
                self.step(message)
        self.wake()

    def step(self, message: Message) -> None:
        """Hand a message to the core."""
        outcome = self.raw.step(message)
        if outcome in _FATAL:
            self.fail(f"{outcome.value}; this node's folder must be replaced")

    def peer_lost(self, peer: NodeId) -> None:
        """The connection to a peer broke."""
        if not self.ended:
            self.guarded(self._lost, peer)

    def _lost(self, peer: NodeId) -> None:
        self.raw.report_unreachable(peer)
        self.snapshots.peer_lost(peer)
        if peer == self.raw.core.lead and self._loop is not None:
            # It may have died.
            self.raw.forget_leader()
            voters = self.raw.status().config.voters
            for ticks in standing_ticks(self.node, peer, voters):
                delay_s = (ticks + self.scheduler.late_ticks) * self.options.tick_s
                self._loop.call_later(delay_s, self.guarded, self._stand_if_orphaned)
        self.wake()

    def _stand_if_orphaned(self) -> None:
        core = self.raw.core
        asks = core.role in (Role.FOLLOWER, Role.PRE_CANDIDATE)
        if core.lead == NO_NODE and asks and not (self.ended or self.disk_full):
            self.raw.campaign()
            self.wake()

    def _tick(self) -> None:
        if self.ended or self._loop is None:
            return
        now, tick_s = self._loop.time(), self.options.tick_s
        ticks = max(0, int((now - self._next_tick) // tick_s) + 1)
        self._next_tick += ticks * tick_s
        if self._clock is not None:
            self._clock.look(now)
        if not self.disk_full:
            # With a full disk it keeps no promise: the others are to elect another.
            for _ in range(min(ticks, _TICKS_AT_ONCE_MAX)):
                self.raw.tick()
                self.snapshots.tick()
        self._ticks = self._loop.call_at(self._next_tick, self.guarded, self._tick)
        self.wake()

    # A turn

    def wake(self) -> None:
        """Have a turn soon, one for all that comes until then."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self.guarded, self._turn)

    def guarded(self, function: Callable[..., None], *arguments: object) -> None:
        """A node with a defect stops, rather than go on with half of a turn done."""
        try:
            function(*arguments)
        except Exception as error:
            _LOG.exception("node %d: a defect of dtf", self.node)
            self.fail(f"a defect of dtf: {error!r}")

    def _turn(self) -> None:
        self._due = False
        if self.ended:
            return
        self._place_calls()
        self.reads.ask()
        raw, loop = self.raw, asyncio.get_running_loop()
        ends_at = loop.time() + _TURN_S
        while raw.has_ready() and not self.failure and loop.time() < ends_at:
            self._carry_out(raw.ready())
        if raw.has_ready() or self.proposals.waiting or self.reads.waiting:
            self.wake()

    def _place_calls(self) -> None:
        proposals, raw, loop = self.proposals, self.raw, self._loop
        while proposals.waiting:
            reason = self.refusal
            if reason:
                proposals.refuse_waiting(reason)
                return
            if self._clock is None or loop is None:
                return  # it leads as of this turn
            calls = proposals.take(raw.core.term)
            if not calls:
                continue
            commands = [one for call in calls for one in call.commands]
            entry = encode_entry(self._clock.stamp(loop.time()), commands)
            taken = raw.propose((entry,))
            if taken is Taken.DONE:
                core = raw.core
                proposals.place(core.log.last_index(), core.term, calls)
            else:
                proposals.refuse(calls, taken.value)

    def _carry_out(self, ready: Ready) -> None:
        if ready.soft_state is not None:
            self._on_role(ready.soft_state)
        messages = ready.messages
        to_write = [one for one in messages if one.to == APPEND_THREAD]
        to_apply = [one for one in messages if one.to == APPLY_THREAD]
        others = [one for one in messages if one.to not in _THREADS]
        # Peers first: they take longest, and the thread of the disk delays this one.
        if others:
            self.network.send(others)
        for message in to_write:
            self.disk.put(storage_write(message, sync=ready.must_sync))
        self.reads.taken(ready.read_states, ready.reads_refused)
        for message in to_apply:
            self._apply(message.entries)
            for response in message.responses:
                self.step(response)
        if to_apply:
            self.reads.applied(self.state.index)
            self.snapshots.applied()
            self.notify()

    def _on_role(self, soft: SoftState) -> None:
        if soft.role is Role.LEADER:
            assert self._loop is not None
            self.elections += 1
            # Entries of earlier terms may not be applied yet: their time is later than
            # the state's, which the state machine sees to: its time never goes back.
            self._clock = LogClock(self.state.time_ms, self._loop.time())
            self.contents.leads()
            if self.disk_full:
                self.disk_answers.hand_over()
        else:
            self._clock = None
            self.contents.keeping.refuse_all("this node does not lead")
            self.proposals.refuse_waiting("this node does not lead")
        self.notify()

    def _apply(self, entries: Sequence[Entry]) -> None:
        state, proposals = self.state, self.proposals
        size, changed = 0, False
        for entry in entries:
            payload = entry.payload
            size += len(payload)
            if entry.kind is not EntryKind.NORMAL:
                changed |= not isinstance(self.raw.apply_change(entry), Unchanged)
                payload = b""
            applied = state.apply(entry.index, payload)
            if isinstance(applied, Stopped):
                self.fail(
                    f"entry {applied.index} cannot be applied: {applied.reason};"
                    " start this node with the version of dtf that the others have"
                )
                return
            self.applied_term = entry.term
            proposals.applied(entry.index, entry.term, applied.outcomes)
        if state.records.references.appeared:
            self.contents.applied()
        self.snapshots.log_bytes += size
        if changed:
            self.contents.keeping.forget()
            self.members_changed()

    # What others wait for

    def notify(self) -> None:
        """Something that others wait for may have changed."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait for the next of them."""
        await self.changed.wait()
