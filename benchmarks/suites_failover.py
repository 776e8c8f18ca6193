"""Real suites on coordinators whose leader is killed every few seconds.

    python benchmarks/suites_failover.py [--suites a,b] [--every S] [--quick] [--json]

Three coordinators and two workers are processes of this machine, with TLS, and logs on
its disk. Each suite (see `suites`) is run by plain pytest, by `dtf run` on the cluster,
and by `dtf run` again while the processes of whoever leads are killed (-9) every 5 s,
and started again. A suite that is over sooner has them killed at shorter intervals, and
is run again until it has told of two failovers. Of each run it is checked that

- outcomes are those of plain pytest, test by test: none is lost, none reported twice;
- each test began as often as in plain pytest, as seen by the processes that ran it;
- the results store of whoever made the run has one attempt of each case, which is
  final, and those of all coordinators come to have the same;
- it said one line for each failover, and the stores have as many;
- no process of it is left, here or on the workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import suites as real
from failover_cluster import FailoverCluster
from measured_commands import EXIT_CODES_FINE, Measured, differences, measure

from dtf_dask.errors import ResultsUnavailableError, UsageError
from dtf_dask.runs.leaders import KEY as LEADERS
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.runs.results.verdicts import is_final

WORKERS = 2
TOLD_MIN = 2
RUNS_MAX = 25
_EVERY_S_MIN = 2.0
_MARK = "SUITES_FAILOVER_RUN"
_STORED_S = 60.0
_GONE_S = 10.0
_LOOK_S = 0.2
_PROBLEMS_SHOWN_MAX = 12

Attempts = Counter[tuple[str, int, str, str]]
"""By case, number, outcome and detail."""


@dataclass(slots=True)
class Made:
    """One `dtf run`: what it came to, and what is wrong with it."""

    measured: Measured
    kills: int = 0
    told: list[str] = field(default_factory=list)
    """Its lines of failovers."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a results store has of a run."""

    planned: int
    status: str
    attempts: Attempts
    leaders: int

    @classmethod
    def read(cls, path: Path, run_ref: str) -> Kept | None:
        """None if it does not have the run."""
        with (
            contextlib.suppress(UsageError, ResultsUnavailableError),
            ResultsStore.open(path, create=False) as store,
        ):
            run = store.run(run_ref)
            return cls(
                run.cases_planned,
                run.status,
                Counter(
                    (one.case_id, one.number, one.outcome.value, one.detail)
                    for one in store.attempts(run.id)
                    if is_final(one.outcome, one.detail)
                ),
                len(run.environment.get(LEADERS, ())),
            )
        return None

    def problems(self) -> list[str]:
        """What is wrong with it if nobody but coordinators died."""
        cases = Counter(key[0] for key in self.attempts.elements())
        twice = [f"{n} final attempts of {case}" for case, n in cases.items() if n > 1]
        lost = self.planned - len(cases)
        return [*twice, *([f"{lost} cases have no final attempt"] if lost else [])]


