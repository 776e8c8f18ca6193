"""A recorder loses nothing and stores nothing twice, whatever becomes of the store."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from postgresql_server import running_postgresql

from dtf_dask.errors import ResultsCorruptError, ResultsUnavailableError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results import recorder as recorders
from dtf_dask.runs.results.recorder import Recorder, RecorderStatus
from dtf_dask.runs.results.store import ResultsStore

HISTORY_S = 60.0


def run_of(run_id: str) -> Run:
    return Run(RunId(run_id), 5.0, suite="s")


def attempts_of(count: int, first: int = 0, text: str = "") -> list[Attempt]:
    return [
        Attempt(CaseId(f"c{n}"), 1, Outcome.PASSED, duration_s=2.0, stdout=text)
        for n in range(first, first + count)
    ]


def record(
    url: str | Path, folder: Path, attempts: list[Attempt], run_id: str = "r"
) -> RecorderStatus:
    """Record a run from its beginning to its end."""
    ids = [attempt.case_id for attempt in attempts]
    recorder = Recorder(url, run_of(run_id), ids, folder, busy_timeout_s=0.1)
    for attempt in attempts:
        recorder.put(attempt)
    return recorder.close("passed", 0, 9.0)


def stored_cases(url: str | Path, run_id: str = "r") -> list[str]:
    with ResultsStore.open(url, create=False) as store:
        return [attempt.case_id for attempt in store.attempts(run_id)]


def ids_of(attempts: list[Attempt]) -> list[str]:
    return [attempt.case_id for attempt in attempts]


def test_a_recorder_stores_a_run(url: str, tmp_path: Path) -> None:
    """Run, plan, attempts and end are in the store, and no spool file is left."""
    attempts = attempts_of(1234)
    status = record(url, tmp_path / "spool", attempts)
    assert status == RecorderStatus(stored=1234)
    assert stored_cases(url) == ids_of(attempts)
    with ResultsStore.open(url) as store:
        run = store.run("r")
        assert (run.status, run.exit_code, run.finished_at) == ("passed", 0, 9.0)
        assert store.missing("r") == []
    assert not (tmp_path / "spool").exists()


def test_the_history_is_there_before_any_attempt(tmp_path: Path) -> None:
    """Learned durations are loaded as soon as the store is open."""
    path = tmp_path / "results.sqlite"
    record(path, tmp_path, attempts_of(2))
    recorder = Recorder(path, run_of("r2"), [], tmp_path)
    assert recorder.history(HISTORY_S) == {"c0": 2.0, "c1": 2.0}
    assert recorder.close("passed", 0, 1.0) == RecorderStatus(stored=0)
    assert recorder.close("failed", 1, 2.0) == RecorderStatus(stored=0)
    with pytest.raises(RuntimeError, match="closed"):
        recorder.put(attempts_of(1)[0])


def test_attempts_are_stored_while_the_run_goes_on(tmp_path: Path) -> None:
    """A run that is killed loses no more than what its last batch held."""
    path = tmp_path / "results.sqlite"
    recorder = Recorder(path, run_of("r"), [], tmp_path)
    for attempt in attempts_of(3):
        recorder.put(attempt)
    recorder.history(HISTORY_S)
    deadline = time.monotonic() + HISTORY_S
    with ResultsStore.open(path) as store:
        while True:
            if store.runs() and len(list(store.attempts("r"))) == 3:
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
    recorder.close("passed", 0, 1.0)


def test_a_corrupt_store_leaves_everything_in_the_spool(tmp_path: Path) -> None:
    """The run goes on; the next one, with a store that works, takes everything in."""
    path, spool = tmp_path / "results.sqlite", tmp_path / "spool"
    path.write_bytes(b"no database at all" * 100)
    attempts = attempts_of(700)
    status = record(path, spool, attempts)
    assert (status.stored, status.spooled, status.lost) == (0, 700, 0)
    assert status.error_type is ResultsCorruptError
    assert status.exit_code == ResultsCorruptError.exit_code
    assert "move it away" in status.error
    assert Path(status.spool_path).parent == spool
    path.unlink()
    after = record(path, spool, attempts_of(1), "r2")
    assert (after.stored, after.error) == (1, "")
    assert (after.ingested.files, after.ingested.attempts) == (1, 700)
    assert stored_cases(path) == ids_of(attempts)
    with ResultsStore.open(path) as store:
        assert store.run("r").status == "passed"
        assert store.missing("r") == []
    assert list(spool.iterdir()) == []


def test_a_store_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    """What fitted is stored, the rest spooled; together they are all, each once."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system")
    try:
        path = folder / "results.sqlite"
        recorder = Recorder(path, run_of("r"), [], folder / "spool")
        recorder.history(HISTORY_S)
        attempts = attempts_of(400, text="x" * 10_000)
        for attempt in attempts:
            recorder.put(attempt)
            if attempt.case_id in ("c50", "c200"):
                time.sleep(3 * recorders.BATCH_S)  # so that the first batch fits
        status = recorder.close("passed", 0, 1.0)
        assert status.error_type is ResultsUnavailableError
        assert (status.stored > 0, status.lost) == (True, 0)
        assert status.stored + status.spooled == 400
        # Not even the spool had room beside the store: it went elsewhere.
        other = Path(status.spool_path).parent
        assert other != folder / "spool"
        subprocess.run(["mount", "-o", "remount,size=40m", str(folder)], check=True)
        with ResultsStore.open(path) as store:
            store.ingest_spool(folder / "spool")
            store.ingest_spool(other)
            store.ingest_spool(other)
        assert sorted(stored_cases(path)) == sorted(ids_of(attempts))
        other.rmdir()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_neither_store_nor_spool_folder_may_be_written(
    open_folder: Path, without_rights: Callable[[], AbstractContextManager[None]]
) -> None:
    """The spool then is in a temporary folder, and the status says where."""
    open_folder.chmod(0o555)
    with without_rights():
        status = record(open_folder / "results.sqlite", open_folder, attempts_of(5))
        assert (status.stored, status.spooled, status.lost) == (0, 5, 0)
    spool = Path(status.spool_path)
    assert spool.is_relative_to(tempfile.gettempdir())
    lines = [json.loads(line) for line in spool.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", "cases"] + ["attempt"] * 5 + [
        "end"
    ]
    open_folder.chmod(0o755)
    with ResultsStore.open(open_folder / "results.sqlite") as store:
        assert store.ingest_spool(spool.parent).attempts == 5
    spool.parent.rmdir()


