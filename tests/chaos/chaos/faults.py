"""What is done to the cluster: each fault begins, lasts, and is mended.

A fault says in words whom it meets. When it is cancelled it is mended all the same, by
`Faults.mend_all`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from chaos.group import SITES, Group, Member
from dtf_dask.errors import DtfError, NodeProcessError, UsageError
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT

Say = Callable[[str], None]
Fault = Callable[[Say], Awaitable[None]]

KINDS = (
    *("kill", "stop", "partition", "clients", "disk"),
    *("clock", "members", "transfer", "snapshot"),
)
_CHANGE_S = 10.0
_FILLINGS, _FILLING_BYTES = 40, 500_000


class Faults:
    """The faults of one cluster, drawn by chance.

    Parameters
    ----------
    hold_max_s
        The longest that a fault lasts.
    """

    def __init__(self, group: Group, rng: Random, hold_max_s: float = 8.0) -> None:
        self.group = group
        self.hold_max_s = hold_max_s
        self.refusals: list[str] = []
        """What was said of changes of members that were not done."""
        self._rng = rng

    def of_kind(self, kind: str) -> Fault:
        """One of a kind; each call of it draws again."""
        fault: Fault = getattr(self, f"_{kind}")
        return fault

    def possible(self, kind: str) -> str:
        """Why there cannot be one of a kind; empty if there can."""
        return self.group.no_disks if kind == "disk" else ""

    async def mend_all(self) -> None:
        """Have nothing disturbed any more, and the members those that are to be."""
        for member in self.group.members.values():
            member.signal(signal.SIGCONT)
            member.clock.jump()
            if member.disk_filled:
                member.free_disk()
        self.group.net.heal()

    async def settle_members(self, limit_s: float = 60.0) -> str:
        """Finish what was begun of changes of members; what could not be."""
        ends = time.monotonic() + limit_s
        wrong = "no node leads"
        while time.monotonic() < ends:
            leader = await self.group.leader()
            status = (await self.group.statuses()).get(leader)
            if status is not None and status["role"] == "leader":
                there = {*status["voters"], *status["learners"]}
                wanted = self.group.belonging
                if set(status["voters"]) == wanted and not status["voters_outgoing"]:
                    return ""
                wrong = f"voters {status['voters']} rather than {sorted(wanted)}"
                for node in sorted(there - wanted):
                    await self._asked_to_leave(node, ends)
                for node in sorted(wanted - set(status["voters"])):
                    await self._asked_to_join(node, ends)
            await asyncio.sleep(0.2)
        return wrong

    # Whom, and how long

    def _some(self, leader: int, counts: tuple[int, ...]) -> list[Member]:
        """Some that belong to the cluster; often the leader is one of them."""
        nodes = sorted(self.group.belonging)
        self._rng.shuffle(nodes)
        if leader in nodes and self._rng.random() < 0.5:
            nodes.remove(leader)
            nodes.insert(0, leader)
        count = min(self._rng.choice(counts), len(nodes))
        return [self.group.members[node] for node in nodes[:count]]

    async def _while(self, shortest_s: float = 0.5) -> None:
        """Let it last."""
        await asyncio.sleep(self._rng.uniform(shortest_s, self.hold_max_s))

    def _minorities(self) -> tuple[int, ...]:
        """Mostly few enough for the others to go on."""
        most = (len(self.group.belonging) - 1) // 2
        return (*([1] * 6), *([max(most, 1)] * 2), most + 1, len(self.group.belonging))

    # The kinds

    async def _kill(self, say: Say) -> None:
        leader = await self.group.leader()
        for _ in range(self._rng.choice((1, 1, 1, 3))):
            members = self._some(leader, self._minorities())
            say(f"kill -9 of {_named(members, leader)}")
            for member in members:
                if member.pid is not None:
                    member.kills += 1
                    member.signal(signal.SIGKILL)
            await asyncio.sleep(self._rng.uniform(0.3, 2.0))

    async def _stop(self, say: Say) -> None:
        leader = await self.group.leader()
        members = self._some(leader, self._minorities())
        say(f"SIGSTOP of {_named(members, leader)}")
        for member in members:
            member.signal(signal.SIGSTOP)
        try:
            await self._while()
        finally:
            for member in members:
                member.signal(signal.SIGCONT)

    async def _partition(self, say: Say) -> None:
        leader = await self.group.leader()
        members = self._some(leader, self._minorities())
        away = {one.node for one in members}
        rest = self.group.belonging - away or self.group.belonging
        out = [(a, b) for a in sorted(away) for b in sorted(rest) if a != b]
        into = [(b, a) for a, b in out]
        how, pairs = self._rng.choice(
            [
                ("cut off from the others", out + into),
                ("unheard and deaf", out + into),
                ("unheard", out),
                ("deaf", into),
                ("slow", out + into),
            ]
        )
        pairs = self._thinned(pairs) if self._rng.random() < 0.2 else pairs
        say(f"{_named(members, leader)} {how}, {len(pairs)} ways")
        await self._disturb(pairs, how)

    async def _clients(self, say: Say) -> None:
        leader = await self.group.leader()
        sites = self._rng.sample(SITES, self._rng.choice((1, 1, 2, 3)))
        members = self._some(leader, self._minorities())
        nodes = sorted(one.node for one in members)
        out = [(site, node) for site in sites for node in nodes]
        into = [(node, site) for site, node in out]
        how, pairs = self._rng.choice(
            [
                ("cut off from", out + into),
                ("unheard and deaf", out + into),
                ("unheard", out),
                ("deaf", into),
                ("slow", out + into),
            ]
        )
        say(f"clients of {len(sites)} sites {how}: {_named(members, leader)}")
        await self._disturb(pairs, how)

    async def _disturb(self, pairs: list[tuple[object, object]], how: str) -> None:
        ways = [self.group.net.way(*pair) for pair in pairs]
        slow_s = self._rng.choice((0.02, 0.1, 0.4))
        for way in ways:
            if how.startswith("cut"):
                way.disturb(cut=True)
            elif how == "slow":
                way.disturb(delay_s=slow_s)
            else:
                way.disturb(held=True)
        try:
            await self._while()
        finally:
            lost = self._rng.random() < 0.5
            for way in ways:
                way.heal(lost=lost)

    async def _disk(self, say: Say) -> None:
        leader = await self.group.leader()
        own = [
            one
            for one in self.group.members.values()
            if one.own_disk and one.node in self.group.belonging
        ]
        members = self._rng.sample(own, self._rng.randint(1, len(own))) if own else []
        say(f"no room on the disk of {_named(members, leader)}")
        for member in members:
            member.fill_disk()
        try:
            await self._while(1.0)
        finally:
            for member in members:
                member.free_disk()
        await asyncio.sleep(0.6)  # a node looks for room twice a second

    async def _clock(self, say: Say) -> None:
        leader = await self.group.leader()
        members = self._some(leader, self._minorities())
        said = []
        for member in members:
            wall_s = self._rng.choice((-1, 1)) * 10 ** self._rng.uniform(0, 5)
            steady_s = self._rng.choice((0.0, 0.3, 1.0, 10.0, 100.0))
            said.append(f"node {member.node} {wall_s:+.0f} s and {steady_s:+g} s")
            member.clock.jump(wall_s=wall_s, steady_s=steady_s)
        say(f"wall and monotonic clocks jump: {', '.join(said)}; node {leader} leads")
        try:
            await self._while()
        finally:
            for member in members:
                member.clock.jump()

    async def _transfer(self, say: Say) -> None:
        for _ in range(self._rng.choice((1, 3))):
            to = self._rng.choice(sorted(self.group.belonging))
            say(f"node {to} is to lead")
            async with self.group.direct() as ledger:
                with suppress(DtfError):
                    await ledger.transfer_leader(to, 3.0)

    async def _snapshot(self, say: Say) -> None:
        leader = await self.group.leader()
        nodes = sorted(self.group.belonging)
        self._rng.shuffle(nodes)
        if self._rng.random() < 0.5:
            nodes = nodes[: self._rng.randint(1, len(nodes))]
            say(f"two snapshots each of nodes {sorted(nodes)}")
            await self._two_snapshots(nodes)
            return
        # What it lacks is in no log any more when it comes back.
        away = next((node for node in nodes if node != leader), nodes[0])
        nodes.remove(away)
        say(f"two snapshots each of nodes {sorted(nodes)} while node {away} is stopped")
        before = (await self.group.statuses()).get(away)
        self.group.members[away].signal(signal.SIGSTOP)
        try:
            await self._grow_log()
            await self._two_snapshots(nodes)
        finally:
            self.group.members[away].signal(signal.SIGCONT)
        if before and await self._has_snapshot(away, before["last_index"]):
            say(f"node {away} was brought up by one")
            self.group.restored += 1

    async def _grow_log(self) -> None:
        """Write more than a segment of a log holds, over and over the same records."""
        value = self._rng.randbytes(_FILLING_BYTES)
        ends = time.monotonic() + _CHANGE_S
        async with self.group.direct() as ledger:
            for n in range(_FILLINGS):
                if time.monotonic() > ends:
                    return  # nobody leads, or all is slow
                command = encode_command(PUT, "filling", str(n % 10), value)
                await ledger.propose([command], 3.0)

    async def _two_snapshots(self, nodes: list[int]) -> None:
        async with self.group.direct() as ledger:

            async def two(node: int) -> None:
                for _ in range(2):
                    with suppress(DtfError):
                        await ledger.snapshot(node, 5.0)
                    await asyncio.sleep(0.5)

            await asyncio.gather(*map(two, nodes))

    async def _has_snapshot(self, node: int, after: int) -> bool:
        """Whether a node gets one soon of what came after an entry."""
        for _ in range(20):
            status = (await self.group.statuses()).get(node)
            if status and status["snapshot_index"] > after:
                return True
            await asyncio.sleep(0.1)
        return False

    async def _members(self, say: Say) -> None:
        """One node goes and another comes, which may be the same with an empty disk."""
        group, rng = self.group, self._rng
        # Never two nodes without a log at once: together with one that lags behind they
        # could be a majority of members of long ago.
        wrong = await self.settle_members(_CHANGE_S)
        if wrong:
            say(f"no change of members: {wrong}")
            return
        spare = sorted(group.members.keys() - group.belonging)
        goes = rng.choice(sorted(group.belonging))
        same = not spare or rng.random() < 0.3
        comes = goes if same else rng.choice(spare)
        first = not same and rng.random() < 0.5
        ends = time.monotonic() + 4 * _CHANGE_S
        order = "before" if first else "after"
        say(f"node {comes} is added {order} node {goes} is removed")
        if first:
            await self._join(comes, ends)
        if not await self._asked_to_leave(goes, ends):
            return  # nobody can say what came of it: it may be asked to come back
        group.belonging.discard(goes)
        if rng.random() < 0.5:
            await asyncio.sleep(rng.uniform(0, 1.5))  # who is gone may go on talking
        await group.halt(goes)
        if not first:
            await self._join(comes, ends)
        group.moved += 1

    async def _join(self, node: int, ends: float) -> None:
        await self.group.halt(node)
        self.group.prepare(node, joins=True)
        self.group.belonging.add(node)
        try:
            await self.group.run(node)
        except NodeProcessError:  # it was stopped meanwhile, or had no room
            await self.group.run(node)
        await self._asked_to_join(node, ends)

    async def _asked_to_join(self, node: int, ends: float) -> bool:
        address = self.group.proxies[node].address
        while time.monotonic() < ends:
            async with self.group.direct() as ledger:
                try:
                    await ledger.add_node(node, address, _CHANGE_S)
                    return True
                except DtfError as error:
                    self.refusals.append(f"{time.monotonic():.1f} add {node}: {error}")
            await asyncio.sleep(0.3)
        return False

    async def _asked_to_leave(self, node: int, ends: float) -> bool:
        while time.monotonic() < ends:
            async with self.group.direct() as ledger:
                try:
                    await ledger.remove_node(node, _CHANGE_S)
                    return True
                except UsageError:
                    return True  # it is no member, says who leads
                except DtfError as error:
                    self.refusals.append(
                        f"{time.monotonic():.1f} remove {node}: {error}"
                    )
            await asyncio.sleep(0.3)
        return False

    def _thinned(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """About half of them: nobody sees the same cluster."""
        return [pair for pair in pairs if self._rng.random() < 0.5] or pairs


def _named(members: list[Member], leader: int) -> str:
    """Whom it meets, for people."""
    return ", ".join(
        f"node {one.node}" + (" (leads)" if one.node == leader else "")
        for one in sorted(members, key=lambda one: one.node)
    )
