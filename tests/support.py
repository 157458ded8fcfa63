"""What tests of the database share: databases, connections, waiting for a lock, and rows in any state."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, LiteralString, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from shared.kinds import Lane
from shared.models import QueueRow, RunRow, Schedule, Table, Tick, Timetable, User, Worker

T = TypeVar("T", bound=Table)

LIVE = ("pending", "running")


@contextmanager
def database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """The URL of a new database, a copy of `template` (a name or a URL nobody is connected to), dropped at the end.

    Nothing of schema foxtrot is found there without its name, whatever the user is called.
    """
    name = f"test_{uuid4().hex}"
    source = urlsplit(template).path.lstrip("/")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"create database {name} template {source}")
        admin.execute(f"alter database {name} set search_path = public")
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            admin.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection with nothing prepared; its transaction commits at the end of the block."""
    async with await AsyncConnection.connect(url, prepare_threshold=None) as conn:
        yield conn


async def wait_for_lock(url: str, pid: int, *, within: float = 10) -> None:
    """Return once the backend `pid` (`conn.info.backend_pid`) waits for a lock; TimeoutError after `within` seconds.

    Start the statement that is to wait with `asyncio.create_task` first.
    """
    async with asyncio.timeout(within), await AsyncConnection.connect(url, autocommit=True) as conn:
        waits = False
        while not waits:
            (waits,) = await _read(conn, "select exists (select from pg_locks where pid = %s and not granted)", pid)


def wait_until(holds: Callable[[], object], *, within: float = 10) -> None:
    """Return once `holds()` is true; TimeoutError after `within` seconds. For what other processes do."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{holds} was not true within {within:g} s")
        time.sleep(0.05)


async def db_now(conn: AsyncConnection) -> datetime:
    """The database's `now()`: the start of the transaction."""
    now: datetime
    (now,) = await _read(conn, "select now()")
    return now


async def insert(conn: AsyncConnection, table: type[T], values: dict[str, Any]) -> T:
    """Insert one row and return it as Postgres has it."""
    columns = Table.metadata.tables[f"foxtrot.{table.__tablename__}"].columns
    adapted = {
        name: Jsonb(value) if isinstance(columns[name].type, JSONB) and value is not None else value
        for name, value in values.items()
    }
    query = sql.SQL("insert into foxtrot.{} ({}) values ({}) returning *").format(
        sql.Identifier(str(table.__tablename__)),
        sql.SQL(", ").join(map(sql.Identifier, adapted)),
        sql.SQL(", ").join(map(sql.Placeholder, adapted)),
    )
    async with conn.cursor(row_factory=class_row(table)) as cursor:
        await cursor.execute(query, adapted)
        row = await cursor.fetchone()
    assert row is not None
    return row


async def make_user(conn: AsyncConnection, **values: Any) -> User:
    """A user of no org and no zone."""
    cursor = await conn.execute(
        "select id, foxtrot.bucket_of(id) from (select %s::uuid) as of (id)", [values.get("id", uuid4())]
    )
    user_id, bucket = await cursor.fetchone()  # type: ignore[misc]
    return await insert(conn, User, {"id": user_id, "bucket": bucket} | values)


async def make_worker(conn: AsyncConnection, **values: Any) -> Worker:
    """A live worker with 10 slots that knows the kind `demo`; a dead one has `lease_expires_at` in the past."""
    lease = await db_now(conn) + timedelta(seconds=15)
    defaults = {"host": "here", "pid": 1, "version": "0", "kinds": ["demo"], "slots": 10, "lease_expires_at": lease}
    return await insert(conn, Worker, defaults | values)


async def make_timetable(conn: AsyncConnection, **values: Any) -> Timetable:
    """A timetable of `0 8 * * *` in UTC whose next slot is now, whatever the hour."""
    defaults = {"crons": ["0 8 * * *"], "zone": "UTC", "next_slot": await db_now(conn), "tzdata": "2026a"}
    return await insert(conn, Timetable, defaults | values)


async def make_schedule(conn: AsyncConnection, user: User, timetable: Timetable, **values: Any) -> Schedule:
    """An enabled schedule of kind `demo`, in effect since a day before its timetable's next slot."""
    unique = uuid4()
    defaults = {
        "user_id": user.id,
        "bucket": user.bucket,
        "org_id": user.org_id,
        "key": str(unique),
        "kind": "demo",
        "parameters": {},
        "fingerprint": unique.bytes,
        "timetable_id": timetable.id,
        "zone": timetable.zone,
        "effective_from": timetable.next_slot - timedelta(days=1),
    }
    return await insert(conn, Schedule, defaults | values)


async def make_tick(conn: AsyncConnection, timetable: Timetable, **values: Any) -> Tick:
    """The open tick of the timetable's next slot, none of it expanded."""
    defaults = {"timetable_id": timetable.id, "scheduled_for": timetable.next_slot, "newest": True}
    return await insert(conn, Tick, defaults | values)


async def make_run(
    conn: AsyncConnection, user: User, status: str = "pending", *, worker: Worker | None = None, **values: Any
) -> RunRow:
    """A run of the user in that status, of kind `demo`, made now; a running one is held by `worker`, or by a new one.

    Other values go to the rows that have a column of that name; while a run is live, `attempt` and `started_at` belong
    to its queue row only. Give `id` to place a run in another week.
    """
    now, run_id = await _read(conn, "select now(), foxtrot.uuid7(now())")
    who = {"bucket": user.bucket, "user_id": user.id, "org_id": user.org_id, "kind": "demo"}
    asked = who | {"id": run_id, "source": "manual", "parameters": {}, "fingerprint": uuid4().bytes, "created_at": now}
    if status not in LIVE:
        return await insert(conn, RunRow, asked | _ended(status, now) | values)
    unknown = values.keys() - RunRow.model_fields.keys() - QueueRow.model_fields.keys()
    assert not unknown, f"neither runs nor queue has {unknown}"
    of_run = RunRow.model_fields.keys() - {"attempt", "started_at"}
    run = await insert(conn, RunRow, asked | _only(values, of_run))
    live = who | {"run_id": run.id, "fingerprint": run.fingerprint, "available_at": now, "max_attempts": 3}
    live["lane"] = Lane[run.source.upper()]
    if status == "running":
        holder = worker or await make_worker(conn)
        live |= {"worker_id": holder.id, "attempt": 1, "started_at": now}
    await insert(conn, QueueRow, live | _only(values, QueueRow.model_fields.keys()))
    return run


async def _read(conn: AsyncConnection, query: LiteralString, *values: Any) -> tuple[Any, ...]:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return row


def _ended(status: str, now: datetime) -> dict[str, Any]:
    error = {"attempt": 1, "at": now.isoformat(), "class": "HandlerError", "message": "It failed."}
    return {
        "status": status,
        "attempt": 1,
        "started_at": now,
        "finished_at": now,
        "result": {} if status == "success" else None,
        "errors": [error] if status == "failed" else [],
        "expires_at": now + timedelta(days=30),
    }


def _only(values: Mapping[str, Any], names: AbstractSet[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}
