"""What attempts took: CPU time, and the most memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dtf_attempts", sa.Column("cpu_s", sa.Double()))
    op.add_column("dtf_attempts", sa.Column("memory", sa.BigInteger()))
