"""Connections: one way to open a pool, one way to run a transaction, one way to load a statement."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection, conninfo
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure
from psycopg.rows import TupleRow, class_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic_core import from_json

from shared.errors import DatabaseError

log = structlog.get_logger()

set_json_loads(from_json)  # six times as fast as json.loads, which is half of what it costs to read a claimed row

T = TypeVar("T")

TRANSIENT = (SerializationFailure, DeadlockDetected, LockNotAvailable)
TRIES = 5
CONNECT_TIMEOUT = 10  # seconds
RECONNECT = 3.0  # seconds
ON_REQUEST = 2**31  # times that psycopg sees a statement before it prepares it without being asked
BY_INDEX = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",  # what a kept plan says it costs, not knowing how few rows are asked for, would call for it
}
UNREACHABLE = "Check DATABASE_URL and that the server answers."
REFUSED = "unsupported startup parameter"  # 08P01, but libpq tells no code of a connection that came to nothing
OPTION = re.compile(r"-c (\w+)=(\w+)")
LIMIT = b"select set_config(name, value, true) from unnest(%(names)s::text[], %(values)s::text[]) as s (name, value)"


@dataclass(frozen=True)
class Timeouts:
    """Server-side limits of a connection, in seconds."""

    statement: float = 30
    lock: float = 5
    idle_in_transaction: float = 30

    def settings(self) -> dict[str, str]:
        """As Postgres's own settings, in its unit: milliseconds."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }
        return {name: str(int(seconds * 1000)) for name, seconds in limits.items()}


class Connection(AsyncConnection[TupleRow]):
    """A connection that does without `options` where those are refused: PgBouncer knows no such parameter.

    `limits` are then the settings that each transaction has to make for itself, by name; a pooler hands the next
    transaction another server connection. Poolers that refused once are not asked again.
    """

    limits: Mapping[str, str] | None = None
    _refusing: ClassVar[set[str]] = set()

    @classmethod
    async def connect(cls, conninfo: str = "", **arguments: Any) -> Self:
        """Connect with `options`, or without them where they are refused; only Postgres itself is told to prepare."""
        where = describe(conninfo)
        prepare_threshold: int = arguments["prepare_threshold"]
        arguments["prepare_threshold"] = None
        if where not in cls._refusing:
            try:
                conn = await super().connect(conninfo, **arguments)
            except psycopg.OperationalError as error:
                if "options" not in arguments or REFUSED not in str(error):
                    raise
            else:
                conn.prepare_threshold = prepare_threshold if await _is_direct(conn) else None
                return conn
            log.warning("options_refused", by=where, hint="Timeouts are set in each transaction instead.")
            cls._refusing.add(where)
        options: str = arguments.pop("options", "")
        conn = await super().connect(conninfo, **arguments)
        conn.limits = dict(OPTION.findall(options))
        return conn


def connect_arguments(name: str, timeouts: Timeouts = Timeouts(), *, planned_once: bool = False) -> dict[str, Any]:
    """What every connection of a service is opened with.

    Statements are not prepared: a plan made on the empty queue must not survive into the herd. One that reads no table
    may ask for it, and is heard where no pooler hands each transaction another server connection. With `planned_once`
    all are prepared and their plans kept, which can only be such as serve any number of rows: by indexes alone.
    """
    settings = timeouts.settings() | (BY_INDEX if planned_once else {})
    return {
        "application_name": f"foxtrot-{name}",
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": " ".join(f"-c {setting}={value}" for setting, value in settings.items()),
        "prepare_threshold": 0 if planned_once else ON_REQUEST,
    }


async def connect(url: str, name: str, *, autocommit: bool = True) -> AsyncConnection:
    """One connection outside any pool; raises `DatabaseError` when the server can't be reached."""
    try:
        return await Connection.connect(url, autocommit=autocommit, **connect_arguments(name))
    except psycopg.Error as error:
        raise DatabaseError(f"can't connect to {describe(url)}: {error}".strip(), hint=UNREACHABLE) from error


