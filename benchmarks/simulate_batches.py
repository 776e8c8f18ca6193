"""Wall time of batch policies, simulated: ours, pytest-xdist's, and a lower bound.

    python benchmarks/simulate_batches.py [--quick] [--json] [--seed N]
                                          [--durations FILE]

A discrete-event simulation. Ours is the real `Planner`, xdist's are its real
`LoadScheduling` and `WorkStealingScheduling`, each over simulated workers. Ours pays
a fork once a worker, a little per batch, and shared fixtures once a batch; xdist pays
session fixtures once a worker, module fixtures once for each stretch of a module's
tests, and no fork. The start of either (collection, imports) is left out. ``FILE`` is
what ``pytest --durations=0 --durations-min=0 -vv`` printed of a real suite; it may be
given several times.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScheduling, WorkStealingScheduling

from dtf_dask.runs.batch import Batch, PlannedCase, Planner, PlannerSettings

MESSAGE_S = 0.001  # one way between driver or controller and a worker
DISPATCH_S = 0.004  # from the driver's decision to the runner of a batch
TICK_S = 0.05  # how often the driver asks for the idle
FORK_S = 0.015  # before a worker's first batch
BATCH_S = 0.002  # a batch's own cost on its worker


@dataclass
class Suite:
    """Tests in definition order, and what their shared fixtures cost."""

    name: str
    seconds: list[float]
    files: list[str]
    shared: list[tuple[str, ...]]
    costs: dict[str, float] = field(default_factory=dict)

    def bound(self, workers: int) -> float:
        """No schedule ends earlier than this."""
        spread = sum(c for k, c in self.costs.items())
        least = (sum(self.seconds) + spread) / workers
        longest = max(
            s + sum(self.costs.get(k, 0.0) for k in keys)
            for s, keys in zip(self.seconds, self.shared, strict=True)
        )
        everybody = [
            k for k in self.costs if all(k in keys for keys in self.shared)
        ]  # paid by each worker that takes part, in parallel
        common = sum(self.costs[k] for k in everybody)
        rest = (sum(self.seconds) + spread - common) / workers + common
        alone = sum(self.seconds) + spread
        return max(longest, least, min(rest, alone))


class Clock:
    """Events in order of time, then of their making."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let it happen so much later."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._serial), event))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._heap:
            self.now, _, event = heapq.heappop(self._heap)
            event()


class BatchWorker:
    """Runs batches one after the other, all in one child."""

    def __init__(self, name: str, driver: BatchDriver) -> None:
        self.name, self.driver = name, driver
        self.queue: deque[tuple[Batch, deque[int]]] = deque()
        self.active: dict[str, None] = {}
        self.busy = False
        self.forked = False

    def receive(self, batch: Batch) -> None:
        """A batch arrives."""
        self.queue.append((batch, deque(batch.indices)))
        if not self.busy:
            self.begin()

    def begin(self) -> None:
        """Hand over the next batch."""
        self.busy = bool(self.queue)
        if self.busy:
            self.active = {}
            self.driver.batches += 1
            self.driver.clock.after(BATCH_S if self.forked else FORK_S, self.step)
            self.forked = True

    def step(self) -> None:
        """Run the next case, or end the batch."""
        batch, left = self.queue[0]
        driver = self.driver
        if not left:
            self.queue.popleft()
            driver.send(lambda: driver.ended(batch.id))
            self.begin()
            return
        index = left.popleft()
        cost = 0.0
        for key in driver.suite.shared[index]:
            if key not in self.active:
                self.active[key] = None
                paid = driver.suite.costs.get(key, 0.0)
                cost += paid
                driver.clock.after(
                    cost + MESSAGE_S,
                    lambda k=key, s=paid: driver.planner.observe_setup(k, s),
                )
        seconds = driver.suite.seconds[index]

        def done() -> None:
            driver.send(lambda: driver.finished(self.name, batch.id, index, seconds))
            self.step()

        driver.clock.after(cost + seconds, done)

    def give_back(self, batch_id: int, indices: Sequence[int], whole: bool) -> None:
        """Give back what has not begun."""
        asked = set(indices)
        back: list[int] = []
        for batch, left in self.queue:
            if batch.id == batch_id:
                back = [i for i in left if i in asked]
                if whole and len(back) < len(indices):
                    back = []
                gone = set(back)
                kept = [i for i in left if i not in gone]
                left.clear()
                left.extend(kept)
        self.driver.send(lambda: self.driver.revoked(batch_id, back))


