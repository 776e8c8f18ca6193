"""Results that could not be stored, in files of JSON lines until they can.

A file holds a run: its first line the run itself, then the cases it plans, attempts,
and how it ended. Whoever writes or reads one holds its lock, so that no file is taken
in while its run goes on, nor by two processes at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.model import Attempt, CaseId, Run
from dtf_dask.runs import codec
from dtf_dask.runs.results import portions
from dtf_dask.runs.results.verdicts import SpoolIngest

if TYPE_CHECKING:
    from dtf_dask.runs.results.store import ResultsStore

BATCH_ATTEMPTS = 500
BATCH_BYTES_MAX = 64 * 2**20
NAMES_MAX = 100
_SUFFIX = ".jsonl"


class Spool:
    """The spool file of a run; it comes to be with the first line written.

    When its folder cannot be written, a new temporary folder takes its place.
    """

    def __init__(self, folder: Path, run: Run, case_ids: Sequence[CaseId]) -> None:
        self._folders = [folder]
        self._run = run
        self._case_ids = case_ids
        self._number = -1
        self._lock = threading.Lock()
        self.paths: list[Path] = []

    @property
    def path(self) -> Path | None:
        """The file written last, if any was."""
        return self.paths[-1] if self.paths else None

    def write_attempts(self, attempts: Iterable[Attempt]) -> None:
        """Append attempts; OSError if no folder at all can be written."""
        self._write(portions.attempt_record(attempt) for attempt in attempts)

    def write_end(
        self,
        status: str,
        exit_code: int | None,
        finished_at: float,
        environment: Mapping[str, Any],
    ) -> None:
        """Append how the run ended, and what is new of its environment."""
        record = portions.end_record(status, exit_code, finished_at, environment)
        self._write([record])

    def close(self) -> None:
        """Let what was written survive a power cut, and others read it."""
        with self._lock:
            if self._number >= 0:
                with contextlib.suppress(OSError):
                    os.fsync(self._number)
                os.close(self._number)
                self._number = -1

    def _write(self, records: Iterable[dict[str, Any]]) -> None:
        lines = "".join(codec.json_line(record) + "\n" for record in records).encode()
        with self._lock:
            while True:
                try:
                    if self._number < 0:
                        self._open()
                    _append(self._number, lines)
                    return
                except OSError:
                    if self._number >= 0:
                        os.close(self._number)
                        self._number = -1
                    if len(self._folders) > 1:
                        raise
                    made = tempfile.mkdtemp(prefix="dtf-spool-")
                    self._folders.append(Path(made))

    def _open(self) -> None:
        folder = self._folders[-1]
        folder.mkdir(parents=True, exist_ok=True)
        stem = quote(self._run.id, safe="")[:200]
        for turn in range(NAMES_MAX):
            path = folder / (f"{stem}{_SUFFIX}" if not turn else f"{stem}.{turn}.jsonl")
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            number = os.open(path, flags, 0o644)
            if _lock_of(number, path):
                break
            os.close(number)  # being taken in by another process right now
        else:
            raise OSError(f"every name of a spool file for {stem} is taken")
        self._number = number
        if path not in self.paths:
            self.paths.append(path)
        size = os.fstat(number).st_size
        header = self._header()
        if size and os.pread(number, 1, size - 1) != b"\n":
            header = b"\n" + header  # its last writer was killed within a line
        _append(number, header)

    def _header(self) -> bytes:
        records = [
            portions.run_record(self._run),
            *portions.case_records(self._case_ids),
        ]
        return "".join(codec.json_line(record) + "\n" for record in records).encode()


def ingest(store: ResultsStore, folder: Path) -> SpoolIngest:
    """Take every spool file of a folder into the store, and delete it."""
    total = SpoolIngest()
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        total = _sum(total, ingest_file(store, path))
    return total


def ingest_file(store: ResultsStore, path: Path) -> SpoolIngest:
    """Take one spool file into the store, unless another process is at it.

    Raises
    ------
    ResultsUnavailableError, ResultsCorruptError
        If the store fails; the file is left, and what was stored is known when it is
        taken in again.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return SpoolIngest()
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode) or not _lock_of(number, path):
            return SpoolIngest()
        with _Rejects(path) as rejects:
            reader = _Reader(store, rejects)
            for line in _lines(file, rejects):
                reader.take(line)
            reader.flush()
        # A crash before this line takes the file in again, which changes nothing.
        with contextlib.suppress(OSError):
            os.unlink(path)
        return SpoolIngest(
            1, reader.attempts, rejects.lines, (rejects.path,) if rejects.lines else ()
        )


