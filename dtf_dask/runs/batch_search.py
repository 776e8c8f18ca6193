"""Which busy worker gives work back, and of which of its batches.

Pure. The one that will be the longest at work is looked at first, and of that what it
would run last. What a look has shown not to pay is not looked at for every case that
ends, but again as time goes by.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from dtf_dask.runs.batch_estimates import Estimates
from dtf_dask.runs.batch_lanes import Lane, Outstanding, Revocation, Running
from dtf_dask.runs.batch_tail import TailPolicy, Victim


@dataclass(frozen=True, slots=True)
class TailSearch:
    """Find work for idle workers among what was handed out.

    What is ``kept`` is not taken: a retry might come to the worker that it is to avoid.
    """

    out: Outstanding
    estimates: Estimates
    policy: TailPolicy
    kept: Container[int] = ()

    def find(self, now: float | None) -> Revocation | None:
        """What to ask back next; None if nothing pays, or enough has been asked."""
        if self.out.revoking >= self.out.idle:
            return None
        lanes = [
            (self.out.load_s(lane, now), place, lane)
            for place, lane in enumerate(self.out.lanes.values())
            if lane.running
        ]
        for left_s, _, lane in sorted(lanes, key=lambda found: (-found[0], found[1])):
            if left_s < 2 * self.policy.overhead_s:
                break
            revocation = self._of_lane(lane, lane.elapsed(now))
            if revocation is not None:
                return revocation
        return None

    def _of_lane(self, lane: Lane, elapsed: float) -> Revocation | None:
        """Part of its last batch, or of one before when that one is empty or short."""
        ahead_s = self.out.left_s(lane) + self._overrun_s(lane, elapsed)
        first = next(iter(lane.running.values()))
        for running in reversed(lane.running.values()):
            ahead_s -= running.left_s
            if running.revoking:
                return None
            runs = next(iter(running.left), None) if running is first else None
            revocation = self._of_batch(running, runs, ahead_s, elapsed)
            if revocation is not None:
                return revocation
            ahead_s -= running.start_s
        return None

    def _overrun_s(self, lane: Lane, elapsed: float) -> float:
        """How much longer its case will run, from now, than is thought in all.

        What has lasted longer than expected may well last as long again.
        """
        case = next(lane.indices(), None)
        if case is None:
            return 0.0
        expected = self.estimates.of(case)
        if not elapsed:
            return -expected / 2
        return max(expected - elapsed, elapsed) - expected

    def _of_batch(
        self, running: Running, runs: int | None, ahead_s: float, elapsed: float
    ) -> Revocation | None:
        """Part of one batch, of which the case ``runs`` runs, if one does."""
        fruitless = len(running.left) >= running.barren_left
        if fruitless and elapsed <= running.barren_s:
            return None
        tail = list(running.left)
        if runs is not None:
            ahead_s += self.estimates.of(tail.pop(0))
        # What comes before one that is kept cannot be taken either.
        place = max((n + 1 for n, i in enumerate(tail) if i in self.kept), default=0)
        ahead_s += sum(self.estimates.of(index) for index in tail[:place])
        tail = tail[place:]
        untouched = dict.fromkeys(tail)
        begun = [index for index in running.batch.indices if index not in untouched]
        victim = Victim(tail, begun, runs, max(0.0, ahead_s))
        taken = self.policy.choose(victim, self.out.idle)
        if not taken:
            running.barren_left = len(running.left) - len(running.left) // 16
            running.barren_s = 2 * (elapsed + self.policy.overhead_s)
            return None
        self.out.asked(running)
        return Revocation(running.batch.id, tuple(taken), bool(self.policy.atomic))
