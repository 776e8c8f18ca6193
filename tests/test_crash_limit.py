"""``runs.crash-limit``: how long a batch is gone on with when its runners die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import dask.config
import distributed
import pytest

from dtf_dask import Case, LocalCluster
from dtf_dask.frames import FrameBuffer
from dtf_dask.worker_plugins.runner import worker_run
from dtf_dask.worker_plugins.runner.process import RunnerLostError
from dtf_dask.worker_plugins.runner.worker_run import WorkerRun, topic

ENTRIES = [[number, "test"] for number in range(1010)]


class Listed:
    """What a run needs of its worker: a folder, and somewhere to tell."""

    def __init__(self, folder: Path) -> None:
        self.local_directory = str(folder)
        self.crashed: list[int] = []

    def log_event(self, _topic: str, message: dict[str, Any]) -> None:
        for frame in FrameBuffer().feed(message["frames"]):
            if frame["op"] == "crash":
                self.crashed.append(frame["i"])


@pytest.mark.parametrize(
    ("spec", "deaths"),
    [
        ({}, 3),
        ({"crash_limit": 1}, 1),
        ({"crash_limit": 5}, 5),
        ({"crash_limit": 10**9}, 1000),
        ({"crash_limit": -1}, 1),
        ({"crash_limit": "many"}, 3),
        ({"crash_limit": True}, 3),
    ],
)
def test_a_batch_is_given_up_after_so_many_deaths(
    spec: dict[str, Any], deaths: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the client says, within bounds; three where it says nothing."""
    starts = []

    async def obtain(spec: dict[str, Any]) -> Any:
        starts.append(spec["slot"])
        raise RunnerLostError("no runner can live here")

    monkeypatch.setattr(worker_run, "obtain_runner", obtain)
    worker: Any = Listed(tmp_path)
    run = WorkerRun(worker, {"run": "r", **spec}, None)
    asyncio.run(run.run_batch("gw0", 1, ENTRIES, {}))
    assert worker.crashed == list(range(deaths))
    assert len(starts) == deaths


def test_the_configured_limit_reaches_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch has more deaths in a row than are configured, and some has as many."""
    monkeypatch.chdir(tmp_path)
    limit = 2

    def kill_the_runner() -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()

    deaths: dict[int, int] = {}

    def hear(event: tuple[float, Any]) -> None:
        for frame in FrameBuffer().feed(event[1]["frames"]):
            if frame["op"] == "crash":
                batch = event[1]["batch"]
                deaths[batch] = deaths.get(batch, 0) + 1

    cases = [Case(f"quick {number}", fn=int) for number in range(4)]
    cases += [Case(f"kills {number}", fn=kill_the_runner) for number in range(8)]
    with (
        dask.config.set({"dtf.runs.crash-limit": limit}),
        LocalCluster(n_workers=1, processes=False) as cluster,
        cluster.get_client() as client,
        distributed.Client(cluster, set_as_default=False) as listener,
    ):
        listener.subscribe_topic(topic("limited"), hear)
        ended = client.run_cases(cases, run_id="limited").wait(200)
    assert ended == {"passed": 4, "lost": 8}
    assert max(deaths.values()) == limit