class Proof:
    """A cluster, and the suites that run on it."""

    def __init__(
        self, cluster: FailoverCluster, cache: real.SuiteCache, begun: Path
    ) -> None:
        self._cluster, self._cache, self._begun = cluster, cache, begun

    async def suite(self, suite: real.Suite, every_s: float) -> dict[str, Any]:
        """Run one in all ways; what was found."""
        folder = self._cache.source(suite)
        arguments = ["-q", "-p", "outcome_log", "-p", "begun_log"]
        arguments += suite.command_arguments
        plain, begun = await self._plain(arguments, folder)
        shutil.rmtree(folder / ".dtf", ignore_errors=True)
        calm = await self._run(arguments, folder, plain, begun)
        _say(f"{suite.name}: undisturbed", calm)
        every_s = min(every_s, max(_EVERY_S_MIN, calm.measured.wall_s / 3))
        runs: list[Made] = []
        async with killing(self._cluster, every_s) as kills:
            while len(runs) < RUNS_MAX:
                one = await self._run(arguments, folder, plain, begun, kills)
                runs.append(one)
                _say(f"{suite.name}: run {len(runs)}, {one.kills} kills", one)
                if sum(len(run.told) for run in runs) >= TOLD_MIN:
                    break
        told = [line for run in runs for line in run.told]
        problems = [line for run in (calm, *runs) for line in run.problems]
        if len(told) < TOLD_MIN:
            problems.append(f"{len(told)} failovers were told of in {len(runs)} runs")
        walls = [round(run.measured.wall_s, 2) for run in runs]
        return {
            "tests": sum(plain.outcomes.values()),
            "plain_s": round(plain.wall_s, 2),
            "undisturbed_s": round(calm.measured.wall_s, 2),
            "every_s": round(every_s, 1),
            "runs_s": walls,
            "kills": sum(run.kills for run in runs),
            "told": told,
            "problems": problems,
        }

    async def _plain(
        self, arguments: list[str], folder: Path
    ) -> tuple[Measured, Counter[str]]:
        command = [str(self._cache.bin / "pytest"), *arguments]
        self._begun.unlink(missing_ok=True)
        more = {"DTF_BEGUN_LOG": str(self._begun)}
        plain = await asyncio.to_thread(
            measure, command, folder, more=more, alone=False
        )
        if plain.exit_code not in EXIT_CODES_FINE or not plain.outcomes:
            raise SystemExit(f"plain pytest: {plain.exit_code}\n{plain.output_end}")
        return plain, self._have_begun()

    async def _run(
        self,
        arguments: list[str],
        folder: Path,
        plain: Measured,
        begun: Counter[str],
        kills: Sequence[float] = (),
    ) -> Made:
        """`dtf run` on the cluster, and all that is to be said against it."""
        address = self._cluster.contact
        dtf = [str(self._cache.bin / "dtf"), "run", "--address", address, "--"]
        self._begun.unlink(missing_ok=True)
        mark = uuid.uuid4().hex
        more = {_MARK: mark, **self._cluster.client_environment()}
        before = time.monotonic()
        measured = await asyncio.to_thread(
            measure, dtf + arguments, folder, more=more, alone=False
        )
        made = Made(measured, sum(1 for at in kills if at >= before))
        problems = made.problems
        if measured.exit_code != plain.exit_code:
            problems.append(
                f"ended with {measured.exit_code}, plain pytest with {plain.exit_code}"
            )
        problems += differences(plain.outcomes, measured.outcomes)
        again = self._have_begun() - begun
        problems += [f"began {n} times too often: {name}" for name, n in again.items()]
        lines = measured.output.splitlines()
        made.told = [one for one in lines if one.startswith("dtf: coordinator ")]
        problems += await self._stored(folder, len(made.told))
        problems += await self._left_behind(mark)
        if problems:
            print(measured.output_end, self._cluster.logged(), file=sys.stderr)
        return made

    async def _stored(self, folder: Path, told: int) -> list[str]:
        """What the stores lack, or have too often, of the last run in a folder."""
        path = folder / ".dtf" / "results.sqlite"
        with ResultsStore.open(path, create=False) as store:
            run_id = store.run("last").id
        own = Kept.read(path, run_id)
        assert own is not None
        problems = own.problems()
        if own.leaders != told:
            problems.append(f"{told} failovers were told, {own.leaders} are kept")
        for one in self._cluster.coordinators.values():
            until = time.monotonic() + _STORED_S
            at = one.config.folder / "results.sqlite"
            while (there := Kept.read(at, run_id)) != own:
                if time.monotonic() > until:
                    problems.append(f"node {one.node} has other results: {there}")
                    break
                await asyncio.sleep(_LOOK_S)
        return problems

    async def _left_behind(self, mark: str) -> list[str]:
        """Processes that should have gone with the run."""
        until = time.monotonic() + _GONE_S
        while left := [
            *_marked(mark),
            *(
                child
                for worker in self._cluster.workers.values()
                for child in psutil.Process(worker.pid).children(recursive=True)
            ),
        ]:
            if time.monotonic() > until:
                return [f"is left behind: {one}" for one in left]
            await asyncio.sleep(_LOOK_S)
        return []

    def _have_begun(self) -> Counter[str]:
        if not self._begun.exists():
            return Counter()
        return Counter(self._begun.read_text(encoding="utf-8").splitlines())


