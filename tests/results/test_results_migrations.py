"""The schema and its migrations say the same, and every database comes up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from dtf_dask.errors import ResultsCorruptError, ResultsUnavailableError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results import engine as engines
from dtf_dask.runs.results import schema
from dtf_dask.runs.results.store import ResultsStore

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dtf_runs", sa.Column("later", sa.Text()))
"""


@pytest.fixture
def connection(url: str) -> Any:
    """A connection of an empty database, as the store's own are."""
    parsed = engines.database_url(url)
    made = (
        engines._sqlite_engine(parsed, 1.0)
        if parsed.get_backend_name() == "sqlite"
        else engines._postgresql_engine(parsed)
    )
    with engines.writing(made).begin() as opened:
        yield opened
    made.dispose()


def drift(connection: sa.Connection) -> list[Any]:
    """Return how the database differs from the tables in the code."""
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table": schema.VERSION_TABLE,
            "compare_type": True,
            "target_metadata": schema.metadata,
        },
    )
    return compare_metadata(context, schema.metadata)  # type: ignore[no-any-return]


def tables_of(connection: sa.Connection) -> list[str]:
    """Return SQLite's own words for everything in a database, constraints sorted."""
    rows = connection.exec_driver_sql("SELECT sql FROM sqlite_master").scalars()
    return sorted(" ".join(sorted(re.findall(r"\w+", sql))) for sql in rows if sql)


def test_migrations_lead_to_the_schema_of_the_code(connection: sa.Connection) -> None:
    """Every migration from an empty database on leaves nothing to be migrated."""
    engines._upgrade(connection)
    assert drift(connection) == []
    url = connection.engine.url
    assert engines.stored_revision(connection, url) == schema.REVISIONS[-1]


def test_tables_made_at_once_are_those_of_the_migrations(
    connection: sa.Connection, tmp_path: Path
) -> None:
    """A new database, made without Alembic, is the one that Alembic would make."""
    engines._create(connection, connection.engine.url)
    assert drift(connection) == []
    engines._upgrade(connection)  # nothing to do, and no complaint
    if connection.dialect.name == "sqlite":
        other = engines._sqlite_engine(
            engines.database_url(tmp_path / "migrated.sqlite"), 1.0
        )
        with engines.writing(other).begin() as migrated:
            engines._upgrade(migrated)
            assert tables_of(migrated) == tables_of(connection)
        other.dispose()


def test_the_code_names_every_revision(tmp_path: Path) -> None:
    """The revisions in the code are those shipped, in their order."""
    script = ScriptDirectory(str(Path(engines.__file__).parent / "migrations"))
    shipped = [found.revision for found in script.walk_revisions()]
    assert tuple(reversed(shipped)) == schema.REVISIONS


def test_an_older_database_is_brought_up_and_keeps_its_runs(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of an older revision is migrated when it is opened, nothing lost."""
    run = Run(RunId("r"), 1.0, suite="s")
    with ResultsStore.open(url) as store:
        store.begin_run(run, [CaseId("c")])
        store.add_attempts("r", [Attempt(CaseId("c"), 1, Outcome.PASSED)])
    head = schema.REVISIONS[-1]
    (tmp_path / "later.py").write_text(LATER.format(head=head))
    shipped = engines.migrations_config

    def with_a_later_one(connection: sa.Connection) -> Any:
        config = shipped(connection)
        own = Path(config.get_main_option("script_location")) / "versions"
        config.set_main_option("version_locations", f"{own}:{tmp_path}")
        return config

    monkeypatch.setattr(engines, "migrations_config", with_a_later_one)
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "later"))
    for _ in range(2):
        with ResultsStore.open(url) as store:
            assert store.run("r") == run
            assert len(list(store.attempts("r"))) == 1
            columns = sa.inspect(store._engine).get_columns("dtf_runs")
            assert "later" in {column["name"] for column in columns}


def test_threads_of_one_process_bring_up_stores_at_once(tmp_path: Path) -> None:
    """A scheduler's and a run's, say: none is upgraded by way of another."""
    paths = [tmp_path / f"{number}.sqlite" for number in range(6)]
    for path in paths:
        old = engines._sqlite_engine(engines.database_url(path), 1.0)
        with engines.writing(old).begin() as connection:
            engines._upgrade(connection, "0001")
        old.dispose()
    with ThreadPoolExecutor(len(paths)) as pool:
        for store in pool.map(ResultsStore.open, paths):
            with store:
                assert (
                    engines.stored_revision(store._engine, store._url)
                    == (schema.REVISIONS[-1])
                )


def test_a_newer_database_is_refused(url: str) -> None:
    """What a newer dtf wrote is not touched by an older one, which says so."""
    with ResultsStore.open(url) as store, store._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE dtf_revision SET version_num = '9999'")
    with pytest.raises(ResultsUnavailableError, match="update dtf"):
        ResultsStore.open(url)


def test_a_database_of_others_is_refused(tmp_path: Path) -> None:
    """A SQLite file with other tables is no store, and stays as it is."""
    path = tmp_path / "other.sqlite"
    other = sa.create_engine(f"sqlite:///{path}")
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (a)")
    with pytest.raises(ResultsCorruptError, match="another store"):
        ResultsStore.open(path)
    assert sa.inspect(other).get_table_names() == ["mine"]
    other.dispose()


def test_opening_a_current_store_needs_no_alembic(tmp_path: Path) -> None:
    """Alembic's import costs more than a whole small run's results."""
    code = (
        "import sys; from dtf_dask.runs.results.store import ResultsStore as S;"
        "[S.open(sys.argv[1]).close() for _ in 'ab'];"
        "assert 'alembic' not in sys.modules; assert 'fsspec' not in sys.modules"
    )
    path = str(tmp_path / "results.sqlite")
    subprocess.run([sys.executable, "-c", code, path], check=True)
