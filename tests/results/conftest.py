"""Stores to test with: a SQLite file, and a database on a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_server import running_postgresql

from dtf_dask.runs.results.store import ResultsStore


@pytest.fixture
def open_file() -> Iterator[Callable[..., ResultsStore]]:
    """Open stores that are closed when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kw: stack.enter_context(ResultsStore.open(*args, **kw))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that does not exist yet, once of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "results.sqlite")
    made: str = request.getfixturevalue("postgresql_url")
    return made


@pytest.fixture
def store(url: str) -> Iterator[ResultsStore]:
    """An empty store, once of each kind."""
    with ResultsStore.open(url) as opened:
        yield opened


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """A new database of the server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(
        f"host={postgresql_server} user=dtf dbname=postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://dtf@/{name}?host={postgresql_server}"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The folder with the socket of a PostgreSQL server of our own."""
    with running_postgresql() as (folder, _):
        yield folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a user without rights reaches, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="dtf-results-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Do what follows as a user whom file modes bind, as they do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(name="without_rights")
def _without_rights() -> Callable[[], contextlib.AbstractContextManager[None]]:
    return without_rights
