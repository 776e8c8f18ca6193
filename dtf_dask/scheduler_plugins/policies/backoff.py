"""How long a retry waits: longer each time, and never in step with others. Pure.

Full jitter: any time between nothing and a bound that grows. Tasks that failed together
for one reason, such as a service that is down, do not come back together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """The bound is ``base_s`` at the first retry, ``factor`` times as much at each.

    It is never more than ``delay_max_s``. With ``base_s`` 0 nothing ever waits.

    Raises
    ------
    ValueError
        If a number makes no sense.
    """

    base_s: float = 1.0
    factor: float = 2.0
    delay_max_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 <= self.base_s < math.inf and 0 <= self.delay_max_s < math.inf):
            raise ValueError(
                "base_s and delay_max_s must be finite and not negative, not"
                f" {self.base_s} and {self.delay_max_s}"
            )
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be at least 1, not {self.factor}")


class Backoff:
    """Delays of retries, drawn from the generator that it is given."""

    def __init__(self, settings: BackoffSettings, rng: Random) -> None:
        self._settings = settings
        self._rng = rng

    def bound_s(self, attempt: int) -> float:
        """The longest that the retry after this attempt may wait; the first is 1."""
        settings = self._settings
        if not settings.base_s:
            return 0.0
        try:
            bound_s = settings.base_s * settings.factor ** max(0, attempt - 1)
        except OverflowError:
            return settings.delay_max_s
        return min(bound_s, settings.delay_max_s)

    def delay_s(self, attempt: int) -> float:
        """How long the retry after this attempt waits; the first attempt is 1."""
        return self._rng.uniform(0.0, self.bound_s(attempt))
