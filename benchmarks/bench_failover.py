"""What a failover of the scheduler costs, and what it costs to be ready for one.

    python benchmarks/bench_failover.py [--quick] [--json] [--kills N]
        [--known N,N,...] [--minutes M] [--million [N]]

Three coordinators and two workers are processes of this machine; logs are on its disk
(fsync on), all connections are over TLS on loopback.

1. Failovers, by how many tasks are known: the leader's processes are killed (-9) while
   tasks of 50 ms run. From the kill: ``next_task_s``, until a task begins that the next
   leader sent; ``completion_s``, until a client has the result of such a task;
   ``clients_s``, until each of four clients has submitted a task and has its result.
   The killed coordinator is started again, and follows, before the next kill.
   ``reruns`` counts attempts beyond the first of each task: no worker dies, and no
   task fails, so there must be none.
2. ``ratio_vs_dask_noop``: 20,000 futures that do nothing, on these coordinators and on
   plain Dask (a scheduler, two workers, tcp, no ledger), by turns; theirs over ours.
   ``ratio_vs_dask_array`` is that of an array's mean over its chunks.
3. ``durable_ms_p50``: from ``submit`` until the ledger has it, one after the other;
   ``durable_releasing_ms`` is that of a program that lets go of the future before it
   with each, until the ledger has both.
4. With ``--million``, and without ``--quick``: one graph of a million tasks is
   submitted; how long until the ledger has it and the leader has acted on it, whether
   there was an election, the most memory of each process, and how long plain Dask's
   scheduler takes until it knows the same tasks.

``--minutes`` ends the kills of each number of known tasks after its share of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil
from failover_cluster import FailoverCluster, now_s
from failover_tasks import FOLDER, notes, nothing, work

import dtf_dask

WORKERS = 2
CLIENTS = 4
TASK_S = 0.05
WAIT_S = 120.0
LARGE_S = 900.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much, and how often."""

    known: dict[int, int]
    """Kills, by how many tasks are known."""
    futures: int
    rounds: int
    chunks: int
    durables: int
    kills_s: float = float("inf")
    """No further kill after so long, for each number of known tasks."""


FULL = Size({1_000: 50, 20_000: 10, 100_000: 5}, 20_000, 3, 2_000, 200)
QUICK = Size({1_000: 2}, 1_500, 1, 0, 20, kills_s=10.0)


_LOST = ("next_task_s", "completion_s", "clients_s")
_PARTS = ("without_leader_s", "leading_after_s", "settled_after_s")
"""By the word of who leads next: see `dtf_dask.ha.scheduler_status`."""


