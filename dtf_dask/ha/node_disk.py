"""What a node does with what its disk answers: written, full, room again, failed.

With a full disk a node promises nothing. It counts no time, so that it never stands for
election; if it leads it hands over to the voter that is nearest, and if nobody takes
over it leads no more all the same. What others say it still hears, and it can be read
as long as it has applied what is to be seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dtf_dask.ha.disk import Compact, DiskTrouble, Job
from dtf_dask.ha.raft.messages import Message, MessageKind, NodeId, Role

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

_LOG = logging.getLogger(__name__)


class DiskAnswers:
    """Takes the answers of a node's disk from its thread to the node's loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answers are wanted there."""
        self._loop = loop

    def takes(self, kind: MessageKind) -> bool:
        """Whether the node heeds such a message: not that it is to lead, if it cannot.

        It may not even keep its vote, or have no scheduler that could lead.
        """
        node = self._node
        unfit = node.disk_full or node.scheduler.late_ticks
        return kind is not MessageKind.TIMEOUT_NOW or not unfit

    async def end(self) -> None:
        """Give the folder up, once all that is on its way to the disk is written."""
        node = self._node
        if await asyncio.to_thread(node.disk.close):
            node.folder.wal.close()
        else:
            # The lock would let in another process while this one may still write.
            _LOG.error(
                "node %d: its disk does not answer; its folder stays locked until this"
                " process has ended",
                node.node,
            )

    def written(self, jobs: list[Job]) -> None:
        """Called in the disk's thread: these are done."""
        self._call(self._written, jobs)

    def trouble(self, trouble: DiskTrouble) -> None:
        """Called in the disk's thread: it is full, has room again, or has failed."""
        self._call(self._trouble, trouble)

    def _call(self, function: Callable[..., None], argument: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._node.guarded, function, argument)

    def _written(self, jobs: list[Job]) -> None:
        node = self._node
        if node.ended:
            return
        others: list[Message] = []
        for job in jobs:
            if isinstance(job, Compact):
                node.storage.compacted(job.first_index)
                continue
            if job.point is not None:
                node.snapshots.written(job.point)
            node.storage.stored(job.entries)
            for response in job.responses:
                if response.to == node.node:
                    node.step(response)
                else:
                    others.append(response)
        if others:
            node.network.send(others)
        node.wake()

    def _trouble(self, trouble: DiskTrouble) -> None:
        node = self._node
        if trouble.failed:
            node.fail(trouble.failed)
        if node.ended:
            return
        node.disk_full = trouble.full
        if trouble.full:
            _LOG.error("node %d: %s", node.node, trouble.full)
            node.proposals.refuse_waiting(trouble.full)
            # They may be done all the same, but not before there is room here.
            node.proposals.forget()
            node.reads.refuse_unapplied()
            self.hand_over()
        else:
            _LOG.warning("node %d: there is room on its disk again", node.node)
            if node.alone:
                node.raw.campaign()
        node.notify()
        node.wake()

    def hand_over(self) -> None:
        """If it leads, have the voter that is nearest lead instead."""
        node = self._node
        status = node.raw.status()
        if status.role is not Role.LEADER or node.alone or self._loop is None:
            return
        voters = [
            (peer.active, peer.match, -peer_id)
            for peer_id, peer in status.peers.items()
            if peer_id != node.node and not peer.learner
        ]
        node.raw.transfer_leader(NodeId(-max(voters)[2]))
        wait_s = node.options.election_ticks * node.options.tick_s
        self._loop.call_later(wait_s, node.guarded, self._give_up, status.term)
        node.wake()

    def _give_up(self, term: int) -> None:
        """Nobody has taken over. It must not go on to lead, kept by those who read."""
        node = self._node
        core = node.raw.core
        if node.disk_full and core.role is Role.LEADER and core.term == term:
            node.raw.step_down()
            node.wake()
