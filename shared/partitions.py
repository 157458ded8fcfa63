"""Partitions of runs: a week each, made ahead by migrate and by every start, so that no insert lacks its week."""

from dataclasses import dataclass
from datetime import timedelta

from psycopg import AsyncConnection

from shared.db import fetch_all, fetch_one, load_sql

MAKE = load_sql(__file__, "make_partitions")
WEEKS_AHEAD = load_sql(__file__, "weeks_ahead")
LOCK_TIMEOUT = b"set local lock_timeout = '2s'"
WEEK = timedelta(weeks=1)
FEWEST_WEEKS_AHEAD = 2  # with less than this a process is not ready


@dataclass(frozen=True)
class Partition:
    """A partition of runs by its table's name, such as `runs_20310317`."""

    name: str


@dataclass(frozen=True)
class Ahead:
    """How many weeks have their partition."""

    weeks: int


async def make_partitions(conn: AsyncConnection, keep: timedelta = WEEK) -> list[str]:
    """Make what is missing from the week of now - `keep` to 8 weeks ahead; the names of the tables made.

    A run belongs to the week of its slot, so whoever takes up older slots keeps their weeks. Attaching waits at most
    2 s for a lock, then raises `psycopg.errors.LockNotAvailable`.
    """
    await conn.execute(LOCK_TIMEOUT)
    return [partition.name for partition in await fetch_all(conn, MAKE, {"keep": keep}, Partition)]


async def weeks_ahead(conn: AsyncConnection) -> int:
    """How many weeks after this one have their partition without a gap; 0 also when this week's is missing."""
    row = await fetch_one(conn, WEEKS_AHEAD, {}, Ahead)
    assert row is not None  # noqa: S101 - an aggregate always answers
    return row.weeks