@dataclass(slots=True)
class Lost:
    """Seconds from each kill."""

    next_task_s: list[float] = field(default_factory=list)
    completion_s: list[float] = field(default_factory=list)
    clients_s: list[float] = field(default_factory=list)
    without_leader_s: list[float] = field(default_factory=list)
    leading_after_s: list[float] = field(default_factory=list)
    settled_after_s: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Median and worst of each."""
        found: dict[str, Any] = {"kills": len(self.next_task_s)}
        for name in (*_LOST, *_PARTS):
            values = getattr(self, name)
            if values:
                found[f"{name}_median"] = round(statistics.median(values), 3)
                found[f"{name}_worst"] = round(max(values), 3)
        return found


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[tuple[FailoverCluster, Path]]:
    """Coordinators and workers; tasks note what they did in a folder."""
    with tempfile.TemporaryDirectory(prefix="dtf-failover-") as name:
        folder = Path(name)
        noted = folder / "notes"
        noted.mkdir()
        here = str(Path(__file__).parent)
        known = os.environ.get("PYTHONPATH")
        environment = {
            FOLDER: str(noted),
            "PYTHONPATH": f"{here}:{known}" if known else here,
        }
        async with FailoverCluster(folder, environment=environment) as made:
            for number in range(WORKERS):
                made.start_worker(f"w{number}")
            yield made, noted


async def client(made: FailoverCluster) -> Any:
    """A client of the cluster."""
    return await dtf_dask.Client(
        made.contact,
        asynchronous=True,
        security=made.security,
        set_as_default=False,
    )


class Load:
    """So many tasks are known all the time, until it is stopped."""

    def __init__(self, owner: Any, known: int) -> None:
        self._owner, self._known = owner, known
        self._futures: dict[Any, None] = {}
        self._submitted = 0
        self.done: list[tuple[float, int]] = []
        """When a client heard of a result, and the term of who sent the task."""
        self._over = asyncio.Event()
        self._watching: set[asyncio.Task[None]] = set()

    def fill(self) -> None:
        """Submit what is missing."""
        lacking = self._known - len(self._futures)
        if lacking <= 0:
            return
        first, self._submitted = self._submitted, self._submitted + lacking
        numbers = range(first, self._submitted)
        made = self._owner.map(work, numbers, seconds=TASK_S, pure=False, key="load")
        for future in made:
            self._futures[future] = None
            future.add_done_callback(self._ended)

    def _ended(self, future: Any) -> None:
        self._futures.pop(future, None)
        at = now_s()
        self._owner.loop.add_callback(self._note, future, at)

    def _note(self, future: Any, at: float) -> None:
        task = asyncio.ensure_future(self._read(future, at))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _read(self, future: Any, at: float) -> None:
        with contextlib.suppress(distributed.CancelledError):  # dropped meanwhile
            _, term = await future
            self.done.append((now_s(), term))

    async def drop(self) -> None:
        """Want nothing of it any more."""
        futures = list(self._futures)
        self._futures.clear()
        await self._owner.cancel(futures)
        for task in list(self._watching):
            task.cancel()


async def back(one: Any, killed_at: float) -> float:
    """Seconds until a client has the result of what it submits after the kill."""
    # More urgent than what waits, which takes longer.
    future = one.submit(nothing, 0, pure=False, priority=1_000)
    await asyncio.wait_for(future, WAIT_S)
    return now_s() - killed_at


async def failover(
    made: FailoverCluster, noted: Path, clients: list[Any], load: Load, lost: Lost
) -> None:
    """Kill the leader, and wait for all to go on; it is started again."""
    load.fill()
    await clients[0].flush(timeout=WAIT_S)
    term = (await made.whole())["term"]
    leader = await made.leader()
    before = len(load.done)
    await until(lambda: len(load.done) > before)
    killed_at = now_s()
    leader.kill()
    returned = await asyncio.gather(*(back(one, killed_at) for one in clients))
    await until(lambda: any(sent > term for _, sent in load.done))
    begun = [one for one in notes(noted) if one.what == "begin" and one.term > term]
    lost.next_task_s.append(min(one.at_s for one in begun) - killed_at)
    heard_at = min(at for at, sent in load.done if sent > term)
    lost.completion_s.append(heard_at - killed_at)
    lost.clients_s.append(max(returned))
    leader.start()
    said = (await made.whole())["scheduler"]
    for name in _PARTS:
        getattr(lost, name).append(said[name])


async def failovers(
    made: FailoverCluster, noted: Path, known: int, kills: int, ends_at: float
) -> tuple[Lost, int]:
    """Kill the leader so often; what it cost, and how many attempts were too many."""
    lost = Lost()
    clients = [await client(made) for _ in range(CLIENTS)]
    load = Load(clients[0], known)
    try:
        await clients[0].wait_for_workers(WORKERS)
        for turn in range(kills):
            if turn and now_s() > ends_at:
                break
            began = now_s()
            await failover(made, noted, clients, load, lost)
            last = {n: round(getattr(lost, n)[-1], 3) for n in (*_LOST, *_PARTS)}
            turn_s = round(now_s() - began, 1)
            say(f"{known} known, kill {turn + 1} of {kills}, {turn_s} s", last)
        await made.whole()
        attempts = Counter(one.key for one in notes(noted) if one.what == "begin")
        await load.drop()
    finally:
        for one in clients:
            await one.close()
    return lost, sum(count - 1 for count in attempts.values())


async def until(is_it: Any) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(WAIT_S):
        while not is_it():
            await asyncio.sleep(0.005)


# -- beside plain Dask -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def plain() -> AsyncIterator[Any]:
    """A client of a scheduler of Dask's and as many workers, all in processes."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    command += ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with tempfile.TemporaryDirectory(prefix="dtf-plain-") as folder:
        where = Path(folder) / "scheduler.json"
        here = str(Path(__file__).parent)
        environment = {**os.environ, "PYTHONPATH": here}
        quiet = {
            "stdout": asyncio.subprocess.DEVNULL,
            "stderr": asyncio.subprocess.DEVNULL,
            "env": environment,
        }
        started = [
            await asyncio.create_subprocess_exec(
                *command, "--scheduler-file", str(where), **quiet
            )
        ]
        try:
            worker = [sys.executable, "-m", "distributed.cli.dask_worker"]
            worker += ["--scheduler-file", str(where), "--nthreads", "1"]
            worker += ["--no-nanny", "--no-dashboard", "--memory-limit", "0"]
            worker += ["--local-directory", folder]
            for _ in range(WORKERS):
                started.append(await asyncio.create_subprocess_exec(*worker, **quiet))
            await until(where.exists)
            async with distributed.Client(
                scheduler_file=str(where), asynchronous=True, set_as_default=False
            ) as one:
                await one.wait_for_workers(WORKERS)
                yield one
        finally:
            for process in started:
                process.kill()
                await process.wait()


