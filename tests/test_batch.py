"""The batch planner: nothing lost, nothing doubled, and portions that are worth it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dtf_dask.runs.batch import (
    Batch,
    Dist,
    PlannedCase,
    Planner,
    PlannerSettings,
    Revocation,
)

DISTS: list[Dist] = [
    "load",
    "loadscope",
    "loadfile",
    "loadgroup",
    "each",
    "one-per-process",
]


def cases_of(
    seconds: list[float | None], per_file: int = 10, shared: tuple[str, ...] = ()
) -> list[PlannedCase]:
    """Cases in files of equal length, two classes to a file."""
    return [
        PlannedCase(
            index,
            f"test_{index // per_file}.py",
            f"test_{index // per_file}.py::Test{index % per_file * 2 // per_file}",
            f"g{index % 3}" if index % 4 == 0 else None,
            estimate,
            shared,
        )
        for index, estimate in enumerate(seconds)
    ]


def planner_of(
    cases: list[PlannedCase], workers: int, dist: Dist = "load", **tuning: float
) -> Planner:
    """A planner with its workers."""
    planner = Planner(cases, dist=dist, settings=PlannerSettings(**tuning))  # type: ignore[arg-type]
    for number in range(workers):
        planner.add_worker(f"w{number}")
    return planner


def first_batches(planner: Planner, workers: int) -> list[Batch]:
    """One batch for each."""
    batches = [planner.next_batch(f"w{number}") for number in range(workers)]
    return [batch for batch in batches if batch is not None]


def run_all(planner: Planner, seconds: list[float], workers: list[str]) -> list[str]:
    """Run everything in simulated time; what was decided, as text."""
    trace: list[str] = []
    clock = dict.fromkeys(workers, 0.0)
    queues: dict[str, list[tuple[int, list[int]]]] = {w: [] for w in workers}
    while not planner.done:
        for worker in workers:
            while batch := planner.next_batch(worker, clock[worker]):
                trace.append(f"{worker} {batch.id} {batch.indices}")
                queues[worker].append((batch.id, list(batch.indices)))
        for worker in workers:
            taken = None if queues[worker] else planner.revocation(worker)
            if taken is not None:
                trace.append(f"{worker} takes {taken}")
                for left in (x for q in queues.values() for i, x in q):
                    if taken.indices[0] in left:
                        left[:] = [i for i in left if i not in taken.indices]
                planner.revoked(taken.batch_id, taken.indices)
        busy = [w for w in workers if queues[w]]
        if not busy:
            continue
        worker = min(busy, key=lambda w: clock[w])
        for idle in workers:
            if not queues[idle]:
                clock[idle] = max(clock[idle], clock[worker])
        batch_id, left = queues[worker][0]
        if left:
            index = left.pop(0)
            clock[worker] += seconds[index]
            assert planner.finished(batch_id, index, seconds[index], clock[worker])
        if not left:
            queues[worker].pop(0)
            planner.ended(batch_id)
    return trace


class Runs(RuleBasedStateMachine):
    """Whatever workers do, every case is run once, and retries once more."""

    @initialize(
        dist=st.sampled_from(DISTS),
        estimates=st.lists(
            st.one_of(st.none(), st.floats(0, 50)), min_size=1, max_size=50
        ),
        per_file=st.integers(1, 12),
        keys=st.lists(st.sampled_from(["session:a", "session:b"]), max_size=2),
        share=st.sampled_from([0.4, 1.0]),
    )
    def begin(
        self,
        dist: Dist,
        estimates: list[float | None],
        per_file: int,
        keys: list[str],
        share: float,
    ) -> None:
        self.dist = dist
        self.cases = cases_of(estimates, per_file, tuple(keys))
        self.planner = Planner(
            self.cases, dist=dist, settings=PlannerSettings(share=share)
        )
        self.workers: dict[str, dict[int, list[int]]] = {}
        self.owed: Counter[tuple[str, int]] = Counter()
        self.ran: Counter[tuple[str, int]] = Counter()
        self.left_behind: dict[str, None] = {}
        self.finished: list[tuple[str, int]] = []
        self.retried: dict[int, None] = {}
        self.asked: list[Revocation] = []
        if dist != "each":
            self.owed.update(("", case.index) for case in self.cases)

    def name(self, worker: str) -> str:
        """Whose a run is: a worker's under `each`, else anybody's."""
        return worker if self.dist == "each" else ""

    @rule(number=st.integers(0, 3))
    def join(self, number: int) -> None:
        worker = f"w{number}"
        if worker in self.workers:
            return
        self.planner.add_worker(worker)
        self.workers[worker] = {}
        if self.dist == "each" and worker not in self.left_behind:
            self.owed.update((worker, case.index) for case in self.cases)
        self.left_behind.pop(worker, None)

    @rule(number=st.integers(0, 3))
    def leave(self, number: int) -> None:
        worker = f"w{number}"
        if worker not in self.workers:
            return
        batches = self.workers.pop(worker)
        held = [i for left in batches.values() for i in left]
        assert sorted(self.planner.remove_worker(worker)) == sorted(held)
        self.left_behind[worker] = None
        for batch_id, left in batches.items():  # its last words come too late
            assert not any(self.planner.finished(batch_id, i, 0.1) for i in left)
            assert self.planner.ended(batch_id, left) == ()

    @rule(number=st.integers(0, 3))
    def pull(self, number: int) -> None:
        worker = f"w{number}"
        if worker not in self.workers:
            return
        batch = self.planner.next_batch(worker)
        if batch is None:
            return
        assert batch.indices
        assert len(set(batch.indices)) == len(batch.indices)
        if self.dist == "one-per-process":
            assert len(batch.indices) == 1
        if self.dist == "each":
            assert batch.worker == worker
        self.workers[worker][batch.id] = list(batch.indices)

    @rule(number=st.integers(0, 3), count=st.integers(1, 20), took=st.floats(0, 9))
    def finish(self, number: int, count: int, took: float) -> None:
        worker = f"w{number}"
        for batch_id, left in list(self.workers.get(worker, {}).items())[:1]:
            for index in left[:count]:
                assert self.planner.finished(batch_id, index, took)
                self.ran[self.name(worker), index] += 1
                self.finished.append((worker, index))
            del left[:count]
            if not left:
                del self.workers[worker][batch_id]
                assert self.planner.ended(batch_id) == ()

    @rule(number=st.integers(0, 3))
    def crash(self, number: int) -> None:
        worker = f"w{number}"
        for batch_id, left in list(self.workers.get(worker, {}).items())[:1]:
            if left:
                assert self.planner.finished(batch_id, left[0], 0.1)
                self.ran[self.name(worker), left[0]] += 1
            assert self.planner.ended(batch_id, left[1:]) == tuple(left[1:])
            del self.workers[worker][batch_id]

    @rule(number=st.integers(0, 3))
    def take_back(self, number: int) -> None:
        worker = f"w{number}"
        if worker in self.workers and not self.workers[worker]:
            taken = self.planner.revocation(worker)
            if taken is not None:
                running = [
                    left[0]
                    for batches in self.workers.values()
                    for left in list(batches.values())[:1]
                    if left
                ]
                assert not set(running) & set(taken.indices)
                self.asked.append(taken)

    @rule(part=st.booleans())
    def answer(self, part: bool) -> None:
        if not self.asked:
            return
        taken = self.asked.pop(0)
        back: list[int] = []
        for batches in self.workers.values():
            left = batches.get(taken.batch_id, [])
            back = [i for i in taken.indices if i in left[1:]] or back
        if taken.whole and len(back) < len(taken.indices):
            back = []
        elif part and not taken.whole:
            back = back[len(back) // 2 :]
        assert self.planner.revoked(taken.batch_id, back) == tuple(back)
        for batches in self.workers.values():
            if taken.batch_id in batches:
                left = batches[taken.batch_id]
                left[:] = [i for i in left if i not in back]

    @rule()
    def retry(self) -> None:
        while self.finished:
            worker, index = self.finished.pop()
            gone = self.dist == "each" and worker not in self.workers
            if index in self.retried or gone:
                continue
            self.retried[index] = None
            self.planner.requeue(index, worker if self.dist == "each" else None)
            self.owed[self.name(worker), index] += 1
            return

    @rule(index=st.integers(0, 60), took=st.floats(0, 100))
    def learn(self, index: int, took: float) -> None:
        self.planner.learn({index: took})

    @rule(key=st.sampled_from(["session:a", "session:b", "nobody's"]))
    def set_up(self, key: str) -> None:
        self.planner.observe_setup(key, 3.0)

    @invariant()
    def nothing_is_handed_out_twice(self) -> None:
        held = [
            (self.name(w), i)
            for w, batches in self.workers.items()
            for left in batches.values()
            for i in left
        ]
        assert len(set(held)) == len(held)
        assert self.planner.outstanding == len(held)
        present = [
            n
            for (worker, index), n in (self.owed - self.ran).items()
            if not worker or worker in self.workers
        ]
        assert self.planner.remaining == sum(present)
        assert self.planner.waiting == sum(present) - len(held)
        assert self.planner.estimate_left_s() >= 0

    @invariant()
    def groups_are_not_divided(self) -> None:
        names = {
            "loadfile": lambda c: c.file,
            "loadscope": lambda c: c.scope,
            "loadgroup": lambda c: c.group,
        }
        if self.dist not in names:
            return
        places: dict[str, dict[int, None]] = {}
        for batches in self.workers.values():
            for batch_id, left in batches.items():
                for index in left:
                    if index not in self.retried:
                        name = names[self.dist](self.cases[index])
                        places.setdefault(name or f"{index}", {})[batch_id] = None
        assert all(len(batches) == 1 for batches in places.values())

    def teardown(self) -> None:
        """Everything comes to its end, however it went."""
        if not hasattr(self, "planner"):
            return
        while self.asked:
            self.answer(part=False)
        for number in range(4):
            self.join(number)
        for _ in range(10_000):
            if self.planner.done:
                break
            for number in range(4):
                self.pull(number)
                self.finish(number, 1000, 0.01)
        assert self.planner.done
        assert self.ran == self.owed


Runs.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestRuns = Runs.TestCase


def test_same_calls_give_same_answers_under_any_hash_seed() -> None:
    """No decision depends on the order of a set."""
    program = (
        "import random, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.test_batch import *\n"
        "seconds = [random.Random(i).lognormvariate(-4, 1) for i in range(300)]\n"
        "cases = cases_of([s if i % 3 else None for i, s in enumerate(seconds)],"
        " shared=('session:a', 'session:b'))\n"
        "for dist in DISTS:\n"
        "    planner = planner_of(cases, 3, dist)\n"
        "    planner.observe_setup('session:a', 0.3)\n"
        "    print(run_all(planner, seconds, ['w0', 'w1', 'w2']))\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    traces = [
        subprocess.run(
            [sys.executable, "-c", program, root],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0]) == len(DISTS)
    assert all(len(trace) > 100 for trace in traces[0])


def test_first_run_gives_each_worker_an_equal_share_at_once() -> None:
    """Without any knowledge, two workers get half each, in definition order."""
    batches = first_batches(planner_of(cases_of([None] * 100), 2), 2)
    assert [len(b.indices) for b in batches] == [50, 50]
    assert batches[0].indices == tuple(range(50))


def test_long_case_goes_first_and_alone() -> None:
    """With history, what outlasts the fair share starts at once with nothing else."""
    seconds: list[float | None] = [0.01] * 200
    seconds[150] = 10.0
    batches = first_batches(planner_of(cases_of(seconds), 2), 2)
    assert batches[0].indices == (150,)
    assert len(batches[1].indices) == 199


def test_batch_is_no_longer_than_the_limit() -> None:
    """A worker's share is cut at ``max_s`` where nothing asks for more."""
    planner = planner_of(cases_of([1.0] * 1000), 2, max_s=30.0)
    batch = planner.next_batch("w0")
    assert batch is not None
    assert batch.estimate_s <= 31.0