@asynccontextmanager
async def open_pool(
    url: str,
    name: str,
    *,
    size: int,
    timeouts: Timeouts = Timeouts(),
    planned_once: bool = False,
) -> AsyncIterator[AsyncConnectionPool]:
    """A pool of at most `size` connections; raises `DatabaseError` when the server can't be reached in 10 s."""
    pool: AsyncConnectionPool = AsyncConnectionPool(
        url,
        connection_class=Connection,
        min_size=1,
        max_size=size,
        open=False,
        name=name,
        kwargs=connect_arguments(name, timeouts, planned_once=planned_once),
        reconnect_timeout=RECONNECT,
        reconnect_failed=_begin_anew,
    )
    try:
        await pool.open(wait=True, timeout=10)
    except PoolTimeout as error:
        await pool.close()
        raise DatabaseError(f"can't connect to {describe(url)}", hint=UNREACHABLE) from error
    try:
        yield pool
    finally:
        await pool.close()


async def _begin_anew(pool: AsyncConnectionPool) -> None:
    """Go on connecting: the pool's own pauses double, so that after a long outage it would come back as late again."""
    await pool.check()


@asynccontextmanager
async def transaction(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """A connection in one transaction, under the pool's timeouts, that commits at the end of the block."""
    async with pool.connection() as conn:
        await _limit(conn)
        yield conn


async def in_transaction(
    pool: AsyncConnectionPool, work: Callable[[AsyncConnection], Awaitable[T]], *, deadline: float = 10
) -> T:
    """Run `work` in a transaction of its own and commit; repeat it when Postgres says that can help.

    40001, 40P01 and 55P03 are retried here and never inside a verb, because only the owner of the transaction knows
    what else was in it. Raises `DatabaseError` when no answer came within `deadline` seconds: a server that is stopped
    says nothing for ever.
    """
    try:
        async with asyncio.timeout(deadline):
            for attempt in range(TRIES):
                try:
                    async with transaction(pool) as conn:
                        return await work(conn)
                except TRANSIENT:
                    if attempt == TRIES - 1:
                        raise
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
    except (TimeoutError, PoolTimeout) as error:
        raise DatabaseError(f"Postgres did not answer within {deadline:g} s") from error
    raise AssertionError


async def in_statements(pool: AsyncConnectionPool, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Like `in_transaction`, but each statement of `work` commits itself: one round trip instead of three."""
    return await in_transaction(pool, partial(_committing_each, work))


async def _committing_each(work: Callable[[AsyncConnection], Awaitable[T]], conn: AsyncConnection) -> T:
    if isinstance(conn, Connection) and conn.limits:
        return await work(conn)  # its timeouts hold for the transaction that set them
    await conn.set_autocommit(True)
    try:
        return await work(conn)
    finally:
        with suppress(psycopg.Error):  # a connection that broke goes no further than its pool
            await conn.set_autocommit(False)


async def _is_direct(conn: AsyncConnection) -> bool:
    """Whether Postgres itself is at the other end: a pooler says the pid of none of its server connections."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            row = await (await conn.execute("select pg_backend_pid()")).fetchone()
            await conn.rollback()
    except BaseException as error:
        await conn.close()  # nobody else knows of it, not even when we are cancelled
        if isinstance(error, TimeoutError):  # the pooler's server is away
            raise psycopg.OperationalError(f"no answer within {CONNECT_TIMEOUT} s") from None
        raise
    return row == (conn.info.backend_pid,)


async def _limit(conn: AsyncConnection) -> None:
    if isinstance(conn, Connection) and conn.limits:
        await conn.execute(LIMIT, {"names": list(conn.limits), "values": list(conn.limits.values())})


async def read_now(conn: AsyncConnection) -> datetime:
    """The database's now: when the transaction began."""
    row = await (await conn.execute("select now()")).fetchone()
    assert row is not None  # noqa: S101 - a select without a table always answers
    now: datetime = row[0]
    return now


def describe(url: str) -> str:
    """Host, port and database of a URL, for messages: never the password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return "DATABASE_URL"
    return f"{parts.get('host') or 'local socket'}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def load_sql(beside: str, name: str) -> bytes:
    """The text of the statement `name`.sql that lies beside the module whose `__file__` is `beside`."""
    return (Path(beside).parent / f"{name}.sql").read_bytes()


async def fetch_all(conn: AsyncConnection, query: bytes, values: Mapping[str, Any], row: type[T]) -> list[T]:
    """Execute and return all rows, each as a `row` made from its columns."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def fetch_one(conn: AsyncConnection, query: bytes, values: Mapping[str, Any], row: type[T]) -> T | None:
    """Execute and return the first row as a `row`, or None."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()
