"""How fast each group of workers is, learned from tests that ran in several. Pure.

Durations are taken for a product: what the test is, times what the group is. Both are
found by median polish (Tukey): in turn each test is what its durations are, in the
median, once the groups' factors are taken out, and each group what is left. One odd
test does not move a median. It starts anew each time, so that nothing drifts, and the
order in which tests ran does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FACTOR_MAX = 1000.0
"""Groups are taken for at most so many times as slow, or as fast, as is usual."""

_SECONDS_MIN = 1e-6
_ROUNDS_MAX = 6
_SETTLED = 0.01  # a round that changes no factor by more is the last


@dataclass(frozen=True, slots=True)
class SpeedSettings:
    """Of ``names_max`` tests it is remembered how long they took, in which groups.

    A factor is believed once ``names_min`` tests stand behind it; until then it is 1.
    Factors are reckoned anew after ``learned_max`` durations, at first after fewer.
    """

    names_max: int = 128
    names_min: int = 3
    groups_max: int = 32
    learned_max: int = 2048


class GroupSpeeds:
    """Factors of groups: by how much longer everything takes there than is usual."""

    def __init__(self, settings: SpeedSettings | None = None) -> None:
        self._settings = settings or SpeedSettings()
        # Seconds by test and group, oldest first: what is full forgets its first.
        self._tests: dict[str, dict[str, float]] = {}
        self._factors: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._fastest = 1.0
        self._learned = 0
        self._learned_next = 2
        self._stale = False
        self.solved = 0
        """How often the factors were reckoned."""

    def factor(self, group: str) -> float:
        """Times as slow as is usual; 1 for an unknown one."""
        return self._factors.get(group, 1.0)

    @property
    def factors(self) -> dict[str, float]:
        """Of the groups that have one. Not to be changed."""
        return self._factors

    @property
    def fastest(self) -> float:
        """The least factor there is, that of groups nobody knows included."""
        return self._fastest

    def known(self, group: str) -> int:
        """How many tests stand behind its factor."""
        return self._counts.get(group, 0)

    def knows(self, name: str) -> bool:
        """Whether this test's durations are remembered."""
        return name in self._tests

    def learn(self, name: str, group: str, seconds: float) -> None:
        """So long the test takes there. Only tests of several groups are of use."""
        tests, settings = self._tests, self._settings
        durations = tests.pop(name, None)  # it becomes the newest
        if durations is None:
            durations = {}
            if len(tests) >= settings.names_max:
                del tests[next(iter(tests))]
        tests[name] = durations
        if group not in durations and len(durations) >= settings.groups_max:
            del durations[next(iter(durations))]
        durations[group] = seconds
        self._stale = True
        self._learned += 1
        if self._learned >= self._learned_next:
            self.solve()

    def solve(self) -> None:
        """Reckon the factors, if anything was learned since."""
        if not self._stale:
            return
        self._stale = False
        self.solved += 1
        self._learned_next = min(2 * self._learned_next, self._settings.learned_max)
        self._learned = 0
        tests: dict[str, dict[str, float]] = {}
        by_group: dict[str, list[tuple[str, float]]] = {}
        for name, durations in self._tests.items():
            if len(durations) > 1:
                tests[name] = {}
                for group, seconds in durations.items():
                    log = tests[name][group] = math.log(max(seconds, _SECONDS_MIN))
                    by_group.setdefault(group, []).append((name, log))
        names_min = self._settings.names_min
        by_group = {g: seen for g, seen in by_group.items() if len(seen) >= names_min}
        logs = _polished(tests, by_group)
        most = math.log(FACTOR_MAX)
        self._factors = {
            group: math.exp(min(max(log, -most), most)) for group, log in logs.items()
        }
        self._counts = {group: len(seen) for group, seen in by_group.items()}
        self._fastest = min(1.0, *self._factors.values()) if self._factors else 1.0


def _polished(
    tests: dict[str, dict[str, float]], by_group: dict[str, list[tuple[str, float]]]
) -> dict[str, float]:
    """Logarithms of groups' factors, from those of durations."""
    logs = dict.fromkeys(by_group, 0.0)
    for _ in range(_ROUNDS_MAX):
        usual = {
            name: _median([log - logs.get(group, 0.0) for group, log in seen.items()])
            for name, seen in tests.items()
        }
        before = logs
        logs = {
            group: _median([log - usual[name] for name, log in seen])
            for group, seen in by_group.items()
        }
        if all(abs(logs[group] - before[group]) < _SETTLED for group in logs):
            break
    return logs


def _median(values: list[float]) -> float:
    values.sort()
    middle = len(values) // 2
    if len(values) % 2:
        return values[middle]
    return (values[middle - 1] + values[middle]) / 2
