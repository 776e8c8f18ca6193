"""Which part of a busy worker's batch is worth giving to an idle one.

Pure. Taking work back costs a batch and the set-up, once more, of what its cases
share; so it must be worth more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtf_dask.runs.batch_estimates import Estimates, SharedFixtures


@dataclass(frozen=True, slots=True)
class Victim:
    """A busy worker's batch, as seen by one that has nothing to do.

    Parameters
    ----------
    tail
        Its cases that have not begun, in order.
    begun
        The others of the batch.
    running
        The case that is running, if it is one of this batch.
    before_s
        Seconds before the tail would begin.
    """

    tail: Sequence[int]
    begun: Sequence[int]
    running: int | None
    before_s: float


@dataclass(frozen=True, slots=True)
class TailPolicy:
    """Choose what to take back. ``atomic`` names the indivisible groups."""

    estimates: Estimates
    fixtures: SharedFixtures
    atomic: Mapping[int, str]
    overhead_s: float

    def choose(self, victim: Victim, idle: int) -> Sequence[int]:
        """The end of the tail, so that the victim and the idle end together.

        Empty if that is not worth the cost.
        """
        of, tail, before_s = self.estimates.of, victim.tail, victim.before_s
        all_s = sum(of(index) for index in tail)
        place = self._place(victim, (all_s + before_s) * idle / (idle + 1))
        if self.atomic:
            place = self._whole_from(victim, place)
        taken = tail[place:]
        taken_s = sum(of(index) for index in taken)
        cost = self.overhead_s + self.fixtures.cost_s(taken)
        # The thief pays the cost too: with less to take they end together.
        while len(taken) > 1 and not self.atomic:
            if cost + taken_s / idle <= before_s + all_s - taken_s:
                break
            taken_s -= of(taken[0])
            taken = taken[1:]
        left_s = before_s + all_s
        gain = left_s - max(left_s - taken_s, cost + taken_s / idle)
        if taken_s <= 2 * cost or gain < self.overhead_s:
            return ()
        return taken

    def _place(self, victim: Victim, goal_s: float) -> int:
        """Where in the tail to begin, for about so many seconds."""
        of, keys, tail = self.estimates.of, self.fixtures.keys, victim.tail
        doubtful = self._doubtful(victim)
        taken_s = 0.0
        place = len(tail)
        while place and (taken_s < goal_s or taken_s == 0.0):
            index = tail[place - 1]
            if doubtful and any(key in doubtful for key in keys[index]):
                break
            if taken_s and taken_s + of(index) / 2 > goal_s:
                break
            place -= 1
            taken_s += of(index)
        return place

    def _doubtful(self, victim: Victim) -> tuple[str, ...]:
        """Fixtures that the running case may be setting up, at an unknown cost.

        Their users stay with it until that is known: a thief might pay it again.
        """
        if victim.running is None:
            return ()
        unsettled = self.fixtures.unsettled
        return tuple(k for k in self.fixtures.keys[victim.running] if k in unsettled)

    def _whole_from(self, victim: Victim, place: int) -> int:
        """The first place at or behind which only groups are that have not begun."""
        name, tail = self.atomic.get, victim.tail
        begun = {name(index) for index in victim.begun}
        while 0 < place < len(tail):
            group = name(tail[place])
            if group is None or group != name(tail[place - 1]):
                break
            place += 1
        while place < len(tail) and name(tail[place]) in begun - {None}:
            place += 1
        return place
