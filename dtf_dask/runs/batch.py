"""Which cases a worker runs next, in one forked child: the batch planner.

Pure: no clock, no I/O, no Dask; the driver reports and asks, the planner answers.
The same calls give the same answers.

A batch costs a fork and the set-up, once more, of what its cases share. So a worker
is given a share of what would make all workers end together, never less than some
ten times that cost; a group whose set-up is dear stays in as few batches as pays;
what is long goes first. When nothing is left to plan, an idle worker is given part
of what a busy one has not begun (`Planner.revocation`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dtf_dask.runs.batch_estimates import Estimates, PlannedCase, SharedFixtures
from dtf_dask.runs.batch_groups import Pool
from dtf_dask.runs.batch_portions import Loads, PlannerSettings, Portions
from dtf_dask.runs.batch_tail import TailPolicy, Victim

__all__ = [
    "Batch",
    "Dist",
    "PlannedCase",
    "Planner",
    "PlannerSettings",
    "Revocation",
]

Dist = Literal["load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases for one child process, in the order to run them.

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
class _Running:
    """A batch that was handed out, and what of it has not ended."""

    batch: Batch
    lane: _Lane
    left: dict[int, float]  # by index what it is thought to take
    start_s: float  # overhead and set-up, until its first case has ended
    left_s: float = 0.0  # their sum
    stale_at: int = 0  # estimate anew once so many cases of the run have ended
    revoking: bool = False
    barren_below: int = 1 << 62  # do not look for a tail while so many are left


@dataclass(eq=False, slots=True)
class _Lane:
    """One worker: its batches, oldest first, and for `each` what it has to run yet."""

    name: str
    running: dict[int, _Running] = field(default_factory=dict)
    queue: deque[int] = field(default_factory=deque)
    since: float | None = None  # when what runs now began, if the driver tells times


class Planner:
    """Decide what runs where, in which portions.

    Parameters
    ----------
    cases
        All cases; a case's ``index`` is its position.
    dist
        ``load``: any case anywhere. ``loadscope``, ``loadfile``, ``loadgroup``: the
        cases of a module or class, of a file, with an ``xdist_group`` mark stay in
        one batch. ``each``: every case once on every worker. ``one-per-process``:
        every case in a batch of its own.
    settings
        The tuning.

    Notes
    -----
    After any report (a case ended, a batch ended, a worker came or left, something
    was given back) ask `next_batch` for each worker that may have room: None means
    "not now", and the answer may change with any report. If a worker without a batch
    gets None, ask `revocation` for it. Reports must come in the order in which they
    were made on the worker; a set-up before the end of the case it was made for.

    Examples
    --------
    >>> planner = Planner([PlannedCase(0, "test_a.py", "test_a.py")], dist="load")
    >>> planner.add_worker("w1")
    >>> batch = planner.next_batch("w1")
    >>> batch.indices
    (0,)
    >>> planner.finished(batch.id, 0, 0.01), planner.ended(batch.id, ())
    (True, ())
    >>> planner.done
    True
    """

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        *,
        dist: Dist = "load",
        settings: PlannerSettings | None = None,
    ) -> None:
        if any(case.index != place for place, case in enumerate(cases)):
            raise ValueError(
                "a case's index must be its position: number the cases from 0 in order"
            )
        self._settings = settings or PlannerSettings()
        self._dist = dist
        self._total = len(cases)
        self._lanes: dict[str, _Lane] = {}
        self._absent: dict[str, deque[int]] = {}  # `each`: what a worker left undone
        self._running: dict[int, _Running] = {}
        self._owner: list[_Running | None] = [None] * len(cases)  # not for `each`
        self._last_worker: dict[int, str] = {}
        self._next_id = 1
        self._outstanding = 0
        self._busy = 0  # workers with a batch
        self._revoking = 0  # requests not answered
        self._out_s = 0.0
        self._sort_at = max(16, len(cases) // 16)
        self._finished = 0
        self._estimates = Estimates(cases, self._settings.default_s)
        self._fixtures = SharedFixtures.of(cases)
        atomic = {} if dist == "each" else _atomic_groups(cases, dist)
        pooled = [] if dist == "each" else cases
        self._pool = Pool(pooled, atomic, self._estimates, self._fixtures, len(cases))
        self._portions = Portions(
            self._pool, self._estimates, self._fixtures, self._settings, len(cases)
        )
        self._tails = TailPolicy(
            self._estimates, self._fixtures, atomic, self._settings.overhead_s
        )

    # -- what the driver tells ------------------------------------------------

    def add_worker(self, name: str) -> None:
        """A worker can take batches. One that was removed may come back."""
        if name in self._lanes:
            raise ValueError(f"worker {name!r} is known: remove it before adding it")
        lane = self._lanes[name] = _Lane(name)
        if self._dist == "each":
            lane.queue = self._absent.pop(name, deque(range(self._total)))

    def remove_worker(self, name: str) -> tuple[int, ...]:
        """A worker is gone; what it had not finished goes back in front.

        Returns
        -------
        tuple of int
            These indices. For `each` they wait until the same worker comes back.
        """
        lane = self._lane(name)
        lost: list[int] = []
        for running in reversed(list(lane.running.values())):
            lost[:0] = self._close(running)
        del self._lanes[name]
        if self._dist == "each":
            self._absent[name] = lane.queue
        for index in self._pool.retries.pop(name, ()):  # nobody to avoid any more
            self._pool.retries.setdefault("", deque()).append(index)
        return tuple(lost)

    def learn(self, estimates: Mapping[int, float]) -> None:
        """Take durations of earlier runs, by index, set-up of shared fixtures excluded.

        A case that has run in this run keeps what was measured.
        """
        for index in sorted(estimates):
            if 0 <= index < self._total and index not in self._last_worker:
                waits = self._pool.waits(index)
                self._estimates.learn(index, estimates[index], waits=waits)
        for running in self._running.values():
            self._estimate_anew(running)
        self._portions.durations_changed()

    def observe_setup(self, key: str, seconds: float) -> None:
        """A shared fixture was set up (in this run or an earlier one)."""
        cost = self._fixtures.observe(key, seconds)
        if self._dist == "load" and cost >= self._settings.dear_s:
            self._pool.gather(key, cost)

    def finished(
        self, batch_id: int, index: int, seconds: float, now: float | None = None
    ) -> bool:
        """One case ended; ``seconds`` without the set-up of shared fixtures.

        Returns
        -------
        bool
            False if the case was not outstanding in that batch (it came late, from
            a worker given up): the report must not count.
        """
        running = self._running.get(batch_id)
        if running is None or index not in running.left:
            return False
        self._drop(running, index)
        self._out_s -= running.start_s
        running.start_s = 0.0
        running.lane.since = now
        self._last_worker[index] = running.lane.name
        self._estimates.learn(index, seconds, waits=self._pool.waits(index))
        self._fixtures.settle(index)
        self._finished += 1
        if self._finished >= self._sort_at:  # a few times a run: it costs n log n
            self._sort_at *= 2
            self._pool.sort()
        return True

    def ended(self, batch_id: int, returned: Iterable[int] = ()) -> tuple[int, ...]:
        """A batch is over; whatever of it has not finished goes back in front.

        Returns
        -------
        tuple of int
            What went back. It may be more than ``returned``: nothing is lost.
        """
        running = self._running.get(batch_id)
        return () if running is None else self._close(running)

    def revoked(self, batch_id: int, indices: Iterable[int]) -> tuple[int, ...]:
        """A worker gave these back unrun, as asked; they may be planned again."""
        running = self._running.get(batch_id)
        if running is None:
            return ()
        self._revoking -= running.revoking
        running.revoking = False
        back = tuple(i for i in dict.fromkeys(indices) if i in running.left)
        if not back:  # nothing to be had: not again before it has got on
            running.barren_below = len(running.left)
        for index in back:
            self._drop(running, index)
        self._put_front(running, back)
        return back

    def requeue(self, index: int, worker: str | None = None) -> None:
        """Run a finished case once more, first on another worker than the last.

        For `each` on ``worker``, by default the one that ran it last.
        """
        last = worker or self._last_worker.get(index)
        if last is None:
            raise ValueError(f"case {index} has not run: only what ended is retried")
        if self._dist == "each":
            lane = self._lanes.get(last)
            queue = self._absent.get(last) if lane is None else lane.queue
            running = () if lane is None else lane.running.values()
            if queue is None or index in queue or any(index in r.left for r in running):
                raise ValueError(f"case {index} cannot be retried on {last!r} now")
            queue.append(index)
            return
        if self._owner[index] is not None or self._pool.waits(index):
            raise ValueError(f"case {index} is to run already: retry it when it ended")
        self._pool.put_retry(index, last if last in self._lanes else "")

    # -- what the driver asks -------------------------------------------------

    @property
    def remaining(self) -> int:
        """Cases that wait to be handed out; `each` counts the workers present."""
        return self._pool.waiting + sum(len(ln.queue) for ln in self._lanes.values())

    @property
    def outstanding(self) -> int:
        """Cases handed out that have not ended."""
        return self._outstanding

    @property
    def done(self) -> bool:
        """Whether nothing waits and nothing is outstanding."""
        return not self._outstanding and not self.remaining

    def estimate_left_s(self) -> float:
        """Seconds of work left, of one worker: divide by their number for an ETA."""
        waiting = self._estimates.waiting_s
        for lane in self._lanes.values():
            waiting += len(lane.queue) * self._estimates.mean_s
        return waiting + max(0.0, self._out_s)

    def next_batch(self, worker: str, now: float | None = None) -> Batch | None:
        """What the worker is to run next, or None if it has enough for now."""
        lane = self._lane(worker)
        held = len(lane.running)
        if not held:
            lane.since = now
        if held >= self._settings.batches_per_worker_max:
            return None
        if self._dist == "each":
            return self._each_batch(lane)
        if not self._pool.waiting:
            return None
        own = self._load_s(lane, now)
        if held and (own > self._lead_s() or self._idle() or self._in_doubt(lane)):
            return None
        loads = self._loads(lane, own, now)
        if self._dist == "one-per-process":
            return self._hand_out(lane, self._portions.one(worker, loads))
        return self._hand_out(lane, self._portions.compose(worker, loads))

    def revocation(
        self, idle_worker: str, now: float | None = None
    ) -> Revocation | None:
        """What to take back from a busy worker, now that this one has nothing to do.

        None if it would not be worth the overhead and the set-up done once more.
        ``now``, by the clock of `finished` and `next_batch`, is optional everywhere:
        with it the planner sees who has been in one case for long.
        """
        lane = self._lane(idle_worker)
        if lane.running or self._pool.waiting or self._dist == "each":
            return None
        idle = self._idle()
        if self._revoking >= idle or not self._estimates.any_seen:
            return None
        victims = [
            (self._load_s(other, now), place, other)
            for place, other in enumerate(self._lanes.values())
            if other.running
        ]
        for left_s, _, victim in sorted(victims, key=lambda v: (-v[0], v[1])):
            if left_s < 2 * self._settings.overhead_s:
                break
            found = self._take_back(victim, idle, _elapsed(victim, now))
            if found is not None:
                return found
        return None

    # -- sizes ----------------------------------------------------------------

    def _workers(self) -> int:
        return max(1, len(self._lanes), self._settings.workers_expected)

    def _lead_s(self) -> float:
        """How much a worker may have left and yet be given more."""
        if not self._estimates.any_seen:
            return 0.0
        fair = (self._estimates.waiting_s + max(0.0, self._out_s)) / self._workers()
        return min(max(self._settings.lead_s, 0.05 * fair), 0.25 * fair)

    def _idle(self) -> int:
        """Workers that have nothing."""
        return len(self._lanes) - self._busy

    def _left_s(self, lane: _Lane) -> float:
        total = 0.0
        for running in lane.running.values():
            if self._finished >= running.stale_at:
                self._estimate_anew(running)
            total += running.start_s + running.left_s
        return total

    def _load_s(self, lane: _Lane, now: float | None) -> float:
        """What a worker has left: a case that lasts long may last as long again."""
        return self._left_s(lane) + _elapsed(lane, now)

    def _loads(self, lane: _Lane, own: float, now: float | None) -> Loads:
        all_s = [self._load_s(other, now) for other in self._lanes.values()]
        all_s += [0.0] * (self._workers() - len(all_s))
        return Loads(own, all_s, self._may_repeat(lane))

    def _in_doubt(self, lane: _Lane) -> bool:
        """Whether the worker may be in a set-up of which nobody knows how dear it is.

        What was queued behind might pay the same again.
        """
        unsettled, keys = self._fixtures.unsettled, self._fixtures.keys
        if not unsettled:
            return False
        return any(
            key in unsettled
            for running in lane.running.values()
            for index in running.left
            for key in keys[index]
        )

    def _may_repeat(self, lane: _Lane) -> bool:
        """Whether a worker is to retry what failed on it: only if no other can soon."""
        others = [ln for ln in self._lanes.values() if ln is not lane]
        if not others:
            return True
        soonest = min(self._left_s(ln) for ln in others)
        return not lane.running and soonest > self._settings.retry_wait_s

    # -- batches --------------------------------------------------------------

    def _lane(self, worker: str) -> _Lane:
        lane = self._lanes.get(worker)
        if lane is None:
            raise ValueError(f"worker {worker!r} is not known: add it first")
        return lane

    def _each_batch(self, lane: _Lane) -> Batch | None:
        """All that one worker has to run: nobody else can, so nothing is balanced."""
        if not lane.queue or lane.running:
            return None
        chosen = list(lane.queue)
        lane.queue.clear()
        return self._hand_out(lane, chosen)

    def _hand_out(self, lane: _Lane, chosen: list[int]) -> Batch | None:
        if not chosen:
            return None
        ordered = self._ordered(chosen)
        start_s = self._settings.overhead_s + self._fixtures.cost_s(ordered)
        of = self._estimates.of
        batch = Batch(
            self._next_id,
            tuple(ordered),
            start_s + sum(of(i) for i in ordered),
            lane.name if self._dist == "each" else None,
        )
        self._next_id += 1
        self._busy += not lane.running
        running = _Running(batch, lane, dict.fromkeys(ordered, 0.0), start_s)
        self._running[batch.id] = lane.running[batch.id] = running
        if self._dist != "each":
            for index in ordered:
                self._owner[index] = running
        self._outstanding += len(ordered)
        self._out_s += start_s
        self._estimate_anew(running)
        return batch

    def _ordered(self, chosen: list[int]) -> list[int]:
        """Definition order; the members of an atomic group side by side."""
        if not self._pool.atomic:
            return sorted(chosen)
        first: dict[str, int] = {}
        name = self._pool.atomic.get
        for index in sorted(chosen):
            first.setdefault(name(index, str(index)), index)
        return sorted(chosen, key=lambda i: (first[name(i, str(i))], i))

    def _estimate_anew(self, running: _Running) -> None:
        """Bring up to date what is outstanding of a batch.

        The rarer, the more is left of it, so that a case costs O(1) of this.
        """
        of, left = self._estimates.of, running.left
        self._out_s -= running.left_s
        for index in left:
            left[index] = of(index)
        running.left_s = sum(left.values())
        self._out_s += running.left_s
        pause = max(4, min(len(left) // 4, self._finished))
        running.stale_at = self._finished + pause

    def _drop(self, running: _Running, index: int) -> None:
        """A case is no longer outstanding in a batch."""
        seconds = running.left.pop(index)
        self._outstanding -= 1
        if self._dist != "each":
            self._owner[index] = None
        running.left_s = running.left_s - seconds if running.left else 0.0
        self._out_s -= seconds

    def _close(self, running: _Running) -> tuple[int, ...]:
        """Forget a batch; what is left of it goes back in front."""
        back = tuple(running.left)
        for index in back:
            self._drop(running, index)
        self._out_s -= running.start_s
        del self._running[running.batch.id]
        del running.lane.running[running.batch.id]
        self._busy -= not running.lane.running
        self._revoking -= running.revoking
        self._put_front(running, back)
        return back

    def _put_front(self, running: _Running, back: Sequence[int]) -> None:
        if not back:
            return
        if self._dist == "each":
            running.lane.queue.extendleft(reversed(back))
        else:
            self._pool.put_front(back)

    # -- taking back ----------------------------------------------------------

    def _take_back(self, lane: _Lane, idle: int, elapsed: float) -> Revocation | None:
        """Part of the worker's last batch, for the idle."""
        running = next(reversed(lane.running.values()))
        if running.revoking or len(running.left) >= running.barren_below:
            return None
        tail = list(running.left)
        now = None
        if len(lane.running) == 1:  # the first of them is running now
            now = tail.pop(0)
            expected = self._estimates.of(now)
            # What has lasted longer than expected may well last as long again.
            before = max(expected - elapsed, elapsed) if elapsed else expected / 2
        else:
            before = max(0.0, self._left_s(lane) - running.left_s)
        untouched = dict.fromkeys(tail)
        begun = [index for index in running.batch.indices if index not in untouched]
        taken = self._tails.choose(Victim(tail, begun, now, before), idle)
        if not taken:  # not again for every case that ends
            running.barren_below = len(running.left) - len(running.left) // 16
            return None
        running.revoking = True
        self._revoking += 1
        return Revocation(running.batch.id, tuple(taken), bool(self._pool.atomic))


def _elapsed(lane: _Lane, now: float | None) -> float:
    """Seconds that the worker's case has been running, 0 if that is not known."""
    if now is None or lane.since is None or not lane.running:
        return 0.0
    return max(0.0, now - lane.since)


def _atomic_groups(cases: Sequence[PlannedCase], dist: Dist) -> dict[int, str]:
    """The name of the indivisible group of each case that has one."""
    if dist == "loadfile":
        return {c.index: c.file for c in cases}
    if dist == "loadscope":
        return {c.index: c.scope for c in cases}
    if dist == "loadgroup":
        return {c.index: c.group for c in cases if c.group}
    return {}
