"""What tests of scheduling share: a kind, settings, passes over a database, and what came of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from scheduler.service import PassCounts, pass_once
from shared.db import Timeouts, open_pool
from shared.kinds import Kind, Registry
from shared.models import Schedule, Timetable
from shared.schedules import Rules, Wish, put_schedule
from shared.settings import Settings
from tests.support import connect, make_schedule, make_user

T = TypeVar("T")

USUAL = Timeouts()

ENDED = """
with ended as (delete from foxtrot.queue returning run_id)
update foxtrot.runs set status = 'success', finished_at = now(), result = '{}', expires_at = now() + interval '30 days'
from ended where id = run_id
"""


class Search(BaseModel):
    query: str = "anything"


class Found(BaseModel):
    found: int
    new: int


DEMO = Kind(
    name="demo",
    parameters=Search,
    result=Found,
    handler="tests.no_such_module:never_imported",
    title="Search",
    headline=lambda result: f"{result.found} found",
)
REGISTRY = Registry([DEMO])


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def scheduling(url: str, work: Callable[[AsyncConnectionPool], Awaitable[T]], timeouts: Timeouts = USUAL) -> T:
    """Do `work` with the pool of one scheduler."""

    async def run() -> T:
        async with asyncio.timeout(60), open_pool(url, "test", size=2, timeouts=timeouts) as pool:
            return await work(pool)

    return asyncio.run(run())


def pass_over(url: str, **values: Any) -> PassCounts:
    """One pass of a new scheduler with these settings."""
    return scheduling(url, lambda pool: pass_once(pool, settings(**values), REGISTRY))


def on_database(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do `work` in one transaction."""

    async def run() -> T:
        async with connect(url) as conn:
            return await work(conn)

    return asyncio.run(run())


async def subscribe(conn: AsyncConnection, timetable: Timetable, n: int, **values: Any) -> list[Schedule]:
    """Schedules of `n` new users, in the order in which a tick takes them."""
    schedules = [await make_schedule(conn, await make_user(conn), timetable, **values) for _ in range(n)]
    return sorted(schedules, key=lambda schedule: schedule.id)


async def wish(conn: AsyncConnection, crons: Sequence[str], zone: str, **values: Any) -> UUID:
    """A new user with one schedule; the id of the user."""
    user = await make_user(conn)
    wanted = Wish(key="mine", kind="demo", parameters={}, crons=crons, zone=zone, **values)
    await put_schedule(conn, REGISTRY, user.id, wanted, rules=Rules("Europe/London"))
    return user.id


def end_runs(url: str) -> None:
    """Let every live run have succeeded."""
    with psycopg.connect(url) as conn:
        conn.execute(ENDED)


def rows(url: str, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query, values).fetchall()


def slots(url: str, user_id: UUID) -> list[datetime]:
    """The slots of the user's runs."""
    query = "select scheduled_for from foxtrot.runs where user_id = %s and source = 'cron' order by scheduled_for"
    return [slot for (slot,) in rows(url, query, user_id)]


def settled(url: str) -> list[tuple[UUID, datetime, int]]:
    """How many runs and skips each (schedule, slot) came to."""
    return rows(
        url,
        """
        select schedule_id, scheduled_for, count(*)
        from (
            select schedule_id, scheduled_for from foxtrot.runs where schedule_id is not null
            union all
            select schedule_id, scheduled_for from foxtrot.skips
        ) as either
        group by schedule_id, scheduled_for
        """,
    )


@contextmanager
def holding(url: str, query: LiteralString, *values: Any) -> Iterator[psycopg.Connection]:
    """An open transaction that has executed `query`; it is rolled back unless it is committed."""
    with psycopg.connect(url) as conn:
        conn.execute(query, values)
        yield conn
        conn.rollback()
