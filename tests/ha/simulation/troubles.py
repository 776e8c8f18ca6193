"""What goes wrong in a simulated world."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigStep,
    NodeId,
    StepKind,
    Transition,
)

if TYPE_CHECKING:
    from simulation.member import Member
    from simulation.world import World

_NODES_MAX = 7


class Troubles:
    """Makes trouble, one after the other, until the world heals."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        weights = {k: w for k, w in world.profile.weights.items() if w}
        self._kinds = [getattr(self, "_" + name) for name in weights]
        self._weights = list(accumulate(weights.values()))

    def make(self) -> None:
        """One trouble, and the next one later."""
        world = self._world
        if world.healed:
            return
        world.at(self._rng.expovariate(1 / world.profile.trouble_every), self.make)
        kind: Callable[[], None]
        (kind,) = self._rng.choices(self._kinds, cum_weights=self._weights)
        kind()

    def _up(self) -> list[Member]:
        world = self._world
        return [
            one
            for one in world.members.values()
            if one.node is not None and one.paused_until <= world.now
        ]

    def _any_up(self) -> Member | None:
        up = self._up()
        return self._rng.choice(up) if up else None

    # Nodes

    def _crash(self) -> None:
        member = self._any_up()
        if member is not None:
            self._world.crash(member)

    def _crash_leader(self) -> None:
        leaders = self._world.leaders()
        if leaders:
            self._world.crash(leaders[-1])

    def _restart(self) -> None:
        down = [one for one in self._world.members.values() if one.node is None]
        if down:
            self._world.start(self._rng.choice(down))

    def _pause(self) -> None:
        member = self._any_up()
        if member is not None:
            length = self._rng.uniform(1, 25)
            self._world.say(f"{member} is paused for {length:.1f}")
            member.paused_until = self._world.now + length

    def _slow_disk(self) -> None:
        member = self._any_up()
        if member is not None:
            member.slow_until = self._world.now + self._rng.uniform(5, 30)

    # The network

    def _cut(self, paths: list[tuple[NodeId, NodeId]]) -> None:
        self._world.say(f"cut: {paths}")
        self._world.cut = set(paths)

    def _isolate(self) -> None:
        one = self._rng.choice(list(self._world.members))
        others = [node for node in self._world.members if node != one]
        self._cut([p for other in others for p in ((one, other), (other, one))])

    def _one_way(self) -> None:
        one = self._rng.choice(list(self._world.members))
        others = [node for node in self._world.members if node != one]
        some = [node for node in others if self._rng.random() < 0.7]
        to_it = self._rng.random() < 0.5
        self._cut([(other, one) if to_it else (one, other) for other in some])

    def _split(self) -> None:
        side = {node: self._rng.random() < 0.5 for node in self._world.members}
        self._cut([(a, b) for a in side for b in side if side[a] != side[b]])

    def _mend(self) -> None:
        if self._world.cut:
            self._cut([])

    def _unreachable(self) -> None:
        member = self._any_up()
        if member is not None:
            peer = self._rng.choice(list(self._world.members))
            self._world.unreachable(member, member.life, peer)

    # Wishes

    def _transfer(self) -> None:
        member = self._any_up()
        if member is not None and member.node is not None:
            to = self._rng.choice(list(self._world.members))
            outcome = member.node.transfer_leader(to)
            self._world.say(f"{member} is to hand over to {to}: {outcome.name}")
            self._world.drain(member)

    def _campaign(self) -> None:
        member = self._any_up()
        if member is not None and member.node is not None:
            outcome = member.node.campaign()
            self._world.say(f"{member} is to campaign: {outcome.name}")
            self._world.drain(member)

    def _forget(self) -> None:
        member = self._any_up()
        if member is not None and member.node is not None:
            member.node.forget_leader()
            if self._rng.random() < 0.7:
                member.node.campaign()
            self._world.say(f"{member} has forgotten its leader")
            self._world.drain(member)

    def _change(self) -> None:
        """Mostly asked of the leader, since others may not forward it."""
        steps = tuple(self._step() for _ in range(self._rng.choice((1, 1, 1, 2, 3))))
        transition = self._rng.choice(
            (Transition.AUTO, Transition.AUTO, *list(Transition))
        )
        self._propose(ConfigChange(steps, transition))

    def _step(self) -> ConfigStep:
        world = self._world
        kind = self._rng.choice(
            (
                StepKind.ADD_VOTER,
                StepKind.ADD_VOTER,
                StepKind.REMOVE,
                StepKind.ADD_LEARNER,
            )
        )
        known = list(world.members)
        if (
            kind is not StepKind.REMOVE
            and len(known) < _NODES_MAX
            and self._rng.random() < 0.6
        ):
            new = NodeId(max(known) + 1)
            world.add(new, None)
            return ConfigStep(kind, new)
        return ConfigStep(kind, self._rng.choice(known))

    def _leave_joint(self) -> None:
        self._propose(ConfigChange())

    def _propose(self, change: ConfigChange) -> None:
        leaders = self._world.leaders()
        member = self._any_up()
        if leaders and self._rng.random() < 0.8:
            member = leaders[-1]
        if member is None or member.node is None:
            return
        outcome = member.node.propose_change(change)
        self._world.say(f"{member} is to change {change}: {outcome.name}")
        self._world.drain(member)
