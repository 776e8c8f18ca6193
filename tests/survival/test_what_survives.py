"""docs/what-survives.md is true: rows held against a cluster that loses its leaders.

One cluster plays for all rows: coordinators in processes of their own, workers with
nannies. Its leading scheduler is killed twice, the second time together with a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import survival_tasks as tasks
from surviving import SCENARIOS, Scenario, World

from dtf_dask import Client

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "what-survives.md"
WITHIN_S = 120.0
WORKERS, THREADS = 4, 6
_DTF = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]


def rows() -> list[list[str]]:
    """The table's rows: what, on a coordinator, over a failover, what is lost, test."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    head, _, *found = table
    assert head[-1] == "Test"
    return [[*row[:-1], row[-1].strip("`")] for row in found]


class Play:
    """What came of each scenario: nothing, or how it failed."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self._going: dict[str, AsyncIterator[None]] = {}

    async def before(self, world: World, some: dict[str, Scenario]) -> None:
        self._going = {name: one.play(world) for name, one in some.items()}
        await asyncio.gather(*(self._step(name, "before") for name in some))

    async def after(self, *, in_order: bool = False) -> None:
        for name in [*self._going] if in_order else []:
            await self._step(name, "after")
        if not in_order:
            await asyncio.gather(*(self._step(name, "after") for name in self._going))

    async def _step(self, name: str, when: str) -> None:
        if name in self.failures:
            return
        try:
            async with asyncio.timeout(WITHIN_S):
                await anext(self._going[name], None)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.failures[name] = f"{when}: {traceback.format_exc()}"


async def kill_leader(client: Client) -> None:
    os.kill(await client.run_on_scheduler(tasks.scheduler_pid), signal.SIGKILL)


async def play(contact: str, folder: Path) -> dict[str, str]:
    made = Play()
    gentle = {name: one for name, one in SCENARIOS.items() if not one.last}
    rough = {name: one for name, one in SCENARIOS.items() if one.last}
    async with Client(contact, asynchronous=True, timeout="180 s") as client:
        await client.wait_for_workers(WORKERS, timeout=180)
        world = World(contact, folder, client)
        await made.before(world, gentle)
        await kill_leader(client)
        await made.after()
        world.victim = sorted(await client.nthreads())[2]
        await made.before(world, rough)
        await world.kill_worker(world.victim)
        await kill_leader(client)
        await made.after(in_order=True)
    return made.failures


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Coordinators and workers, and the address of them all."""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "cluster.log").open("wb"))

        def started(*words: str, **more: Any) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [*_DTF, *words], env=environment, stderr=log, text=True, **more
            )
            stack.callback(_end, process)
            return process

        coordinators = started(
            "dev", "--coordinators", "3", "--workers", "0", stdout=subprocess.PIPE
        )
        assert coordinators.stdout is not None
        stack.callback(coordinators.stdout.close)
        contact = coordinators.stdout.readline().strip()
        options = ["--nworkers", str(WORKERS), "--nthreads", str(THREADS)]
        started("worker", contact, *options, stdout=log)
        yield contact


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("survival")
    with cluster(folder) as contact:
        return asyncio.run(play(contact, folder))


def test_the_page_and_the_scenarios_are_of_one_mind() -> None:
    """Each row names a scenario of its own, which says the same; none is left over."""
    said = {row[4]: row[2] for row in rows()}
    assert len(said) == len(rows())
    assert said == {name: one.outcome for name, one in SCENARIOS.items()}
    assert {row[1] for row in rows()} == {"works"}
    for row in rows():
        if row[2] == "is refused":
            assert "Error" in row[3], row


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_row_is_true(name: str, failures: dict[str, str]) -> None:
    """What it says goes on went on; what it says is refused was, with that error."""
    assert name not in failures, failures[name]
