"""Opening a results database: connections, its schema's revision, errors by fault."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from dtf_dask.errors import (
    DtfError,
    ProtocolError,
    ResultsCorruptError,
    ResultsUnavailableError,
    UsageError,
)
from dtf_dask.runs.results import schema

BUSY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 60
POOL_CONNECTIONS = 2
POOL_CONNECTIONS_EXTRA = 3
CACHE_KIB = 16_000

_MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x647466  # PostgreSQL's advisory lock of whoever upgrades: "dtf"
_UPGRADING = threading.Lock()
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_SQLSTATES_NO_TABLE = {"42P01", "42703"}  # undefined table, undefined column
_SQLSTATES_NOT_ALLOWED = ("42501", "3F000")  # no rights, no schema to create in
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk (or its quota) is full: free some space",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the rights of the file "
    "and of its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and "
    "may be written by this user",
    sqlite3.SQLITE_PERM: "access was denied: check the file's rights",
    sqlite3.SQLITE_IOERR: "reading or writing its disk failed: check the disk",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: let it end, or stop it",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: let it end, or stop it",
}


def database_url(url: str | Path) -> sa.URL:
    """Return the SQLAlchemy URL meant by ``url``: a URL, or the path of a file.

    Raises
    ------
    UsageError
        If it is neither, or of a database that dtf does not use.
    """
    text = str(url)
    if not text or "\0" in text:
        raise UsageError("the results store needs a path or a database URL")
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).absolute()))
    try:
        parsed = sa.make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        raise UsageError(f"no database URL: {text!r:.200} ({error})") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise UsageError("the results store needs a file: sqlite:///path")
    elif parsed.drivername != "postgresql+psycopg":
        raise UsageError(
            f"results are kept in SQLite or PostgreSQL, not {parsed.drivername!r}: "
            "give a path, sqlite:///path or postgresql://user@host/name"
        )
    return parsed


def shown(url: sa.URL) -> str:
    """Return ``url`` as people may see it: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def connect(url: sa.URL, *, create: bool, busy_timeout_s: float) -> sa.Engine:
    """Return an engine of ``url`` whose schema is current; create it if asked to."""
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not path.exists():
            if not create:
                raise ResultsUnavailableError(
                    f"there are no results at {path}: run a suite first (dtf run), or "
                    "name another store"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise translate(error, url) from error
        engine = _sqlite_engine(url, busy_timeout_s)
    else:
        engine = _postgresql_engine(url)
    try:
        with guarded(url):
            _make_current(engine, url, create)
    except BaseException:
        engine.dispose()
        raise
    return engine


def writing(engine: sa.Engine) -> sa.Engine:
    """Return ``engine`` for transactions that write.

    SQLite refuses to turn a reading transaction into a writing one while another
    process writes, without waiting; one that begins as a writer waits its turn.
    """
    return engine.execution_options(dtf_write=True)


@contextlib.contextmanager
def guarded(url: sa.URL) -> Iterator[None]:
    """Let only errors of dtf out of a block that talks to the database."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError, OverflowError) as error:
        raise translate(error, url) from error


def translate(error: Exception, url: sa.URL) -> DtfError:
    """Return whose fault ``error`` is, and what to do, as an error of dtf."""
    where = shown(url)
    cause = getattr(error, "orig", None) or error
    reason = " ".join(str(cause).split())[:300]
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in _CORRUPT:
        return ResultsCorruptError(
            f"{where} is no results database or is damaged ({reason}): move it away, "
            "and the next run starts a new one"
        )
    if code in _ADVICE:
        return ResultsUnavailableError(
            f"the results store {where} cannot be used ({reason}): {_ADVICE[code]}"
        )
    if _lacks_tables(error, cause):
        return ResultsCorruptError(
            f"{where} does not have the tables that dtf keeps results in ({reason}): "
            "restore it from a backup, or name another store"
        )
    if _is_fault_of_value(error, cause):
        return ProtocolError(f"the results store {where} refused a value: {reason}")
    return ResultsUnavailableError(
        f"the results store {where} cannot be used ({reason}): check that it is there, "
        "running, and open to this user"
    )


def _lacks_tables(error: Exception, cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.OperationalError):
        return True  # "no such table", "no such column": the codes above are others
    return getattr(cause, "sqlstate", None) in _SQLSTATES_NO_TABLE


def _is_fault_of_value(error: Exception, cause: BaseException) -> bool:
    if isinstance(error, exc.ProgrammingError):
        # Without a state, the driver itself refused: a type that no column holds.
        state = getattr(cause, "sqlstate", None) or ""
        return not state.startswith(_SQLSTATES_NOT_ALLOWED)
    if isinstance(error, exc.DBAPIError):
        return isinstance(error, exc.DataError | exc.IntegrityError)
    return isinstance(error, OverflowError | exc.StatementError)


def _sqlite_engine(url: sa.URL, busy_timeout_s: float) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=POOL_CONNECTIONS,
        max_overflow=POOL_CONNECTIONS_EXTRA,
    )

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # The driver's own transactions begin too late (at the first INSERT) and end
        # too early (at DDL): ours are explicit, see `begin`.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before any table
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Set for good by whoever holds the lock; a read-only file stays readable.
            if error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_READONLY,
            ):
                raise
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("dtf_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=POOL_CONNECTIONS,
            max_overflow=POOL_CONNECTIONS_EXTRA,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S}s",
                "tcp_user_timeout": STATEMENT_TIMEOUT_S * 1000,
                "application_name": "dtf",
            },
        )
    except ImportError:
        raise UsageError(
            "PostgreSQL needs a driver: pip install 'dtf-dask[postgres]'"
        ) from None


def _make_current(engine: sa.Engine, url: sa.URL, create: bool) -> None:
    """Bring the schema to our revision, or refuse the database."""
    if stored_revision(engine, url) == schema.REVISIONS[-1]:
        return
    with writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            lock = sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)
            connection.execute(sa.select(lock))
        # Asked again under the lock: another process may just have done it.
        revision = stored_revision(connection, url)
        if revision == schema.REVISIONS[-1]:
            return
        if revision is not None:
            _upgrade(connection)
        elif create:
            _create(connection, url)
        else:
            raise ResultsUnavailableError(
                f"there are no results at {shown(url)}: run a suite first (dtf run), "
                "or name another store"
            )


def stored_revision(bind: sa.Engine | sa.Connection, url: sa.URL) -> str | None:
    """Return the revision of the schema that the database has; None for none yet."""
    if isinstance(bind, sa.Engine):
        with bind.connect() as connection:
            return stored_revision(connection, url)
    if not sa.inspect(bind).has_table(schema.VERSION_TABLE):
        return None
    found = bind.exec_driver_sql(f"SELECT version_num FROM {schema.VERSION_TABLE}")
    revision = found.scalar()
    if revision not in schema.REVISIONS:
        raise ResultsUnavailableError(
            f"the results store {shown(url)} was written by a newer dtf (its schema "
            f"is {revision!r}, this dtf knows {schema.REVISIONS[-1]!r}): update dtf "
            "here, or name another store"
        )
    return str(revision)


def _create(connection: sa.Connection, url: sa.URL) -> None:
    """Create the tables at once: Alembic would take half a second to do the same."""
    ours = set(schema.metadata.tables)
    tables = set(sa.inspect(connection).get_table_names())
    if tables & ours or (connection.dialect.name == "sqlite" and tables):
        raise ResultsCorruptError(
            f"{shown(url)} holds tables but no results of dtf: name another store"
        )
    schema.metadata.create_all(connection, checkfirst=False)
    # The same table that Alembic makes and reads.
    version = schema.VERSION_TABLE
    connection.exec_driver_sql(
        f"CREATE TABLE {version} (version_num VARCHAR(32) NOT NULL, "
        f"CONSTRAINT {version}_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(
        f"INSERT INTO {version} VALUES ('{schema.REVISIONS[-1]}')"
    )


def _upgrade(connection: sa.Connection, revision: str = "head") -> None:
    # Imported here: a quarter of a second that only an outdated database costs.
    from alembic import command

    # Alembic keeps what it works on in globals, and a scheduler opens its store in a
    # thread beside others.
    with _UPGRADING:
        command.upgrade(migrations_config(connection), revision)


def migrations_config(connection: sa.Connection) -> Any:
    """Return Alembic's configuration for the migrations shipped with dtf."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