class BatchDriver:
    """What the real driver does with the planner."""

    def __init__(self, suite: Suite, planner: Planner, workers: int) -> None:
        self.suite, self.planner, self.clock = suite, planner, Clock()
        self.batches = 0
        self.end = 0.0
        self.ticking = False
        self.cpu_s = 0.0
        self.runs = [0] * len(suite.seconds)
        self.workers = {
            f"w{n:02d}": BatchWorker(f"w{n:02d}", self) for n in range(workers)
        }
        self.held = dict.fromkeys(self.workers, 0)
        self.owner: dict[int, str] = {}
        for name in self.workers:
            planner.add_worker(name)
        self.ask(list(self.workers))
        self.clock.run()
        if not planner.done or set(self.runs) != {1}:
            raise AssertionError(f"{suite.name}: not every case ran once")

    def send(self, event: Callable[[], None]) -> None:
        """A worker reports."""
        self.clock.after(MESSAGE_S, event)

    def finished(self, worker: str, batch: int, index: int, seconds: float) -> None:
        """A case ended."""
        self.runs[index] += 1
        self.end = self.clock.now
        begun = time.process_time()
        self.planner.finished(batch, index, seconds, self.clock.now)
        self.cpu_s += time.process_time() - begun
        self.ask([worker])

    def ended(self, batch: int) -> None:
        """A batch ended."""
        self.planner.ended(batch, ())
        self.held[self.owner[batch]] -= 1
        self.ask(list(self.workers))

    def revoked(self, batch: int, indices: Sequence[int]) -> None:
        """Something was given back."""
        self.planner.revoked(batch, indices)
        self.ask(list(self.workers))

    def tick(self) -> None:
        """While somebody is idle, look again: a case may last long."""
        self.ticking = False
        self.ask([])

    def ask(self, names: list[str]) -> None:
        """Fill who has room; let the idle take."""
        begun = time.process_time()
        names += [n for n, held in self.held.items() if not held and n not in names]
        for name in names:
            while (batch := self.planner.next_batch(name, self.clock.now)) is not None:
                self.held[name] += 1
                self.owner[batch.id] = name
                self.clock.after(
                    DISPATCH_S, lambda w=self.workers[name], b=batch: w.receive(b)
                )
        idle = [name for name in names if not self.held[name]]
        if idle and self.planner.outstanding and not self.ticking:
            self.ticking = True
            self.clock.after(TICK_S, self.tick)
        for name in idle:
            if taken := self.planner.revocation(name, self.clock.now):
                victim = self.workers[self.owner[taken.batch_id]]
                self.clock.after(
                    2 * MESSAGE_S,
                    lambda v=victim, t=taken: v.give_back(
                        t.batch_id, t.indices, t.whole
                    ),
                )
        self.cpu_s += time.process_time() - begun


class XdistNode:
    """A pytest-xdist worker: runs a test once it knows the next, or that none comes."""

    def __init__(self, name: str, run: XdistRun) -> None:
        self.gateway = type("Gateway", (), {"id": name})()
        self.run, self.shutting_down = run, False
        self.queue: deque[int | None] = deque()
        self.busy = False
        self.active: dict[str, None] = {}

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """The controller sends tests."""
        self._send(list(indices))

    def shutdown(self) -> None:
        """The controller says that none will follow."""
        if not self.shutting_down:
            self.shutting_down = True
            self._send([None])

    def send_steal(self, indices: Sequence[int]) -> None:
        """The controller asks for tests back."""
        asked = set(indices)

        def give_back() -> None:
            # The first is the next test, of which the running one already knows.
            keep = list(self.queue)[: 1 if self.busy else 2]
            rest = list(self.queue)[len(keep) :]
            back = [i for i in rest if i in asked]
            self.queue = deque([*keep, *(i for i in rest if i not in asked)])
            scheduler = self.run.scheduler
            self.run.clock.after(
                MESSAGE_S, lambda: scheduler.remove_pending_tests_from_node(self, back)
            )

        self.run.clock.after(MESSAGE_S, give_back)

    def _send(self, items: list[int | None]) -> None:
        def arrive() -> None:
            self.queue.extend(items)
            self.step()

        self.run.clock.after(MESSAGE_S, arrive)

    def step(self) -> None:
        """Begin a test if the one after it is known."""
        if self.busy or len(self.queue) < 2 or self.queue[0] is None:
            return
        index = self.queue.popleft()
        assert index is not None
        following = self.queue[0]
        suite = self.run.suite
        cost = 0.0
        for key in suite.shared[index]:
            if key not in self.active:
                self.active[key] = None
                cost += suite.costs.get(key, 0.0)
        if following is None or suite.files[following] != suite.files[index]:
            self.active = {k: None for k in self.active if k.startswith("session:")}
        self.busy = True
        seconds = suite.seconds[index]

        def done() -> None:
            self.busy = False
            self.run.end = self.run.clock.now
            self.run.clock.after(
                MESSAGE_S,
                lambda: self.run.scheduler.mark_test_complete(self, index, seconds),
            )
            self.step()

        self.run.clock.after(cost + seconds, done)


