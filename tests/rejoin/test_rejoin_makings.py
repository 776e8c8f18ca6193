"""A worker that is to run a task, and waits until nothing can be confused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from free_contact import free_contact
from rejoin_kit import asking, leading, run, until, working

from dtf_dask.durable.makings import ANNOTATION
from dtf_dask.worker_plugins import dask_holdings as holdings


def gated(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.01)


def test_what_waits_for_another_making_to_end_can_be_run_elsewhere(
    tmp_path: Path,
) -> None:
    """It is given up when a scheduler asks, as what has not begun, and is not run."""

    async def check() -> None:
        contact = free_contact()
        answers: list[Any] = []
        async with (
            leading(contact, 1) as leader,
            working(contact, tmp_path) as worker,
            asking(contact) as client,
        ):
            leader.stream_handlers["steal-response"] = lambda **said: answers.append(
                (said["key"], said["state"], said["stimulus_id"])
            )
            needed = client.submit(gated, str(tmp_path / "gate"), key="x")
            await until(lambda: "x" in worker.active_keys)
            holdings.mark(worker, "x", 1)
            needed.release()
            await until(lambda: holdings.state_of(worker, "x") == "cancelled")
            leader.worker_send(
                worker.address,
                {
                    "op": "compute-task",
                    "key": "k",
                    "run_id": 7,
                    "run_spec": None,
                    "priority": (0,),
                    "who_has": {"x": ["tcp://127.0.0.1:1"]},
                    "nbytes": {"x": 8},
                    "resource_restrictions": {},
                    "actor": False,
                    "annotations": {ANNOTATION: [5, 2]},
                    "span_id": None,
                    "stimulus_id": "compute",
                },
            )
            for stimulus in ("first", "second"):
                asked = {"op": "steal-request", "key": "k", "stimulus_id": stimulus}
                leader.worker_send(worker.address, asked)
            await until(lambda: len(answers) == 2)
            assert answers == [("k", "ready", "first"), ("k", None, "second")]
            (tmp_path / "gate").touch()
            await until(lambda: "x" not in worker.state.tasks)
            assert "k" not in worker.state.tasks

    run(check)
