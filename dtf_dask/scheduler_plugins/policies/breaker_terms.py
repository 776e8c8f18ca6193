"""What circuit breakers are told and kept by: settings, subjects, states. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

State = Literal["closed", "open", "half-open"]
Subject = tuple[str, str]
"""What a breaker is of: ("", worker), or (test, group of workers)."""


class Kept(NamedTuple):
    """A breaker that outlives a scheduler.

    ``left_s`` is for how long it is open still; of a closed one, below 0, since when.
    """

    name: str
    place: str
    state: State
    openings: int
    left_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When breakers open, and for how long.

    Parameters
    ----------
    failures_to_open
        Of one worker, each the worker's fault, within ``window_s``.
    share_to_open
        Which part of what ended on the worker these must be: one that does most of
        its work well is not to blame for a few unstable tests.
    name_failures_to_open
        Of one test in one group, where it has not passed within ``window_s``.
    window_s
        How long what happened is evidence. A breaker that stayed closed for so long
        after its last opening starts anew with ``open_s``.
    open_s, open_max_s
        How long the first opening lasts; each further one lasts twice as long, at
        most ``open_max_s``.
    open_share_max
        Which part of the workers may be open at once: when most seem broken, it is
        not the workers. One always may.
    workers_max, names_max
        How many are remembered.
    """

    failures_to_open: int = 3
    share_to_open: float = 0.2
    name_failures_to_open: int = 3
    window_s: float = 600.0
    open_s: float = 30.0
    open_max_s: float = 1800.0
    open_share_max: float = 0.5
    workers_max: int = 10_000
    names_max: int = 50_000
