"""Several sources of postings, and what they allow."""

from migrations import run_sql

revision = "0003_sources"
down_revision = "0002_job_search"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
