"""What a case takes, and what the fixtures that cases share cost.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

    def in_doubt(self, indices: Iterable[int]) -> bool:
        """Whether one of these may be in a set-up of which nobody knows the cost.

        What was queued behind it might pay the same again.
        """
        unsettled, keys = self.unsettled, self.keys
        if not unsettled:
            return False
        return any(key in unsettled for index in indices for key in keys[index])

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
