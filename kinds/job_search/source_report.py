"""Source report: how each source stands, for the people who operate an installation."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from kinds.job_search.sources import SOURCES
from shared.db import fetch_all, load_sql

READ_SOURCES = load_sql(__file__, "read_sources")


@dataclass(frozen=True)
class SourceReport:
    """A source: how often it was asked today (UTC), for how long it rests and why, and what is stored of it."""

    name: str
    calls_today: int
    rest_seconds: float | None
    trouble: str | None
    boards: int
    postings: int


async def report_sources(conn: AsyncConnection) -> list[SourceReport]:
    """Every source there is, in its own order."""
    return await fetch_all(conn, READ_SOURCES, {"names": list(SOURCES)}, SourceReport)
