"""The tables of the results store, for SQLite and PostgreSQL alike.

Suites, cases and workers are interned, so that the tables that grow (attempts) hold
small integers; the wide texts of an attempt lie in a table of their own, so that the
queries over many attempts read narrow rows only.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
)
from sqlalchemy.types import TypeDecorator

from dtf_dask.runs.codec import escape_text, unescape_text

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Every revision of the schema, oldest first; the last one is what this code reads."""

VERSION_TABLE = "dtf_revision"
DIGEST_BYTES = 16


class ExactText(TypeDecorator[str]):
    """Text that comes back as it went in: NUL and lone surrogates included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else escape_text(value)

    def process_result_value(self, value: Any | None, dialect: Any) -> str | None:
        return None if value is None else unescape_text(value)


# The "C" collation makes prefix searches exact and cheap on PostgreSQL.
_OrderedText = Text().with_variant(Text(collation="C"), "postgresql")
_Key = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text_digest(value: str) -> bytes:
    """Return what identifies a text of any length in an index.

    PostgreSQL refuses index entries over 2,700 bytes, and case ids can be longer.
    """
    raw = escape_text(value).encode()
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()


suites = Table(
    "dtf_suites",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("digest", LargeBinary(), nullable=False),
    Column("name", ExactText(), nullable=False),
    UniqueConstraint("digest"),
)

runs = Table(
    "dtf_runs",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("id", _OrderedText, nullable=False),
    Column("suite_key", _Key, ForeignKey(suites.c.key), nullable=False),
    Column("started_at", Double(), nullable=False),
    Column("finished_at", Double()),
    Column("status", Text(), nullable=False),
    Column("exit_code", Integer()),
    Column("cases_planned", Integer(), nullable=False),
    Column("snapshot", ExactText(), nullable=False),
    Column("rootdir", ExactText(), nullable=False),
    Column("command", Text(), nullable=False),
    Column("policy", Text(), nullable=False),
    Column("environment", Text(), nullable=False),
    # Counts by outcome of a finished run: a trend over many runs reads no attempt.
    Column("counts", Text()),
    UniqueConstraint("id"),
    Index(None, "started_at"),
    Index(None, "suite_key", "started_at"),
)

cases = Table(
    "dtf_cases",
    metadata,
    Column("key", _Key, primary_key=True),
    Column("suite_key", _Key, ForeignKey(suites.c.key), nullable=False),
    Column("digest", LargeBinary(), nullable=False),
    Column("id", ExactText(), nullable=False),
    UniqueConstraint("suite_key", "digest"),
)

planned = Table(
    "dtf_planned",
    metadata,
    Column("run_key", _Key, ForeignKey(runs.c.key), nullable=False),
    Column("case_key", _Key, ForeignKey(cases.c.key), nullable=False),
    PrimaryKeyConstraint("run_key", "case_key"),
    Index(None, "case_key"),
    sqlite_with_rowid=False,
)

workers = Table(
    "dtf_workers",
    metadata,
    Column("run_key", _Key, ForeignKey(runs.c.key), nullable=False),
    Column("number", Integer(), nullable=False),
    Column("name", ExactText(), nullable=False),
    PrimaryKeyConstraint("run_key", "number"),
    sqlite_with_rowid=False,
)


def _attempt_key() -> list[Any]:
    """Return the columns that name one attempt: what makes a second insert a no-op."""
    return [
        Column("run_key", _Key, ForeignKey(runs.c.key), nullable=False),
        Column("case_key", _Key, nullable=False),
        Column("number", Integer(), nullable=False),
        Column("worker", Integer(), nullable=False),
    ]


attempts = Table(
    "dtf_attempts",
    metadata,
    *_attempt_key(),
    Column("outcome", Text(), nullable=False),
    Column("detail", ExactText(), nullable=False),
    Column("host", ExactText(), nullable=False),
    Column("started_at", Double(), nullable=False),
    Column("duration_s", Double(), nullable=False),
    Column("phases", Text(), nullable=False),
    Column("cpu_s", Double()),
    Column("memory", BigInteger()),
    Column("gpu_memory", BigInteger()),
    Column("dask_worker", ExactText()),
    ForeignKeyConstraint(["case_key"], [cases.c.key]),
    PrimaryKeyConstraint("run_key", "case_key", "number", "worker"),
    Index(None, "case_key", "run_key"),
    # The learned durations come from this index alone.
    Index(None, "case_key", "outcome", "run_key", "duration_s"),
    sqlite_with_rowid=False,
)

outputs = Table(
    "dtf_outputs",
    metadata,
    *_attempt_key(),
    Column("exception", ExactText(), nullable=False),
    Column("traceback", ExactText(), nullable=False),
    Column("stdout", ExactText(), nullable=False),
    Column("stderr", ExactText(), nullable=False),
    Column("log", ExactText(), nullable=False),
    Column("properties", Text(), nullable=False),
    PrimaryKeyConstraint("run_key", "case_key", "number", "worker"),
)

artifacts = Table(
    "dtf_artifacts",
    metadata,
    *_attempt_key(),
    Column("position", Integer(), nullable=False),
    Column("name", ExactText(), nullable=False),
    Column("digest", Text(), nullable=False),
    Column("size_bytes", BigInteger(), nullable=False),
    PrimaryKeyConstraint("run_key", "case_key", "number", "worker", "position"),
    Index(None, "digest"),
    sqlite_with_rowid=False,
)

# What schedulers remember, by what it is about. The digest is of all three, since an
# index of PostgreSQL holds no long names.
learned = Table(
    "dtf_learned",
    metadata,
    Column("digest", LargeBinary(), nullable=False),
    Column("kind", ExactText(), nullable=False),
    Column("name", ExactText(), nullable=False),
    Column("hardware", ExactText(), nullable=False),
    Column("numbers", Text(), nullable=False),
    Column("used_at", Double(), nullable=False),
    PrimaryKeyConstraint("digest"),
    Index(None, "used_at"),
)

AT_WORKER = and_(
    workers.c.run_key == attempts.c.run_key, workers.c.number == attempts.c.worker
)
"""Of an attempt, the worker that ran it."""

WHERE = func.coalesce(attempts.c.dask_worker, workers.c.name)
"""Of an attempt at its worker, what pages and schedulers call that."""
