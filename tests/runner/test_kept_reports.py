"""Reports outlive the runner that had not passed them on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import cloudpickle
from dask_cluster import pytest_spec

from dtf_dask import Case
from dtf_dask.frames import Frame, FrameBuffer, pack
from dtf_dask.worker_plugins.runner.kept_reports import KeptReports, forget, kept
from dtf_dask.worker_plugins.runner.worker_run import WorkerRun


def report(number: int, length: int = 0) -> bytes:
    return pack({"op": "case", "i": number, "out": "x" * length})


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    """In order, whole; another batch begins with nothing."""
    path = tmp_path / "gw0.reports"
    reports = KeptReports()
    reports.add(report(0))  # nowhere
    reports.begin(str(path))
    assert kept(path) == []
    for number in range(3):
        reports.add(report(number))
    assert kept(path) == [(number, report(number)) for number in range(3)]
    reports.begin(str(path))
    assert kept(path) == []
    reports.add(report(7))
    assert kept(path) == [(7, report(7))]
    forget(path)
    assert kept(path) == []
    reports.begin("")
    reports.add(report(8))
    assert not path.exists()


def test_the_file_is_bounded_and_holds_what_came_last(tmp_path: Path) -> None:
    """More than a pipe and a runner can hold, that is more than 320 KiB."""
    path = tmp_path / "gw0.reports"
    reports = KeptReports()
    reports.begin(str(path))
    for number in range(1000):
        reports.add(report(number, 1 + number * 37 % 20_000))
        found = [number for number, _ in kept(path)]
        assert found[-1] == number or number in found
    assert path.stat().st_size <= 2**20
    found = sorted(found)
    assert found == list(range(found[0], 1000))
    assert sum(number * 37 % 20_000 for number in found) > 320 * 1024
    reports.add(report(1, 2**20))
    assert sorted(number for number, _ in kept(path)) == found


def test_whatever_a_test_writes_into_it_does_no_harm(tmp_path: Path) -> None:
    """What is no report is the end of them."""
    path = tmp_path / "gw0.reports"
    for garbage in (b"\1", b"\xff" * 100, b"\0\0\0\1\xc1", os.urandom(5000)):
        path.write_bytes(report(1) + garbage)
        assert kept(path)[:1] == [(1, report(1))]
    path.write_bytes(pack({"op": "case", "i": "1"}) + pack({"op": "stop", "i": 1}))
    assert kept(path) == []


def test_a_test_that_takes_our_number_is_not_written_to(tmp_path: Path) -> None:
    """A test that closes all files and opens its own keeps it as it is."""
    path, own = tmp_path / "gw0.reports", tmp_path / "own"
    reports = KeptReports()
    reports.begin(str(path))
    number = os.open(own, os.O_RDWR | os.O_CREAT)
    os.dup2(number, reports._file)
    reports.add(report(1))
    reports.begin(str(path))
    assert own.read_bytes() == b""
    os.close(number)


def stop_the_runner() -> None:
    """From here on it passes nothing on."""
    os.kill(os.getppid(), signal.SIGSTOP)


def kill_the_runner() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()


class Listening:
    """What a run needs of its worker: a folder, and somewhere to tell."""

    def __init__(self, folder: Path) -> None:
        self.local_directory = str(folder)
        self.frames: list[Frame] = []

    def log_event(self, _topic: str, message: dict[str, Any]) -> None:
        self.frames += FrameBuffer().feed(message["frames"])


def test_reports_outlive_a_runner_that_is_killed(tmp_path: Path) -> None:
    """They come, once each; who killed it is who ran then; the rest runs after that."""
    cases = [Case("stops", fn=stop_the_runner)]
    cases += [Case(f"quick {number}", fn=int) for number in range(20)]
    cases += [Case("kills", fn=kill_the_runner)]
    cases += [Case(f"later {number}", fn=int) for number in range(3)]
    worker: Any = Listening(tmp_path)

    async def batches() -> None:
        run = WorkerRun(worker, pytest_spec("", kind="cases"), None)
        try:
            await run.run_batch("gw0", 1, entries, {})
            # Nothing of it is taken for a report of the next batch.
            await run.run_batch("gw0", 2, [entries[1], entries[21], entries[2]], {})
        finally:
            await run.close()

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        entries = [[n, c.name, cloudpickle.dumps(c)] for n, c in enumerate(cases)]
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    asyncio.run(asyncio.wait_for(batches(), 60))
    told = [(f["op"], f["i"]) for f in worker.frames if f["op"] in ("case", "crash")]
    first = [("case", n) for n in range(21)] + [("crash", 21)]
    first += [("case", n) for n in (22, 23, 24)]
    assert told == [*first, ("case", 1), ("crash", 21), ("case", 2)]
