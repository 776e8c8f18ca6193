"""A simulated node: the core, its disk and its registers. It may die and come back."""

from __future__ import annotations

from random import Random

from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import HardState, Message, NodeId, Snapshot
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.raw_node import RawNode
from simulation.disk import Disk, Write
from simulation.profile import Profile
from simulation.register import Registers


class Member:
    """One node.

    Attributes
    ----------
    node : RawNode, optional
        None while it is down.
    life : int
        Counts its starts: what was under way before a crash concerns nobody.
    writes : list
        What its disk was told and has not done, in order.
    writing : int
        So many of them are being written just now.
    applies : list
        What its state machine was told and has not done, in order.
    asked : dict of int to int
        Reads that are not answered yet, with what was committed when they were asked.
    to_read : list
        Reads that wait for an index to be applied.
    waiting : set of int
        Writes that were proposed here and are not applied yet.
    """

    def __init__(self, member_id: int, seed: int, profile: Profile, disk: Disk) -> None:
        self.id = NodeId(member_id)
        self.node: RawNode | None = None
        self.disk = disk
        self.life = 0
        self.registers = Registers()
        self.restored_to = 0
        self.paused_until = 0.0
        self.slow_until = 0.0
        self.snapshot_due = False
        self.apply_free_at = 0.0
        self.writing = 0
        self.writes: list[tuple[Message, bool]] = []
        self.applies: list[Message] = []
        self.asked: dict[int, int] = {}
        self.to_read: list[tuple[int, int]] = []
        self.waiting: set[int] = set()
        self._seed = seed
        self._profile = profile
        rng = Random(f"{seed} clock {member_id}")
        self.tick_time = 1.0 + rng.uniform(-profile.drift, profile.drift)

    def __str__(self) -> str:
        if self.node is None:
            return f"node {self.id} (down)"
        core = self.core
        return f"node {self.id} ({core.role.value}, term {core.term})"

    @property
    def core(self) -> Core:
        """That of a node which is up."""
        assert self.node is not None
        return self.node.core

    def start(self, snapshots: dict[bytes, Registers]) -> None:
        """Come up with what the disk holds."""
        profile = self._profile
        self.life += 1
        storage = self.disk.visible
        snapshot = storage.snapshot()
        assert snapshot is not None
        self._restore(snapshot, snapshots)
        options = RaftOptions(
            self.id,
            election_ticks=profile.election_ticks,
            heartbeat_ticks=profile.heartbeat_ticks,
            applied=snapshot.point.index,
            async_storage=profile.async_storage,
            check_quorum=profile.check_quorum,
            pre_vote=profile.pre_vote,
            step_down_on_removal=profile.step_down_on_removal,
            forward_proposals=profile.forward_proposals,
            message_bytes_max=profile.message_bytes_max,
            apply_bytes_max=profile.apply_bytes_max,
            inflight_messages_max=profile.inflight_messages_max,
            uncommitted_bytes_max=profile.uncommitted_bytes_max,
            read_rounds_max=profile.read_rounds_max,
        )
        rng = Random(f"{self._seed} node {self.id} {self.life}")
        self.node = RawNode(options, storage, rng)

    def stop(self, rng: Random) -> None:
        """Die at once: what the disk was not done with may be there or not."""
        self.node = None
        under_way = [
            Write(message.snapshot, message.entries, hard_state_of(message))
            for message, _ in self.writes
        ]
        self.disk.crash(under_way, rng)
        self.writes.clear()
        self.applies.clear()
        self.asked.clear()
        self.to_read.clear()
        self.waiting.clear()
        self.paused_until = self.apply_free_at = 0.0
        self.writing = 0

    def restore(self, snapshot: Snapshot, snapshots: dict[bytes, Registers]) -> None:
        """Take up the state of a snapshot from another node."""
        if snapshot.point.index > self.registers.index:
            self._restore(snapshot, snapshots)

    def _restore(self, snapshot: Snapshot, snapshots: dict[bytes, Registers]) -> None:
        kept = snapshots.get(snapshot.payload)
        self.registers = Registers() if kept is None else kept.copy()
        self.registers.index = self.restored_to = snapshot.point.index
        self.registers.config = snapshot.point.config


def hard_state_of(message: Message) -> HardState | None:
    """What a ``STORAGE_APPEND`` says of the hard state."""
    if not message.term:
        return None
    return HardState(message.term, message.vote, message.commit)
