"""Clients of a simulated group, and what they saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linearizability.models import Register
from linearizability.operation import Operation
from linearizability.search import Linearizable, Undecided, check

from dtf_dask.ha.raft.outcomes import Outcome
from simulation.invariants import Violation

if TYPE_CHECKING:
    from simulation.member import Member
    from simulation.world import World

_KEYS = (b"x", b"y")


class Clients:
    """They write unique values to two registers on any node, and read from any node."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = 0
        self._next = 0
        self._writes: dict[int, tuple[bytes, int]] = {}
        self._reads: dict[int, tuple[bytes, int]] = {}
        self.history: list[Operation] = []
        self.acknowledged: set[int] = set()
        self.answered: set[int] = set()

    def _time(self) -> int:
        # No two things happen at once: that makes the check as strict as it can be.
        self._clock += 1
        return self._clock

    def act(self) -> None:
        """One operation, and the next one later."""
        world = self._world
        if world.healed:
            return
        world.at(world.rng.expovariate(1 / world.profile.client_every), self.act)
        up = [
            one
            for one in world.members.values()
            if one.node is not None and one.paused_until <= world.now
        ]
        if not up:
            return
        member = world.rng.choice(up)
        key = world.rng.choice(_KEYS)
        if world.rng.random() < 0.5:
            self.write(member, key, world.rng.choice((1, 1, 1, 3)))
        else:
            self.read(member, key)

    def write(self, member: Member, key: bytes, count: int = 1) -> int | None:
        """Propose values; the first of them, or None if they were not taken."""
        assert member.node is not None
        first = self._next + 1
        numbers = range(first, first + count)
        self._next += count
        payloads = [b"%s=%d" % (key, number) for number in numbers]
        # Before the proposal: alone, a node may have applied it when the call returns.
        for number in numbers:
            self._writes[number] = (key, self._time())
        member.waiting.update(numbers)
        outcome = member.node.propose(payloads)
        if outcome is not Outcome.DONE:
            member.waiting.difference_update(numbers)
            for number in numbers:
                del self._writes[number]
        self._world.say(f"{member} is to write {list(numbers)}: {outcome.name}")
        self._world.drain(member)
        return first if outcome is Outcome.DONE else None

    def applied(self, member: Member, number: int) -> None:
        """A node has applied a write: if it was asked for it, it answers."""
        if number not in member.waiting:
            return
        member.waiting.remove(number)
        key, called = self._writes.pop(number)
        self.acknowledged.add(number)
        self.history.append(
            Operation(member.id, "write", key, number, None, called, self._time())
        )

    def read(self, member: Member, key: bytes) -> int | None:
        """Ask to read; the number of the read, or None if it was not taken."""
        assert member.node is not None
        self._next += 1
        number = self._next
        outcome = member.node.read_index(number)
        if outcome is Outcome.DONE:
            self._reads[number] = (key, self._time())
            member.asked[number] = self._world.invariants.commit
        self._world.say(f"{member} is to read {number}: {outcome.name}")
        self._world.drain(member)
        return number if outcome is Outcome.DONE else None

    def read_from(
        self, member: Member, read_index: int, numbers: tuple[int, ...]
    ) -> None:
        """Reads may be answered once an index is applied."""
        for number in numbers:
            least = member.asked.pop(number, None)
            if least is None:
                raise Violation(f"{member} answers read {number}, which nobody asked")
            self._world.invariants.on_read(member, least, read_index)
            member.to_read.append((read_index, number))
        self.read_at(member)

    def read_at(self, member: Member) -> None:
        """Answer the reads that have waited for what is applied now."""
        if not member.to_read:
            return
        index, values = member.registers.index, member.registers.values
        waiting, member.to_read = member.to_read, []
        for read_index, number in waiting:
            if read_index > index:
                member.to_read.append((read_index, number))
                continue
            key, called = self._reads.pop(number)
            self.answered.add(number)
            value = values.get(key)
            self.history.append(
                Operation(member.id, "read", key, None, value, called, self._time())
            )

    def refused(self, member: Member, numbers: tuple[int, ...]) -> None:
        """Reads will not be answered."""
        for number in numbers:
            if member.asked.pop(number, None) is None:
                raise Violation(f"{member} refuses read {number}, which nobody asked")
            del self._reads[number]

    def lost(self, member: Member) -> None:
        """A node dies: nobody will hear of what it was asked."""
        for number in member.waiting:
            key, called = self._writes.pop(number)
            self.history.append(
                Operation(member.id, "write", key, number, None, called, None)
            )
        for number in (*member.asked, *(number for _, number in member.to_read)):
            del self._reads[number]

    def check_history(self) -> None:
        """What was seen must be linearizable."""
        unknown = [
            Operation("?", "write", key, number, None, called, None)
            for number, (key, called) in self._writes.items()
        ]
        verdict = check([*self.history, *unknown], Register(), limit_s=5)
        if isinstance(verdict, Undecided):
            self._world.counts["undecided"] += 1
        elif not isinstance(verdict, Linearizable):
            raise Violation(f"what clients saw: {verdict}")