def test_a_lock_held_for_long_does_not_stop_the_run(tmp_path: Path) -> None:
    """Attempts go to the spool while another process writes, and then to the store."""
    path, spool = tmp_path / "results.sqlite", tmp_path / "spool"
    recorder = Recorder(path, run_of("r"), [], spool, busy_timeout_s=0.05,
                        retry_interval_s=0.0)  # fmt: skip
    recorder.history(HISTORY_S)
    attempts = attempts_of(20)
    recorder.put(attempts[0])
    other = sqlite3.connect(path, isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    for attempt in attempts[1:10]:
        recorder.put(attempt)
    deadline = time.monotonic() + HISTORY_S
    while not list(spool.glob("*.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other.execute("ROLLBACK")
    other.close()
    for attempt in attempts[10:]:
        recorder.put(attempt)
    assert recorder.close("passed", 0, 1.0) == RecorderStatus(stored=20)
    assert sorted(stored_cases(path)) == sorted(ids_of(attempts))
    assert list(spool.iterdir()) == []


def test_a_server_that_dies_loses_nothing(tmp_path: Path) -> None:
    """What a PostgreSQL server did not confirm is spooled when it is killed."""
    with running_postgresql() as (folder, server):
        url = f"postgresql://dtf@/postgres?host={folder}"
        recorder = Recorder(url, run_of("r"), [], tmp_path)
        recorder.history(HISTORY_S)
        for attempt in attempts_of(10):
            recorder.put(attempt)
        time.sleep(3 * recorders.BATCH_S)
        server.send_signal(signal.SIGQUIT)
        server.wait(60)
        for attempt in attempts_of(10, 10):
            recorder.put(attempt)
        status = recorder.close("passed", 0, 1.0)
    assert status.error_type is ResultsUnavailableError
    assert (status.stored + status.spooled, status.lost) == (20, 0)
    assert status.spooled >= 10


def test_a_store_that_hangs_is_left_behind(tmp_path: Path, postgresql_url: str) -> None:
    """Closing ends in time though the database does not answer, all in the spool."""
    import psycopg

    record(postgresql_url, tmp_path, [], "earlier")
    with psycopg.connect(postgresql_url) as other:
        other.execute("LOCK TABLE dtf_runs IN ACCESS EXCLUSIVE MODE")
        recorder = Recorder(postgresql_url, run_of("r"), [], tmp_path)
        for attempt in attempts_of(10):
            recorder.put(attempt)
        assert recorder.history(0.05) == {}
        status = recorder.close("passed", 0, 1.0, timeout_s=0.5)
        assert (status.stored, status.spooled) == (0, 10)
        assert "did not answer" in status.error
        other.rollback()
    recorder._thread.join(60)
    with ResultsStore.open(postgresql_url) as store:
        store.ingest_spool(tmp_path)
        assert len(list(store.attempts("r"))) == 10
        assert store.run("r").status == "passed"


def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store is too slow for goes by the spool, in memory that is bounded."""
    monkeypatch.setattr(recorders, "QUEUE_ATTEMPTS_MAX", 10)
    path = tmp_path / "results.sqlite"
    ResultsStore.open(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder = Recorder(path, run_of("r"), [], tmp_path)
    recorder.history(HISTORY_S)
    for attempt in attempts_of(100):
        recorder.put(attempt)
    assert len(recorder._queue) <= 10
    other.execute("ROLLBACK")
    other.close()
    assert recorder.close("passed", 0, 1.0) == RecorderStatus(stored=100)
    assert len(stored_cases(path)) == 100


def test_one_attempt_that_is_refused_does_not_harm_the_others(tmp_path: Path) -> None:
    """The store takes the rest of its batch; the one is in the spool, and said."""
    path = tmp_path / "results.sqlite"
    bad = Attempt(CaseId("bad"), 2**70, Outcome.PASSED)
    status = record(path, tmp_path / "spool", [*attempts_of(5), bad])
    assert (status.stored, status.spooled, status.lost) == (5, 1, 0)
    assert "refused a value" in status.error
    assert stored_cases(path) == ids_of(attempts_of(5))
    rejected = Path(status.spool_path)
    assert '"bad"' in rejected.read_text()


def test_many_threads_may_put(tmp_path: Path) -> None:
    """Attempts put by several threads are all stored."""
    path = tmp_path / "results.sqlite"
    recorder = Recorder(path, run_of("r"), [], tmp_path)

    def put_share(first: int) -> None:
        for attempt in attempts_of(200, first):
            recorder.put(attempt)

    threads = [threading.Thread(target=put_share, args=(n * 200,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.close("passed", 0, 1.0) == RecorderStatus(stored=800)


def spooled(tmp_path: Path, count: int = 10) -> Path:
    """Return a spool file with a run of so many attempts."""
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"garbage" * 1000)
    return Path(record(broken, tmp_path / "spool", attempts_of(count)).spool_path)


def test_damaged_lines_are_kept_aside(tmp_path: Path) -> None:
    """Good lines are taken in, damaged ones lie in a file of their own."""
    spool = spooled(tmp_path)
    lines = spool.read_bytes().splitlines(keepends=True)
    damaged = [b"garbage\n", b"[" * 100_000 + b"\n", b'{"kind":"attempt"}\n', b"\xff\n"]
    cut = lines[4][:30]  # as a killed writer leaves it
    spool.write_bytes(b"".join([*lines[:4], *damaged, *lines[5:], cut]))
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        found = store.ingest_spool(spool.parent)
        assert (found.files, found.attempts, found.rejected_lines) == (1, 9, 5)
        assert len(list(store.attempts("r"))) == 9
    [rejected] = found.rejected_paths
    assert Path(rejected).read_bytes() == b"".join([*damaged, cut, b"\n"])
    assert [path.name for path in spool.parent.iterdir()] == [Path(rejected).name]


def test_attempts_of_an_unknown_run_are_kept_aside(tmp_path: Path) -> None:
    """Without the line that names the run, nothing is guessed and nothing is lost."""
    spool = spooled(tmp_path)
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join(lines[1:]))
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        found = store.ingest_spool(spool.parent)
        assert (found.attempts, found.rejected_lines) == (0, len(lines) - 1)
        assert store.runs() == []
    assert Path(found.rejected_paths[0]).read_bytes() == b"".join(lines[1:])


def test_a_line_without_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line over the limit is rejected in pieces, what follows is read."""
    monkeypatch.setattr("dtf_dask.runs.codec.LINE_BYTES_MAX", 1000)
    spool = spooled(tmp_path)
    lines = spool.read_bytes().splitlines(keepends=True)
    long = b"x" * 5555 + b"\n"
    spool.write_bytes(b"".join([*lines[:3], long, *lines[3:]]))
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        found = store.ingest_spool(spool.parent)
        assert (found.attempts, found.rejected_lines) == (10, 1)
    assert Path(found.rejected_paths[0]).read_bytes() == long


def test_a_spool_file_in_use_is_left_alone(tmp_path: Path) -> None:
    """While a run writes its spool, or another process reads it, nobody else does."""
    spool = spooled(tmp_path)
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        with spool.open() as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            assert store.ingest_spool(spool.parent).files == 0
        assert store.ingest_spool(spool.parent).files == 1
        assert store.ingest_spool(spool.parent).files == 0
        assert store.ingest_spool(tmp_path / "none").files == 0


def test_taking_in_twice_stores_once(tmp_path: Path) -> None:
    """A spool file that was not deleted after its commit changes nothing."""
    spool = spooled(tmp_path)
    content = spool.read_bytes()
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        for attempts in (10, 0):
            spool.write_bytes(content)
            assert store.ingest_spool(spool.parent).attempts == attempts
        assert len(list(store.attempts("r"))) == 10


def test_a_store_that_fails_leaves_the_spool(tmp_path: Path) -> None:
    """What cannot be taken in now is there for the next time."""
    spool = spooled(tmp_path)
    content = spool.read_bytes()
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path, busy_timeout_s=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResultsUnavailableError):
            store.ingest_spool(spool.parent)
        other.close()
        assert spool.read_bytes() == content
        assert store.ingest_spool(spool.parent).attempts == 10


def test_two_runs_of_one_id_do_not_share_a_file(tmp_path: Path) -> None:
    """A run resumed while its spool is locked writes another file."""
    spool = spooled(tmp_path)
    with spool.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        status = record(tmp_path / "broken.sqlite", spool.parent, attempts_of(5, 100))
    assert status.spool_path != str(spool)
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        assert store.ingest_spool(spool.parent).attempts == 15


def test_the_recorder_is_light_to_import() -> None:
    """SQLAlchemy is imported by the recorder's thread, not by who makes one."""
    code = (
        "import sys; import dtf_dask.runs.results.recorder;"
        "assert 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
