"""Seeded workloads for benchmarks/simulate.py: unlike machines, and work for them.

A `Workload` is plain values: every way of scheduling is given the same one. Machines
differ in what they have and how fast they are. Tasks are runs of the tests of some
suites: each run is of a tenant and a class, comes at once, and has a deadline. What a
test needs is one of `DEMANDS`, and how often each is drawn follows from what the
machines can carry: scarce hardware is as busy as the rest.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

GIB = 1 << 30
DURATIONS_FILE = Path(__file__).resolve().parent / "data" / "suite_durations.json"
CLASSES = ("interactive", "release", "normal", "nightly")

# So that the makespan tells how well all tasks were placed, and not the last one.
LONGEST_S = 300.0
LOAD = 0.93  # of all threads, on average while work comes
_SCARCE_LOAD = 0.80  # of the machines that fit a demand, all work that needs them
_NOISE_SIGMA = 0.20  # between two runs of one test
_OUTLIER_SHARE, _OUTLIER_FACTOR = 0.01, 3.0
_ARRIVALS_END = 0.85  # of the horizon: what comes then still fits into it
_BURST_SHARE = 0.45  # of the runs come in bursts
_BURSTS_AT = (0.0, 0.22, 0.47, 0.70)
_BURST_WIDTH = 0.03


@dataclass(frozen=True, slots=True)
class Kind:
    """Machines that are alike; ``share`` of all of them."""

    name: str
    share: float
    threads: int
    speed: float
    arch: str = "x86_64"
    os: str = "linux"
    features: tuple[str, ...] = ()
    memory: int = 16 * GIB
    gpus: int = 0
    gpu_memory: int = 0
    label: str = ""


KINDS = (
    Kind("small", 0.28, 2, 0.8, features=("avx2",)),
    Kind("avx", 0.24, 4, 1.2, features=("avx2", "avx512f"), memory=32 * GIB),
    Kind("large", 0.10, 8, 1.0, features=("avx2", "avx512f"), memory=256 * GIB),
    Kind("arm", 0.10, 4, 0.9, arch="aarch64", features=("neon",), memory=32 * GIB),
    Kind("board", 0.06, 1, 0.4, arch="aarch64", memory=4 * GIB, label="rpi4"),
    Kind("mac", 0.05, 2, 1.1, arch="arm64", os="darwin"),
    Kind("windows", 0.05, 2, 0.9, os="windows", features=("avx2",)),
    Kind("gpu8", 0.06, 4, 1.0, features=("avx2",), gpus=1, gpu_memory=8 * GIB),
    Kind("gpu24", 0.04, 4, 1.0, features=("avx2",), gpus=2, gpu_memory=24 * GIB),
    Kind(
        "gpu80",
        0.02,
        8,
        1.1,
        features=("avx2", "avx512f"),
        memory=512 * GIB,
        gpus=4,
        gpu_memory=80 * GIB,
    ),
)


@dataclass(frozen=True, slots=True)
class Demand:
    """What tests ask for, as an expression and as the answer it must give."""

    name: str
    hardware: str
    fits: Callable[[Kind], bool]
    gpus: int = 0


DEMANDS = {
    demand.name: demand
    for demand in (
        Demand("gpu80", "gpu.memory >= '64 GiB'", lambda k: k.gpu_memory > 64 * GIB, 1),
        Demand("gpu24", "gpu.memory >= '16 GiB'", lambda k: k.gpu_memory > 16 * GIB, 1),
        Demand("gpus2", "gpu.count >= 2", lambda k: k.gpus >= 2, 2),
        Demand("gpu", "gpu.count >= 1", lambda k: k.gpus >= 1, 1),
        Demand("board", "label.board == 'rpi4'", lambda k: k.label == "rpi4"),
        Demand("mac", "os.name == 'darwin'", lambda k: k.os == "darwin"),
        Demand("windows", "os.name == 'windows'", lambda k: k.os == "windows"),
        Demand("memory", "memory >= '200 GiB'", lambda k: k.memory > 200 * GIB),
        Demand(
            "arm",
            "cpu.arch == 'aarch64' and memory >= '8 GiB'",
            lambda k: k.arch == "aarch64" and k.memory > 8 * GIB,
        ),
        Demand(
            "avx512",
            "cpu.features has 'avx512f'",
            lambda k: "avx512f" in k.features,
        ),
        Demand(
            "linux",
            "os.name == 'linux' and cpu.arch == 'x86_64'",
            lambda k: (k.os, k.arch) == ("linux", "x86_64"),
        ),
        Demand("any", "", lambda k: True),
    )
}
# What is left by those before is shared by these.
_FLEXIBLE = {"avx512": 0.15, "linux": 0.35, "any": 0.50}


@dataclass(frozen=True, slots=True)
class Machine:
    """One worker."""

    name: str
    kind: Kind

    @property
    def facts(self) -> dict[str, Any]:
        """What its probe would tell."""
        kind = self.kind
        facts: dict[str, Any] = {
            "cpu.arch": kind.arch,
            "cpu.features": kind.features,
            "cpu.threads": kind.threads,
            "gpu.count": kind.gpus,
            "host": self.name,
            "memory": kind.memory,
            "os.name": kind.os,
        }
        if kind.gpus:
            facts["gpu.memory"] = kind.gpu_memory
        if kind.label:
            facts["label.board"] = kind.label
        return facts


@dataclass(frozen=True, slots=True)
class SimTask:
    """One task; ``seconds`` on a machine of speed 1, times from the start of it all."""

    key: str
    name: str
    demand: Demand
    priority_class: str
    tenant: str
    submitted: float
    seconds: float
    deadline: float | None

    def seconds_on(self, machine: Machine) -> float:
        """How long it runs there."""
        return self.seconds / machine.kind.speed


@dataclass(frozen=True, slots=True)
class Workload:
    """Machines, tasks in order of their arrival, and what past runs taught."""

    name: str
    seed: int
    machines: tuple[Machine, ...]
    tasks: tuple[SimTask, ...]
    horizon_s: float
    history_s: dict[str, float]  # by the test's name, on a machine of speed 1
    weights: dict[str, float]

    def runs(self) -> Iterator[tuple[float, list[SimTask]]]:
        """What is submitted at one time, in order."""
        start = 0
        for end in range(1, len(self.tasks) + 1):
            if end == len(self.tasks) or (
                self.tasks[end].submitted != self.tasks[start].submitted
            ):
                yield self.tasks[start].submitted, list(self.tasks[start:end])
                start = end


@dataclass(frozen=True, slots=True)
class Profile:
    """How long things take in a workload: tests, and deadlines by class.

    ``deadlines_s`` are of a run, before the slack that each test's own length adds;
    a class without one has none. ``run_sizes`` are how many tests a run of a class has.
    """

    name: str
    tests: Callable[[random.Random, int], list[float]]
    deadlines_s: dict[str, tuple[float, float]]
    class_shares: dict[str, float] = field(
        default_factory=lambda: {
            "interactive": 0.12,
            "release": 0.18,
            "normal": 0.40,
            "nightly": 0.30,
        }
    )
    run_sizes: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {
            "interactive": (5, 40),
            "release": (40, 150),
            "normal": (20, 150),
            "nightly": (100, 400),
        }
    )


def _heavy_tailed(rng: random.Random, number: int) -> list[float]:
    return [
        min(LONGEST_S / 2, max(0.3, rng.lognormvariate(math.log(10.0), 1.3)))
        for _ in range(number)
    ]


def _measured(rng: random.Random, number: int) -> list[float]:
    """Durations of the files of real suites, as often as each is there."""
    told = json.loads(DURATIONS_FILE.read_text(encoding="utf-8"))
    files = [
        max(0.001, sum(tests) / 10_000)
        for suite in told["suites"].values()
        for tests in suite["files"]
    ]
    return [files[n % len(files)] for n in range(number)]


HEAVY_TAILED = Profile(
    "heavy-tailed",
    _heavy_tailed,
    {"interactive": (20, 60), "release": (60, 180), "normal": (150, 400)},
)
REAL_SUITES = Profile(
    "real suites",
    _measured,
    {"interactive": (2, 6), "release": (8, 20), "normal": (20, 45)},
)


def make_machines(number: int) -> tuple[Machine, ...]:
    """That many machines, of each kind its share and at least one."""
    counts = {kind.name: max(1, round(kind.share * number)) for kind in KINDS}
    counts["small"] = max(1, counts["small"] + number - sum(counts.values()))
    return tuple(
        Machine(f"{kind.name}-{n:04d}", kind)
        for kind in KINDS
        for n in range(counts[kind.name])
    )


def _demand_shares(machines: tuple[Machine, ...]) -> dict[str, float]:
    """How much of all work each demand is, so that each machine has enough to do."""

    def threads(demand: str) -> float:
        fits = DEMANDS[demand].fits
        return sum(m.kind.threads * m.kind.speed for m in machines if fits(m.kind))

    def gpus(demand: str) -> float:
        fits = DEMANDS[demand].fits
        return sum(m.kind.gpus * m.kind.speed for m in machines if fits(m.kind))

    work = {"gpu80": 0.6 * gpus("gpu80")}
    medium = _SCARCE_LOAD * gpus("gpu24") - work["gpu80"]
    work["gpu24"] = 0.6 * medium
    work["gpus2"] = 0.4 * medium / 2  # two devices each
    work["gpu"] = 0.8 * (gpus("gpu") - gpus("gpu24"))
    for plain in ("board", "mac", "windows", "arm"):
        work[plain] = 0.7 * threads(plain)
    work["memory"] = 0.35 * threads("memory")
    left = LOAD * threads("any") - sum(work.values())
    work |= {name: share * left for name, share in _FLEXIBLE.items()}
    total = sum(work.values())
    return {name: amount / total for name, amount in work.items()}


def make_workload(
    profile: Profile, *, tasks: int, machines: int, seed: int
) -> Workload:
    """Draw a workload; the same seed gives the same one."""
    rng = random.Random(f"{profile.name}/{tasks}/{machines}/{seed}")
    fleet = make_machines(machines)
    number = max(len(DEMANDS) * 4, tasks // 10)
    base = profile.tests(rng, number)
    demands = _assign_demands(rng, base, _demand_shares(fleet))
    suites = _cut_suites(rng, number)
    tenants = {f"team{n}": (1.0, 1.0, 2.0, 1.0, 4.0)[n] for n in range(5)}
    names = list(tenants)
    capacity = sum(m.kind.threads * m.kind.speed for m in fleet)

    drawn: list[tuple[str, str, list[int]]] = []  # class, tenant, tests of a run
    planned = 0
    quota = {name: share * tasks for name, share in profile.class_shares.items()}
    while planned < tasks:
        chosen = max(quota, key=lambda name: quota[name] / profile.class_shares[name])
        suite = rng.choice(suites)
        size = min(rng.randint(*profile.run_sizes[chosen]), tasks - planned)
        first = rng.randrange(len(suite))
        tests = [suite[(first + n) % len(suite)] for n in range(size)]
        drawn.append((chosen, rng.choices(names, (4, 2, 2, 1, 1))[0], tests))
        quota[chosen] -= size
        planned += size
    work = sum(base[test] for _, _, tests in drawn for test in tests)
    horizon = work / (capacity * LOAD)

    fastest = {
        name: max(k.speed for k in KINDS if demand.fits(k))
        for name, demand in DEMANDS.items()
    }
    found: list[SimTask] = []
    numbers = count()
    arrivals = sorted(
        (_arrival(rng, run[0]) * horizon, n) for n, run in enumerate(drawn)
    )
    for moment, index in arrivals:
        chosen, tenant, tests = drawn[index]
        due = profile.deadlines_s.get(chosen)
        slack = rng.uniform(*due) if due else 0.0
        for test in tests:
            seconds = base[test] * rng.lognormvariate(0.0, _NOISE_SIGMA)
            if rng.random() < _OUTLIER_SHARE:
                seconds *= _OUTLIER_FACTOR
            seconds = min(seconds, LONGEST_S)
            own = 2.0 * base[test] / fastest[demands[test]]
            found.append(
                SimTask(
                    key=f"run_test-{next(numbers)}",
                    name=f"t{test:05d}",
                    demand=DEMANDS[demands[test]],
                    priority_class=chosen,
                    tenant=tenant,
                    submitted=moment,
                    seconds=seconds,
                    deadline=moment + slack + own if due else None,
                )
            )
    history = {
        f"t{test:05d}": seconds * rng.lognormvariate(0.0, _NOISE_SIGMA / 2)
        for test, seconds in enumerate(base)
    }
    return Workload(profile.name, seed, fleet, tuple(found), horizon, history, tenants)


def _assign_demands(
    rng: random.Random, base: list[float], shares: dict[str, float]
) -> list[str]:
    """A demand for each test, drawn by its share of the seconds.

    One that has had its share is not drawn again: a few long tests do not overload a
    scarce machine.
    """
    names, weights = list(shares), list(shares.values())
    left = {name: share * sum(base) for name, share in shares.items()}
    found = []
    for seconds in base:
        for _ in range(8):
            (chosen,) = rng.choices(names, weights)
            if left[chosen] >= seconds:
                break
        else:
            chosen = max(left, key=left.__getitem__)
        left[chosen] -= seconds
        found.append(chosen)
    return found


def _cut_suites(rng: random.Random, number: int) -> list[list[int]]:
    """The tests, cut into suites of 20 to 200 that mix all demands."""
    order = list(range(number))
    rng.shuffle(order)
    suites = []
    while order:
        size = rng.randint(20, 200)
        suites.append(order[:size])
        del order[:size]
    return suites


def _arrival(rng: random.Random, priority_class: str) -> float:
    """When a run comes, as a part of the horizon."""
    if priority_class == "nightly" and rng.random() < 0.6:
        return rng.uniform(0.0, 0.05)
    if rng.random() < _BURST_SHARE:
        at = rng.choice(_BURSTS_AT)
        return at + rng.uniform(0.0, _BURST_WIDTH)
    return rng.uniform(0.0, _ARRIVALS_END)
