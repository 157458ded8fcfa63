"""Boards and their postings, which the kind job_search reads."""

from migrations import run_sql

revision = "0002_job_search"
down_revision = "0001_initial"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