def test_smaller_shares_leave_a_reserve() -> None:
    """``share`` below 1 makes batches a decreasing part of what remains."""
    planner = planner_of(cases_of([0.5] * 400), 2, share=0.5)
    sizes = []
    while batch := planner.next_batch("w0"):
        sizes.append(len(batch.indices))
        for index in batch.indices:
            planner.finished(batch.id, index, 0.5)
        planner.ended(batch.id)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 40
    assert sizes[-1] < 5


def test_second_batch_only_when_the_first_is_nearly_done() -> None:
    """A worker is given its next batch early, but not before it is of use."""
    planner = planner_of(cases_of([0.1] * 400), 2, share=0.3)
    batch, other = first_batches(planner, 2)
    assert planner.next_batch("w0") is None
    for index in batch.indices[:-1]:
        planner.finished(batch.id, index, 0.1)
    ahead = planner.next_batch("w0")
    assert ahead is not None
    assert not set(ahead.indices) & {*batch.indices, *other.indices}


def test_dear_session_fixture_is_set_up_once_a_worker() -> None:
    """A set-up of 30 s is not repeated: all its users are handed out at once."""
    cases = cases_of([None] * 200, shared=("session:db",))
    planner = planner_of(cases, 2, share=0.3)
    batches = first_batches(planner, 2)
    assert sum(len(b.indices) for b in batches) == 200