@contextlib.asynccontextmanager
async def killing(
    cluster: FailoverCluster, every_s: float
) -> AsyncIterator[list[float]]:
    """Have leaders killed meanwhile, and started again; when they were.

    The cluster is whole before each.
    """
    kills: list[float] = []

    async def kill() -> None:
        due = time.monotonic() + every_s
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await cluster.whole()
            leader = await cluster.leader()
            leader.kill()
            kills.append(time.monotonic())
            due = kills[-1] + every_s
            try:
                await cluster.leader()
            finally:
                leader.start()

    task = asyncio.create_task(kill())
    try:
        yield kills
    finally:
        if not task.cancel():
            task.result()  # it has broken: say so
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await cluster.whole()


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found


def _say(what: str, made: Made) -> None:
    """One run, for who watches."""
    verdict = "equal" if not made.problems else "NOT EQUAL"
    print(f"{what}: {made.measured.wall_s:.2f} s, {verdict}")
    for line in made.told:
        print(f"    {line}")
    for line in made.problems[:_PROBLEMS_SHOWN_MAX]:
        print(f"  ! {line}")
    if len(made.problems) > _PROBLEMS_SHOWN_MAX:
        print(f"  ! {len(made.problems)} such lines in all")
    sys.stdout.flush()


def _table(found: dict[str, dict[str, Any]]) -> str:
    head = (
        "suite            tests   plain  undisturbed  killed (median)"
        "  every  runs  kills  told  equal"
    )
    lines = [head, "-" * len(head)]
    for name, one in found.items():
        walls = sorted(one["runs_s"])
        lines.append(
            f"{name:14}{one['tests']:>8}{one['plain_s']:>6.1f} s"
            f"{one['undisturbed_s']:>11.1f} s{walls[len(walls) // 2]:>15.1f} s"
            f"{one['every_s']:>6.1f}s{len(walls):>6}{one['kills']:>7}"
            f"{len(one['told']):>6}  {'NO' if one['problems'] else 'yes'}"
        )
    return "\n".join(lines)


async def prove(
    cache: real.SuiteCache, wanted: list[real.Suite], every_s: float
) -> dict[str, dict[str, Any]]:
    """All wanted suites on one cluster; what was found, by suite."""
    with tempfile.TemporaryDirectory(prefix="dtf-suites-") as name:
        folder = Path(name)
        begun = folder / "begun.txt"
        here = str(Path(__file__).resolve().parent)
        environment = {"PYTHONPATH": here, "DTF_BEGUN_LOG": str(begun)}
        async with FailoverCluster(
            folder, environment=environment, python=cache.bin / "python"
        ) as cluster:
            for number in range(WORKERS):
                cluster.start_worker(f"w{number}")
            proof = Proof(cluster, cache, begun)
            return {suite.name: await proof.suite(suite, every_s) for suite in wanted}


def main() -> None:
    """Run the proof."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="The first use downloads and installs the suites, as suites.py does.",
    )
    parser.add_argument("--suites", default="", help="names, separated by commas")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--quick", action="store_true", help=", ".join(real.QUICK))
    parser.add_argument("--json", action="store_true", help="one object, last line")
    parser.add_argument("--cache", type=Path, default=real.default_cache())
    parser.add_argument("--sdist-dir", type=Path, help="take sdists from here only")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    cache = real.SuiteCache(options.cache, options.sdist_dir)
    default = real.QUICK if options.quick else real.default_names()
    wanted = real.chosen(options.suites, default)
    for suite in wanted:
        try:
            cache.prepare(suite)
        except real.SuiteUnavailableError as error:
            raise SystemExit(f"{suite.name}: {error}") from None
    load = os.getloadavg()[0]
    found = asyncio.run(prove(cache, wanted, options.every))
    print(_table(found))
    equal = not any(one["problems"] for one in found.values())
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python"
        f" {platform.python_version()}, load {load:.1f} before and"
        f" {os.getloadavg()[0]:.1f} after"
    )
    kills = sum(one["kills"] for one in found.values())
    print(f"{len(found)} suites, {kills} leaders killed: {'equal' if equal else 'NOT'}")
    print(f"machine: {machine}")
    if options.json:
        result = {"benchmark": "suites_failover", "equal": equal, "machine": machine}
        print(json.dumps({**result, "suites": found}))
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
