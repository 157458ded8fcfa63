"""Room on the pages of runs for how they ended."""

from migrations import run_sql

revision = "0006_runs_fill"
down_revision = "0005_worker"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
