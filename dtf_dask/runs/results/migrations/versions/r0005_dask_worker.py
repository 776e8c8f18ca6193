"""Where attempts ran, by the name that schedulers have for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dtf_attempts", sa.Column("dask_worker", sa.Text()))
