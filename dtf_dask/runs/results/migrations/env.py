"""What Alembic runs to migrate a results database, on the connection it is given."""

from __future__ import annotations

from alembic import context

from dtf_dask.runs.results import schema

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run when dtf opens a store, not from a shell")
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
