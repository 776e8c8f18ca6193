"""What cannot be used is refused with what to do, and what was stored stays stored."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dtf_dask.errors import (
    DtfError,
    ProtocolError,
    ResultsCorruptError,
    ResultsUnavailableError,
    UsageError,
)
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results.store import ResultsStore

RUN = Run(RunId("r"), 0.0, suite="s")
WRITER = """
import sys
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results.store import ResultsStore
store = ResultsStore.open(sys.argv[1])
store.begin_run(Run(RunId("r"), 0.0, suite="s"), [])
for n in range(10**6):
    batch = [Attempt(CaseId(f"c{n}-{m}"), 1, Outcome.PASSED, stdout="x" * 500)
             for m in range(20)]
    store.add_attempts("r", batch)
    print(n, flush=True)
"""


def batch_of(count: int, text: str = "") -> list[Attempt]:
    return [
        Attempt(CaseId(f"c{n}"), 1, Outcome.PASSED, stdout=text) for n in range(count)
    ]


def test_a_killed_writer_leaves_what_it_committed(url: str) -> None:
    """After kill -9, every batch that was acknowledged is there, and whole."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 30:
                break
        writer.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in writer.stdout]
    last = max(acknowledged, default=30)
    with ResultsStore.open(url) as store:
        found = [attempt.case_id for attempt in store.attempts("r")]
        assert len(found) % 20 == 0
        assert {f"c{n}-19" for n in range(last + 1)} <= set(found)
        store.add_attempts("r", batch_of(1))


def test_a_full_disk_is_said_and_costs_nothing_stored(tmp_path: Path) -> None:
    """When no page is left, the batch fails as a whole; what was there is readable."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.begin_run(RUN, [])
        store.add_attempts("r", batch_of(10))
        raw = store._engine.raw_connection()
        raw.cursor().execute("PRAGMA max_page_count=60")
        raw.close()  # back into the pool, where the next transaction finds it
        with pytest.raises(ResultsUnavailableError, match="free some space"):
            store.add_attempts("r", batch_of(50, "x" * 100_000))
        assert len(list(store.attempts("r"))) == 10


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    """On a file system without room, opening or adding says so."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system")
    try:
        with ResultsStore.open(folder / "results.sqlite") as store:
            store.begin_run(RUN, [])
            with pytest.raises(ResultsUnavailableError):
                store.add_attempts("r", batch_of(50, "x" * 100_000))
            assert list(store.attempts("r")) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_file_can_be_read_not_written(
    open_folder: Path,
    without_rights: Callable[[], AbstractContextManager[None]],
) -> None:
    """Rights that are missing are named; reading needs none but to read."""
    path = open_folder / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.begin_run(RUN, [])
        # Still open: the files beside it that a reader needs are there.
        for file in open_folder.iterdir():
            file.chmod(0o444)
        open_folder.chmod(0o555)
        with without_rights(), ResultsStore.open(path) as reader:
            assert reader.run("r") == RUN
            with pytest.raises(ResultsUnavailableError, match="rights"):
                reader.add_attempts("r", batch_of(1))
        with without_rights(), pytest.raises(ResultsUnavailableError, match="folder"):
            ResultsStore.open(open_folder / "new.sqlite")
        with without_rights(), pytest.raises(ResultsUnavailableError):
            ResultsStore.open(open_folder / "new" / "new.sqlite")


@pytest.mark.parametrize(
    "content",
    [b"This is a text file, not a database.\n" * 50, os.urandom(10_000), b"\0" * 9999],
    ids=["text", "random", "zeros"],
)
def test_garbage_is_no_store(content: bytes, tmp_path: Path) -> None:
    """A file that is no database is refused, with what to do, and left alone."""
    path = tmp_path / "results.sqlite"
    path.write_bytes(content)
    with pytest.raises(ResultsCorruptError, match="move it away"):
        ResultsStore.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("keep", [100, 4096, 20_000])
def test_a_truncated_store_is_damaged(keep: int, tmp_path: Path) -> None:
    """A file cut short is said to be damaged, at the latest when its rows are read."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.begin_run(RUN, [])
        store.add_attempts("r", batch_of(500, "text " * 50))
    assert not path.with_name("results.sqlite-wal").exists()
    os.truncate(path, keep)
    with pytest.raises(ResultsCorruptError), ResultsStore.open(path) as store:
        list(store.attempts("r"))


def test_damage_in_the_middle_is_an_error_of_dtf(tmp_path: Path) -> None:
    """Overwritten pages end in our errors or in right answers, never in others."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.begin_run(RUN, [CaseId("c0")])
        store.add_attempts("r", batch_of(300, "text " * 50))
    whole = path.read_bytes()
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\xaa" * 4096
                         + whole[(page + 1) * 4096 :])  # fmt: skip
        for rest in tmp_path.glob("results.sqlite-*"):
            rest.unlink()
        with contextlib.suppress(DtfError), ResultsStore.open(path) as store:
            list(store.attempts("r"))
            store.add_attempts("r", batch_of(400))
            store.durations("s")


def test_a_missing_table_is_damage(tmp_path: Path) -> None:
    """A store without one of its tables is said to be damaged."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.begin_run(RUN, [])
    raw = sqlite3.connect(path)
    raw.execute("DROP TABLE dtf_outputs")
    raw.close()
    with (
        ResultsStore.open(path) as store,
        pytest.raises(ResultsCorruptError, match="does not have the tables"),
    ):
        list(store.attempts("r"))


def test_a_locked_store_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    """Another process that keeps the lock is named as the reason."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path, busy_timeout_s=0.05) as store:
        store.begin_run(RUN, [])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResultsUnavailableError, match="another process"):
            store.add_attempts("r", batch_of(1))
        assert store.run("r") == RUN  # readers do not wait for writers
        other.execute("ROLLBACK")
        other.close()
        assert store.add_attempts("r", batch_of(1)) == 1


def test_reading_creates_nothing(url: str, tmp_path: Path) -> None:
    """Without results there is nothing to show, and looking leaves no file."""
    with pytest.raises(ResultsUnavailableError, match="dtf run"):
        ResultsStore.open(url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_what_the_database_refuses_is_a_value_error(store: ResultsStore) -> None:
    """A value that no column holds is the value's fault, not the store's."""
    store.begin_run(RUN, [])
    with pytest.raises(ProtocolError):
        store.add_attempts("r", [Attempt(CaseId("c"), 10**30, Outcome.PASSED)])
    assert store.add_attempts("r", batch_of(1)) == 1


@pytest.mark.parametrize("run_id", ["", "x" * 201, "a\nb", "\x00", "\ud800"])
def test_a_run_needs_a_printable_id(run_id: str, store: ResultsStore) -> None:
    """An id is typed by people and is part of file names."""
    with pytest.raises(UsageError, match="printable"):
        store.begin_run(Run(RunId(run_id), 0.0), [])


@pytest.mark.parametrize(
    "bad",
    ["", "sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "a\0b", "x://[", "9://"],
)
def test_only_databases_that_dtf_uses_are_opened(bad: str) -> None:
    """Anything else is a mistake of the caller, said at once."""
    with pytest.raises(UsageError):
        ResultsStore.open(bad)


def test_a_server_that_is_away_is_said_without_its_password() -> None:
    """An unreachable server is named, its password is not."""
    away = "postgresql://user:hunter2@127.0.0.1:1/db"
    with pytest.raises(ResultsUnavailableError) as caught:
        ResultsStore.open(away)
    assert "127.0.0.1" in str(caught.value)
    assert not re.search("hunter2", str(caught.value))
