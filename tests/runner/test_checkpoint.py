"""A test that is preempted may save what it has; nothing of it delays the kill."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from served import Frame, Functions, Served

import dtf_dask
from dtf_dask.errors import UsageError
from dtf_dask.model import Case
from dtf_dask.worker_plugins.runner import checkpoint
from dtf_dask.worker_plugins.runner.case_session import CaseSession
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.sessions import Emit, Job

FOREVER_S = 600


class Cases(Functions):
    """As the sessions of dtf, these say what they run."""

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        checkpoint.enter(board, jobs)
        super().run(jobs, board, emit)


def started(folder: Path, save: Callable[[], Any] | None) -> Callable[[], None]:
    """A test that registers something, says so, and never ends."""

    def test() -> None:
        if save is not None:
            dtf_dask.on_preemption(save)
        (folder / "started").touch()
        time.sleep(FOREVER_S)

    return test


def preempted(
    folder: Path, *tests: Any, wait_s: float = 100.0
) -> tuple[list[Frame], float]:
    """What the runner tells of a batch that is preempted, and how long that took."""
    with Served(Cases(*tests)) as runner:
        env = {checkpoint.VARIABLE: str(folder / "checkpoints")}
        runner.batch(*range(len(tests)), **env)
        while not (folder / "started").exists():
            time.sleep(0.005)
        begun = time.monotonic()
        runner.send(op="preempt", wait_s=wait_s)
        frames = runner.until("batch_end")
        took_s = time.monotonic() - begun
        assert psutil.Process(runner.pid).children(recursive=True) == []
    return frames, took_s


def test_what_was_registered_is_called_before_the_kill(tmp_path: Path) -> None:
    """In order, in the main thread, with the folder of the case; then it is over."""

    def first() -> None:
        assert threading.current_thread() is threading.main_thread()
        (dtf_dask.checkpoint_folder() / "state").write_text("1")

    def second() -> None:
        path = dtf_dask.checkpoint_folder() / "state"
        path.write_text(path.read_text() + "2")

    def both() -> None:
        dtf_dask.on_preemption(first)
        started(tmp_path, second)()

    frames, took_s = preempted(tmp_path, both, os.getpid)
    assert frames[-1]["not_run"] == [0, 1]
    assert [frame["op"] for frame in frames if frame["op"] in ("case", "crash")] == []
    assert (tmp_path / "checkpoints" / "0" / "state").read_text() == "12"
    assert took_s < 50  # not the 100 s that it had


def test_nothing_registered_is_killed_at_once(tmp_path: Path) -> None:
    """As before: preemption does not wait for those who save nothing."""
    frames, took_s = preempted(tmp_path, started(tmp_path, None))
    assert frames[-1]["not_run"] == [0]
    assert took_s < 50


@pytest.mark.parametrize("how", ["hang", "busy"])
def test_one_that_does_not_return_is_cut(tmp_path: Path, how: str) -> None:
    """After the time that it was given, whatever it does."""

    def save() -> None:
        (tmp_path / "saving").touch()
        while True:
            try:
                if how != "busy":
                    time.sleep(FOREVER_S)
            except BaseException:
                continue

    frames, took_s = preempted(tmp_path, started(tmp_path, save), wait_s=0.5)
    assert frames[-1]["not_run"] == [0]
    assert (tmp_path / "saving").exists()
    assert 0.4 < took_s < 50


def test_one_that_raises_does_not_keep_the_others(tmp_path: Path) -> None:
    """It is printed, and the next is called."""

    def leave() -> None:
        raise SystemExit("no")

    def both() -> None:
        dtf_dask.on_preemption(leave)
        started(tmp_path, (tmp_path / "saved").touch)()

    frames, took_s = preempted(tmp_path, both)
    assert (tmp_path / "saved").exists()
    assert frames[-1]["not_run"] == [0]
    assert took_s < 50


def test_one_that_ends_the_process_is_no_crash_of_the_test(tmp_path: Path) -> None:
    """The test was preempted, and is run again."""
    frames, _ = preempted(tmp_path, started(tmp_path, lambda: os._exit(3)))
    assert [frame["op"] for frame in frames if frame["op"] in ("case", "crash")] == []
    assert frames[-1]["not_run"] == [0]


@pytest.mark.parametrize("timeout_s", [None, 600], ids=["here", "own process"])
def test_a_case_may_save_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: float | None
) -> None:
    """Also one with a timeout, which runs in a process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(folder: str) -> None:
        import pathlib
        import time

        import dtf_dask

        path = dtf_dask.checkpoint_folder() / "state"
        dtf_dask.on_preemption(lambda: path.write_text("half of it"))
        (pathlib.Path(folder) / "started").touch()
        time.sleep(600)

    case = Case("long", fn=run, args=(str(tmp_path),), timeout_s=timeout_s)
    spec = {"slot": "gw0", "run": "r", "home": str(tmp_path), "inline_limit": 1000}
    with Served(CaseSession(spec)) as runner:
        entries = [[7, "long", cloudpickle.dumps(case)]]
        env = {checkpoint.VARIABLE: str(tmp_path / "checkpoints")}
        runner.send(op="batch", entries=entries, spill=str(tmp_path), env=env)
        while not (tmp_path / "started").exists():
            time.sleep(0.005)
        runner.send(op="preempt", wait_s=20)
        frames = runner.until("batch_end")
        assert psutil.Process(runner.pid).children(recursive=True) == []
    assert frames[-1]["not_run"] == [7]
    assert [frame["op"] for frame in frames if frame["op"] in ("case", "crash")] == []
    assert (tmp_path / "checkpoints" / "7" / "state").read_text() == "half of it"


