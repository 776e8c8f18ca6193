"""Whole nodes under random troubles, and whether what clients saw can be explained.

    python tests/ha/node_seeds.py --seeds 100

Three nodes over disks that lose what was not synced when they go down; links that are
cut; leaders that hand over; snapshots all the time; members removed, and added again
with what they have, and a fourth one. Clients write by numbered commands
that they send until they are answered, compare and set, and read on any node; one has
contents kept, which are named, or not in time, and removed. A seed
decides what is done, but not when messages arrive: it need not show the same twice.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from faulty_disk import FaultyDisk
from linearizability.models import Register
from linearizability.operation import Operation
from linearizability.search import Linearizable, check
from node_room import QUICK, Room, place

from dtf_dask.errors import DtfError
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import (
    COMPARE_AND_SET,
    PUT,
    PUT_CONTENT,
    SESSION_OPEN,
)
from dtf_dask.ha.ledger.numbering import Numbering
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Code, Outcome
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.node import Node
from dtf_dask.ha.raft.messages import NodeId, Role
from dtf_dask.ha.wal import WalLimits

NODES = (1, 2, 3)
ALL = (*NODES, 4)
KEYS = ("a", "b")
CLIENTS = 4
OPTIONS = replace(QUICK, snapshot_log_bytes=1_500, content_keep_s=1.0)
LIMITS = WalLimits(segment_bytes=3_000)


@dataclass
class Report:
    """What a seed came to."""

    wrong: str
    """Empty if nothing was lost, and all nodes agree."""
    counts: Counter[str] = field(default_factory=Counter)


class _World:
    """One run: nodes, clients, and what becomes of them."""

    def __init__(self, seed: int, folder: Path, seconds: float) -> None:
        self.random = Random(seed)
        self.room = Room(folder, OPTIONS, LIMITS)
        self.disks = {node: FaultyDisk() for node in ALL}
        self.changing: asyncio.Task[None] | None = None
        self.seconds = seconds
        self.history: list[Operation] = []
        self.counts: Counter[str] = Counter()
        self.values = 0
        self.contents: dict[str, bytes] = {}
        self.ended = False

    async def run(self) -> Report:
        for node in NODES:
            await self.start(node)
        clients = [asyncio.create_task(self.client(n)) for n in range(CLIENTS)]
        clients.append(asyncio.create_task(self.sender()))
        try:
            await self.troubles()
            self.ended = True
            for client in clients:
                await client
            wrong = await self.settled()
        finally:
            for task in [*clients, self.changing]:
                if task is not None:
                    task.cancel()
            await self.room.close()
        verdict = check(self.history, Register(), limit_s=20.0)
        if not isinstance(verdict, Linearizable):
            wrong += f" {verdict}"
        return Report(wrong, self.counts)

    async def start(self, node: int) -> None:
        first = NODES if node in NODES else ()
        await self.room.start(node, first, files=self.disks[node], knows=ALL)

    # Troubles

    async def troubles(self) -> None:
        loop, random, room = asyncio.get_running_loop(), self.random, self.room
        ends_at = loop.time() + self.seconds
        while loop.time() < ends_at:
            await asyncio.sleep(random.uniform(0.02, 0.25))
            trouble = random.choice(
                [
                    *("stop", "crash", "start", "start", "cut", "heal", "hand over"),
                    *("full", "members", "members"),
                ]
            )
            self.counts[trouble] += 1
            up = sorted(room.wires.nodes)
            if trouble == "start":
                for node in sorted(set(NODES) - set(up)):
                    await self.start(node)
            elif trouble == "heal":
                room.wires.cut = set()
                for disk in self.disks.values():
                    disk.bytes_max = 2**62
            elif trouble == "cut":
                room.wires.cut = {frozenset(random.sample(NODES, 2))}
            elif trouble == "hand over":
                room.wires.nodes[random.choice(up)].raw.transfer_leader(
                    NodeId(random.choice(NODES))
                )
            elif trouble == "members":
                if self.changing is None or self.changing.done():
                    self.changing = asyncio.create_task(self.change_members())
            elif trouble == "full":
                self.disks[random.choice(NODES)].fill(random.randrange(2_000))
            elif len(up) >= len(NODES):
                await self.stop(random.choice(up), crash=trouble == "crash")

    async def change_members(self) -> None:
        """One more, or one less."""
        room, random = self.room, self.random
        leaders = [
            node
            for node, one in sorted(room.wires.nodes.items())
            if one.raw.core.role is Role.LEADER
        ]
        if not leaders:
            return
        members = room.wires.members[leaders[0]]
        missing = sorted(set(ALL) - members.everyone)
        kind = "added" if missing else "removed"
        try:
            if missing:
                if missing[0] not in room.wires.nodes:
                    await self.start(missing[0])
                await members.add_node(NodeId(missing[0]), place(missing[0]), 2.0)
            else:
                await members.remove_node(NodeId(random.choice(ALL)), 2.0)
            self.counts[kind] += 1
        except DtfError as error:
            self.counts[f"not {kind}: {type(error).__name__}"] += 1

    async def stop(self, node: int, *, crash: bool) -> None:
        disk = self.disks[node]
        if crash:
            # What is on its way is never written, and what was not synced is lost.
            disk.fails = dict.fromkeys(("write", "sync", "truncate", "sync_folder"), 0)
        await self.room.stop(node)
        if crash:
            disk.crash(self.random)

    async def settled(self) -> str:
        """Without troubles all nodes come to the same state; what is wrong if not."""
        try:
            async with asyncio.timeout(60):
                await self._settle()
        except TimeoutError:
            return "\n".join(
                f"node {node.node}: {node.failure or node.disk_full}"
                f" {node.state.index} {node.raw.status()}"
                for node in self.room.wires.nodes.values()
            )
        hashes = {n.state.state_hash() for n in self.room.wires.nodes.values()}
        return "" if len(hashes) == 1 else "the states differ"

    async def _settle(self) -> None:
        room = self.room
        room.wires.cut = set()
        if self.changing is not None:
            await self.changing
        for node, disk in self.disks.items():
            disk.bytes_max = 2**62
            if NodeId(node) not in room.wires.nodes:
                await self.start(node)
        number = encode_command(PUT, "tests", "last", b"")
        while True:
            leader = await room.leader()
            (outcome,) = await leader.propose([number], 1.0)
            if outcome.code is Code.OK:
                break
            await asyncio.sleep(0.02)
        members = room.wires.members[leader.node.node].everyone
        await room.applied(leader.node.state.index, *members)
        # Of those that were removed nobody knows how far they came.
        for node in sorted(set(ALL) - members):
            await room.stop(node)
        nodes = room.wires.nodes.values()
        while len({node.state.index for node in nodes}) > 1:
            await asyncio.sleep(0.02)
        for node in nodes:
            await self.contents_there(node)
        self.counts["applied"] = leader.node.state.index
        self.counts["snapshots"] = sum(
            n.snapshots.newest.point.index > 1 for n in nodes
        )
        self.counts["compacted"] = sum(n.storage.first_index() > 2 for n in nodes)

    async def contents_there(self, node: Node) -> None:
        """Wait until a node has all contents that were named, as they were sent."""
        for key, content in self.contents.items():
            ((_, record),) = node.state.answer(Get("contents", key)).records
            assert isinstance(record.value, Reference)
            store = node.folder.contents
            while store.size(record.value.digest) is None:
                await asyncio.sleep(0.02)
            found = store.read(record.value.digest, 0, record.value.size)
            if found != content:
                raise AssertionError(f"{key}: node {node.node} has another content")

    # Clients

    async def sender(self) -> None:
        """Has contents kept by a node, then named by whoever leads."""
        random = Random(self.random.random())
        while not self.ended:
            content = random.randbytes(random.randrange(1, 5_000))
            try:
                reference = await self.any_node(random).put_content(content, 0.5)
            except DtfError:
                self.counts["contents not kept"] += 1
                await asyncio.sleep(0.02)
                continue
            self.counts["contents kept"] += 1
            if random.random() < 0.3:
                await asyncio.sleep(random.uniform(0.0, 1.5))
            key = f"{self.counts['contents kept']}"
            command = encode_command(PUT_CONTENT, "contents", key, *reference)
            outcome = await self.sent(command, random, 1.0)
            self.counts[f"contents {outcome.code.name}"] += 1
            if outcome.code is Code.OK:
                self.contents[key] = content

    async def client(self, own: int) -> None:
        random = Random(self.random.random())
        numbering = Numbering(f"client-{own}")
        opening = encode_command(SESSION_OPEN, 3_600_000, session=f"client-{own}")
        opened = (Code.OK, Code.CONFLICT)  # by a sending that was not answered
        while (await self.sent(opening, random, 5.0)).code not in opened:
            if self.ended:
                return
        known: dict[str, tuple[int, bytes | None]] = dict.fromkeys(KEYS, (0, None))
        while not self.ended:
            key = random.choice(KEYS)
            kind = random.choice(["read", "read", "write", "cas"])
            if kind == "read":
                await self.read(own, key, random, known)
            else:
                await self.write(own, kind, key, random, numbering, known[key])
            await asyncio.sleep(random.uniform(0, 0.01))

    async def read(
        self,
        own: int,
        key: str,
        random: Random,
        known: dict[str, tuple[int, bytes | None]],
    ) -> None:
        called = asyncio.get_running_loop().time()
        answer = await self.any_node(random).read(Get("tests", key), 0.5)
        if answer is None:
            self.counts["reads that failed"] += 1
            return
        value, revision = None, 0
        if answer.records:
            _, (value, revision) = answer.records[0]
        known[key] = revision, value
        self.done(own, "read", key, None, value, called)

    async def write(
        self,
        own: int,
        kind: str,
        key: str,
        random: Random,
        numbering: Numbering,
        known: tuple[int, bytes | None],
    ) -> None:
        called = asyncio.get_running_loop().time()
        self.values += 1
        value = b"%d" % self.values
        revision, old = known
        if kind == "cas":
            command = numbering.number(COMPARE_AND_SET, "tests", key, revision, value)
            argument: Any = (old, value)
        else:
            command, argument = numbering.number(PUT, "tests", key, value), value
        outcome = await self.sent(command.packed, random, 3.0)
        outcome = numbering.settle(command.number, outcome)
        self.counts[f"{kind} {outcome.code.name}"] += 1
        if outcome.code is Code.UNKNOWN:
            one = Operation(own, kind, key, argument, None, called, None)
            self.history.append(one)
        elif outcome.code is Code.OK or kind == "cas":
            result = outcome.code is Code.OK if kind == "cas" else None
            self.done(own, kind, key, argument, result, called)
        else:
            raise AssertionError(f"{kind}: {outcome}")

    async def sent(self, command: bytes, random: Random, limit_s: float) -> Outcome:
        """Send a command until its outcome is known, or the time is over."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limit_s
        while loop.time() < ends_at:
            (outcome,) = await self.any_node(random).propose([command], 0.3)
            if outcome.code not in (Code.UNKNOWN, Code.NOT_DONE):
                return outcome
            self.counts[f"sent again: {outcome.code.name}"] += 1
            await asyncio.sleep(0.005)
        return UNKNOWN

    def any_node(self, random: Random) -> NodeLedger:
        return NodeLedger(random.choice([*self.room.wires.nodes.values()]))

    def done(
        self, own: int, kind: str, key: str, argument: Any, result: Any, called: float
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.counts[kind] += 1
        self.history.append(Operation(own, kind, key, argument, result, called, now))


def run_seed(seed: int, folder: Path, seconds: float = 2.0) -> Report:
    """Run one, for so long."""
    return asyncio.run(_World(seed, folder, seconds).run())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args(arguments)
    logging.getLogger("dtf_dask").setLevel(logging.CRITICAL)
    counts: Counter[str] = Counter()
    broken = []
    for seed in range(options.start, options.start + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report = run_seed(seed, Path(folder), options.seconds)
        counts += report.counts
        if report.wrong:
            broken.append(seed)
            print(f"seed {seed}: {report.wrong}", flush=True)
    print(*(f"{name}: {count}" for name, count in sorted(counts.items())), sep="\n")
    print(f"{options.seeds} seeds, broken: {broken or 'none'}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