def test_users_of_a_dear_fixture_stay_on_one_worker_if_that_pays() -> None:
    """Few users of a dear fixture are not divided while there is other work."""
    cases = cases_of([0.05] * 400)
    users = (10, 100, 200, 300)
    for index in users:
        cases[index] = PlannedCase(index, cases[index].file, "", None, 0.05, ("s:db",))
    planner = planner_of(cases, 2)
    planner.observe_setup("s:db", 5.0)
    batches = first_batches(planner, 2)
    assert set(users) <= set(batches[0].indices)
    assert not set(users) & set(batches[1].indices)


def test_a_module_with_a_shared_fixture_is_not_cut_for_a_small_imbalance() -> None:
    """The cut falls between two modules where that is near enough."""
    cases = [
        PlannedCase(i, f"f{i // 22}", "", None, 0.1, (f"module:f{i // 22}:x",))
        for i in range(88)
    ]
    cases = [*cases, *(PlannedCase(i, "z", "", None, 0.1) for i in range(88, 96))]
    batches = first_batches(planner_of(cases, 2), 2)
    assert len(batches[0].indices) == 44


@pytest.mark.parametrize("dist", ["loadscope", "loadfile", "loadgroup"])
def test_groups_stay_whole_through_a_whole_run(dist: Dist) -> None:
    """Every group is in one batch, revocations included."""
    seconds = [0.01 * (1 + i % 7) for i in range(400)]
    cases = cases_of([None] * 400)
    planner = planner_of(cases, 3, dist)
    place: dict[int, str] = {}
    for line in run_all(planner, seconds, ["w0", "w1", "w2"]):
        if "takes" not in line:
            _, batch, indices = line.split(" ", 2)
            for index in indices.strip("(,)").split(","):
                place[int(index)] = batch
    key = {"loadscope": "scope", "loadfile": "file", "loadgroup": "group"}[dist]
    homes: dict[str, set[str]] = {}
    for case in cases:
        name = getattr(case, key)
        if name:
            homes.setdefault(name, set()).add(place[case.index])
    assert len(place) == 400
    assert all(len(batches) == 1 for batches in homes.values())


