"""The cases that wait to be planned, held in groups.

Pure. A *group* is an ordered list of cases that are cheaper, or
only allowed, together. Cases leave a group lazily: a member counts only while it
waits and the group is its home, so that moving or taking one case costs O(1).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dtf_dask.runs.batch_estimates import Estimates, PlannedCase, SharedFixtures

Dist = Literal["load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process"]


@dataclass(eq=False, slots=True)
class Group:
    """Cases to be planned together, in definition order.

    ``atomic`` groups go into one batch whole; others may be cut, at the price of
    setting up what the parts share once more.
    """

    order: int
    members: list[int]
    atomic: bool = False
    cost_s: float = 0.0
    start: int = 0
    size: int = 0
    weight_s: float = 0.0


class Pool:
    """The cases that wait, as groups, the heaviest first, and loose ones after them.

    ``atomic`` maps a case to the name of a group that must not be divided.
    """

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        atomic: Mapping[int, str],
        estimates: Estimates,
        fixtures: SharedFixtures,
        size: int,
    ) -> None:
        self.estimates = estimates
        self.fixtures = fixtures
        self.waiting = 0
        self.front: deque[Group] = deque()
        self.heavy: list[Group] = []  # ascending weight: the heaviest is popped
        self.loose = Group(len(cases), [])
        self.retries: dict[str, deque[int]] = {}  # by the worker to avoid
        self.atomic = atomic
        self._home: list[Group | None] = [None] * size
        self._waits = bytearray(size)
        self._by_key: dict[str, Group] = {}
        named: dict[str, list[int]] = {}
        for case in cases:
            name = atomic.get(case.index)
            if name is None:
                self.loose.members.append(case.index)
            else:
                named.setdefault(name, []).append(case.index)
        self._settle(self.loose)
        for members in named.values():
            group = Group(members[0], members, atomic=True)
            self._settle(group)
            self.heavy.append(group)
        self.sort()

    def waits(self, index: int) -> bool:
        """Whether the case is to be planned yet."""
        return bool(self._waits[index])

    def live(self, group: Group) -> Iterator[int]:
        """Its members that still wait, in order."""
        members, home, waits = group.members, self._home, self._waits
        for position in range(group.start, len(members)):
            index = members[position]
            if waits[index] and home[index] is group:
                yield index

    def take(self, indices: Iterable[int]) -> None:
        """These are handed out."""
        for index in indices:
            self._waits[index] = 0
            self.waiting -= 1
            self.estimates.leave(index)
            home = self._home[index]
            if home is not None:
                home.size -= 1
                self._home[index] = None
                self._advance(home)

    def _advance(self, group: Group) -> None:
        """Drop from its head what has left, so that nobody walks over it again."""
        if group.size == 0:
            group.members = []
            group.start = 0
            return
        home, waits, members = self._home, self._waits, group.members
        start = group.start
        while home[members[start]] is not group or not waits[members[start]]:
            start += 1
        group.start = start

    def ordered(self, chosen: list[int]) -> list[int]:
        """Definition order; the members of an atomic group side by side."""
        if not self.atomic:
            return sorted(chosen)
        first: dict[str, int] = {}
        name = self.atomic.get
        for index in sorted(chosen):
            first.setdefault(name(index, ""), index)
        return sorted(chosen, key=lambda i: (first[n] if (n := name(i)) else i, i))

    def put_front(self, indices: Sequence[int]) -> None:
        """These came back and go first, atomic groups whole."""
        parts: dict[str, list[int]] = {}
        for index in indices:
            parts.setdefault(self.atomic.get(index, ""), []).append(index)
        for name in reversed(parts):
            group = Group(parts[name][0], parts[name], atomic=bool(name))
            if not name:
                group.cost_s = self.fixtures.cost_s(indices)
            self._settle(group)
            self.front.appendleft(group)

    def put_retry(self, index: int, avoid: str) -> None:
        """To be run once more, preferably elsewhere."""
        self.retries.setdefault(avoid, deque()).append(index)
        self._waits[index] = 1
        self.waiting += 1
        self.estimates.wait(index)

    def avoid_no_more(self, worker: str) -> None:
        """A worker has gone: what was not to be retried on it may go anywhere."""
        if queue := self.retries.pop(worker, None):
            self.retries.setdefault("", deque()).extend(queue)

    def gather(self, key: str, cost_s: float) -> None:
        """Bring a dear fixture's users together, unless a dearer one holds them."""
        group = self._by_key.get(key)
        if group is not None:
            group.cost_s = max(group.cost_s, cost_s)
        moved = []
        for index in self.fixtures.users.get(key, ()):
            home = self._home[index]
            if home is None or home.atomic or home is group or home.cost_s >= cost_s:
                continue
            home.size -= 1
            self._home[index] = None
            moved.append(index)
        if not moved:
            return
        if group is None:
            group = self._by_key[key] = Group(moved[0], [], cost_s=cost_s)
        elif group in self.heavy:
            self.heavy.remove(group)
        group.members = sorted([*self.live(group), *moved])
        group.start = 0
        for index in moved:
            self._home[index] = group
        group.size = len(group.members)
        self.push(group)

    def single_out(self, seconds: float) -> None:
        """Give every loose case known to take so long or longer a group of its own."""
        for index in list(self.live(self.loose)):
            known = self.estimates.is_known(index)
            if known and self.estimates.of(index) >= seconds:
                self.loose.size -= 1
                group = Group(index, [index])
                self._home[index] = group
                group.size = 1
                self.heavy.append(group)
        self._advance(self.loose)
        self.sort()

    def sort(self) -> None:
        """Order the heavy groups anew, by what they now are thought to take."""
        self.heavy = [g for g in self.heavy if g.size]
        for group in self.heavy:
            group.weight_s = group.cost_s + self.seconds(group)
        self.heavy.sort(key=lambda g: (g.weight_s, -g.order))

    def push(self, group: Group) -> None:
        """Put a group where its weight belongs."""
        group.weight_s = group.cost_s + self.seconds(group)
        insort(self.heavy, group, key=lambda g: (g.weight_s, -g.order))

    def seconds(self, group: Group) -> float:
        """What its waiting members take, shared set-up excluded."""
        of = self.estimates.of
        return sum(of(index) for index in self.live(group))

    def _settle(self, group: Group) -> None:
        """Make a group the home of its members, which from now on wait."""
        for index in group.members:
            self._home[index] = group
            self._waits[index] = 1
            self.estimates.wait(index)
        group.size = len(group.members)
        self.waiting += group.size


def atomic_groups(cases: Sequence[PlannedCase], dist: Dist) -> dict[int, str]:
    """The name of the indivisible group of each case that has one."""
    if dist == "loadfile":
        return {c.index: c.file for c in cases}
    if dist == "loadscope":
        return {c.index: c.scope for c in cases}
    if dist == "loadgroup":
        return {c.index: c.group for c in cases if c.group}
    return {}
