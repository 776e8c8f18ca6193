"""Recording a run while it goes on, from a thread, whatever becomes of the store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dtf_dask.errors import DtfError, ResultsCorruptError, ResultsUnavailableError
from dtf_dask.model import Attempt, CaseId, Run, RunStatus
from dtf_dask.runs.results.spool import Spool, ingest_file
from dtf_dask.runs.results.verdicts import SpoolIngest

if TYPE_CHECKING:
    from dtf_dask.runs.results.store import ResultsStore

BATCH_ATTEMPTS = 500
BATCH_S = 0.2
QUEUE_ATTEMPTS_MAX = 20_000
QUEUE_BYTES_MAX = 64 * 2**20
BUSY_TIMEOUT_S = 5.0
RETRY_INTERVAL_S = 30.0
RETRY_AT_CLOSE_S = 2.0
CLOSE_TIMEOUT_S = 30.0
_ATTEMPT_BYTES = 1000  # an attempt without its texts, roughly
_NOTHING: Mapping[str, Any] = MappingProxyType({})

_End = tuple[RunStatus, int | None, float, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """What became of the attempts put into a recorder.

    ``spooled`` of them lie at ``spool_path`` until a later run takes them in;
    ``lost`` could be written nowhere at all. ``error`` says why, in words for users;
    ``error_type`` is its class and ``exit_code`` what it would end a command with.
    ``ingested`` is what was taken in from the spool files of earlier runs.
    """

    stored: int
    spooled: int = 0
    lost: int = 0
    spool_path: str = ""
    error: str = ""
    error_type: type[Exception] | None = None
    exit_code: int = 0
    ingested: SpoolIngest = field(default_factory=SpoolIngest)


class Recorder:
    """Stores the attempts of a run in batches, or spools them where that fails.

    Nothing that goes wrong with the store reaches the run. What was not stored is
    appended to ``<spool_dir>/<run id>.jsonl``, and taken in when the store works
    again: in the same run, or at the start of the next.

    Parameters
    ----------
    url
        The results store, as for `ResultsStore.open`.
    run, case_ids
        The run and the cases that it plans.
    spool_dir
        Where what cannot be stored goes; other runs' spool files there are taken in.
    """

    def __init__(
        self,
        url: str | Path,
        run: Run,
        case_ids: Sequence[CaseId],
        spool_dir: str | Path,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        retry_interval_s: float = RETRY_INTERVAL_S,
    ) -> None:
        self._url = url
        self._run = run
        self._case_ids = case_ids
        self._spool_dir = Path(spool_dir)
        self._spool = Spool(self._spool_dir, run, case_ids)
        self._busy_timeout_s = busy_timeout_s
        self._retry_interval_s = retry_interval_s
        self._store: ResultsStore | None = None
        self._history: Mapping[CaseId, float] = {}
        self._history_known = threading.Event()
        self._error: Exception | None = None
        self._failed_at = 0.0
        # Guarded by the condition: the queue, what is being stored, and the counts.
        self._changed = threading.Condition()
        self._queue: deque[Attempt] = deque()
        self._queue_bytes = 0
        self._in_flight: list[Attempt] = []
        self._end: _End | None = None
        self._abandoned = self._end_spooled = False
        self._ingested = SpoolIngest()
        self._rejected_path = ""
        self._stored = self._spooled = self._lost = 0
        self._thread = threading.Thread(
            target=self._record, name="dtf-recorder", daemon=True
        )
        self._thread.start()

    def put(self, attempt: Attempt) -> None:
        """Record an attempt soon; never waits for the store."""
        size = _size_bytes(attempt)
        with self._changed:
            if self._end is not None:
                raise RuntimeError("the recorder is closed")
            if (
                len(self._queue) < QUEUE_ATTEMPTS_MAX
                and self._queue_bytes + size <= QUEUE_BYTES_MAX
            ):
                self._queue.append(attempt)
                self._queue_bytes += size
                if len(self._queue) in (1, BATCH_ATTEMPTS):  # what it waits for
                    self._changed.notify_all()
                return
        self._to_spool([attempt])  # the store cannot keep up: memory stays bounded

    def history(self, timeout_s: float) -> Mapping[CaseId, float]:
        """Return the learned durations of the suite's cases, in seconds.

        Empty if they are not there in time, or the store cannot be read.
        """
        self._history_known.wait(timeout_s)
        return self._history

    def close(
        self,
        status: RunStatus,
        exit_code: int | None,
        finished_at: float,
        *,
        environment: Mapping[str, Any] = _NOTHING,
        timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> RecorderStatus:
        """Store or spool what is left, record the run's end, and say how it went.

        ``environment`` adds to the run's: what became known while it went on.

        Calling it again returns the same status. A store that hangs for longer than
        ``timeout_s`` is left behind: what it did not confirm is spooled.
        """
        with self._changed:
            if self._end is None:
                self._end = (status, exit_code, finished_at, environment)
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive() and not self._abandoned:
            self._abandon(timeout_s)
        return self._status()

    # -- the thread --------------------------------------------------------------

    def _record(self) -> None:
        try:
            self._open()
        finally:
            self._history_known.set()
        while batch := self._next_batch():
            self._store_batch(batch)
        self._finish()

    def _next_batch(self) -> list[Attempt]:
        """Return attempts to store; none when the recorder is closed and empty."""
        with self._changed:
            self._in_flight = []
            self._changed.wait_for(lambda: self._queue or self._end)
            self._changed.wait_for(
                lambda: len(self._queue) >= BATCH_ATTEMPTS or self._end, BATCH_S
            )
            count = min(len(self._queue), BATCH_ATTEMPTS)
            batch = [self._queue.popleft() for _ in range(count)]
            self._queue_bytes -= sum(map(_size_bytes, batch))
            self._in_flight = batch
            return batch

    def _open(self) -> None:
        """Open the store, and take in what earlier runs and this one spooled."""
        store = None
        try:
            # Imported here: a third of a second that collecting tests can use.
            from dtf_dask.runs.results.store import ResultsStore

            store = ResultsStore.open(self._url, busy_timeout_s=self._busy_timeout_s)
            if not self._history_known.is_set():
                self._history = store.durations(self._run.suite)
                self._history_known.set()
            store.begin_run(self._run, self._case_ids)
            self._ingest_own(store)
            self._ingest_others(store)
            self._store = store
        except Exception as error:
            self._fail(error)
            if store is not None:
                _close(store)

    def _store_batch(self, batch: list[Attempt]) -> None:
        if self._store is None and self._may_retry(self._retry_interval_s):
            self._open()
        if self._store is None:
            self._to_spool(batch)
            return
        try:
            self._store.add_attempts(self._run.id, batch)
        except Exception as error:
            if len(batch) > 1 and not _is_fault_of_store(error):
                for attempt in batch:  # one of them is refused, not the others
                    self._store_batch([attempt])
                return
            if _is_fault_of_store(error):
                self._fail(error)
            else:
                self._error = error
            self._to_spool(batch)
        else:
            with self._changed:
                self._stored += len(batch)

    def _finish(self) -> None:
        assert self._end is not None
        if self._store is None and self._may_retry(RETRY_AT_CLOSE_S):
            self._open()
        if self._store is not None:
            status, exit_code, finished_at, environment = self._end
            try:
                self._ingest_own(self._store)
                self._store.finish_run(
                    self._run.id,
                    status=status,
                    exit_code=exit_code,
                    finished_at=finished_at,
                    environment=environment,
                )
            except Exception as error:
                self._fail(error)
            else:
                _close(self._store)
                self._spool.close()
                return
        with self._changed:
            if self._abandoned:
                return
        self._spool_end()

    def _ingest_own(self, store: ResultsStore) -> None:
        """Take in what this run spooled while its store was away."""
        with self._changed:
            count = self._spooled
            if not count or self._abandoned:
                return
        self._spool.close()
        rejected = 0
        for path in self._spool.paths:
            if path.exists():
                taken = ingest_file(store, path)
                if not taken.files:
                    return  # another process is at it
                if taken.rejected_lines:
                    rejected += taken.rejected_lines
                    self._rejected_path = taken.rejected_paths[0]
        with self._changed:
            kept = min(rejected, count)
            self._stored += count - kept
            self._spooled -= count - kept

    def _ingest_others(self, store: ResultsStore) -> None:
        """Take in what earlier runs spooled."""
        try:
            taken = store.ingest_spool(self._spool_dir)
        except OSError as error:
            self._error = error  # their folder's fault: this run can be stored
            return
        if taken.files:
            self._ingested = taken

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._failed_at = time.monotonic()
        if self._store is not None:
            _close(self._store)
            self._store = None

    def _may_retry(self, after_s: float) -> bool:
        if isinstance(self._error, ResultsCorruptError):
            return False  # does not mend itself
        return time.monotonic() - self._failed_at >= after_s

    # -- the spool ---------------------------------------------------------------

    def _to_spool(self, batch: Sequence[Attempt]) -> None:
        with self._changed:
            if self._abandoned:
                return  # whoever abandoned the thread has spooled its batch
        try:
            self._spool.write_attempts(batch)
        except Exception as error:
            with self._changed:
                self._lost += len(batch)
            self._error = self._error or error
        else:
            with self._changed:
                self._spooled += len(batch)

    def _spool_end(self) -> None:
        assert self._end is not None
        try:
            self._spool.write_end(*self._end)
        except Exception as error:
            self._error = self._error or error
        self._spool.close()
        self._end_spooled = True

    def _abandon(self, timeout_s: float) -> None:
        """Spool what a thread that hangs in the store has not confirmed."""
        with self._changed:
            rest = [*self._in_flight, *self._queue]
            self._queue.clear()
        if self._error is None:
            self._error = ResultsUnavailableError(
                f"the results store did not answer within {timeout_s:g} s: check that "
                "its server or disk is well"
            )
        if rest:
            self._to_spool(rest)
        with self._changed:
            self._abandoned = True
        self._spool_end()

    def _status(self) -> RecorderStatus:
        with self._changed:
            is_whole = not (self._spooled or self._lost or self._end_spooled)
            error = None if is_whole else self._error
            path = "" if is_whole else self._rejected_path or self._spool.path
            return RecorderStatus(
                stored=self._stored,
                spooled=self._spooled,
                lost=self._lost,
                spool_path=str(path or ""),
                error=str(error) if error is not None else "",
                error_type=type(error) if error is not None else None,
                exit_code=_exit_code(error),
                ingested=self._ingested,
            )


def _size_bytes(attempt: Attempt) -> int:
    return (
        _ATTEMPT_BYTES
        + len(attempt.case_id)
        + len(attempt.exception)
        + len(attempt.traceback)
        + len(attempt.stdout)
        + len(attempt.stderr)
        + len(attempt.log)
    )


def _is_fault_of_store(error: Exception) -> bool:
    return isinstance(error, ResultsUnavailableError | ResultsCorruptError)


def _exit_code(error: Exception | None) -> int:
    if error is None:
        return 0
    return error.exit_code if isinstance(error, DtfError) else DtfError.exit_code


def _close(store: ResultsStore) -> None:
    try:
        store.close()
    except DtfError:
        pass  # it failed already, and has said why