def test_each_runs_every_case_on_every_worker_and_survives_a_restart() -> None:
    """What a lost worker had to do waits for it and is not given to another."""
    planner = planner_of(cases_of([None] * 5), 2, "each")
    first, second = first_batches(planner, 2)
    assert first.indices == second.indices == (0, 1, 2, 3, 4)
    assert first.worker == "w0"
    planner.finished(first.id, 0, 0.1)
    assert planner.remove_worker("w0") == (1, 2, 3, 4)
    assert planner.waiting == 0
    assert planner.remaining == 5
    planner.add_worker("w0")
    again = planner.next_batch("w0")
    assert again is not None
    assert again.indices == (1, 2, 3, 4)


def test_late_report_of_a_lost_worker_does_not_count() -> None:
    """A case that was handed to another must not end twice."""
    planner = planner_of(cases_of([None]), 2)
    batch = planner.next_batch("w0")
    assert batch is not None
    planner.remove_worker("w0")
    assert not planner.finished(batch.id, 0, 0.1)
    assert planner.remaining == 1


def test_idle_worker_takes_part_of_the_tail_but_not_the_running_case() -> None:
    """About half goes over, from the end, never what has begun."""
    planner = planner_of(cases_of([0.1] * 40), 1, max_s=100)
    batch = planner.next_batch("w0")
    assert batch is not None
    planner.finished(batch.id, 0, 0.1)
    planner.add_worker("w1")
    taken = planner.revocation("w1")
    assert taken is not None
    assert 17 <= len(taken.indices) <= 20
    assert taken.indices == tuple(range(40 - len(taken.indices), 40))
    assert planner.revocation("w1") is None, "one request at a time"
    assert planner.revoked(taken.batch_id, taken.indices[1:]) == taken.indices[1:]
    moved = planner.next_batch("w1")
    assert moved is not None
    assert moved.indices == taken.indices[1:]


