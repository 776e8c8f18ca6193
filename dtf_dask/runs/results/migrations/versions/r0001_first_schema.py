"""The first schema: suites, runs, cases, what was planned, attempts, artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "dtf_suites",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_dtf_suites")),
        sa.UniqueConstraint("digest", name=op.f("uq_dtf_suites_digest")),
    )
    op.create_table(
        "dtf_cases",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("suite_key", _KEY, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["suite_key"], ["dtf_suites.key"], name=op.f("fk_dtf_cases_suite_key")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_dtf_cases")),
        sa.UniqueConstraint(
            "suite_key", "digest", name=op.f("uq_dtf_cases_suite_key_digest")
        ),
    )
    op.create_table(
        "dtf_runs",
        sa.Column("key", _KEY, nullable=False),
        sa.Column(
            "id",
            sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("suite_key", _KEY, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("cases_planned", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("rootdir", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["suite_key"], ["dtf_suites.key"], name=op.f("fk_dtf_runs_suite_key")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_dtf_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_dtf_runs_id")),
    )
    op.create_index(
        op.f("ix_dtf_runs_started_at"), "dtf_runs", ["started_at"], unique=False
    )
    op.create_index(
        op.f("ix_dtf_runs_suite_key_started_at"),
        "dtf_runs",
        ["suite_key", "started_at"],
        unique=False,
    )
    op.create_table(
        "dtf_artifacts",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("case_key", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["dtf_runs.key"], name=op.f("fk_dtf_artifacts_run_key")
        ),
        sa.PrimaryKeyConstraint(
            "run_key",
            "case_key",
            "number",
            "worker",
            "position",
            name=op.f("pk_dtf_artifacts"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_dtf_artifacts_digest"), "dtf_artifacts", ["digest"], unique=False
    )
    op.create_table(
        "dtf_attempts",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("case_key", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("phases", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_key"], ["dtf_cases.key"], name=op.f("fk_dtf_attempts_case_key")
        ),
        sa.ForeignKeyConstraint(
            ["run_key"], ["dtf_runs.key"], name=op.f("fk_dtf_attempts_run_key")
        ),
        sa.PrimaryKeyConstraint(
            "run_key", "case_key", "number", "worker", name=op.f("pk_dtf_attempts")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_dtf_attempts_case_key_run_key"),
        "dtf_attempts",
        ["case_key", "run_key"],
        unique=False,
    )
    op.create_index(
        op.f("ix_dtf_attempts_case_key_outcome_run_key_duration_s"),
        "dtf_attempts",
        ["case_key", "outcome", "run_key", "duration_s"],
        unique=False,
    )
    op.create_table(
        "dtf_outputs",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("case_key", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Integer(), nullable=False),
        sa.Column("exception", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.Column("stdout", sa.Text(), nullable=False),
        sa.Column("stderr", sa.Text(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["dtf_runs.key"], name=op.f("fk_dtf_outputs_run_key")
        ),
        sa.PrimaryKeyConstraint(
            "run_key", "case_key", "number", "worker", name=op.f("pk_dtf_outputs")
        ),
    )
    op.create_table(
        "dtf_planned",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("case_key", _KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["case_key"], ["dtf_cases.key"], name=op.f("fk_dtf_planned_case_key")
        ),
        sa.ForeignKeyConstraint(
            ["run_key"], ["dtf_runs.key"], name=op.f("fk_dtf_planned_run_key")
        ),
        sa.PrimaryKeyConstraint("run_key", "case_key", name=op.f("pk_dtf_planned")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_dtf_planned_case_key"), "dtf_planned", ["case_key"], unique=False
    )
    op.create_table(
        "dtf_workers",
        sa.Column("run_key", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key"], ["dtf_runs.key"], name=op.f("fk_dtf_workers_run_key")
        ),
        sa.PrimaryKeyConstraint("run_key", "number", name=op.f("pk_dtf_workers")),
        sqlite_with_rowid=False,
    )
