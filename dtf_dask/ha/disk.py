"""The thread that writes a node's log: it takes all that has gathered and syncs once.

What is to be written comes in the order in which it must be on the disk. Answers come
back in the same order, on the node's loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dtf_dask.errors import DiskFullError, DtfError
from dtf_dask.ha.raft.messages import Entry, HardState, Message, SnapshotPoint
from dtf_dask.ha.wal import Wal

_LOG = logging.getLogger(__name__)

FULL_RETRY_S = 0.5
"""How often it is tried again while there is no room on the disk."""

CLOSE_S = 10.0
_GATHERED_MAX = 256


class Write(NamedTuple):
    """One append: what, and what may be said once it is done.

    Parameters
    ----------
    entries, state, point
        What is appended; see `Wal.append`.
    sync
        Whether it has to be on the disk before it is done.
    responses
        Handed back with it.
    """

    entries: Sequence[Entry]
    state: HardState | None
    point: SnapshotPoint | None
    sync: bool
    responses: Sequence[Message] = ()


def storage_write(message: Message, *, sync: bool) -> Write:
    """What Raft asks of the storage."""
    state = None
    if message.term:
        state = HardState(message.term, message.vote, message.commit)
    point = message.snapshot.point if message.snapshot else None
    sync = sync or point is not None
    return Write(message.entries, state, point, sync, message.responses)


class Compact(NamedTuple):
    """Entries up to this index may go.

    Parameters
    ----------
    first_index
        Of the log when it was done: by the time of the answer it may be another.
    """

    upto: int
    first_index: int = 0


Job = Write | Compact


class DiskTrouble(NamedTuple):
    """How the disk is: full for now, or failed for good; neither: it works again."""

    full: str = ""
    failed: str = ""


class Disk:
    """Writes a log in a thread of its own.

    Parameters
    ----------
    wal, lock
        The log; the lock is held while the log changes, not while it syncs.
    done
        Called in the thread with what has been carried out, in order.
    trouble
        Called in the thread when the disk becomes full, has room again, or fails.
    """

    def __init__(
        self,
        wal: Wal,
        lock: threading.Lock,
        done: Callable[[list[Job]], None],
        trouble: Callable[[DiskTrouble], None],
    ) -> None:
        self._wal = wal
        self._lock = lock
        self._done = done
        self._trouble = trouble
        self._jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._full = False
        self.sync_s: deque[float] = deque(maxlen=1_000)
        """How long the last syncs took."""
        self._thread = threading.Thread(target=self._run, name="dtf-ledger-disk")
        self._thread.daemon = True

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Have it carried out after all that came before."""
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Write what has come, then end; the log stays open.

        False if the disk does not answer in time: it may write at any later time.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while jobs := self._gathered():
                if not self._carry_out(jobs):
                    return
        except (DtfError, ValueError) as error:
            self._trouble(DiskTrouble(failed=str(error)))
        except Exception as error:
            # Without its disk the node would wait for ever, and not say so.
            _LOG.exception("the ledger's disk: a defect of dtf")
            self._trouble(DiskTrouble(failed=f"a defect of dtf: {error!r}"))

    def _gathered(self) -> list[Job]:
        with self._wake:
            if self._full and not self._jobs:
                # All that had to wait is done.
                self._full = False
                self._trouble(DiskTrouble())
            while not self._jobs and not self._closing:
                self._wake.wait()
            count = min(len(self._jobs), _GATHERED_MAX)
            return [self._jobs.popleft() for _ in range(count)]

    def _carry_out(self, jobs: list[Job]) -> bool:
        """Do what was asked; False if the thread ends with some of it undone."""
        begun = 0
        for at, job in enumerate(jobs):
            try:
                jobs[at] = self._do(job)
            except DiskFullError as error:
                # Nobody waits for those before it longer than he must.
                self._finish(jobs[begun:at])
                begun = at
                done = self._retry(job, jobs, error)
                if done is None:
                    return False
                jobs[at] = done
        self._finish(jobs[begun:])
        return True

    def _finish(self, jobs: list[Job]) -> None:
        """Sync what was appended, and say so."""
        if any(isinstance(job, Write) and job.sync for job in jobs):
            started = time.monotonic()
            self._wal.sync()
            self.sync_s.append(time.monotonic() - started)
        if jobs:
            self._done(jobs)

    def _retry(self, job: Job, jobs: list[Job], error: DiskFullError) -> Job | None:
        """Do it as soon as there is room; None if it is given up."""
        if not self._full:
            self._full = True
            self._trouble(DiskTrouble(full=str(error)))
        while True:
            # What makes room does not wait for what needs it.
            for one in self._compactions(jobs):
                self._do(one)
            try:
                return self._do(job)
            except DiskFullError:
                with self._wake:
                    if self._wake.wait_for(lambda: self._closing, FULL_RETRY_S):
                        return None

    def _compactions(self, jobs: list[Job]) -> list[Compact]:
        """Those that wait. They are done again in their turn, when nothing is left."""
        with self._wake:
            waiting = [*jobs, *self._jobs]
        return [one for one in waiting if isinstance(one, Compact)]

    def _do(self, job: Job) -> Job:
        with self._lock:
            if isinstance(job, Compact):
                self._wal.compact(min(job.upto, self._wal.point.index))
                return job._replace(first_index=self._wal.first_index)
            self._wal.append(job.entries, job.state, job.point)
            return job
