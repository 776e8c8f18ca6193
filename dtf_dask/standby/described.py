"""What a journal says of tasks that are known: errors, tries left, makings.

Each is of one making of a key. What comes behind the end of that one says nothing of
the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState

from dtf_dask.durable import operations
from dtf_dask.durable.operations import Operation
from dtf_dask.standby import dask_moving
from dtf_dask.standby.dask_takeover import is_of, made_of
from dtf_dask.standby.living import Living

Key = Any
"""Dask's keys are narrower than those of tables."""


class Described:
    """What is said of the tasks of one scheduler.

    Attributes
    ----------
    erred
        What the journal says of tasks that failed, by key.
    """

    def __init__(self, scheduler: Scheduler, living: Living) -> None:
        self._scheduler, self._living = scheduler, living
        self.erred: dict[Key, Mapping[str, Any]] = {}

    def retried(
        self, op: Operation, packed: bytes, at_s: float, *, quiet: bool
    ) -> None:
        """Tasks that failed are to be run again."""
        keys = [key for key in op.body[0] if key in self._scheduler.tasks]
        self._living.described(operations.ERRED, packed, keys)
        for key in keys:
            self.erred.pop(key, None)
        if quiet:
            dask_moving.retry_quietly(self._scheduler, keys, f"stimulus-retry-{at_s}")
        else:
            self._scheduler.stimulus_retry(keys=keys, client=op.client or None)

    def failed(self, op: Operation, packed: bytes, *, leads: bool) -> None:
        """A task failed; who leads knows."""
        key, words = op.body
        ts = self._of(key, words)
        self._living.described(operations.ERRED, packed, [key] if ts else [])
        if ts is not None and not leads:
            self.remember(ts, words)

    def remember(self, ts: TaskState, words: Mapping[str, Any]) -> None:
        """A task had failed, as these say."""
        self.erred[ts.key] = words
        ts.run_id = words.get("run_id")

    def counted(self, op: Operation, packed: bytes, *, leads: bool) -> None:
        """How often tasks failed and may be tried; who leads knows."""
        known = []
        for key, retries, suspicious, run_id, *made in zip(*op.body, strict=True):
            ts = self._scheduler.tasks.get(key)
            if ts is None or (made and made[0] != made_of(ts)):
                continue
            known.append(key)
            if not leads:
                ts.retries, ts.suspicious = retries, suspicious
                # Errors of attempts up to this one are counted already.
                ts.run_id = run_id
        self._living.described(operations.COUNTS, packed, known)

    def kept(self, packed: bytes, keys: Iterable[Key], marks: Iterable[int]) -> None:
        """Of which making tasks are."""
        known = [
            key
            for key, made in zip(keys, marks, strict=True)
            if is_of(self._scheduler, key, made)
        ]
        self._living.described(operations.KEEPS, packed, known)

    def _of(self, key: Key, words: Mapping[str, Any]) -> TaskState | None:
        ts = self._scheduler.tasks.get(key)
        if ts is not None and words.get("made", made_of(ts)) != made_of(ts):
            return None
        return ts