def test_the_only_case_left_is_never_taken_back() -> None:
    """However long it lasts, it is running."""
    planner = planner_of(cases_of([9.0]), 1)
    assert planner.next_batch("w0", 0.0) is not None
    planner.add_worker("w1")
    assert planner.revocation("w1", 0.1) is None
    assert planner.revocation("w1", 60.0) is None


def test_nothing_is_taken_back_that_is_not_worth_it() -> None:
    """A tail shorter than the overhead, or than the set-up, stays where it is."""
    planner = planner_of(cases_of([0.001] * 10), 1)
    batch = planner.next_batch("w0")
    assert batch is not None
    planner.add_worker("w1")
    assert planner.revocation("w1") is None
    dear = planner_of(cases_of([0.1] * 40, shared=("session:db",)), 1)
    dear.observe_setup("session:db", 10.0)
    assert dear.next_batch("w0") is not None
    dear.add_worker("w1")
    assert dear.revocation("w1") is None


def test_who_is_stuck_in_a_case_loses_its_tail() -> None:
    """With times told, a case that lasts long is taken to last on."""
    cases = cases_of([None] * 40)
    planner = planner_of(cases, 2)
    stuck, quick = planner.next_batch("w0", 0.0), planner.next_batch("w1", 0.0)
    assert stuck is not None
    assert quick is not None
    for number, index in enumerate(quick.indices, 1):
        planner.finished(quick.id, index, 0.1, 0.1 * number)
    planner.ended(quick.id)
    taken = planner.revocation("w1", 5.0)
    assert taken is not None
    assert taken.batch_id == stuck.id
    assert len(taken.indices) == 19


def test_a_tail_not_worth_taking_is_looked_at_again_as_time_goes_by() -> None:
    """A short tail behind a case that does not end is taken in the end."""
    planner = planner_of(cases_of([0.001, 0.04]), 1)
    assert planner.next_batch("w0", 0.0) is not None
    planner.add_worker("w1")
    assert planner.revocation("w1", 0.001) is None
    assert planner.revocation("w1", 0.002) is None
    taken = planner.revocation("w1", 1.0)
    assert taken is not None
    assert taken.indices == (1,)


def _take_all(planner: Planner, batch: Batch | None) -> dict[int, None]:
    """What ``w1`` takes back from ``w0`` as time goes by; it runs all at once."""
    taken: dict[int, None] = {}
    now = 0.5
    while now < 10.0:
        now += 0.05
        while batch:
            for index in batch.indices:
                planner.finished(batch.id, index, 0.001, now)
            planner.ended(batch.id)
            batch = planner.next_batch("w1", now)
        if revocation := planner.revocation("w1", now):
            taken |= dict.fromkeys(revocation.indices)
            planner.revoked(revocation.batch_id, revocation.indices)
        batch = planner.next_batch("w1", now)
    return taken


def test_all_that_waits_behind_a_hung_case_is_taken() -> None:
    """From the last batch, and then from the one that is stuck in the case."""
    planner = planner_of(cases_of([0.1] * 40, 40), 2, share=0.6, lead_s=100.0)
    first, other = planner.next_batch("w0", 0.0), planner.next_batch("w1", 0.0)
    assert first is not None
    *begun, hung, _, _, _ = first.indices
    for index in begun:
        planner.finished(first.id, index, 0.1, 0.5)
    second = planner.next_batch("w0", 0.5)
    assert second is not None
    taken = _take_all(planner, other)
    tail = first.indices[first.indices.index(hung) + 1 :]
    assert set(taken) == {*tail, *second.indices}


def test_a_short_batch_behind_a_hung_case_is_taken_in_the_end() -> None:
    """Whatever was expected: what counts is how long that case has lasted."""
    tuning = {"share": 0.01, "target_s": 0.08, "overhead_factor": 0.0}
    planner = planner_of(cases_of([0.04] * 20, 1), 2, lead_s=100.0, **tuning)
    first, other = planner.next_batch("w0", 0.0), planner.next_batch("w1", 0.0)
    assert first is not None
    begun, hung = first.indices
    planner.finished(first.id, begun, 0.04, 0.04)
    second = planner.next_batch("w0", 0.04)
    assert second is not None
    planner.learn({hung: 0.0001})
    assert set(_take_all(planner, other)) == set(second.indices)


