"""How fast each group of workers is, learned from tests that ran in several. Pure.

Durations are taken for a product: what the test is, times what the group is. A group's
factor is the median, over the tests last seen in it and in others too, of how their
durations there compare with those elsewhere. One odd test does not move a median.
"""

from __future__ import annotations

from dataclasses import dataclass

FACTOR_MAX = 1000.0
"""Groups are taken for at most so many times as slow, or as fast, as another."""


@dataclass(frozen=True, slots=True)
class SpeedSettings:
    """``names_max`` are remembered of each of ``groups_max`` groups.

    A factor is believed once ``names_min`` tests agree on it; until then it is 1.
    """

    names_max: int = 31
    names_min: int = 3
    groups_max: int = 256


class GroupSpeeds:
    """Factors of groups: seconds there, over seconds on a group of factor 1."""

    def __init__(self, settings: SpeedSettings | None = None) -> None:
        self._settings = settings or SpeedSettings()
        # Oldest first, groups and names: what is full forgets its first.
        self._ratios: dict[str, dict[str, float]] = {}
        self._factors: dict[str, float] = {}  # without those that are 1
        self._fastest = 1.0

    def factor(self, group: str) -> float:
        """Times as slow as a group of factor 1, which is that of an unknown one."""
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
        """Of how many tests the factor was learned."""
        return len(self._ratios.get(group, ()))

    def learn(self, name: str, group: str, ratio: float) -> None:
        """A test takes ``ratio`` times as long here as on a group of factor 1."""
        ratio = min(max(ratio, 1 / FACTOR_MAX), FACTOR_MAX)
        ratios = self._ratios.get(group)
        if ratios is None:
            ratios = self._ratios[group] = {}
            if len(self._ratios) > self._settings.groups_max:
                oldest = next(iter(self._ratios))
                del self._ratios[oldest]
                self._factors.pop(oldest, None)
        ratios.pop(name, None)  # it becomes the newest
        ratios[name] = ratio
        if len(ratios) > self._settings.names_max:
            del ratios[next(iter(ratios))]
        if len(ratios) >= self._settings.names_min:
            self._factors[group] = sorted(ratios.values())[(len(ratios) - 1) // 2]
            self._fastest = min(1.0, *self._factors.values())

    def rows(self) -> list[tuple[str, str, float]]:
        """All that was learned, as (group, test, ratio), oldest first."""
        return [
            (group, name, ratio)
            for group, ratios in self._ratios.items()
            for name, ratio in ratios.items()
        ]
