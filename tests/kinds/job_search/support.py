"""What the tests of job search share: a run to give to the handler, and postings made up field by field."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx
from psycopg import AsyncConnection

from kinds.job_search.fetching import Stored, lease_unit, store
from kinds.job_search.posting import Posting
from kinds.job_search.settings import JobSearchSettings
from kinds.job_search.sources import Fetched
from kinds.job_search.units import Unit
from shared.kinds import Progress, Run, Source
from tests.support import connect

ACME = Unit("greenhouse", "acme")


class Ports:
    """What a worker lends, made of real parts: connections to `url`, an HTTP client; progress is kept in a list."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self.http = http
        self.said: list[Progress] = []

    def progress(self, run: Run, progress: Progress) -> None:
        self.said.append(progress)

    def db(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return connect(self.url)

    async def turn(self, run: Run, provider: str) -> None:
        raise NotImplementedError

    async def step(self, run: Run, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        raise NotImplementedError


def make_handle(ports: Ports, *, user_id: UUID | None = None, fingerprint: bytes = b"f" * 16) -> Run:
    """The handle of a first attempt."""
    return Run(
        id=uuid4(),
        user_id=user_id or uuid4(),
        org_id=None,
        kind="job_search",
        subject=None,
        source=Source.MANUAL,
        attempt=1,
        fingerprint=fingerprint,
        scheduled_for=None,
        client_context=None,
        ports=ports,
    )


def make_posting(external_id: str = "1", unit: Unit = ACME, **fields: Any) -> Posting:
    """An engineer's posting."""
    url = f"https://example.com/{unit.board}/{external_id}"
    defaults = {"url": url, "title": "Engineer", "company": unit.board.title()}
    return Posting(**({"source": unit.source, "board": unit.board, "external_id": external_id} | defaults | fields))


async def put(
    conn: AsyncConnection,
    *postings: Posting,
    unit: Unit = ACME,
    complete: bool = True,
    settings: JobSearchSettings | None = None,
) -> Stored:
    """Lease the unit and store these postings as its answer."""
    owner = uuid4()
    always = JobSearchSettings(job_freshness_seconds=0)
    assert await lease_unit(conn, unit, owner, settings or always) is not None
    stored = await store(conn, unit, owner, Fetched(postings, complete))
    assert stored is not None
    return stored


def with_connection(url: str, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    """What `work` answers, its transaction committed."""

    async def run() -> Any:
        async with connect(url) as conn:
            return await work(conn)

    return asyncio.run(run())


async def rows(conn: AsyncConnection, query: str) -> list[Any]:
    """All rows of a query."""
    return await (await conn.execute(query)).fetchall()
