"""What waits to be planned: learned durations, and cases held in groups.

Pure: no clock, no I/O. A *group* is an ordered list of cases that are cheaper, or
only allowed, together. Cases leave a group lazily: a member counts only while it
waits and the group is its home, so that moving or taking one case costs O(1).
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SECONDS_MAX = 1e7
"""Durations are clipped to this: a wild value in a history must not break sums."""

SHARED_KEYS_MAX = 64
"""Shared fixtures looked at per case; further ones are ignored."""


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One case as the planner sees it.

    Parameters
    ----------
    index
        Its place in the definition order, equal to its position in the sequence
        given to the planner.
    file, scope
        The file, and the module or class, of the node id.
    group
        The name in its ``xdist_group`` mark, if any.
    estimate_s
        Seconds it is known to take, shared set-up excluded, or None.
    shared
        Keys of the fixtures of more than function scope that it uses.
    """

    index: int
    file: str
    scope: str
    group: str | None = None
    estimate_s: float | None = None
    shared: tuple[str, ...] = ()


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


def _clipped(seconds: float) -> float:
    """Seconds as a finite number that is not negative."""
    return min(max(seconds, 0.0), SECONDS_MAX) if math.isfinite(seconds) else 0.0


class Estimates:
    """Seconds a case will take: known, else its file's mean, else the mean of all.

    Also keeps the sum over the cases that wait, so that it costs O(1) to ask.
    """

    def __init__(self, cases: Sequence[PlannedCase], default_s: float) -> None:
        numbers: dict[str, int] = {}
        self._file = [numbers.setdefault(c.file, len(numbers)) for c in cases]
        self._known = [-1.0] * len(cases)  # below 0: not known
        self._sum_s = [0.0] * len(numbers)
        self._count = [0] * len(numbers)
        self._all_s = 0.0
        self._all_count = 0
        self._default_s = default_s
        self._waiting_known_s = 0.0
        self._waiting_guessed = [0] * len(numbers)  # per file, without a known duration
        self._seen_s = 0.0  # their sum over files with a mean of their own
        self._unseen = 0  # their number in files without
        for case in cases:
            if case.estimate_s is not None:
                self._set(case.index, case.estimate_s)

    @property
    def mean_s(self) -> float:
        """The mean of every duration seen, a default before there is one."""
        return self._all_s / self._all_count if self._all_count else self._default_s

    @property
    def any_seen(self) -> bool:
        """Whether any duration is known, of this run or an earlier one."""
        return self._all_count > 0

    @property
    def waiting_s(self) -> float:
        """The sum over the cases that wait."""
        guessed = self._seen_s + self._unseen * self.mean_s
        return max(0.0, self._waiting_known_s + guessed)

    def of(self, index: int) -> float:
        """What the case is thought to take."""
        known = self._known[index]
        if known >= 0:
            return known
        file = self._file[index]
        count = self._count[file]
        return self._sum_s[file] / count if count else self.mean_s

    def is_known(self, index: int) -> bool:
        """Whether it comes from the case's own history."""
        return self._known[index] >= 0

    def learn(self, index: int, seconds: float, *, waits: bool) -> None:
        """Note how long a case took, in this run or an earlier one."""
        if waits:
            self.leave(index)
        self._set(index, seconds)
        if waits:
            self.wait(index)

    def wait(self, index: int) -> None:
        """Count a case among those that wait."""
        self._account(index, 1)

    def leave(self, index: int) -> None:
        """No longer count it."""
        self._account(index, -1)

    def _account(self, index: int, sign: int) -> None:
        known = self._known[index]
        if known >= 0:
            self._waiting_known_s += sign * known
            return
        file = self._file[index]
        self._waiting_guessed[file] += sign
        if self._count[file]:
            self._seen_s += sign * self._sum_s[file] / self._count[file]
        else:
            self._unseen += sign

    def _set(self, index: int, seconds: float) -> None:
        file, seconds = self._file[index], _clipped(seconds)
        guessed = self._waiting_guessed[file]
        if self._count[file]:
            self._seen_s -= guessed * self._sum_s[file] / self._count[file]
        else:
            self._unseen -= guessed
        old = self._known[index]
        if old >= 0:  # replaced, not counted twice
            self._sum_s[file] -= old
            self._all_s -= old
        else:
            self._count[file] += 1
            self._all_count += 1
        self._known[index] = seconds
        self._sum_s[file] = max(0.0, self._sum_s[file] + seconds)
        self._all_s = max(0.0, self._all_s + seconds)
        self._seen_s += guessed * self._sum_s[file] / self._count[file]


@dataclass(slots=True)
class SharedFixtures:
    """Fixtures that several cases share, and what setting each up was seen to cost."""

    keys: list[tuple[str, ...]]
    users: dict[str, list[int]] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    unsettled: dict[str, None] = field(default_factory=dict)
    local: dict[str, None] = field(default_factory=dict)  # used in one file only

    @classmethod
    def of(cls, cases: Sequence[PlannedCase]) -> SharedFixtures:
        """Read the cases' keys; those with one user matter to nobody else."""
        fixtures = cls([c.shared[:SHARED_KEYS_MAX] for c in cases])
        for index, keys in enumerate(fixtures.keys):
            for key in keys:
                fixtures.users.setdefault(key, []).append(index)
        for key, users in fixtures.users.items():
            if len(users) > 1:
                fixtures.unsettled[key] = None
                if cases[users[0]].file == cases[users[-1]].file:
                    fixtures.local[key] = None
        return fixtures

    def observe(self, key: str, seconds: float) -> float:
        """Note a set-up; the dearest one seen counts."""
        self.unsettled.pop(key, None)
        cost = max(self.costs.get(key, 0.0), _clipped(seconds))
        self.costs[key] = cost
        return cost

    def settle(self, index: int) -> None:
        """A user has run: what was not reported by now costs nothing to speak of."""
        for key in self.keys[index]:
            self.unsettled.pop(key, None)

    def cost_s(self, indices: Iterable[int]) -> float:
        """What one process pays to set up everything that the cases share."""
        if not self.costs:
            return 0.0
        seen: dict[str, None] = {}
        for index in indices:
            for key in self.keys[index]:
                seen[key] = None
        return sum(self.costs.get(key, 0.0) for key in seen)

    def joined(self, left: int, right: int) -> bool:
        """Whether a cut between two cases may repeat a set-up that one file shares."""
        a, b = self.keys[left], self.keys[right]
        if not a or not b:
            return False
        return any(
            k in self.local and k in b and (k in self.unsettled or k in self.costs)
            for k in a
        )


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
