"""Entries a second through the cores of a group in one process, on this machine.

Storages are in memory and messages are handed over as they are. What is measured is the
protocol alone: CPU time of all nodes together, for batches of 100 entries and of one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from random import Random
from typing import Any

from dtf_dask.ha.raft.messages import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigState,
    HardState,
    Message,
    NodeId,
    Snapshot,
    SnapshotPoint,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.raft.storage import MemoryStorage

PAYLOAD = b"x" * 200
HELD = 20_000


class Member:
    """One node with asynchronous storage that is carried out at once."""

    def __init__(self, node: int, voters: tuple[NodeId, ...]) -> None:
        self.id = NodeId(node)
        self.storage = MemoryStorage()
        self.storage.restore(Snapshot(SnapshotPoint(1, 1, ConfigState(voters))))
        options = RaftOptions(
            self.id, async_storage=True, pre_vote=True, check_quorum=True
        )
        self.node = RawNode(options, self.storage, Random(node))
        self.applied = 0

    def carry_out(self, group: dict[NodeId, Member]) -> None:
        """Do what is ready, and deliver what is to be sent."""
        for message in self.node.ready().messages:
            if message.to == APPEND_THREAD:
                if message.term:
                    self.storage.hard_state = HardState(
                        message.term, message.vote, message.commit
                    )
                self.storage.append(message.entries)
                self._deliver(message.responses, group)
            elif message.to == APPLY_THREAD:
                self.applied += len(message.entries)
                self._deliver(message.responses, group)
            else:
                group[message.to].node.step(message)

    def _deliver(self, messages: Any, group: dict[NodeId, Member]) -> None:
        message: Message
        for message in messages:
            group[message.to].node.step(message)


def settle(group: dict[NodeId, Member]) -> None:
    """Until nothing is left to do."""
    busy = True
    while busy:
        busy = False
        for member in group.values():
            if member.node.has_ready():
                busy = True
                member.carry_out(group)


def entries_per_s(nodes: int, batch: int, total: int) -> float:
    """Entries a second of CPU time, from the proposal to applied everywhere."""
    voters = tuple(NodeId(n) for n in range(1, nodes + 1))
    group = {NodeId(n): Member(n, voters) for n in voters}
    leader = group[NodeId(1)]
    leader.node.campaign()
    settle(group)
    before = leader.applied
    payloads = [PAYLOAD] * batch
    begin = time.process_time()
    for _ in range(total // batch):
        assert leader.node.propose(payloads) is Outcome.DONE
        settle(group)
        if leader.storage.last_index() - leader.storage.start.index > HELD:
            for member in group.values():
                member.storage.compact(member.node.status().applied)
    taken = time.process_time() - begin
    assert leader.applied - before == total // batch * batch
    return total / taken


def main() -> None:
    """Measure, and print JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", action="store_true", help="only the JSON")
    options = parser.parse_args()
    total = 40_000 if options.quick else 200_000
    figures: dict[str, dict[str, int]] = {}
    for nodes in (1, 3, 5):
        figures[str(nodes)] = {
            str(batch): round(entries_per_s(nodes, batch, total // share))
            for batch, share in ((100, 1), (1, 20))
        }
        if not options.json:
            print(f"{nodes} nodes, entries/s by batch: {figures[str(nodes)]}")
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs"
    print(
        json.dumps(
            {
                "entries_per_s": figures,
                "python": platform.python_version(),
                "machine": machine,
            }
        )
    )


if __name__ == "__main__":
    main()
