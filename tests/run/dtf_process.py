"""Runs ``dtf`` and ``pytest`` as users do, as processes, and finds what they leave."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from lean_pytest import LEAN

from dtf_dask.errors import ResultsUnavailableError, UsageError
from dtf_dask.runs.results.store import ResultsStore

_MARK = "DTF_TEST_MARK"
_FOREIGN = ("PYTEST_", "DTF_", "DASK_", "COV_", "COVERAGE_")
_WAIT_S = 100.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command came to; ``out`` is all that it printed."""

    code: int
    out: str
    wall_s: float

    def lines(self, start: str) -> list[str]:
        return [line for line in self.out.splitlines() if line.startswith(start)]


def dtf(*words: object) -> list[str]:
    """The command `dtf`."""
    code = "from dtf_dask.cli.main import main; main()"
    return [sys.executable, "-c", code, *map(str, words)]


def pytest(*words: object) -> list[str]:
    """The command `pytest`."""
    return [sys.executable, "-m", "pytest", *map(str, words)]


def environment(mark: str = "", **extra: str) -> dict[str, str]:
    """This process's, without what a session around this one has set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    return kept | LEAN | {"COLUMNS": "100", _MARK: mark} | extra


def start(
    folder: Path, command: list[str], mark: str = "", **extra: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(mark, **extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def end(process: subprocess.Popen[str], began: float | None = None) -> Ended:
    began = began or time.monotonic()
    out, _ = process.communicate(timeout=_WAIT_S)
    return Ended(process.returncode, out, time.monotonic() - began)


def run(folder: Path, command: list[str], **extra: str) -> Ended:
    return end(start(folder, command, **extra))


def suite(folder: Path, **files: str) -> Path:
    """Write a suite: ``test_a="..."`` is test_a.py, ``conftest=``, ``ini=`` too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n" + files.pop("ini", ""))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@contextlib.contextmanager
def marked() -> Iterator[str]:
    """A mark for processes; whatever carries it at the end is killed, and is a bug."""
    mark = uuid.uuid4().hex
    try:
        yield mark
        deadline = time.monotonic() + 10.0
        while (left := alive(mark)) and time.monotonic() < deadline:
            psutil.wait_procs(left, timeout=0.1)
        assert [" ".join(process.cmdline()) for process in left] == []
    finally:
        for process in alive(mark):
            process.kill()


def alive(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            zombie = process.status() == psutil.STATUS_ZOMBIE
            if not zombie and process.environ().get(_MARK) == mark:
                found.append(process)
    return found


def await_file(path: Path, text: str = "") -> None:
    """Wait until a test has written ``path``, with ``text`` in it."""
    deadline = time.monotonic() + _WAIT_S
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.01)


def attempts(folder: Path, run_ref: str = "last") -> dict[str, list[Any]]:
    """The attempts that a run of the suite in ``folder`` kept, by case."""
    found: dict[str, list[Any]] = {}
    url = str(folder / ".dtf" / "results.sqlite")
    with ResultsStore.open(url, create=False) as store:
        for attempt in store.attempts(store.run(run_ref).id):
            found.setdefault(attempt.case_id, []).append(attempt)
    return found


def await_attempts(folder: Path, count: int) -> None:
    """Wait until a run that goes on has kept attempts of so many cases."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        with contextlib.suppress(UsageError, ResultsUnavailableError):  # not yet there
            if len(attempts(folder)) >= count:
                return
        assert time.monotonic() < deadline, f"not {count} attempts in {folder}"
        time.sleep(0.05)


def kept_run(folder: Path, run_ref: str = "last") -> Any:
    with ResultsStore.open(
        str(folder / ".dtf" / "results.sqlite"), create=False
    ) as store:
        return store.run(run_ref)


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Ended:
    began = time.monotonic()
    process.send_signal(number)
    return end(process, began)


@contextlib.contextmanager
def logged(folder, *words, **extra):
    """A command of dtf, whose stdout is to be read and whose stderr goes to a file."""
    with (
        (folder / "log.txt").open("ab") as log,
        subprocess.Popen(
            dtf(*words),
            cwd=folder,
            env=environment(**extra),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        yield process