async def noop_round(one: Any, futures: int) -> float:
    """Seconds for so many futures that do nothing."""
    began = time.perf_counter()
    made = one.map(nothing, range(futures), pure=False)
    with one.as_current():
        await distributed.wait(made)
    seconds = time.perf_counter() - began
    del made
    await asyncio.sleep(0.5)  # both let go of the results before the next turn
    return seconds


async def array_round(one: Any, chunks: int) -> float:
    """Seconds for the mean of an array of so many chunks."""
    import dask.array as da

    side = max(2, int(chunks**0.5))
    array = da.ones((side * 100, side * 100), chunks=(100, 100))
    began = time.perf_counter()
    await one.compute(((array + array.T) * 2).mean())
    return time.perf_counter() - began


async def beside_dask(made: FailoverCluster, size: Size) -> dict[str, Any]:
    """The same work on both, by turns."""
    taken: dict[str, dict[str, list[float]]] = {"noop": {}, "array": {}}
    async with plain() as theirs:
        ours = await client(made)
        try:
            await ours.wait_for_workers(WORKERS)
            clients = {"plain": theirs, "dtf": ours}
            for one in clients.values():
                await noop_round(one, 200)
            for number in range(size.rounds):
                order = list(clients) if number % 2 else list(reversed(clients))
                for name in order:
                    seconds = await noop_round(clients[name], size.futures)
                    taken["noop"].setdefault(name, []).append(seconds)
                for name in order if size.chunks else ():
                    seconds = await array_round(clients[name], size.chunks)
                    taken["array"].setdefault(name, []).append(seconds)
            found = {
                "durable_ms": await durable(ours, size.durables),
                "durable_releasing_ms": await durable(
                    ours, size.durables, releasing=True
                ),
            }
        finally:
            await ours.close()
    for what, by_name in taken.items():
        if by_name:
            ratios = [
                p / d for p, d in zip(by_name["plain"], by_name["dtf"], strict=True)
            ]
            found[what] = {
                name: [round(one, 3) for one in some] for name, some in by_name.items()
            }
            found[f"ratio_vs_dask_{what}"] = round(statistics.median(ratios), 3)
    return found


async def durable(one: Any, count: int, *, releasing: bool = False) -> dict[str, float]:
    """Milliseconds from a submission until it is in the ledger."""
    taken = []
    future = None
    for number in range(count):
        began = time.perf_counter()
        future = one.submit(nothing, number, pure=False)  # drops the one before, if any
        await one.flush(timeout=WAIT_S)
        taken.append(1e3 * (time.perf_counter() - began))
        await future
        if not releasing:
            future = None
            await one.flush(timeout=WAIT_S)
    taken.sort()
    return {
        "p50": round(statistics.median(taken), 2),
        "p95": round(taken[int(len(taken) * 0.95)], 2),
    }


