"""How sources stand, for those who operate an installation."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from psycopg import AsyncConnection

from kinds.job_search.fetching import lease_unit, release_unit
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.source_report import SourceReport, report_sources
from kinds.job_search.sources import SOURCES
from kinds.job_search.sources.errors import ThrottledError
from kinds.job_search.units import Unit
from tests.clock import Clock
from tests.kinds.job_search.support import make_posting, put, with_connection

NIGHT = datetime(2026, 8, 3, 23, 59, 50, tzinfo=UTC)
LEVER = Unit("lever", "acme")


def test_every_source_is_told_with_what_was_asked_of_it_today_and_what_is_stored(clock: Clock) -> None:
    clock.freeze(NIGHT)

    async def work(conn: AsyncConnection) -> None:
        owner = uuid4()
        await put(conn, make_posting("1"), make_posting("2"))
        await put(conn, make_posting("1"))
        assert await lease_unit(conn, LEVER, owner, JobSearchSettings()) is not None
        await release_unit(conn, LEVER, owner, ThrottledError("Lever wants to be left alone", retry_after=30))
        await conn.commit()
        told = {report.name: report for report in await report_sources(conn)}
        assert list(told) == list(SOURCES)
        assert told["greenhouse"] == SourceReport("greenhouse", 2, 0, None, boards=1, postings=1)
        assert told["lever"] == SourceReport("lever", 1, 30, "Lever wants to be left alone", boards=0, postings=0)
        assert told["remotive"] == SourceReport("remotive", 0, 0, None, boards=0, postings=0)
        clock.advance(timedelta(seconds=10))
        await conn.commit()
        told = {report.name: report for report in await report_sources(conn)}
        assert [told[name].calls_today for name in ("greenhouse", "lever")] == [0, 0]
        assert (told["lever"].rest_seconds, told["lever"].trouble) == (20, "Lever wants to be left alone")
        clock.advance(timedelta(seconds=20))
        await conn.commit()
        lever = {report.name: report for report in await report_sources(conn)}["lever"]
        assert (lever.rest_seconds, lever.trouble) == (0, None)

    with_connection(clock.url, work)
