"""Tasks that were asked for again while they were known: they stay what they were.

From a journal what is over goes. So who reads what is left may forget such a task too
early, and take the later submission for the one that made it; what workers have is of
the first. The leader writes of which making the task is that it knows still, before
anything goes that came after: who reads that beforehand keeps the task until then.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState

from dtf_dask.durable.operations import KEEPS, Operation, encode_operation
from dtf_dask.standby import dask_moving, dask_seam
from dtf_dask.standby.dask_takeover import is_of, made_of

Key = Any
"""Dask's keys are narrower than those of tables."""
KEEPER = "dtf-keeps"
"""The client that wants what is to be kept for a while, to Dask."""
NOTED_S = 60.0
"""So old are notes at most that a leader before this one may not have written."""
_KEYS_AT_ONCE = 1_000


class AskedAgain:
    """What one scheduler knows of such tasks.

    Parameters
    ----------
    told
        Told of those that are kept.
    """

    def __init__(
        self, scheduler: Scheduler, told: Callable[[list[TaskState]], None]
    ) -> None:
        self._scheduler, self._told = scheduler, told
        self._noted: deque[tuple[float, dict[Key, int]]] = deque()
        self._expected: Counter[tuple[Key, int]] = Counter()

    # Who acts on a submission.

    def note(self, again: Iterable[TaskState], at_s: float) -> None:
        """These were known when they were asked for, at this time."""
        noted = {ts.key: made_of(ts) for ts in again}
        if noted:
            self._noted.append((at_s, noted))
        while self._noted and self._noted[0][0] < at_s - NOTED_S:
            self._noted.popleft()

    def is_written(self, upto_s: float) -> None:
        """What was noted up to then was looked at by who led."""
        while self._noted and self._noted[0][0] <= upto_s:
            self._noted.popleft()

    def said(self, now_s: float) -> list[bytes]:
        """What is to be written of all that was noted, and is known still."""
        kept: dict[Key, int] = {}
        for _, noted in self._noted:
            for key, made in noted.items():
                if is_of(self._scheduler, key, made):
                    kept[key] = made
        self._noted.clear()
        rows = iter(kept.items())
        found = []
        while some := dict(islice(rows, _KEYS_AT_ONCE)):
            columns = tuple(some), tuple(some.values())
            found.append(encode_operation(KEEPS, "", *columns, now_s))
        return found

    # Who has read further than it has acted.

    def expect(self, operation: Operation) -> None:
        """Keep tasks as they were made, until `over`."""
        keys, marks, _ = operation.body
        self._expected.update(zip(keys, marks, strict=True))
        tasks = self._scheduler.tasks
        self.keep([tasks[key] for key in keys if key in tasks])

    def keep(self, known: Iterable[TaskState]) -> None:
        """Keep those that are to be kept, of some that are known, or were just made."""
        if not self._expected:
            return
        kept = [ts for ts in known if (ts.key, made_of(ts)) in self._expected]
        if kept:
            dask_seam.known_client(self._scheduler, KEEPER)
            keys = [ts.key for ts in kept]
            self._scheduler.client_desires_keys(keys=keys, client=KEEPER)
            self._told(kept)

    def over(self, operation: Operation, why: str) -> Generator[None, None, None]:
        """Up to here they were known."""
        keys, marks, _ = operation.body
        rows = list(zip(keys, marks, strict=True))
        self._expected.subtract(rows)
        over = [row for row in rows if self._expected[row] <= 0]
        for row in over:
            del self._expected[row]
        wanted = [key for key, made in over if is_of(self._scheduler, key, made)]
        yield from dask_moving.release(self._scheduler, KEEPER, wanted, why)
        if not self._expected:
            self._scheduler.clients.pop(KEEPER, None)