async def million(made: FailoverCluster, count: int) -> dict[str, Any]:
    """Submit a graph so large."""
    before = await made.whole()
    one = await client(made)
    most: dict[str, int] = {}
    watching = asyncio.create_task(_watch_memory(made, most))
    try:
        began = time.perf_counter()
        futures = one.map(nothing, range(count), pure=False, batch_size=count)
        mapped = time.perf_counter() - began
        await one.flush(timeout=LARGE_S)
        durable_s = time.perf_counter() - began
        after = await made.whole(LARGE_S)
        say("a large graph is in the ledger", round(durable_s, 1))
        await one.cancel(futures)
        del futures
        await one.flush(timeout=LARGE_S)
    finally:
        watching.cancel()
        await one.close()
    return {
        "tasks": count,
        "client_s": round(mapped, 1),
        "durable_s": round(durable_s, 1),
        "elections": after["term"] - before["term"],
        "memory_mb_most": {name: most[name] >> 20 for name in sorted(most)},
    }


async def _watch_memory(made: FailoverCluster, most: dict[str, int]) -> None:
    """The most that each process takes, until cancelled."""
    leader = await made.leader()
    while True:
        found = {"client": psutil.Process().memory_info().rss}
        for one in made.coordinators.values():
            whose = "leader" if one is leader else f"node {one.node}"
            for process in one.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    node = one.process is not None and process.pid == one.process.pid
                    what = "raft" if node else "scheduler"
                    found[f"{whose}, {what}"] = process.memory_info().rss
        for name, size in found.items():
            most[name] = max(size, most.get(name, 0))
        await asyncio.sleep(0.5)


async def plain_million(count: int) -> float:
    """Seconds until the scheduler of plain Dask knows as many tasks."""
    async with plain() as one:
        began = time.perf_counter()
        futures = one.map(nothing, range(count), pure=False, batch_size=count)
        async with asyncio.timeout(LARGE_S):
            while await one.run_on_scheduler(_known) < count:
                await asyncio.sleep(0.1)
        seconds = time.perf_counter() - began
        await one.cancel(futures)
        del futures
        return round(seconds, 1)


def _known(dask_scheduler: Any) -> int:
    """Tasks that were ever wanted; some may be done."""
    return sum(len(one.wants_what) for one in dask_scheduler.clients.values())


async def measure(size: Size, large: int) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {"by_known": {}, "reruns": 0}
    for known, kills in size.known.items():
        ends_at = now_s() + size.kills_s
        async with cluster() as (made, noted):
            lost, reruns = await failovers(made, noted, known, kills, ends_at)
            if known == min(size.known):  # while there is one
                found |= await beside_dask(made, size)
        found["by_known"][known] = lost.plain()
        found["reruns"] += reruns
        if known == min(size.known):
            found["next_task_s_median"] = round(statistics.median(lost.next_task_s), 3)
            found["next_task_s_worst"] = round(max(lost.next_task_s), 3)
        say(f"{known} tasks known", {**lost.plain(), "reruns": reruns})
    found["durable_ms_p50"] = found["durable_ms"]["p50"]
    if large:
        async with cluster() as (made, _):
            found["million"] = await million(made, large)
        found["million"]["plain_s"] = await plain_million(large)
        say("a large graph", found["million"])
    return found


def say(what: str, value: Any) -> None:
    """Progress, for who watches."""
    print(f"{what}: {value}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    parser.add_argument("--json", action="store_true", help="one object at the end")
    parser.add_argument("--kills", type=int, help="with each number of known tasks")
    parser.add_argument("--known", default="", help="numbers of tasks, by commas")
    parser.add_argument("--minutes", type=float, help="for all kills")
    parser.add_argument(
        "--million",
        type=int,
        nargs="?",
        const=1_000_000,
        default=0,
        help="a graph of a million tasks, or of so many, too",
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    size = QUICK if options.quick else FULL
    known = size.known
    if options.known:
        known = {int(one): 5 for one in options.known.split(",")}
    if options.kills:
        known = dict.fromkeys(known, options.kills)
    kills_s = size.kills_s
    if options.minutes:
        kills_s = 60 * options.minutes / len(known)
    size = replace(size, known=known, kills_s=kills_s)
    load = os.getloadavg()[0]
    # As Ctrl-C: the cluster is ended, and its folders are removed.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    found = asyncio.run(measure(size, 0 if options.quick else options.million))
    found = {"benchmark": "bench_failover", **found}
    found["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "distributed": distributed.__version__,
        "load_before": round(load, 1),
    }
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
