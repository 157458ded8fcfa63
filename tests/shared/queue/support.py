"""What tests of the verbs share: a kind, requests, what a worker would pass, and the rows as they are."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import BaseModel

from shared.db import fetch_one
from shared.kinds import Kind, Lane, Status
from shared.models import QueueRow, RunRow, RunStatus, Timetable, User, Worker
from shared.queue import (
    Cancelled,
    Claimed,
    Expanded,
    FailedAttempt,
    Fence,
    NewRun,
    Outcome,
    Watermark,
    cancel,
    claim,
    expand,
)
from tests.support import connect, wait_for_lock

P = ParamSpec("P")
T = TypeVar("T")

RETENTION = timedelta(days=7)
WHOLE = UUID(int=2**128 - 1)
BOOM = {"class": "HandlerError", "message": "It broke."}


@dataclass(frozen=True)
class TickName:
    """The row of ticks that a test means."""

    timetable_id: UUID
    scheduled_for: datetime
    through: UUID


class Held(Protocol):
    """An attempt in a worker's hands: what a claim answered, or the queue's row."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def bucket(self) -> int: ...
    @property
    def attempt(self) -> int: ...


class Search(BaseModel):
    query: str = ""
    limit: int = 10
    filters: dict[str, str] = {}


class Found(BaseModel):
    found: int = 0


DEMO = Kind(
    name="demo",
    parameters=Search,
    result=Found,
    handler="tests.no_such_module:never_imported",
    title="Search",
    headline=lambda result: f"{result.found} found",
)


def async_test(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let a test be a coroutine with a loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[AsyncConnection, AsyncConnection]]:
    """Two connections for a race; neither waits for a lock for ever."""
    async with connect(url) as one, connect(url) as other:
        for conn in (one, other):
            await conn.execute("set lock_timeout = '10s'")
            await conn.commit()
        yield one, other


async def blocked(conn: AsyncConnection, url: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start `work`, which uses `conn`, and return once it waits for a lock."""
    task = asyncio.create_task(work)
    await wait_for_lock(url, conn.info.backend_pid)
    return task


async def commit_after(conn: AsyncConnection, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` and commit it at once, so that whoever waits for it goes on."""
    result = await work
    await conn.commit()
    return result


def asked(user: User, query: str = "", *, parameters: BaseModel | None = None, **values: Any) -> NewRun:
    """A manual request of `demo`."""
    return NewRun.of(DEMO, parameters or Search(query=query), user_id=user.id, **values)


async def take(
    conn: AsyncConnection,
    worker: Worker,
    kinds: Mapping[str, int] | None = None,
    *,
    free: int = 10,
    cron_cap: int | None = None,
    cron_floor: int = 0,
    suspects: int = 1,
    watermarks: Mapping[tuple[Lane, str], Watermark] | None = None,
) -> list[Claimed]:
    """Claim `demo` runs for a worker with nothing else to do."""
    return await claim(
        conn,
        worker.id,
        {"demo": free} if kinds is None else kinds,
        free=free,
        cron_cap=free if cron_cap is None else cron_cap,
        cron_floor=cron_floor,
        suspects=suspects,
        watermarks=watermarks,
    )


async def take_one(conn: AsyncConnection, worker: Worker) -> Claimed:
    """Claim exactly one run."""
    (claimed,) = await take(conn, worker, free=1)
    return claimed


async def call_off(conn: AsyncConnection, run_id: UUID, user_id: UUID) -> Cancelled | None:
    """Cancel as the API does."""
    return await cancel(conn, run_id, user_id, retention=RETENTION, max_attempts=3)


async def unfold(
    conn: AsyncConnection,
    timetable: Timetable,
    chunk: int = 100,
    *,
    others: Sequence[Timetable] = (),
    through: UUID = WHOLE,
) -> Expanded:
    """Expand the tick of the timetable's next slot, then those of others, as a scheduler that knows `demo` does."""
    ticks = [TickName(each.id, each.next_slot, through) for each in (timetable, *others)]
    return await expand(conn, ticks, chunk=chunk, max_attempts={"demo": 3}, missed_after=timedelta(minutes=15))


def came_to(answer: Expanded) -> tuple[int, int, int, int, list[UUID], bool]:
    """Schedules seen, runs, skips, missed, covered, and whether all of the ticks are done."""
    return answer.seen, answer.runs, answer.skips, answer.missed, answer.covered, answer.left == 0


def fence(held: Held) -> Fence:
    return Fence(held.run_id, held.attempt)


def ended(held: Held, status: Status = Status.SUCCESS, **values: Any) -> Outcome:
    """The outcome of an attempt."""
    return Outcome(held.run_id, held.bucket, held.attempt, status, RETENTION, **values)


def failed(held: Held, **values: Any) -> FailedAttempt:
    """A failed attempt to be made again in a minute."""
    defaults: dict[str, Any] = {"delay": timedelta(minutes=1), "error": BOOM}
    return FailedAttempt(held.run_id, held.bucket, held.attempt, **defaults | values)


def ids(claimed: Sequence[Claimed]) -> list[UUID]:
    return [row.run_id for row in claimed]


async def queue_row(conn: AsyncConnection, run_id: UUID) -> QueueRow | None:
    return await fetch_one(conn, b"select * from foxtrot.queue where run_id = %(id)s", {"id": run_id}, QueueRow)


async def live(conn: AsyncConnection, run_id: UUID) -> QueueRow:
    """The queue row of a run that must have one."""
    row = await queue_row(conn, run_id)
    assert row is not None, f"run {run_id} is not live"
    return row


async def run_row(conn: AsyncConnection, run_id: UUID) -> RunRow:
    row = await fetch_one(conn, b"select * from foxtrot.runs where id = %(id)s", {"id": run_id}, RunRow)
    assert row is not None, f"run {run_id} is missing"
    return row


async def read(conn: AsyncConnection, run_id: UUID) -> RunStatus:
    """The run as every reader reads it."""
    row = await fetch_one(conn, b"select * from foxtrot.run_status where id = %(id)s", {"id": run_id}, RunStatus)
    assert row is not None, f"run {run_id} can't be read"
    return row


async def count(conn: AsyncConnection, table: str) -> int:
    cursor = await conn.execute(f"select count(*) from foxtrot.{table}".encode())
    (rows,) = await cursor.fetchone()  # type: ignore[misc]
    return int(rows)


async def rows_of(conn: AsyncConnection, model: type[Any], query: str, *values: Any) -> list[Any]:
    async with conn.cursor(row_factory=class_row(model)) as cursor:
        await cursor.execute(query.encode(), values)
        return await cursor.fetchall()
