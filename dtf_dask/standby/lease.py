"""How long what a silent worker runs is left to it. Pure.

A worker that is cut off goes on with what it runs. To begin that elsewhere at once has
the same test run twice, and a test of two hours had better not. So an attempt that has
run for long is its worker's for a while, which is its lease; and who comes back when it
is over is told that it came too late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dtf_dask.submission.table import Key


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What is left to silent workers.

    Parameters
    ----------
    after_s
        How long an attempt must have run to have a lease.
    lease_s
        How long that lasts from when the worker fell silent; a task may say otherwise.
    """

    after_s: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Leases:
    """Until when attempts are left to a worker that fell silent."""

    until: Mapping[Key, float]

    def over(self, now: float) -> tuple[Key, ...]:
        """Attempts whose lease is over."""
        return tuple(key for key, at in self.until.items() if at <= now)

    def next_at(self) -> float | None:
        """When the next lease is over."""
        return min(self.until.values(), default=None)

    def without(self, keys: tuple[Key, ...]) -> Leases:
        """The leases of the others."""
        return Leases({key: at for key, at in self.until.items() if key not in keys})


def leases(
    ran_s: Mapping[Key, float],
    own_s: Mapping[Key, float],
    terms: LeaseTerms,
    silent_at: float,
    now: float,
) -> Leases:
    """What is left to a worker that fell silent at a time.

    Parameters
    ----------
    ran_s
        For how long each attempt had run then.
    own_s
        What tasks say that their lease is.

    Examples
    --------
    >>> terms = LeaseTerms(after_s=60, lease_s=300)
    >>> leases({"long": 90.0, "short": 2.0}, {}, terms, 1000.0, 1005.0).until
    {'long': 1300.0}
    """
    until = {}
    for key, ran in ran_s.items():
        at = silent_at + own_s.get(key, terms.lease_s)
        if ran >= terms.after_s and at > now:
            until[key] = at
    return Leases(until)
