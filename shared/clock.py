"""The only place where Python reads the wall clock; what is due and what has expired, the database decides."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time by this machine, aware, in UTC: for the lifetime of tokens, never for schedules or leases."""
    return datetime.now(UTC)
