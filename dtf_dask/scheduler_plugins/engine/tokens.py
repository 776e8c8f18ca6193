"""Tokens of the whole cluster, such as licences: how many there are. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_CLOSE = 1e-9

Amounts = tuple[tuple[str, float], ...]


class Tokens:
    """What workers add to the cluster, and what running tasks take of it."""

    def __init__(self) -> None:
        self.total: dict[str, float] = {}
        self.used: dict[str, float] = {}
        self.shrunk: set[str] = set()  # of which more is used than there is now

    def add(self, tokens: Mapping[str, float], sign: int = 1) -> None:
        """A worker brings them, or takes them away with it."""
        for name, amount in sorted(tokens.items()):
            self.total[name] = self.total.get(name, 0.0) + sign * amount
            self._look(name)

    def fit(self, amounts: Amounts) -> bool:
        """Whether so many are free."""
        return not self.lacks(amounts)

    def lacks(self, amounts: Amounts) -> tuple[str, ...]:
        """Why not, in words; what is named twice is wanted twice."""
        reasons = []
        sums: dict[str, float] = {}
        for name, amount in amounts:
            sums[name] = sums.get(name, 0.0) + amount
        for name, amount in sums.items():
            total, used = self.total.get(name, 0.0), self.used.get(name, 0.0)
            if amount > total - used + _CLOSE:
                reasons.append(
                    f"needs {amount:g} of the token {name}; {used:g} of {total:g} "
                    "are in use"
                )
        return tuple(reasons)

    def never(self, amounts: Amounts) -> tuple[str, ...]:
        """Why not even an idle cluster has so many, in words."""
        return tuple(
            f"needs {amount:g} of the token {name}; the cluster has "
            f"{self.total.get(name, 0.0):g}"
            for name, amount in amounts
            if amount > self.total.get(name, 0.0) + _CLOSE
        )

    def take(self, amounts: Amounts) -> None:
        """A task uses them."""
        for name, amount in amounts:
            self.used[name] = self.used.get(name, 0.0) + amount
            self._look(name)  # one that runs already takes what there is not

    def give(self, amounts: Amounts) -> None:
        """A task has ended."""
        for name, amount in amounts:
            left = self.used[name] - amount
            self.used[name] = left if left > _CLOSE else 0.0
            self._look(name)

    def _look(self, name: str) -> None:
        if self.used.get(name, 0.0) > self.total.get(name, 0.0) + _CLOSE:
            self.shrunk.add(name)
        else:
            self.shrunk.discard(name)
