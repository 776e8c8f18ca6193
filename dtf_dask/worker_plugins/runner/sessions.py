"""What a runner can run: a warm pytest session, or cases that are plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dtf_dask.worker_plugins.runner.progress import ProgressBoard

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One test of a batch: its index in the run, and what the session makes of it."""

    number: int
    what: Any


class MissingCasesError(Exception):
    """The session has no such tests: it imported something else than the client."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class RunnerSession(Protocol):
    """Lives in the runner; `run` is called in a forked child of it.

    A session that cannot be forked has ``start_child(jobs, outlet) -> pid`` and a
    ``board`` of its own as well. One whose child may run a batch after the first has
    ``may_stay() -> bool``, which is asked in the child after each.
    """

    spill: str
    """Folder for what is too long to travel with a report; set before each batch."""

    keep: str
    """File for the reports of a batch; set before each, empty if none are kept."""

    def jobs(self, entries: Sequence[Sequence[Any]]) -> list[Job]:
        """The tests that the entries ``[number, name, extra]`` of a batch mean."""

    def before_child(self) -> None:
        """Make what the child shall not share with its siblings."""

    def after_child(self) -> None:
        """Drop it again."""

    def leftover(self) -> dict[str, Any]:
        """``out``, ``err`` and ``stacks`` of a dead child that it had not reported."""

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        """Run the jobs in order while the board allows, emitting a frame for each."""

    def describe(self) -> dict[str, Any]:
        """For the greeting: how many tests, which errors."""
