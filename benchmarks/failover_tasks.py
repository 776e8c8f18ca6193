"""What tasks do in benchmarks and trials of failovers: they note that they ran.

Each attempt writes a line when it begins and one when it ends, with the time of a clock
that all processes of a machine share, and the term of the scheduler that sent it. So it
is seen afterwards who ran twice, and when the first ran that a new leader sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from distributed import get_worker

FOLDER = "DTF_FAILOVER_NOTES"
"""The environment's variable that says where."""

_TERM_BITS = 32
_open: dict[str, int] = {}


class Note(NamedTuple):
    """An attempt began, or ended: of what, sent in which term, when, and where."""

    what: str
    key: str
    term: int
    at_s: float
    pid: int


def note(what: str) -> tuple[str, int]:
    """Write down that the task that calls it begins or ends; its key and term."""
    worker = get_worker()
    key: Any = worker.get_current_task()
    run_id = worker.state.tasks[key].run_id
    term = max(0, run_id) >> _TERM_BITS
    _write(f"{what}\t{key}\t{term}\t{time.monotonic()!r}\t{os.getpid()}\n")
    return str(key), term


def _write(line: str) -> None:
    folder = os.environ[FOLDER]
    if folder not in _open:
        path = Path(folder) / f"{os.getpid()}.notes"
        _open[folder] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(_open[folder], line.encode())


def notes(folder: Path) -> Iterator[Note]:
    """What was written down so far, file by file."""
    for path in sorted(folder.glob("*.notes")):
        for line in path.read_text().splitlines():
            what, key, term, at_s, pid = line.split("\t")
            yield Note(what, key, int(term), float(at_s), int(pid))


# -- tasks --------------------------------------------------------------------------


def nothing(number: int) -> None:
    """A future that costs nothing but its way."""


def work(number: int, seconds: float) -> tuple[int, int]:
    """Take so long; the number, and the term of who sent it."""
    _, term = note("begin")
    time.sleep(seconds)
    note("end")
    return number, term