def test_retry_goes_to_another_worker_if_there_is_one() -> None:
    """A worker does not retry what failed on it while there is another."""
    planner = planner_of(cases_of([0.1]), 2)
    batch = planner.next_batch("w0")
    assert batch is not None
    planner.finished(batch.id, 0, 0.1)
    planner.ended(batch.id)
    planner.requeue(0)
    assert planner.next_batch("w0") is None
    planner.remove_worker("w1")
    again = planner.next_batch("w0")
    assert again is not None
    assert again.indices == (0,)


def test_a_retry_leaves_the_process_that_failed_it() -> None:
    """Slots of one process are no other worker, unless there is nothing else."""
    planner = Planner(cases_of([0.1, 0.1]))
    for name, home in (("a0", "a"), ("a1", "a"), ("b0", "b")):
        planner.add_worker(name, home)
    batch = planner.next_batch("a0")
    assert batch is not None
    index = batch.indices[0]
    planner.finished(batch.id, index, 0.1)
    planner.ended(batch.id)
    other = planner.next_batch("b0")  # it has something to do for now
    assert other is not None
    planner.requeue(index)
    for name in ("a0", "a1"):
        assert planner.next_batch(name) is None
        assert planner.revocation(name) is None
    planner.remove_worker("b0")
    again = planner.next_batch("a1")
    assert again is not None
    assert index in again.indices


def test_a_retry_is_not_taken_back_by_who_failed_it() -> None:
    """Not while it waits elsewhere; and what comes back of a batch still avoids it."""
    planner = planner_of(cases_of([0.1] * 20), 2, share=0.2)
    first = planner.next_batch("w0", 0.0)
    assert first is not None
    for index in first.indices:
        planner.finished(first.id, index, 0.1, 1.0)
        planner.requeue(index)
    planner.ended(first.id)
    rest = planner.next_batch("w0", 1.0)
    while rest is not None:  # all the others run here
        for index in rest.indices:
            planner.finished(rest.id, index, 0.1, 1.0)
        planner.ended(rest.id)
        rest = planner.next_batch("w0", 1.0)
    again = planner.next_batch("w1", 1.0)
    assert again is not None
    assert set(again.indices) <= set(first.indices)
    assert planner.revocation("w0", 100.0) is None
    assert set(planner.ended(again.id)) == set(again.indices)
    assert planner.next_batch("w0", 101.0) is None
    assert planner.next_batch("w1", 101.0) is not None


def test_late_history_changes_what_is_left() -> None:
    """Durations that arrive during the run are used from then on."""
    planner = planner_of(cases_of([None] * 100), 2, share=0.2)
    first_batches(planner, 2)
    before = planner.estimate_left_s()
    planner.learn(dict.fromkeys(range(100), 2.0))
    assert planner.estimate_left_s() > 50 * before


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -5.0, 1e300])
def test_wild_durations_do_no_harm(wild: float) -> None:
    """A broken history does not stop a run."""
    planner = planner_of(cases_of([wild, None, 0.1]), 1)
    planner.observe_setup("session:x", wild)
    run_all(planner, [0.1, 0.1, 0.1], ["w0"])
    assert planner.done


def test_misuse_is_said() -> None:
    """What the driver may not do raises, with what to do instead."""
    planner = planner_of(cases_of([None]), 1)
    with pytest.raises(ValueError, match="remove it before"):
        planner.add_worker("w0")
    with pytest.raises(ValueError, match="add it first"):
        planner.next_batch("w9")
    with pytest.raises(ValueError, match="has not run"):
        planner.requeue(0)
    with pytest.raises(ValueError, match="number the cases"):
        Planner([PlannedCase(1, "f", "f")])


@pytest.mark.parametrize("dist", ["load", "loadscope", "one-per-process"])
def test_fifty_thousand_cases_are_planned_cheaply(dist: Dist) -> None:
    """All decisions of a run of 50,000 cases take about a second of CPU at most."""
    count = 50_000
    cases = cases_of([None] * count, 50, ("session:tmp",))
    begun = time.process_time()
    planner = planner_of(cases, 2, dist)
    done = 0
    turn = 0
    while not planner.done:
        worker = f"w{turn % 2}"
        turn += 1
        batch = planner.next_batch(worker)
        for index in batch.indices if batch else ():
            planner.finished(batch.id, index, 0.001)  # type: ignore[union-attr]
            planner.next_batch(worker) if dist == "load" and index % 50 == 0 else None
            done += 1
        if batch:
            planner.ended(batch.id)
    assert done == count
    assert time.process_time() - begun < 4  # about 0.6 on one core at rest
