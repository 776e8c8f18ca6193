"""Who belongs to a cluster and where they are; nodes added, removed, made to lead.

Where a node is reached is a record of the ledger, written before the node is added. The
record of a node that is removed says so: others let it in no more, and it is told why.
A node that is not there is looked for where it last said that it is, and where this one
was told at its start: it may have moved, or all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from dtf_dask.errors import MembershipError, NotLeadingError, UsageError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.node import Node
from dtf_dask.ha.one_change import OneChange
from dtf_dask.ha.places import NODES, Place, encode_place, is_address, places_in
from dtf_dask.ha.raft import config_codec
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    ConfigChange,
    ConfigState,
    ConfigStep,
    Entry,
    Message,
    MessageKind,
    NodeId,
    Role,
    StepKind,
)
from dtf_dask.ha.raft.outcomes import Outcome as Taken

REMOVED = "it was removed from the cluster"


class Members:
    """Keeps the network of a node true, and changes the members where it leads.

    Parameters
    ----------
    node
        Which is told what follows.
    addresses
        Those that it was started with, its own too. What the ledger says goes before
        them.
    """

    def __init__(self, node: Node, addresses: Mapping[NodeId, Address]) -> None:
        self._node = node
        self._ledger = NodeLedger(node)
        self._told = dict(addresses)
        self._said: dict[NodeId, Address] = {}
        """What nodes have said themselves."""
        self._peers: dict[NodeId, tuple[Address, ...]] | None = None
        self._config = ConfigState()
        self._places: dict[NodeId, Place] = {}
        self._met: set[NodeId] = set()
        self._let_in: set[NodeId] = set()
        """Those that were removed as far as this node knows, and may be back."""
        self._now = OneChange(self._must_lead)
        node.members_changed = self.refresh
        self.refresh()

    # What is

    def refresh(self) -> None:
        """The members that are applied, or their addresses, may be others now."""
        node = self._node
        self._config = node.raw.status().config
        self._places = places_in(node.state.records)
        out = self._gone(node.node)
        if out or node.node in self.everyone:
            node.removed_known = _removed(node.node) if out else ""
            node.removed_heard = ""
        # A snapshot may be of a time when its leader, who is connected, was gone.
        self._let_in = {
            one for one in self._met if self._gone(one) and not self.objection(one)
        }
        self._tell_network()

    @property
    def everyone(self) -> set[NodeId]:
        """All that vote or listen."""
        config = self._config
        parts = (config.voters, config.voters_outgoing, config.learners)
        return set().union(*parts, config.learners_next)

    @property
    def peers(self) -> dict[NodeId, tuple[Address, ...]]:
        """The other members, and where they may be reached, the likeliest first."""
        return dict(self._peers or {})

    def objection(self, node: NodeId) -> str:
        """Why another node is not let in; empty if it is.

        It may have been added again, and lead, while this one lags behind: only who
        follows somebody else knows better.
        """
        follows_another = self._node.raw.core.lead not in (NO_NODE, node)
        return REMOVED if follows_another and self._gone(node) else ""

    def _gone(self, node: NodeId) -> bool:
        place = self._places.get(node)
        return place is not None and place.removed and node not in self.everyone

    def heard_from(self, node: NodeId, address: Address | None) -> None:
        """A node of this cluster has connected, and said where it is reached itself.

        It may have been added while this one was away, and lead by now: without an
        answer it could never send what says so.
        """
        if address is not None:
            self._said[node] = address
        self._met.add(node)
        if self._gone(node):
            self._let_in.add(node)
        self._tell_network()

    def refused_by(self, peer: NodeId, reason: str) -> None:
        """A peer does not let this node in."""
        node = self._node
        if reason.endswith(REMOVED):
            node.removed_heard = f"{_removed(node.node)}, as node {peer} says"
            node.notify()

    def _tell_network(self) -> None:
        # Whom this node was told of without finding him among the members may have
        # been added since; and of a cluster that it has yet to join it knows nobody.
        peers = {
            peer: addresses
            for peer in sorted(self.everyone | set(self._told) | set(self._said))
            if (addresses := self._addresses(peer))
            and peer != self._node.node
            and (peer in self._let_in or not self._gone(peer))
        }
        if peers != self._peers:
            self._peers = peers
            self._node.network.set_peers(peers)

    def _addresses(self, node: NodeId) -> tuple[Address, ...]:
        """Where a node may be: as the ledger says, it itself, this node's own file."""
        place = self._places.get(node)
        written = place.address if place and place.address[0] else None
        found = (written, self._said.get(node), self._told.get(node))
        return tuple(dict.fromkeys(one for one in found if one is not None))

    # Changes

    async def add_node(
        self, node: NodeId, address: Address, timeout_s: float | None = None
    ) -> None:
        """Have a node take part: it listens until it has caught up, then it votes.

        Of one that votes already the address is changed. A node that has lost its disk
        is removed before it is added again, with an empty folder.

        Raises
        ------
        NotLeadingError
            This node does not lead, and nothing was done; it says which one does.
        NotChangedError
            Nothing was done.
        MembershipError
            It has not come about, or not in time. What is done stays: call it again to
            go on, or remove the node.
        UsageError
            That is no node.
        """
        if node <= NO_NODE or not is_address(address):
            raise UsageError(f"no node: {node} at {address[0]}:{address[1]}")
        async with self._change(f"node {node} is being added", timeout_s):
            self._now.stage = "its address is being written"
            await self._write_place(node, Place(address))
            if node in self._config.voters:
                await self._propose(StepKind.UPDATE, node, lambda: True)
                return
            if node not in self._config.learners:
                self._now.stage = "it is being added as a learner"
                await self._propose(
                    StepKind.ADD_LEARNER, node, lambda: node in self._config.learners
                )
            await self._caught_up(node)
            while lacking := await self._node.contents.keeping.give(node):
                self._now.stage = f"it lacks {lacking} contents that records refer to"
                await self._pause()
                self._must_lead()
            self._now.stage = "it has caught up, and is being made a voter"
            await self._propose(
                StepKind.ADD_VOTER, node, lambda: node in self._config.voters
            )

    async def remove_node(self, node: NodeId, timeout_s: float | None = None) -> None:
        """Have a node take part no more; this one hands over before it goes.

        Raises
        ------
        NotLeadingError, NotChangedError, MembershipError
            As `add_node`.
        UsageError
            It is no member, or the only one that votes.
        """
        async with self._change(f"node {node} is being removed", timeout_s):
            await self._check_removal(node)
            self._now.stage = "it is being written that it goes"
            known = self._addresses(node)
            address = known[0] if known else ("", 0)
            await self._write_place(node, Place(address, removed=True))
            if node == self._node.node:
                await self._leave()
            else:
                self._now.stage = "the others have yet to agree"
                await self._propose(
                    StepKind.REMOVE, node, lambda: node not in self.everyone
                )

    async def transfer_leader(self, to: NodeId, timeout_s: float | None = None) -> None:
        """Have another node lead; return when it does.

        Raises
        ------
        NotLeadingError, NotChangedError, MembershipError
            As `add_node`.
        UsageError
            It does not vote.
        """
        async with self._change(f"node {to} is being made to lead", timeout_s):
            if to not in self._config.voters:
                raise UsageError(f"node {to} does not vote, so it cannot lead")
            await self._hand_over(to)

    async def _check_removal(self, node: NodeId) -> None:
        if node not in self.everyone:
            raise UsageError(f"node {node} is no member of this cluster")
        left = [one for one in self._config.voters if one != node]
        if not left:
            raise UsageError(f"node {node} is the only one that votes")
        heard = [one for one in left if await self._heard(one)]
        if node in self._config.voters and len(heard) <= len(left) // 2:
            raise MembershipError(
                f"without node {node} there would be {len(left)} that vote, and"
                f" {len(heard)} of them are heard of: that is no majority"
            )

    async def _heard(self, node: NodeId) -> bool:
        """Whether it answers: each check of the quorum forgets who did."""
        for _ in range(self._node.options.election_ticks):
            if node == self._node.node or self._active(node):
                return True
            await self._pause()
        return False

    def _active(self, node: NodeId) -> bool:
        peer = self._node.raw.core.tracker.progress.get(node)
        return peer is not None and peer.active

    def _change(
        self, what: str, timeout_s: float | None
    ) -> AbstractAsyncContextManager[None]:
        limit_s = self._node.options.members_wait_s if timeout_s is None else timeout_s
        return self._now.of(what, limit_s)

    def _must_lead(self) -> None:
        node = self._node
        core = node.raw.core
        if node.ended:
            raise MembershipError(node.refusal)
        if core.role is not Role.LEADER:
            lead = f"node {core.lead} leads" if core.lead else "no leader is known"
            raise NotLeadingError(f"node {node.node} does not lead: {lead}")

    async def _write_place(self, node: NodeId, place: Place) -> None:
        """Write where a node is, and where the others are: it is to find them all."""
        wanted = {
            one: Place(known[0])
            for one in sorted(self.everyone)
            if one not in self._places and (known := self._addresses(one))
        }
        wanted[node] = place
        commands = [
            encode_command(PUT, NODES, str(one), encode_place(found))
            for one, found in wanted.items()
            if self._places.get(one) != found
        ]
        begun, self._now.begun = self._now.begun, self._now.begun or bool(commands)
        outcomes = await self._ledger.propose(commands, 3600.0)
        codes = {outcome.code for outcome in outcomes}
        if codes and codes <= {Code.NOT_DONE, Code.REFUSED}:
            self._now.begun = begun
        for outcome in outcomes:
            if outcome.code is not Code.OK:
                raise MembershipError(
                    f"{self._now.stage}: {outcome.value or outcome.code}"
                )
        self._places = places_in(self._node.state.records)

    async def _propose(
        self, kind: StepKind, node: NodeId, done: Callable[[], bool]
    ) -> None:
        """Have one change agreed on, and applied here."""
        raw, core = self._node.raw, self._node.raw.core
        while core.pending_change > core.log.applied:
            await self._pause()  # one of an earlier leader, or its own first entry
        self._must_lead()
        outcome = raw.propose_change(ConfigChange((ConfigStep(kind, node),)))
        if outcome is not Taken.DONE:
            raise MembershipError(f"node {node}: {outcome.value}")
        self._now.begun = True
        index, term = core.log.last_index(), core.term
        self._node.wake()
        while self._node.state.index < index:
            if core.term != term or self._node.ended:
                raise MembershipError(
                    f"{self._now.what}, and this node leads no more: ask the next"
                    " leader whether it has come about"
                )
            await self._node.change()
        if not done():
            raise MembershipError(f"node {node}: the change had no effect")

    async def _caught_up(self, node: NodeId) -> None:
        """Wait until it is no farther behind than an election takes to notice."""
        core, options = self._node.raw.core, self._node.options
        loop = asyncio.get_running_loop()
        close_s = options.tick_s * options.election_ticks
        while True:
            started, target = loop.time(), core.log.commit
            while True:
                progress = core.tracker.progress.get(node)
                if progress is None:
                    raise MembershipError(f"node {node} was removed meanwhile")
                if (match := progress.match) >= target:
                    break
                heard = "" if self._active(node) else ", and was not heard of lately"
                self._now.stage = (
                    f"it is a learner that has {match} of {target} entries{heard}"
                )
                await self._pause()
                self._must_lead()
            if loop.time() - started <= close_s:
                return

    async def _hand_over(self, to: NodeId) -> None:
        raw, core = self._node.raw, self._node.raw.core
        if to == self._node.node:
            return
        if not await self._heard(to):
            raise MembershipError(f"node {to} was not heard of lately: it cannot lead")
        outcome = raw.transfer_leader(to)
        if outcome is not Taken.DONE:
            raise MembershipError(f"node {to}: {outcome.value}")
        self._now.begun, self._now.stage = True, "it has yet to be elected"
        self._node.wake()
        while core.lead != to:
            if core.role is Role.LEADER and core.transferee != to:
                match, last = core.tracker.progress[to].match, core.log.last_index()
                raise MembershipError(
                    f"node {to} has not taken over in the time of an election; it has"
                    f" {match} of {last} entries"
                )
            if core.lead not in (NO_NODE, self._node.node):
                raise MembershipError(f"node {core.lead} leads now, not node {to}")
            await self._pause()

    async def _leave(self) -> None:
        """Hand over, and ask whoever leads to remove this node."""
        core, own = self._node.raw.core, self._node.node
        others = [one for one in self._config.voters if one != own]
        able = [one for one in others if await self._heard(one)]
        self._must_lead()
        if not able:
            raise MembershipError("nobody was heard of who could lead instead")
        progress = core.tracker.progress
        await self._hand_over(max(able, key=lambda one: (progress[one].match, -one)))
        self._now.stage = "the others have yet to remove it"
        change = config_codec.encoded(ConfigChange((ConfigStep(StepKind.REMOVE, own),)))
        assert change is not None
        entries = [Entry(0, 0, *change)]
        while not self._node.removed:
            if core.lead not in (NO_NODE, own):
                # It may be lost, or come while another one is pending: a second one
                # changes nothing.
                ask = Message(MessageKind.PROPOSE, core.lead, own, entries=entries)
                self._node.network.send([ask])
            for _ in range(self._node.options.election_ticks):
                await self._pause()

    async def _pause(self) -> None:
        if self._node.ended:
            raise MembershipError(self._node.refusal)
        await asyncio.sleep(self._node.options.tick_s)


def _removed(node: NodeId) -> str:
    return f"node {node} was removed from the cluster"
