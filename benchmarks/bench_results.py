"""Attempts stored per second, and the answers of the results store, on this machine.

Realistic attempts (three phases, one in ten with output, one in fifty failed with a
traceback) go into a new SQLite file in batches of 500, as a run's recorder writes them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dtf_dask.model import Attempt, CaseId, Outcome, Phase, Run, RunId
from dtf_dask.runs.results.store import ResultsStore

BATCH = 500
SEED = 7


def made_attempts(case_ids: list[CaseId], draw: random.Random) -> Iterator[Attempt]:
    """Yield one attempt a case, as a suite of mostly small tests leaves them."""
    for case_id in case_ids:
        seconds = draw.lognormvariate(-5, 1.5)
        failed = draw.random() < 0.02
        noisy = draw.random() < 0.1
        yield Attempt(
            case_id,
            1,
            Outcome.FAILED if failed else Outcome.PASSED,
            worker=f"worker-{draw.randrange(8)}",
            host="build-host-17.example.org",
            started_at=1.7e9 + draw.random() * 1000,
            duration_s=seconds,
            phases=(
                Phase("setup", "passed", seconds * 0.1),
                Phase("call", "failed" if failed else "passed", seconds * 0.8),
                Phase("teardown", "passed", seconds * 0.1),
            ),
            exception="AssertionError: assert 1 == 2" if failed else "",
            traceback="def test():\n>   assert f(x) == y\n" * 60 if failed else "",
            stdout="a line that a test prints\n" * 40 if noisy else "",
            properties={"seed": 17, "device": "cpu"} if noisy else {},
        )


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(runs: int, cases: int) -> dict[str, Any]:
    """Fill a store with ``runs`` runs of ``cases`` cases and ask it everything."""
    draw = random.Random(SEED)
    case_ids = [
        CaseId(f"tests/unit/test_module_{n // 50}.py::TestThing::test_it[{n}-x]")
        for n in range(cases)
    ]
    begin_s, write_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.sqlite"
        opening_s = timed(lambda: ResultsStore.open(path).close())
        with ResultsStore.open(path) as store:
            for number in range(runs):
                run = Run(RunId(f"run-{number:04}"), float(number), suite="bench")
                batch = list(made_attempts(case_ids, draw))
                begin_s.append(timed(lambda: store.begin_run(run, case_ids)))  # noqa: B023
                begin = time.perf_counter()
                for start in range(0, cases, BATCH):
                    store.add_attempts(run.id, batch[start : start + BATCH])
                store.finish_run(run.id, status="passed", exit_code=0, finished_at=1.0)
                write_s.append(time.perf_counter() - begin)
            last, first = f"run-{runs - 1:04}", "run-0000"
            return {
                "attempts_per_s": round(runs * cases / sum(write_s)),
                "attempts": runs * cases,
                "open_new_ms": round(opening_s * 1000, 1),
                "begin_run_ms": round(max(begin_s) * 1000, 1),
                "query_ms": {
                    name: round(timed(ask) * 1000, 1)
                    for name, ask in {
                        "durations": lambda: store.durations("bench"),
                        "compare": lambda: store.compare(first, last),
                        "flaky": lambda: store.flaky("bench"),
                        "trend": lambda: store.trend("bench"),
                        "missing": lambda: store.missing(last),
                        "case_history": lambda: store.case_history(
                            "bench", case_ids[0]
                        ),
                        "all_attempts": lambda: sum(1 for _ in store.attempts(last)),
                    }.items()
                },
                "bytes_per_attempt": round(path.stat().st_size / (runs * cases)),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
                f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
            }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 20 s")
    parser.add_argument("--json", action="store_true", help="JSON on the last line")
    options = parser.parse_args()
    found = measure(runs=4 if options.quick else 20, cases=10_000)
    if not options.json:
        print(json.dumps(found, indent=2))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
