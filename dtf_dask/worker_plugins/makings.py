"""Has a worker know of which making each task is that it has, and confuse no two.

A scheduler says so with each task (`dtf_dask.durable.makings`). Dask's worker takes a
key for a task: what it has of a key is freed here before it may be taken for another
task of that key; and while the one is still run, or fetched, the other waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distributed import Worker

from dtf_dask.durable.makings import ANNOTATION, NONE, mark_in, marks_of_inputs
from dtf_dask.submission.table import Key
from dtf_dask.worker_plugins import dask_holdings as holdings

LOOKED_AGAIN_S = 0.02


class Makings:
    """The makings of what one worker has."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._held: dict[Key, dict[str, Any]] = {}
        self._looks = False
        handlers = worker.stream_handlers
        self._compute, self._free = handlers["compute-task"], handlers["free-keys"]
        self._steal = handlers["steal-request"]
        handlers.update(
            {
                "compute-task": self.compute,
                "free-keys": self.free,
                "steal-request": self.steal,
                ANNOTATION: self.told,
            }
        )
        worker.metrics[ANNOTATION] = lambda worker: True

    def compute(self, **message: Any) -> None:
        """A task is to be run."""
        key, annotations = message["key"], message["annotations"]
        inputs = marks_of_inputs(annotations, message["who_has"])
        marks = [(key, mark_in(annotations)), *inputs]
        others = [one for one, mark in marks if self._is_other(one, mark)]
        holdings.free(self._worker, others, "dtf-another-making")
        if any(self._is_running_out(one, mark) for one, mark in marks):
            self._held[key] = message
            self._look_again()
            return
        self._compute(**message)
        self.told(inputs)

    def free(self, keys: Iterable[Key], **more: Any) -> None:
        """Tasks are to be forgotten."""
        keys = list(keys)
        for key in keys:
            self._held.pop(key, None)
        self._free(keys=keys, **more)

    def steal(self, key: Key, stimulus_id: str) -> None:
        """A task is to be run elsewhere, if it has not begun."""
        if self._held.pop(key, None) is None:
            self._steal(key=key, stimulus_id=stimulus_id)
        else:
            holdings.give_up(self._worker, key, stimulus_id)

    def told(self, marks: Iterable[tuple[Key, int]]) -> None:
        """What these are that the worker has, or gets from others."""
        for key, mark in marks:
            if not self._is_other(key, mark):
                holdings.mark(self._worker, key, mark)

    def drop_held(self) -> None:
        """What was to be run and has not begun is not wanted any more."""
        self._held.clear()

    def _is_other(self, key: Key, mark: int) -> bool:
        """Whether the worker has something of another making."""
        state = holdings.state_of(self._worker, key)
        if state is None or state in holdings.NOTHING_YET:
            return False
        return holdings.mark_of(self._worker, key) not in (NONE, mark)

    def _is_running_out(self, key: Key, mark: int) -> bool:
        """Whether another making, which nobody wants, is still run here or fetched."""
        made = holdings.mark_of(self._worker, key)
        return made not in (NONE, mark) and holdings.is_parting(self._worker, key)

    def _look_again(self) -> None:
        if not self._looks:
            self._looks = True
            self._worker.loop.call_later(LOOKED_AGAIN_S, self._again)

    def _again(self) -> None:
        self._looks = False
        held, self._held = self._held, {}
        for message in held.values():
            self.compute(**message)
