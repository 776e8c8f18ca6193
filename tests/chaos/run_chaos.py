"""Chaos for the ledger: real nodes, real clients, and everything goes wrong.

    python tests/chaos/run_chaos.py [--minutes M] [--seed S] [--nodes 5]
                                    [--faults kill,stop,partition,...] [--json]
                                    [--keep FOLDER] [--check FOLDER]

Each node is a process; clients write and read over mutual TLS. Meanwhile, as the seed
has it: kill -9, SIGSTOP, partitions of nodes and of clients by proxies (cut, held,
slow, one way and both), full disks, clocks that jump, members that go and come, leaders
that hand over, snapshots; one or two at a time. Checked: what clients saw is
linearizable, every acknowledged write is there at the end and was done once, the states
of all nodes have the same hash at the same entry, no node ends but by what was done to
it, and clients can write again when all is mended. Ends with 1 if a rule broke; then
the history and what the nodes said are kept. Ctrl-C ends it early, and what there is is
checked. Full disks take root, for small disks of memory in a mount namespace of their
own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
from pathlib import Path

for _path in (Path(__file__).parent, Path(__file__).parents[1] / "ha"):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

from chaos.faults import KINDS  # noqa: E402
from chaos.summary import Summary  # noqa: E402
from chaos.trial import Plan, Trial, check_kept  # noqa: E402


async def tried(plan: Plan, *, to_stderr: bool) -> Summary:
    """Run a trial; Ctrl-C ends it early."""
    out = sys.stderr if to_stderr else sys.stdout
    trial = Trial(plan, lambda line: print(line, file=out, flush=True))
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, trial.stop.set)
    return await trial.run()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6)
    )
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--faults", default=",".join(KINDS), help="of these, by commas")
    parser.add_argument("--rate", type=float, default=200.0, help="operations a second")
    parser.add_argument(
        "--hold", type=float, default=8.0, help="longest fault, seconds"
    )
    parser.add_argument("--json", action="store_true", help="one object at the end")
    parser.add_argument("--keep", type=Path, help="keep history and logs, in any case")
    parser.add_argument("--check", type=Path, help="check a folder that was kept")
    options = parser.parse_args()
    if options.check is not None:
        found = check_kept(options.check)
        print(f"{found.keys} keys decided", *found.undecided, *found.broken, sep="\n")
        return int(bool(found.broken or found.undecided))
    kinds = [kind for kind in options.faults.split(",") if kind]
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        parser.error(f"no faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    plan = Plan(
        *(options.minutes * 60, options.seed, options.nodes, kinds),
        *(options.rate, options.hold, options.keep),
    )
    summary = asyncio.run(tried(plan, to_stderr=options.json))
    if options.json:
        print(json.dumps(summary.plain()))
    else:
        print("\n".join(summary.lines()))
    return int(summary.failed)


if __name__ == "__main__":
    sys.exit(main())