class XdistRun:
    """pytest-xdist's own scheduler over such nodes."""

    def __init__(self, suite: Suite, workers: int, kind: Any) -> None:
        self.suite, self.clock, self.end = suite, Clock(), 0.0
        config = type(
            "Config",
            (),
            {
                "getvalue": lambda _, name: [f"{workers}*popen"],
                "getoption": lambda _, name: None,
            },
        )()
        quiet = type("Log", (), {"__getattr__": lambda s, _: lambda *a: None})()
        self.scheduler = kind(config, quiet)
        nodes = [XdistNode(f"gw{n}", self) for n in range(workers)]
        collection = [str(i) for i in range(len(suite.seconds))]
        for node in nodes:
            self.scheduler.add_node(node)
            self.scheduler.add_node_collection(node, collection)
        self.scheduler.schedule()
        self.clock.run()


def files_of(count: int, per_file: int) -> list[str]:
    """File names, so many tests each."""
    return [f"test_{i // per_file:04d}.py" for i in range(count)]


def make_suites(rng: random.Random, quick: bool) -> list[Suite]:
    """The distributions looked at."""

    def plain(name: str, seconds: list[float], per_file: int) -> Suite:
        count = len(seconds)
        return Suite(name, seconds, files_of(count, per_file), [()] * count)

    def lognormal(count: int, median: float, sigma: float) -> list[float]:
        return [rng.lognormvariate(math.log(median), sigma) for _ in range(count)]

    suites = [
        plain("60 tests of 5 ms", [0.005] * 60, 15),
        plain("uniform tiny: 1,000 of 2 ms", [0.002] * 1000, 50),
        plain("one file: 800, lognormal", lognormal(800, 0.01, 1.2), 800),
        plain("lognormal: 500, heavy tail", lognormal(500, 0.02, 2.0), 20),
        plain("slow: 60 of about 1 s", lognormal(60, 1.0, 0.6), 6),
    ]
    giant = lognormal(300, 0.01, 0.5)
    giant[180] = sum(giant)
    suites.append(plain("one test is half of it", giant, 25))
    last = lognormal(300, 0.01, 0.5)
    last[299] = sum(last) / 3
    suites.append(plain("a long test comes last", last, 25))
    ramp = [0.001 + 0.2 * (i / 600) ** 3 for i in range(600)]
    suites.append(plain("slow files at the end", ramp, 30))
    for cost, name in ((30.0, "30 s"), (2.0, "2 s")):
        suite = plain(f"session fixture of {name}", lognormal(400, 0.02, 1.0), 20)
        suite.shared = [("session:db",)] * 400
        suite.costs = {"session:db": cost}
        suites.append(suite)
    few = plain("session fixture of 5 s, few users", lognormal(1000, 0.02, 1.0), 20)
    few.shared = [("session:db",) if 400 <= i < 440 else () for i in range(1000)]
    few.costs = {"session:db": 5.0}
    suites.append(few)
    modules = plain("30 module fixtures of 0.5 s", lognormal(600, 0.02, 1.0), 20)
    modules.shared = [(f"module:{f}:data",) for f in modules.files]
    modules.costs = {keys[0]: 0.5 for keys in modules.shared}
    suites.append(modules)
    trivial = plain("cheap session fixture", lognormal(800, 0.01, 1.2), 40)
    trivial.shared = [("session:tmp",)] * 800
    trivial.costs = {"session:tmp": 0.0005}
    suites.append(trivial)
    many = 10_000 if quick else 50_000
    suites.append(plain(f"{many:,} of 1 ms", [0.001] * many, 100))
    return suites


