"""Coordinators restarted one after the other while tasks run: nobody notices."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from test_dev import DTF, WAIT_S, status, until

from dtf_dask import Client
from dtf_dask.cli.dev import _made
from dtf_dask.ha.node_config import NodeConfig

TASKS = 60


def noted(folder: str, number: int) -> int:
    """A task that writes down that it ran."""
    with open(f"{folder}/ran", "a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    time.sleep(0.3)
    return number * number


def started(stack: ExitStack, *words: object) -> subprocess.Popen[bytes]:
    """A command of dtf that runs until the test ends."""
    process = subprocess.Popen(
        [*DTF, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def shadows(config: NodeConfig) -> tuple[str, dict[str, Any]]:
    """Who leads once all the others are shadows, and how it stands."""
    ends = time.monotonic() + WAIT_S
    while True:
        found = status(config.folder)
        nodes = found.get("coordinators", {})
        roles = [
            "away" if isinstance(one, str) else one["scheduler"]["role"]
            for one in nodes.values()
        ]
        if sorted(roles) == ["leads", "shadow", "shadow"]:
            return found["leader"], found
        assert time.monotonic() < ends, found
        time.sleep(0.3)


@pytest.mark.drill
def test_a_rolling_restart_disturbs_no_task(tmp_path: Path) -> None:
    """Each coordinator is told to end and started again, the leader last: all results
    are right, and every task ran once."""
    made = _made(tmp_path / "cluster", 3)
    by_name = {one.names[one.node]: one for one in made}
    with ExitStack() as stack:
        processes = {
            name: started(stack, "coordinator", "--data", one.folder)
            for name, one in by_name.items()
        }
        started(stack, "worker", made[0].contact, "--nworkers", 1, "--nthreads", 2)
        until(made[0].folder, workers=1)
        leader, _ = shadows(made[0])
        with Client(made[0].contact) as client:
            futures = client.map(
                noted, [str(tmp_path)] * TASKS, range(TASKS), pure=False
            )
            for name in sorted(by_name, key=lambda one: one == leader):
                processes[name].send_signal(signal.SIGTERM)
                assert processes[name].wait(WAIT_S) == 0
                folder = by_name[name].folder
                processes[name] = started(stack, "coordinator", "--data", folder)
                shadows(made[0])
            assert client.gather(futures) == [n * n for n in range(TASKS)]
            after, found = shadows(made[0])
            assert after != leader
            assert found["alarms"] == []
    ran = Counter((tmp_path / "ran").read_text().split())
    assert len(ran) == TASKS
    assert {number: count for number, count in ran.items() if count > 1} == {}
