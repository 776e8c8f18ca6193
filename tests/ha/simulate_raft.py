"""Raft under adversity: seeds of a simulated world, each checked after every step.

    python tests/ha/simulate_raft.py [--seeds N] [--start S] [--processes P]
                                     [--trace SEED] [--last N] [--json]

A seed that breaks a rule is printed with the rule, and `--trace SEED` shows what led to
it. What goes wrong: delays, loss, duplication, reordering, partitions one way and two
ways, crashes at any instruction, writes that were not synced lost or torn, damaged
disks, slow disks, pauses, clocks of other speeds, changes of the configuration, leaders
handing over, snapshots. Ends with 1 if a rule was broken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from simulation.invariants import Violation
from simulation.seeds import SeedReport, run_seed

_CHUNK = 50


def try_seed(seed: int) -> tuple[int, SeedReport | str]:
    """What became of a seed: a report, or which rule it broke."""
    try:
        return seed, run_seed(seed)
    except Violation as violation:
        return seed, str(violation)
    except Exception:  # the core raises nothing: that is a rule too
        return seed, "raised:\n" + traceback.format_exc(limit=-6)


def try_seeds(
    start: int, count: int, processes: int
) -> Iterator[tuple[int, SeedReport | str]]:
    """Many seeds, in as many processes."""
    seeds = range(start, start + count)
    if processes == 1:
        yield from map(try_seed, seeds)
        return
    with multiprocessing.Pool(processes) as pool:
        yield from pool.imap_unordered(try_seed, seeds, _CHUNK)


def show_trace(seed: int, last: int) -> int:
    """Print what happened last under a seed."""
    lines: deque[str] = deque(maxlen=last or None)
    try:
        ending = str(run_seed(seed, lines.append))
        broken = False
    except Exception as error:
        ending = f"{type(error).__name__}: {error}"
        broken = True
    print(*lines, sep="\n")
    print(f"seed {seed}: {ending}")
    return int(broken)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trace", type=int, metavar="SEED")
    parser.add_argument("--last", type=int, default=0, metavar="LINES")
    parser.add_argument("--stop-at", type=int, default=10, metavar="BROKEN")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.trace is not None:
        return show_trace(options.trace, options.last)
    begun = time.monotonic()
    broken: dict[int, str] = {}
    reports: list[SeedReport] = []
    for seed, found in try_seeds(options.start, options.seeds, options.processes):
        if isinstance(found, str):
            broken[seed] = found
            print(f"seed {seed}: {found}", flush=True)
            if len(broken) >= options.stop_at:
                break
        else:
            reports.append(found)
    summary = {
        "start": options.start,
        "seeds": len(reports) + len(broken),
        "broken": sorted(broken),
        "wall_s": round(time.monotonic() - begun, 1),
        "steps": sum(one.steps for one in reports),
        "committed": sum(one.committed for one in reports),
        "operations": sum(one.operations for one in reports),
        "elections": sum(one.elections for one in reports),
        "without_rest": sum(not one.came_to_rest for one in reports),
        "counts": dict(sum((Counter(one.counts) for one in reports), Counter())),
    }
    if options.json:
        print(json.dumps(summary))
    else:
        print(*(f"{name}: {value}" for name, value in summary.items()), sep="\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
