"""Which cases a worker runs next, in one batch: the batch planner.

Pure. No clock, no I/O, no Dask; the driver reports and asks, the planner answers.
The same calls give the same answers.

A batch costs a little and the set-up, once more, of what its cases share. So a worker
is given a share of what would make all workers end together, never less than some
ten times that cost; a group whose set-up is dear stays in as few batches as pays;
what is long goes first. When nothing is left to plan, an idle worker is given part
of what a busy one has not begun (`Planner.revocation`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from dtf_dask.runs.batch_estimates import Estimates, PlannedCase, SharedFixtures
from dtf_dask.runs.batch_groups import Dist, Pool, atomic_groups
from dtf_dask.runs.batch_lanes import Batch, Lane, Outstanding, Revocation, Running
from dtf_dask.runs.batch_portions import Loads, PlannerSettings, Portions
from dtf_dask.runs.batch_search import TailSearch
from dtf_dask.runs.batch_tail import TailPolicy

__all__ = ("Batch", "Dist", "PlannedCase", "Planner", "PlannerSettings", "Revocation")


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
    gets None, ask `revocation` for it; while one is idle, also every 50 ms or so (a
    case may last longer than was thought). Reports must come in the order in which they
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
        self._absent: dict[str, deque[int]] = {}  # `each`: what a worker left undone
        self._is_done = bytearray(len(cases))  # not for `each`
        self._last_worker: dict[int, str] = {}
        self._avoids: dict[int, str] = {}  # what is retried, and where it failed
        self._next_id = 1
        self._sort_at = max(16, len(cases) // 16)
        self._estimates = Estimates(cases, self._settings.default_s)
        self._fixtures = SharedFixtures.of(cases)
        self._out = Outstanding(self._estimates)
        atomic = {} if dist == "each" else atomic_groups(cases, dist)
        pooled = [] if dist == "each" else cases
        self._pool = Pool(pooled, atomic, self._estimates, self._fixtures, len(cases))
        self._portions = Portions(
            self._pool, self._estimates, self._fixtures, self._settings, len(cases)
        )
        tails = TailPolicy(
            self._estimates, self._fixtures, atomic, self._settings.overhead_s
        )
        self._tails = TailSearch(self._out, self._estimates, tails, self._avoids)

    # -- what the driver tells ------------------------------------------------

    def add_worker(self, name: str, home: str = "") -> None:
        """A worker can take batches. One that was removed may come back.

        What fails on it is retried first on one of another ``home``, which is its name
        if nothing is said: slots of one process are no other workers.
        """
        if name in self._out.lanes:
            raise ValueError(f"worker {name!r} is known: remove it before adding it")
        lane = self._out.lanes[name] = Lane(name, home or name)
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
        del self._out.lanes[name]
        if self._dist == "each":
            self._absent[name] = lane.queue
        self._pool.avoid_no_more(name)
        return tuple(lost)

    def learn(self, estimates: Mapping[int, float]) -> None:
        """Take durations of earlier runs, by index, set-up of shared fixtures excluded.

        A case that has run in this run keeps what was measured.
        """
        for index in sorted(estimates):
            if 0 <= index < self._total and index not in self._last_worker:
                waits = self._pool.waits(index)
                self._estimates.learn(index, estimates[index], waits=waits)
        self._out.estimate_anew()
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
        running = self._out.batches.get(batch_id)
        if running is None or index not in running.left:
            return False
        self._out.drop(running, index)
        self._out.begun(running)
        running.lane.since = now
        self._is_done[index] = 1
        self._last_worker[index] = running.lane.name
        self._avoids.pop(index, None)
        self._estimates.learn(index, seconds, waits=self._pool.waits(index))
        self._fixtures.settle(index)
        self._out.ended += 1
        if self._out.ended >= self._sort_at:  # a few times a run: it costs n log n
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
        running = self._out.batches.get(batch_id)
        return () if running is None else self._close(running)

    def revoked(self, batch_id: int, indices: Iterable[int]) -> tuple[int, ...]:
        """A worker gave these back unrun, as asked; they may be planned again."""
        running = self._out.batches.get(batch_id)
        if running is None:
            return ()
        self._out.answered(running)
        back = tuple(i for i in dict.fromkeys(indices) if i in running.left)
        if not back:  # nothing to be had: not again before it has got on
            running.barren_left, running.barren_s = len(running.left), math.inf
        for index in back:
            self._out.drop(running, index)
        self._put_front(running, back)
        return back

    def requeue(self, index: int, worker: str | None = None) -> None:
        """Run a finished case once more, first on a worker elsewhere than the last.

        For `each` on ``worker``, by default the one that ran it last.
        """
        last = worker or self._last_worker.get(index)
        if last is None:
            raise ValueError(f"case {index} has not run: only what ended is retried")
        if self._dist == "each":
            lane = self._out.lanes.get(last)
            queue = self._absent.get(last) if lane is None else lane.queue
            running = () if lane is None else lane.running.values()
            if queue is None or index in queue or any(index in r.left for r in running):
                raise ValueError(f"case {index} cannot be retried on {last!r} now")
            queue.append(index)
            return
        if not self._is_done[index]:
            raise ValueError(f"case {index} is to run already: retry it when it ended")
        self._is_done[index] = 0
        self._avoids[index] = last
        self._put_retry(index)

    def _put_retry(self, index: int) -> None:
        avoid = self._avoids[index]
        self._pool.put_retry(index, avoid if avoid in self._out.lanes else "")

    # -- what the driver asks -------------------------------------------------

    @property
    def remaining(self) -> int:
        """Cases that have not ended, waiting or handed out.

        `each` counts every worker that is present.
        """
        return self.waiting + self.outstanding

    @property
    def waiting(self) -> int:
        """Cases that wait to be handed out."""
        queued = (len(lane.queue) for lane in self._out.lanes.values())
        return self._pool.waiting + sum(queued)

    def batches_of(self, worker: str) -> list[int]:
        """What was handed to a worker and is not over."""
        return list(self._lane(worker).running)

    def waiting_cases(self) -> list[int]:
        """Them, by index; for `each` all of them while no worker has come."""
        if self._dist == "each":
            came = self._out.lanes or self._absent
            return [] if came else list(range(self._total))
        return [index for index in range(self._total) if self._pool.waits(index)]

    @property
    def outstanding(self) -> int:
        """Cases handed out that have not ended."""
        return self._out.cases

    @property
    def done(self) -> bool:
        """Whether everything has ended."""
        return not self.remaining

    def estimate_left_s(self) -> float:
        """Seconds of work left, of one worker: divide by their number for an ETA."""
        waiting = self._estimates.waiting_s
        for lane in self._out.lanes.values():
            waiting += len(lane.queue) * self._estimates.mean_s
        return waiting + self._out.seconds

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
        own = self._out.load_s(lane, now)
        if held and (own > self._lead_s() or self._out.idle):
            return None
        if held and self._fixtures.in_doubt(lane.indices()):
            return None
        loads = self._loads(lane, own, now)
        if self._dist == "one-per-process":
            return self._hand_out(lane, self._portions.one(loads))
        return self._hand_out(lane, self._portions.compose(loads))

    def revocation(
        self, idle_worker: str, now: float | None = None
    ) -> Revocation | None:
        """What to take back from a busy worker, now that this one has nothing to do.

        None if it would not be worth the overhead and the set-up done once more.
        ``now``, by the clock of `finished` and `next_batch`, is optional everywhere:
        with it the planner sees who has been in one case for long.
        """
        lane = self._lane(idle_worker)
        retries = self._pool.retries
        avoided = sum(len(retries.get(name, ())) for name in self._shunned(lane))
        if lane.running or self._pool.waiting > avoided or self._dist == "each":
            return None
        if not self._estimates.any_seen:
            return None
        return self._tails.find(now)

    # -- sizes ----------------------------------------------------------------

    def _workers(self) -> int:
        return max(1, len(self._out.lanes), self._settings.workers_expected)

    def _lead_s(self) -> float:
        """How much a worker may have left and yet be given more."""
        if not self._estimates.any_seen:
            return 0.0
        fair = (self._estimates.waiting_s + self._out.seconds) / self._workers()
        return min(max(self._settings.lead_s, 0.05 * fair), 0.25 * fair)

    def _loads(self, lane: Lane, own: float, now: float | None) -> Loads:
        all_s = [self._out.load_s(other, now) for other in self._out.lanes.values()]
        all_s += [0.0] * (self._workers() - len(all_s))
        return Loads(own, all_s, self._shunned(lane))

    def _shunned(self, lane: Lane) -> Collection[str]:
        """Where what failed was not to be retried here: next door, if there is more."""
        if not self._pool.retries:  # as nearly always
            return ()
        lanes = self._out.lanes.values()
        here = [other.name for other in lanes if other.home == lane.home]
        return here if len(here) < len(lanes) else ()

    # -- batches --------------------------------------------------------------

    def _lane(self, worker: str) -> Lane:
        lane = self._out.lanes.get(worker)
        if lane is None:
            raise ValueError(f"worker {worker!r} is not known: add it first")
        return lane

    def _each_batch(self, lane: Lane) -> Batch | None:
        """All that one worker has to run: nobody else can, so nothing is balanced."""
        if not lane.queue or lane.running:
            return None
        chosen = list(lane.queue)
        lane.queue.clear()
        return self._hand_out(lane, chosen)

    def _hand_out(self, lane: Lane, chosen: list[int]) -> Batch | None:
        if not chosen:
            return None
        ordered = self._pool.ordered(chosen)
        start_s = self._settings.overhead_s + self._fixtures.cost_s(ordered)
        of = self._estimates.of
        batch = Batch(
            self._next_id,
            tuple(ordered),
            start_s + sum(of(i) for i in ordered),
            lane.name if self._dist == "each" else None,
        )
        self._next_id += 1
        self._out.hand_out(lane, batch, start_s)
        return batch

    def _close(self, running: Running) -> tuple[int, ...]:
        """Forget a batch; what is left of it goes back in front."""
        back = self._out.close(running)
        self._put_front(running, back)
        return back

    def _put_front(self, running: Running, back: Sequence[int]) -> None:
        if not back:
            return
        if self._dist == "each":
            running.lane.queue.extendleft(reversed(back))
        else:
            for index in back:
                if index in self._avoids:
                    self._put_retry(index)
            self._pool.put_front([i for i in back if i not in self._avoids])
