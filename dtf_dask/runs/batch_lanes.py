"""What was handed out: which worker has which batches, and what is left of them.

Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from dtf_dask.runs.batch_estimates import Estimates


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases for one worker, in the order to run them.

    ``estimate_s`` includes the overhead and shared set-up. ``worker`` is the only
    one that may run it, or None.
    """

    id: int
    indices: tuple[int, ...]
    estimate_s: float
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Ask the worker of a batch to give back those of these it has not begun.

    If ``whole``, all of them or none: they are groups that must not be divided.
    Whatever it answers goes to `Planner.revoked`, an empty answer too.
    """

    batch_id: int
    indices: tuple[int, ...]
    whole: bool = False


@dataclass(eq=False, slots=True)
class Running:
    """A batch that was handed out, and what of it has not ended."""

    batch: Batch
    lane: Lane
    left: dict[int, float]  # by index what it is thought to take
    start_s: float  # overhead and set-up, until its first case has ended
    left_s: float = 0.0  # their sum
    stale_at: int = 0  # estimate anew once so many cases of the run have ended
    revoking: bool = False
    barren_left: int = 1 << 62  # no tail worth taking while so many are left
    barren_s: float = 0.0  # and its case has not been running for so long


@dataclass(eq=False, slots=True)
class Lane:
    """One worker: its batches, oldest first, and for `each` what it has to run yet.

    Those of one ``home`` fail together: a retry goes to another one first.
    """

    name: str
    home: str
    running: dict[int, Running] = field(default_factory=dict)
    queue: deque[int] = field(default_factory=deque)
    since: float | None = None  # when what runs now began, if the driver tells times

    def indices(self) -> Iterator[int]:
        """The cases that it has and that have not ended."""
        for running in self.running.values():
            yield from running.left

    def elapsed(self, now: float | None) -> float:
        """Seconds that its case has been running, 0 if that is not known."""
        if now is None or self.since is None or not self.running:
            return 0.0
        return max(0.0, now - self.since)


class Outstanding:
    """Everything that was handed out and has not ended, with running sums."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates
        self.lanes: dict[str, Lane] = {}
        self.batches: dict[int, Running] = {}
        self.cases = 0
        self.ended = 0  # cases, in the whole run
        self.busy = 0  # workers with a batch
        self.revoking = 0  # requests that were not answered
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """What is left of all batches."""
        return max(0.0, self._seconds)

    @property
    def idle(self) -> int:
        """Workers that have nothing."""
        return len(self.lanes) - self.busy

    def hand_out(self, lane: Lane, batch: Batch, start_s: float) -> None:
        """A batch is handed to a worker."""
        self.busy += not lane.running
        running = Running(batch, lane, dict.fromkeys(batch.indices, 0.0), start_s)
        self.batches[batch.id] = lane.running[batch.id] = running
        self.cases += len(batch.indices)
        self._seconds += start_s
        self._estimate_anew(running)

    def begun(self, running: Running) -> None:
        """Its first case has ended: the set-up is over."""
        self._seconds -= running.start_s
        running.start_s = 0.0

    def drop(self, running: Running, index: int) -> None:
        """A case is no longer outstanding in a batch."""
        seconds = running.left.pop(index)
        self.cases -= 1
        running.left_s = running.left_s - seconds if running.left else 0.0
        self._seconds -= seconds

    def close(self, running: Running) -> tuple[int, ...]:
        """Forget a batch; answer what was left of it."""
        back = tuple(running.left)
        for index in back:
            self.drop(running, index)
        self.begun(running)
        del self.batches[running.batch.id]
        del running.lane.running[running.batch.id]
        self.busy -= not running.lane.running
        self.answered(running)
        return back

    def asked(self, running: Running) -> None:
        """Part of a batch was asked back."""
        running.revoking = True
        self.revoking += 1

    def answered(self, running: Running) -> None:
        """And its worker has answered."""
        self.revoking -= running.revoking
        running.revoking = False

    def left_s(self, lane: Lane) -> float:
        """What a worker has left."""
        total = 0.0
        for running in lane.running.values():
            if self.ended >= running.stale_at:
                self._estimate_anew(running)
            total += running.start_s + running.left_s
        return total

    def load_s(self, lane: Lane, now: float | None) -> float:
        """The same; but a case that lasts long may last as long again."""
        return self.left_s(lane) + lane.elapsed(now)

    def estimate_anew(self) -> None:
        """Durations were learned."""
        for running in self.batches.values():
            self._estimate_anew(running)

    def _estimate_anew(self, running: Running) -> None:
        """Bring up to date what is left of a batch.

        The rarer, the more is left of it, so that a case costs O(1) of this.
        """
        of, left = self._estimates.of, running.left
        self._seconds -= running.left_s
        for index in left:
            left[index] = of(index)
        running.left_s = sum(left.values())
        self._seconds += running.left_s
        running.stale_at = self.ended + max(4, min(len(left) // 4, self.ended))
