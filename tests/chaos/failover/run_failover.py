"""Chaos for failovers: real coordinators, workers and clients, and leaders that die.

    python tests/chaos/failover/run_failover.py [--minutes M] [--seed S] [--takeovers N]
                   [--faults kill,stop,...] [--no-runs] [--json] [--keep FOLDER]

Three coordinators and three workers are processes; clients run random graphs, tasks
that fail and are retried, cancellations, tasks that submit tasks, actors, locks, cases
of tests, and come and go; `dtf run` runs suites beside them. Meanwhile leaders are
killed, stopped, parted from the others (by proxies), one of their two processes alone
is, who takes over is killed while it does; workers are killed too. Checked: all values
are right, and errors and outcomes too; no task or test runs again but where a worker
died or it was to be tried again; the scheduler's and the engine's own checks hold after
each fault; nothing is left of what nobody wants, in the scheduler or its journal; no
process is left; none that lives through grows in memory, open files or threads by more
than `growth` says. Ends with 1 if a rule broke. Ctrl-C ends it early,
and what there is is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import random
import signal
import sys
import tempfile
from pathlib import Path

_CHAOS = Path(__file__).parents[1]
for _path in (_CHAOS, _CHAOS.parents[1] / "benchmarks"):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

from failover.faults import KINDS  # noqa: E402
from failover.trial import Plan, Summary, Trial  # noqa: E402


async def tried(plan: Plan, folder: Path, *, to_stderr: bool) -> Summary:
    """Run a trial; Ctrl-C ends it early."""
    out = sys.stderr if to_stderr else sys.stdout
    trial = Trial(plan, lambda line: print(line, file=out, flush=True))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, trial.stop.set)
    with contextlib.chdir(folder):  # runs keep things where they are begun
        return await trial.run(folder)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--takeovers", type=int, default=10**6, help="end after so many"
    )
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6)
    )
    parser.add_argument("--faults", default=",".join(KINDS), help="of these, by commas")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--no-runs", action="store_true", help="no `dtf run` beside")
    parser.add_argument("--pause", type=float, default=4.0, help="longest, seconds")
    parser.add_argument("--json", action="store_true", help="one object at the end")
    parser.add_argument(
        "--keep", type=Path, help="a new folder for all that is written"
    )
    options = parser.parse_args()
    kinds = tuple(kind for kind in options.faults.split(",") if kind)
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        parser.error(f"no faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    logging.disable(logging.WARNING)
    plan = Plan(
        *(options.minutes * 60, options.takeovers, options.seed, kinds),
        *(options.workers, options.clients, options.pause, True, not options.no_runs),
    )
    if not options.json:
        print(f"seed {plan.seed}")
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        found = asyncio.run(tried(plan, options.keep.resolve(), to_stderr=options.json))
    else:
        with tempfile.TemporaryDirectory(prefix="dtf-trial-") as name:
            found = asyncio.run(tried(plan, Path(name), to_stderr=options.json))
    if options.json:
        print(json.dumps(dataclasses.asdict(found)))
    else:
        for name, value in dataclasses.asdict(found).items():
            print(f"{name}: {value}")
    return int(found.failed)


if __name__ == "__main__":
    sys.exit(main())