class _Reader:
    """Stores what the lines of one file say, attempts in batches."""

    def __init__(self, store: ResultsStore, rejects: _Rejects) -> None:
        self._store = store
        self._rejects = rejects
        self._run_id = ""
        self._batch: list[tuple[Attempt, bytes]] = []
        self._batch_bytes = 0
        self.attempts = 0

    def take(self, line: bytes) -> None:
        try:
            self._take(line)
        except (ProtocolError, UsageError, ValueError, RecursionError):
            self._rejects.add(line)

    def _take(self, line: bytes) -> None:
        record = json.loads(line)
        kind = record.get("kind") if isinstance(record, dict) else None
        if kind == "attempt":
            attempt = codec.attempt_from_json(record.get("attempt"))
            if not self._run_id:
                raise ProtocolError("an attempt of no known run")
            self._batch.append((attempt, line))
            self._batch_bytes += len(line)
            if (
                len(self._batch) >= BATCH_ATTEMPTS
                or self._batch_bytes > BATCH_BYTES_MAX
            ):
                self.flush()
            return
        self.flush()
        if kind == "run":
            if record.get("version") != portions.VERSION:
                raise ProtocolError("a spool file of another version of dtf")
            run = codec.run_from_json(record.get("run"))
            self._store.begin_spooled_run(run)
            self._run_id = run.id
        elif kind == "cases":
            ids = record.get("ids")
            if not isinstance(ids, list):
                raise ProtocolError("cases are a list")
            cases = [codec.case_id_from_json(case_id) for case_id in ids]
            self._store.plan_cases(self._run_id, cases)
        elif kind == "end":
            self._end(record)
        else:
            raise ProtocolError("a record of no known kind")

    def _end(self, record: dict[str, Any]) -> None:
        status, code = record.get("status"), record.get("exit_code")
        at = record.get("finished_at")
        if status not in codec.RUN_STATUSES or not isinstance(at, int | float):
            raise ProtocolError("an end needs a status and a time")
        if not (code is None or isinstance(code, int)):
            raise ProtocolError("an exit code is an integer")
        environment = record.get("environment", {})
        if not isinstance(environment, dict):
            raise ProtocolError("a run's environment is an object")
        self._store.finish_run(
            self._run_id,
            status=status,
            exit_code=code,
            finished_at=float(at),
            environment=environment,
        )

    def flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        try:
            added = self._store.add_attempts(self._run_id, [item for item, _ in batch])
        except (ProtocolError, UsageError):
            # One of them is refused: the others are not to suffer for it.
            for attempt, line in batch:
                try:
                    self.attempts += self._store.add_attempts(self._run_id, [attempt])
                except (ProtocolError, UsageError):
                    self._rejects.add(line)
        else:
            self.attempts += added


class _Rejects:
    """Where the lines of a spool file go that cannot be taken in."""

    def __init__(self, spool: Path) -> None:
        self.path = f"{spool}.rejected"
        self.lines = 0
        self._part = f"{self.path}.part"
        self._file: IO[bytes] | None = None

    def add(self, raw: bytes, *, ends: bool = True) -> None:
        if self._file is None:
            self._file = open(self._part, "wb")  # noqa: SIM115 (see __exit__)
        self._file.write(raw if raw.endswith(b"\n") or not ends else raw + b"\n")
        self.lines += ends

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is None:
            return
        self._file.close()
        if kind is None:
            # Only now: a file that is read again would reject its lines again.
            with open(self._part, "rb") as part, open(self.path, "ab") as whole:
                while chunk := part.read(2**20):
                    whole.write(chunk)
                whole.flush()
                os.fsync(whole.fileno())
        os.unlink(self._part)


def _lines(file: IO[bytes], rejects: _Rejects) -> Iterator[bytes]:
    """Yield the lines of a file; one over the limit is rejected piece by piece."""
    while line := file.readline(codec.LINE_BYTES_MAX):
        if line.endswith(b"\n") or len(line) < codec.LINE_BYTES_MAX:
            if line.strip():
                yield line
            continue
        while line and not line.endswith(b"\n"):
            rejects.add(line, ends=False)
            line = file.readline(codec.LINE_BYTES_MAX)
        rejects.add(line)


def _append(number: int, content: bytes) -> None:
    """Append all of ``content``, or nothing."""
    start = os.fstat(number).st_size
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(number, view) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(number, start)
        raise


def _lock_of(number: int, path: Path) -> bool:
    """Lock an open file; False if another has it, or it is ``path`` no more."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, there = os.fstat(number), os.stat(path)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _sum(a: SpoolIngest, b: SpoolIngest) -> SpoolIngest:
    return SpoolIngest(
        a.files + b.files,
        a.attempts + b.attempts,
        a.rejected_lines + b.rejected_lines,
        (*a.rejected_paths, *b.rejected_paths),
    )