def test_it_is_forgotten_with_its_test(tmp_path: Path) -> None:
    """A test before cannot speak for the one that runs."""

    def before() -> None:
        dtf_dask.on_preemption((tmp_path / "saved").touch)

    frames, took_s = preempted(tmp_path, before, started(tmp_path, None))
    assert frames[-1]["not_run"] == [1]
    assert not (tmp_path / "saved").exists()
    assert took_s < 50


def test_no_time_is_no_call(tmp_path: Path) -> None:
    """``runs.preempt-grace`` 0 kills at once."""
    save = (tmp_path / "saved").touch
    frames, _ = preempted(tmp_path, started(tmp_path, save), wait_s=0.0)
    assert frames[-1]["not_run"] == [0]
    assert not (tmp_path / "saved").exists()


def test_a_cancelled_run_does_not_ask(tmp_path: Path) -> None:
    """Nobody would go on with what it saves."""
    with Served(Cases(started(tmp_path, (tmp_path / "saved").touch))) as runner:
        runner.batch(0)
        while not (tmp_path / "started").exists():
            time.sleep(0.005)
        runner.send(op="kill")
        runner.until("batch_end")
    assert not (tmp_path / "saved").exists()


def test_a_kill_does_not_wait_for_one_that_saves(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a preemption ends it."""

    def save() -> None:
        (tmp_path / "saving").touch()
        time.sleep(FOREVER_S)

    with Served(Cases(started(tmp_path, save))) as runner:
        runner.batch(0)
        while not (tmp_path / "started").exists():
            time.sleep(0.005)
        runner.send(op="preempt", wait_s=100)
        while not (tmp_path / "saving").exists():
            time.sleep(0.005)
        begun = time.monotonic()
        runner.send(op="kill")
        runner.until("batch_end")
        assert time.monotonic() - begun < 50


def test_another_process_cannot_be_named(tmp_path: Path) -> None:
    """What a test writes where it must not: no signal goes to who is no child."""

    def lie() -> None:
        dtf_dask.on_preemption((tmp_path / "saved").touch)
        assert checkpoint._here is not None
        checkpoint._here._board.hooked = 1
        started(tmp_path, None)()

    frames, took_s = preempted(tmp_path, lie)
    assert frames[-1]["not_run"] == [0]
    assert took_s < 50


def test_outside_of_a_run_it_does_nothing(tmp_path: Path) -> None:
    """The suite runs under plain pytest as well."""

    def save() -> None:
        raise AssertionError

    assert dtf_dask.on_preemption(save) is save
    assert dtf_dask.checkpoint_folder().is_dir()
    assert dtf_dask.checkpoint_folder() != dtf_dask.checkpoint_folder()


def test_misuse_is_said() -> None:
    """No function; not the main thread."""
    with pytest.raises(UsageError, match="takes a function"):
        dtf_dask.on_preemption("save")  # type: ignore[type-var]
    said: list[str] = []

    def elsewhere() -> None:
        try:
            dtf_dask.on_preemption(lambda: None)
        except UsageError as error:
            said.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert said == ["on_preemption is for the main thread of a test"]
