"""What attempts took of GPUs: the most memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dtf_attempts", sa.Column("gpu_memory", sa.BigInteger()))