def read_durations(path: Path) -> Suite:
    """A real suite, from pytest's table of durations."""
    found: dict[str, float] = {}
    pattern = re.compile(r"^\s*([\d.]+)s (?:setup|call|teardown)\s+(\S.*)$")
    order: list[str] = []
    for line in path.read_text(errors="replace").splitlines():
        ran = re.match(r"^(\S+::.*?) (?:PASSED|FAILED|SKIPPED|XFAIL|XPASS)", line)
        if ran:
            order.append(ran.group(1))
        elif match := pattern.match(line):
            node = match.group(2).strip()
            found[node] = found.get(node, 0.0) + float(match.group(1))
    order = list(dict.fromkeys(order))
    seconds = [found.get(node, 0.0) + 0.0003 for node in order]
    files = [node.split("::")[0] for node in order]
    return Suite(f"real: {path.stem}", seconds, files, [()] * len(order))


def planned(suite: Suite, rng: random.Random | None) -> list[PlannedCase]:
    """The suite for the planner, with a history that errs by 15 % if there is one."""
    return [
        PlannedCase(
            index,
            file,
            file,
            None,
            None if rng is None else seconds * rng.lognormvariate(0.0, 0.15),
            keys,
        )
        for index, (seconds, file, keys) in enumerate(
            zip(suite.seconds, suite.files, suite.shared, strict=True)
        )
    ]


def compare(suite: Suite, workers: int, seed: int) -> dict[str, Any]:
    """One row."""
    settings = PlannerSettings()
    rng = random.Random(seed)
    first = BatchDriver(
        suite, Planner(planned(suite, None), settings=settings), workers
    )
    learned = Planner(planned(suite, rng), settings=settings)
    for key, cost in suite.costs.items():
        learned.observe_setup(key, cost)
    history = BatchDriver(suite, learned, workers)
    load = XdistRun(suite, workers, LoadScheduling).end
    return {
        "suite": suite.name,
        "workers": workers,
        "bound_s": suite.bound(workers),
        "xdist_load_s": load,
        "xdist_worksteal_s": XdistRun(suite, workers, WorkStealingScheduling).end,
        "first_s": first.end,
        "history_s": history.end,
        "first_ratio": first.end / load,
        "history_ratio": history.end / load,
        "first_batches": first.batches,
        "history_batches": history.batches,
        "planner_cpu_s": max(first.cpu_s, history.cpu_s),
    }


def main() -> None:
    """Print the table, and with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durations", type=Path, action="append", default=[])
    options = parser.parse_args()
    print(
        f"seed {options.seed}; fork {FORK_S} s, batch {BATCH_S} s,"
        f" dispatch {DISPATCH_S} s"
    )
    suites = make_suites(random.Random(options.seed), options.quick)
    suites += [read_durations(path) for path in options.durations]
    rows = []
    print(
        f"{'suite':34} {'w':>2} {'bound':>7} {'load':>7} {'steal':>7} {'first':>7} "
        f"{'hist':>7} {'f/load':>6} {'h/load':>6} {'batches':>9} {'cpu':>5}"
    )
    for suite in suites:
        for workers in (2, 4, 16):
            row = compare(suite, workers, options.seed)
            rows.append(row)
            print(
                f"{suite.name:34} {workers:2} {row['bound_s']:7.3f} "
                f"{row['xdist_load_s']:7.3f} {row['xdist_worksteal_s']:7.3f} "
                f"{row['first_s']:7.3f} {row['history_s']:7.3f} "
                f"{row['first_ratio']:6.2f} {row['history_ratio']:6.2f} "
                f"{row['first_batches']:4}/{row['history_batches']:4} "
                f"{row['planner_cpu_s']:5.2f}"
            )
    two = [row for row in rows if row["workers"] == 2]
    summary = {
        "first_ratio_median": statistics.median(r["first_ratio"] for r in rows),
        "first_ratio_worst": max(r["first_ratio"] for r in rows),
        "history_ratio_median": statistics.median(r["history_ratio"] for r in rows),
        "history_ratio_worst": max(r["history_ratio"] for r in rows),
        "first_ratio_median_2_workers": statistics.median(
            r["first_ratio"] for r in two
        ),
        "history_ratio_median_2_workers": statistics.median(
            r["history_ratio"] for r in two
        ),
    }
    print(summary)
    if options.json:
        print(json.dumps({"seed": options.seed, **summary, "rows": rows}))


if __name__ == "__main__":
    main()
